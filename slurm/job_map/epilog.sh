#!/bin/sh
# A piece of Slurm's Epilog: takes a job out of the map that prolog.sh writes, from every GPU of this node that it is on.
#
# It needs the job's id alone, so that a GPU is let go of also where Slurm no longer names it. It waits for nothing and
# always exits 0, as prolog.sh does and for the same reasons.
set -u
umask 022
PATH=/usr/bin:/bin
LC_ALL=C
export PATH LC_ALL

folder=${FLEETWARD_JOB_MAP:-/run/fleetward/jobs}
job=${SLURM_JOB_ID:-}

lines_of() {
    cat "$folder/.parts/$1/"[0-9]* 2>/dev/null
}

put_together() {
    turn=0
    while [ "$turn" -lt 50 ]; do
        turn=$((turn + 1))
        lines=$(lines_of "$1")
        if [ -n "$lines" ]; then
            printf '%s\n' "$lines" >"$folder/.new.$1.$$" && mv -f "$folder/.new.$1.$$" "$folder/$1" || return 1
        else
            rm -f "$folder/$1" || return 1
        fi
        [ "$(lines_of "$1")" = "$lines" ] && return 0
    done
    return 1
}

take_out() {
    rm -f "$folder/.parts/$1/$job" && put_together "$1"
}

case $job in '' | *[!0-9]*) exit 0 ;; esac
for part in "$folder/.parts/"*"/$job"; do
    [ -e "$part" ] || continue
    gpu=${part%/*}
    gpu=${gpu##*/}
    (take_out "$gpu") 2>/dev/null || echo "job map: $folder does not let go of job $job on GPU $gpu" >&2
done
exit 0
