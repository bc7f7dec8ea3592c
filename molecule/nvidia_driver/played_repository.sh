#!/bin/sh
# Makes a repository of packages that are played: played_repository.sh FOLDER NAME=VERSION...
#
# nvidia-persistenced and nvidia-fabricmanager have a service, which fails when it is started; nvidia-kernel-open-dkms brings the module
# that DKMS would build for the kernel that runs.
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
    nvidia-persistenced | nvidia-fabricmanager)
        mkdir -p "$root/usr/lib/systemd/system"
        printf '[Service]\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n' > "$root/usr/lib/systemd/system/$name.service"
        ;;
    nvidia-kernel-open-dkms)
        modules=$root/usr/lib/modules/$(uname -r)/updates/dkms
        mkdir -p "$modules"
        printf 'version=%s\0license=played\0' "${version%-*}" > "$root/info"
        objcopy --input-target=binary --output-target=elf64-little --rename-section .data=.modinfo "$root/info" \
            "$modules/nvidia.ko"
        rm "$root/info"
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
