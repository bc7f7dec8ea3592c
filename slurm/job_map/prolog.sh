#!/bin/sh
# A piece of Slurm's Prolog: writes down which job works on each GPU that slurmd gives it, for exporters to read.
#
# In the folder (FLEETWARD_JOB_MAP, or /run/fleetward/jobs) each GPU that a job holds has a file, named by the number that
# Slurm gave: of a GPU, or of GPU and MIG instance (`3.1`). A MIG instance that Slurm names by its UUID has a file of that
# name, since the number beside it counts instances. Each line is a job: its id, and behind tabs what is known of it
# (`user=`, `account=`, `partition=`, `array_task=`, `attempt=`, `uid=`, `node=`, and from Slurm 25.11 on `sluid=` and the
# GPU's `gpu_uuid=`). dcgm-exporter reads such a folder too.
#
# Slurm drains a node whose Prolog fails and waits for one that hangs. So this asks neither Slurm nor the driver, waits
# for no lock and always exits 0. Each job has a line of its own in `.parts/GPU/`, and a GPU's file is put together from
# them and renamed into place, again and again until it says what they say: however many do so at once, the last one
# sees the lines of all. A Prolog comes once for each attempt of a job: what an attempt before it left is taken out.
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

take_out() {
    rm -f "$folder/.parts/$1/$job" && put_together "$1"
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
    word attempt "${SLURM_JOB_RESTART_COUNT:-}"
    word node "${SLURMD_NODENAME:-}"
    word sluid "${SLURM_JOB_SLUID:-}"
    word uid "${SLURM_JOB_UID:-}"
    word gpu_uuid "$uuid"
    printf '\n'
}

add() {
    parts=$folder/.parts/$1
    mkdir -p "$parts" && line >"$parts/.new.$$" && mv -f "$parts/.new.$$" "$parts/$job" && put_together "$1"
}

case $job in '' | *[!0-9]*) exit 0 ;; esac
case $gpus in '' | *[!0-9.,]*) gpus= ;; esac
IFS=,
held=,
devices=$visible
for gpu in $gpus; do
    device=${devices%%,*} # the two lists go together, place by place
    case $devices in *,*) devices=${devices#*,} ;; *) devices= ;; esac
    case $gpu in '' | .* | *. | *.*.*) continue ;; *.*) device=instance ;; esac
    uuid=
    case $device in
        instance) ;;
        MIG-*[!0-9A-Za-z-]*) continue ;;
        MIG-*) gpu=$device ;;
        GPU-*) uuid=$device ;;
        *) case $visible in *MIG-*) continue ;; esac ;; # it may count instances too: a wrong job is worse than none
    esac
    held=$held$gpu,
    (add "$gpu") 2>/dev/null || echo "job map: $folder does not take job $job of GPU $gpu" >&2
done
for part in "$folder/.parts/"*"/$job"; do
    [ -e "$part" ] || continue
    gpu=${part%/*}
    gpu=${gpu##*/}
    case $held in *",$gpu,"*) continue ;; esac
    (take_out "$gpu") 2>/dev/null || echo "job map: $folder does not let go of job $job on GPU $gpu" >&2
done
exit 0
