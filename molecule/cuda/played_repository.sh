#!/bin/sh
# Makes a repository of packages that are played: played_repository.sh FOLDER NAME=VERSION...
#
# Each cuda-toolkit-X-Y has an nvcc that says its release.
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
    cuda-toolkit-*)
        release=${name#cuda-toolkit-}
        release=${release%-*}.${release#*-}
        mkdir -p "$root/usr/local/cuda-$release/bin" "$root/usr/local/cuda-$release/lib64"
        printf '#!/bin/sh\necho "Cuda compilation tools, release %s"\n' "$release" > "$root/usr/local/cuda-$release/bin/nvcc"
        chmod 755 "$root/usr/local/cuda-$release/bin/nvcc"
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
