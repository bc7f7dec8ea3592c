#!/bin/sh
# Makes a repository of packages that are played: played_repository.sh FOLDER NAME=VERSION...
#
# kubeadm keeps what it is asked and the file that it is given, and makes the file by which a node is seen to have joined. The kubelet makes its
# node known to the API server, as the real one does, and sleeps.
set -eu
folder=$1
shift
mkdir -p "$folder"
cd "$folder"

program() { # FILE, with its text on the standard input
    mkdir -p "$(dirname "$1")"
    cat > "$1"
    chmod 755 "$1"
}

for package in "$@"; do
    name=${package%%=*} version=${package#*=}
    root=$(mktemp -d)
    chmod 755 "$root"
    mkdir "$root/DEBIAN"
    cat > "$root/DEBIAN/control" <<END
Package: $name
Version: $version
Architecture: all
Maintainer: nobody <nobody@localhost>
Description: played for a Molecule scenario
END
    case $name in
    kubeadm)
        program "$root/usr/bin/kubeadm" <<'END'
#!/bin/sh
set -eu
umask 077
mkdir -p /var/lib/played
echo "$*" >> /var/lib/played/kubeadm
for word in "$@"; do file=${word#--config=}; done
grep -q '^kind: JoinConfiguration$' "$file"
if [ "$1" = join ]; then
    stat --format='%a %U' "$file" > /var/lib/played/mode
    cp "$file" /var/lib/played/join.yml
    sed -n 's/^ *apiServerEndpoint: *//p' "$file" > /etc/kubernetes/kubelet.conf
    systemctl start kubelet
fi
END
        ;;
    kubelet)
        program "$root/usr/bin/kubelet" <<'END'
#!/usr/bin/python3
import json, pathlib, socket, time, urllib.request

server = pathlib.Path("/etc/kubernetes/kubelet.conf").read_text().strip()
name = socket.gethostname()
node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}}
address = f"http://{server}/api/v1/nodes/{name}?fieldManager=kubelet"
headers = {"Content-Type": "application/apply-patch+yaml"}
urllib.request.urlopen(urllib.request.Request(address, json.dumps(node).encode(), headers, method="PATCH"))
time.sleep(1e9)
END
        mkdir -p "$root/usr/lib/systemd/system"
        cat > "$root/usr/lib/systemd/system/kubelet.service" <<'END'
[Service]
EnvironmentFile=-/etc/default/kubelet
ExecStart=/usr/bin/kubelet $KUBELET_EXTRA_ARGS
Restart=always
[Install]
WantedBy=multi-user.target
END
        ;;
    esac
    dpkg-deb --root-owner-group --build "$root" . > /dev/null
    rm -r "$root"
done

: > Packages
for package in *.deb; do
    dpkg-deb --field "$package"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$package" "$(stat --format=%s "$package")" "$(sha256sum "$package" | cut -d' ' -f1)"
done >> Packages
cat > Release <<END
Origin: Played
Suite: played
Date: $(date --utc --rfc-email)
SHA256:
 $(sha256sum Packages | cut -d' ' -f1) $(stat --format=%s Packages) Packages
END
