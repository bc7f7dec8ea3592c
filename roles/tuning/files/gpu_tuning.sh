#!/bin/sh
# Sets power limits and clocks of all GPUs, and takes them back.
#
#   gpu_tuning apply FILE   set what FILE says, in lines such as power_limit_watts=600
#   gpu_tuning reset        have what was set as the driver has it by itself
set -eu

set_by_us=${RUNTIME_DIRECTORY:-/run/fleetward-gpu-tuning}/set

apply() {
    mkdir -p "${set_by_us%/*}"
    : > "$set_by_us"
    failed=0
    while IFS='=' read -r name value; do
        case $name in
        '' | '#'*) continue ;;
        power_limit_watts) option=--power-limit ;;
        graphics_clocks_mhz) option=--lock-gpu-clocks ;;
        memory_clocks_mhz) option=--lock-memory-clocks ;;
        *) echo "gpu_tuning: $1 has $name, which is no setting of GPUs" >&2; failed=1; continue ;;
        esac
        echo "$name" >> "$set_by_us"
        nvidia-smi "$option=$value" || { echo "gpu_tuning: nvidia-smi refused $name=$value" >&2; failed=1; }
    done < "$1"
    return $failed
}

# Each GPU tells the limit of its own board.
reset_power_limit() {
    nvidia-smi --query-gpu=index,power.default_limit --format=csv,noheader,nounits | while IFS=', ' read -r index watts; do
        nvidia-smi --id="$index" --power-limit="$watts"
    done
}

reset() {
    [ -e "$set_by_us" ] || return 0
    while read -r name; do
        case $name in
        power_limit_watts) reset_power_limit ;;
        graphics_clocks_mhz) nvidia-smi --reset-gpu-clocks ;;
        memory_clocks_mhz) nvidia-smi --reset-memory-clocks ;;
        esac
    done < "$set_by_us"
    rm "$set_by_us"
}

case ${1:-} in
apply) apply "${2:?gpu_tuning apply wants a file}" ;;
reset) reset ;;
*) echo "usage: gpu_tuning apply FILE|reset" >&2; exit 2 ;;
esac
