#!/bin/sh
# Build the stand-in for NVIDIA's management library: build.sh OUTPUT [compiler options].
# The output appears when it is complete: a build that was interrupted leaves none.
set -eu
output=$1
shift
here=$(dirname "$0")
"${CC:-cc}" -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -fPIC -shared -fvisibility=hidden -pthread \
    -Wl,-soname,libnvidia-ml.so.1 "$@" -o "$output.new" "$here"/*.c
mv "$output.new" "$output"
