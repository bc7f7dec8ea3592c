#!/bin/sh
# Has PCI bridges above GPUs and network cards send what goes between them straight on, not up to the processor first.
#
#   acs off      clear the bits of ACS that redirect, and remember what was there
#   acs restore  write back what was there
#   acs show     say what is there, a line for each bridge: ADDRESS CONTROL
#
# Bits 2 and 3 of the control register of Access Control Services redirect requests and completions between peers; all others stay.
set -eu

devices=${FLEETWARD_PCI_DEVICES:-/sys/bus/pci/devices}
found=${RUNTIME_DIRECTORY:-/run/fleetward-acs}/found
register=ECAP_ACS+6.w
redirects=000c

command -v setpci > /dev/null || { echo "acs: there is no setpci: install the package pciutils" >&2; exit 1; }

# The addresses above every GPU of NVIDIA's and every network card of its for InfiniBand or Ethernet, each once.
bridges() {
    for device in "$devices"/*; do
        [ -e "$device/class" ] || continue
        case "$(cat "$device/vendor") $(cat "$device/class")" in
        "0x10de 0x03"* | "0x15b3 0x02"*) ;;
        *) continue ;;
        esac
        readlink -f "$device" | tr / '\n' | sed -n '/^[0-9a-f]\{4,\}:[0-9a-f][0-9a-f]:[0-9a-f][0-9a-f]\.[0-7]$/p' | sed '$d'
    done | sort -u
}

# The control register as setpci says it; nothing of a bridge without ACS.
control() {
    setpci -s "$1" "$register" 2> /dev/null || true
}

redirected() {
    [ $((0x$1 & 0x$redirects)) -ne 0 ]
}

off() {
    mkdir -p "${found%/*}"
    touch "$found"
    failed=0
    for bridge in $(bridges); do
        before=$(control "$bridge")
        if [ -z "$before" ] || ! redirected "$before"; then
            continue
        fi
        grep -q "^$bridge " "$found" || echo "$bridge $before" >> "$found"
        setpci -s "$bridge" "$register=0000:$redirects" || true
        after=$(control "$bridge")
        echo "$bridge $before -> $after"
        if redirected "${after:-ffff}"; then
            echo "acs: the bridge $bridge keeps redirecting: switch ACS off in the firmware" >&2
            failed=1
        fi
    done
    return $failed
}

restore() {
    [ -e "$found" ] || return 0
    while read -r bridge before; do
        setpci -s "$bridge" "$register=$before:$redirects"
        echo "$bridge restored to $before"
    done < "$found"
    rm "$found"
}

show() {
    for bridge in $(bridges); do
        echo "$bridge $(control "$bridge")"
    done
}

case ${1:-} in
off | restore | show) "$1" ;;
*) echo "usage: acs off|restore|show" >&2; exit 2 ;;
esac
