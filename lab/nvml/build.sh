#!/bin/sh
# Build the stand-in for NVIDIA's management library: build.sh [--driver 535|550] OUTPUT [compiler options].
# With --driver the build imitates that driver: it lacks the functions and the fields that came later.
# The output appears when it is complete: a build that was interrupted leaves none.
set -eu
here=$(dirname "$0")
driver=9999
if [ "$1" = --driver ]; then
    driver=$2
    shift 2
fi
output=$1
shift
# The versions are those of Debian's packages, the field counts NVML_FI_MAX of their headers.
case $driver in
    535) set -- '-DBUILT_IN_DRIVER="535.261.03"' -DBUILT_IN_CUDA=12020 -DFIELD_COUNT=200 "$@" ;;
    550) set -- '-DBUILT_IN_DRIVER="550.163.01"' -DBUILT_IN_CUDA=12040 -DFIELD_COUNT=201 "$@" ;;
    9999) ;;
    *) echo "build.sh: driver $driver is not one of 535 and 550" >&2; exit 2 ;;
esac
exports=$output.exports
trap 'rm -f "$exports"' EXIT
{
    echo '{ global:'
    grep -v '^#' "$here/calls.txt" | while read -r name lacking; do
        [ "$driver" -le "${lacking:-0}" ] || echo "$name;"
    done
    echo 'local: *; };'
} >"$exports"
"${CC:-cc}" -std=c11 -D_GNU_SOURCE -O1 -Wall -Wextra -fPIC -shared -fvisibility=hidden -pthread \
    -Wl,-soname,libnvidia-ml.so.1 -Wl,--version-script="$exports" "$@" -o "$output.new" "$here"/*.c
mv "$output.new" "$output"
