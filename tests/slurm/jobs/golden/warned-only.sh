#!/bin/bash
#SBATCH --job-name=warned
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=1
#SBATCH --time=10:00
#SBATCH --signal=B:USR1@60
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
set -euo pipefail  # sbatch reads no option beyond the first command

# Slurm counts how often it started the job again, and says nothing of it the first time.
export FLEETWARD_ATTEMPT=$((${SLURM_RESTART_COUNT:-0} + 1))
fleetward_job=$SLURM_JOB_ID
fleetward_say() { echo "fleetward: job $fleetward_job, attempt $FLEETWARD_ATTEMPT of 3: $1"; }
if [ "$FLEETWARD_ATTEMPT" -gt 3 ]; then
  fleetward_say 'not run; all 3 attempts are used up' >&2
  exit 1
fi
echo "fleetward: attempt $FLEETWARD_ATTEMPT of 3 of job $fleetward_job on $SLURM_JOB_NODELIST at $(date -u +%Y-%m-%dT%H:%M:%SZ)"

# Where ranks find each other: the first node, at a port that follows from the job and that Linux gives to nobody else.
fleetward_nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
export MASTER_ADDR="${fleetward_nodes%%$'\n'*}" MASTER_PORT=$((20000 + SLURM_JOB_ID % 12000))

# srun runs in the background, so that a signal to this shell is handled at once and handed on to the job's step.
fleetward_step=
fleetward_early=
fleetward_woken=
fleetward_hand_on() {
  fleetward_woken=1
  if [ -z "$fleetward_step" ]; then
    fleetward_early=$1
  else
    kill -s "$1" "$fleetward_step" 2>/dev/null || true
  fi
}
trap 'fleetward_hand_on USR2' USR2

# The warning is handed on, and a step that goes on after its grace is ended.
fleetward_warned=
fleetward_ended=
fleetward_limited=
fleetward_gone_within() { timeout "$1" tail --pid="$fleetward_step" --sleep-interval=0.2 -f /dev/null; }
fleetward_end_step() {
  if fleetward_gone_within 20; then return; fi
  fleetward_say 'the step goes on 20 s after the warning, and is ended' >&2
  kill -s TERM "$fleetward_step" 2>/dev/null || true
  if fleetward_gone_within 20; then return; fi
  kill -s KILL "$fleetward_step" 2>/dev/null || true
}
fleetward_limit() {
  if [ -n "$fleetward_step" ] && [ -z "$fleetward_limited" ]; then
    fleetward_limited=1
    fleetward_end_step &
  fi
}
fleetward_warn() {
  fleetward_warned=1
  fleetward_hand_on USR1
  fleetward_limit
}
trap fleetward_warn USR1

# Where Slurm ends a job it tells TERM to the tasks itself. srun is not told: it would kill them at once. They get the
# warning too, and the job does not requeue itself: somebody cancelled it, or Slurm requeues what it preempts.
trap 'fleetward_ended=1; fleetward_warn' TERM

if [ -n "$fleetward_warned" ]; then
  fleetward_status=1
  fleetward_how='warned before its step began'
else
  srun --cpus-per-task=1 --kill-on-bad-exit=1 \
    true &
  fleetward_step=$!
  [ -z "$fleetward_early" ] || fleetward_hand_on "$fleetward_early"  # it came before the step
  [ -z "$fleetward_warned" ] || fleetward_limit
  while :; do
    fleetward_woken=
    fleetward_status=0
    wait "$fleetward_step" || fleetward_status=$?
    [ -n "$fleetward_woken" ] || break  # where a signal came, the wait ended and not the step
  done
  fleetward_how="warned, and its step ended with $fleetward_status"
fi
if [ -z "$fleetward_warned" ] || [ -n "$fleetward_ended" ]; then
  exit "$fleetward_status"
fi

fleetward_say "$fleetward_how" >&2
exit "$fleetward_status"
