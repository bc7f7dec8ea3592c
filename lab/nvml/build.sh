#!/bin/sh
# Build the stand-in for NVIDIA's management library: build.sh OUTPUT [compiler options].
set -eu
output=$1
shift
here=$(dirname "$0")
exec "${CC:-cc}" -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -fPIC -shared -fvisibility=hidden -pthread \
    -Wl,-soname,libnvidia-ml.so.1 "$@" -o "$output" "$here"/*.c
