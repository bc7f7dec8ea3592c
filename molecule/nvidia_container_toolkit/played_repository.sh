#!/bin/sh
# Makes a repository of packages that are played: played_repository.sh FOLDER NAME=VERSION...
#
# nvidia-container-toolkit-base has an nvidia-ctk that writes a CDI specification of one device and of what stands in
# /var/lib/played-driver; nvslurm-plugin-pyxis has a file where its plugin would be.
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
    nvidia-container-toolkit-base)
        mkdir -p "$root/usr/bin"
        cat > "$root/usr/bin/nvidia-ctk" <<'END'
#!/bin/sh
set -eu
[ "$1 $2" = "cdi generate" ]
file=${3#--output=}
mkdir -p "$(dirname "$file")"
printf 'cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices: [{name: all, driver: "%s"}]\n' "$(cat /var/lib/played-driver)" > "$file"
END
        chmod 755 "$root/usr/bin/nvidia-ctk"
        ;;
    nvslurm-plugin-pyxis)
        mkdir -p "$root/usr/lib/$(uname -m)-linux-gnu/slurm"
        : > "$root/usr/lib/$(uname -m)-linux-gnu/slurm/spank_pyxis.so"
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
