#!/bin/bash
#SBATCH --job-name=pretrain-torchrun
#SBATCH --partition=gpu
#SBATCH --nodes=4
#SBATCH --gpus-per-node=h100:8
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=96
#SBATCH --time=1-00:00:00
#SBATCH --signal=B:USR1@600
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
set -euo pipefail  # sbatch reads no option beyond the first command

# Slurm counts how often it started the job again, and says nothing of it the first time.
export FLEETWARD_ATTEMPT=$((${SLURM_RESTART_COUNT:-0} + 1))
fleetward_job=$SLURM_JOB_ID
fleetward_say() { echo "fleetward: job $fleetward_job, attempt $FLEETWARD_ATTEMPT of 5: $1"; }
if [ "$FLEETWARD_ATTEMPT" -gt 5 ]; then
  fleetward_say 'not run; all 5 attempts are used up' >&2
  exit 1
fi
echo "fleetward: attempt $FLEETWARD_ATTEMPT of 5 of job $fleetward_job on $SLURM_JOB_NODELIST at $(date -u +%Y-%m-%dT%H:%M:%SZ)"

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
  if fleetward_gone_within 540; then return; fi
  fleetward_say 'the step goes on 540 s after the warning, and is ended' >&2
  kill -s TERM "$fleetward_step" 2>/dev/null || true
  if fleetward_gone_within 30; then return; fi
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

# torchrun would die of the warning, and Slurm tells it to nobody but the process that it started itself: so that is a
# shell, which hands the warning on to the workers, and TERM to torchrun.
fleetward_agent='
trap "" USR1
"$@" &
agent=$!
trap "woken=1; kill -s USR1 \$(cat /proc/$agent/task/*/children 2>/dev/null) 2>/dev/null || :" USR1
trap "woken=1; kill -s TERM $agent 2>/dev/null || :" TERM
while :; do
  woken=
  status=0
  wait "$agent" || status=$?
  [ -n "$woken" ] || exit "$status"
done
'

# Where Slurm ends a job it tells TERM to the tasks itself. srun is not told: it would kill them at once. They get the
# warning too, and the job does not requeue itself: somebody cancelled it, or Slurm requeues what it preempts.
trap 'fleetward_ended=1; fleetward_warn' TERM

if [ -n "$fleetward_warned" ]; then
  fleetward_status=1
  fleetward_how='warned before its step began'
else
  srun --cpus-per-task=96 --kill-on-bad-exit=1 --label \
    sh -c "$fleetward_agent" sh \
    ./venv/bin/python -m torch.distributed.run --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node=8 \
    --rdzv-backend=c10d --rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT" --rdzv-id="$SLURM_JOB_ID-$FLEETWARD_ATTEMPT" \
    --max-restarts=0 --no-python \
    ./venv/bin/python train.py --config base.toml &
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

# The work goes on in another attempt, where there is one left.
trap '' USR1 USR2
trap 'fleetward_ended=1' TERM
if [ "$FLEETWARD_ATTEMPT" -ge 5 ]; then
  fleetward_say "$fleetward_how; no attempt is left" >&2
else
  for fleetward_pause in 5 10 20 0; do  # a controller that another one stands in for is back soon
    if [ -z "$fleetward_ended" ] && scontrol requeue "$fleetward_job"; then
      fleetward_say "$fleetward_how; requeued"
      exit 0
    fi
    sleep "$fleetward_pause"
  done
  fleetward_say "$fleetward_how; Slurm does not requeue it" >&2
fi
[ "$fleetward_status" != 0 ] || fleetward_status=1  # nobody knows whether the work was done
exit "$fleetward_status"
