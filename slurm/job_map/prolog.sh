#!/bin/sh
# A piece of Slurm's Prolog: writes down which job works on each GPU that slurmd gives it, for exporters to read.
#
# In the folder (FLEETWARD_JOB_MAP, or /run/fleetward/jobs) each GPU that a job holds has a file, named by its index, or
# by index and MIG instance (`3.1`). Each line of it is a job: its id, and behind tabs what is known of it
# (`user=`, `account=`, `partition=`, `array_task=`, `attempt=`). dcgm-exporter reads such a folder too.
#
# Slurm drains a node whose Prolog fails and waits for one that hangs. So this asks neither Slurm nor the driver, waits
# for no lock and always exits 0. Each job has a line of its own in `.parts/GPU/`, and a GPU's file is put together from
# them and renamed into place, again and again until it says what they say: however many do so at once, the last one
# sees the lines of all.
#
# Where Slurm hands out MIG instances it numbers these and not the GPUs (CUDA_VISIBLE_DEVICES then names them): a number
# without an instance is passed over, since a wrong job is worse than none.
set -u
umask 022
PATH=/usr/bin:/bin
LC_ALL=C
export PATH LC_ALL

folder=${FLEETWARD_JOB_MAP:-/run/fleetward/jobs}
job=${SLURM_JOB_ID:-}
gpus=${SLURM_JOB_GPUS:-}
visible=${CUDA_VISIBLE_DEVICES:-}

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

# word NAME VALUE: a word of the line, unless there is no value; tabs and the like would break the line
word() {
    value=$(printf '%s' "$2" | tr -d '\000-\037\177')
    [ -z "$value" ] || printf '\t%s=%s' "$1" "$value"
}

line() {
    printf '%s' "$job"
    word user "${SLURM_JOB_USER:-}"
    word account "${SLURM_JOB_ACCOUNT:-}"
    word partition "${SLURM_JOB_PARTITION:-}"
    word array_task "${SLURM_ARRAY_TASK_ID:-}"
    word attempt "${SLURM_RESTART_COUNT:-0}"
    printf '\n'
}

add() {
    parts=$folder/.parts/$1
    mkdir -p "$parts" && line >"$parts/.new.$$" && mv -f "$parts/.new.$$" "$parts/$job" && put_together "$1"
}

case $job in '' | *[!0-9]*) exit 0 ;; esac
case $gpus in '' | *[!0-9.,]*) exit 0 ;; esac
IFS=,
for gpu in $gpus; do
    case $gpu in '' | .* | *. | *.*.*) continue ;; esac
    case $gpu/$visible in *.*/*) ;; */MIG-*) continue ;; esac
    (add "$gpu") 2>/dev/null || echo "job map: $folder does not take job $job of GPU $gpu" >&2
done
exit 0
