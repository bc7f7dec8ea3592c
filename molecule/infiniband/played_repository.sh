#!/bin/sh
# Makes a flat repository of packages that are played and empty: played_repository.sh FOLDER NAME=VERSION...
set -eu
folder=$1
shift
mkdir -p "$folder"
cd "$folder"

for package in "$@"; do
    root=$(mktemp -d)
    chmod 755 "$root"
    mkdir "$root/DEBIAN"
    cat > "$root/DEBIAN/control" <<END
Package: ${package%%=*}
Version: ${package#*=}
Architecture: all
Maintainer: nobody <nobody@localhost>
Description: played for a Molecule scenario
END
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
