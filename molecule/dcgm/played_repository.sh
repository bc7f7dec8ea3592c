#!/bin/sh
# Makes a repository of packages that are played: played_repository.sh FOLDER NAME=VERSION...
#
# datacenter-gpu-manager-4-core has NVIDIA's unit, and a host engine that listens where it is told to and says nothing.
set -eu
folder=$1
shift
mkdir -p "$folder"
cd "$folder"

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
    datacenter-gpu-manager-4-core)
        mkdir -p "$root/usr/bin" "$root/usr/lib/systemd/system"
        cat > "$root/usr/bin/nv-hostengine" <<'END'
#!/usr/bin/python3
import argparse, socket
parser = argparse.ArgumentParser()
parser.add_argument("-n", action="store_true")
parser.add_argument("--service-account")
parser.add_argument("-b", default="127.0.0.1")
parser.add_argument("-p", type=int, default=5555)
given = parser.parse_args()
server = socket.create_server(("" if given.b == "ALL" else given.b, given.p))
while True:
    server.accept()[0].close()
END
        chmod 755 "$root/usr/bin/nv-hostengine"
        printf '[Service]\nExecStart=/usr/bin/nv-hostengine -n --service-account nvidia-dcgm -b ALL\n[Install]\nWantedBy=multi-user.target\n' \
            > "$root/usr/lib/systemd/system/nvidia-dcgm.service"
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
