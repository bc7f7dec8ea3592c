#!/bin/bash
#SBATCH --job-name=sweep-lr
#SBATCH --partition=gpu
#SBATCH --nodes=1
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=12
#SBATCH --time=02:00:00
#SBATCH --array=0-5%2
#SBATCH --output=%x-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --no-requeue
set -euo pipefail  # sbatch reads no option beyond the first command

# Slurm counts how often it started the job again, and says nothing of it the first time.
export FLEETWARD_ATTEMPT=$((${SLURM_RESTART_COUNT:-0} + 1))
fleetward_job="${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fleetward_say() { echo "fleetward: job $fleetward_job, attempt $FLEETWARD_ATTEMPT: $1"; }
echo "fleetward: attempt $FLEETWARD_ATTEMPT of job $fleetward_job on $SLURM_JOB_NODELIST at $(date -u +%Y-%m-%dT%H:%M:%SZ)"

# Where ranks find each other: the first node, at a port that follows from the job and that Linux gives to nobody else.
fleetward_nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
export MASTER_ADDR="${fleetward_nodes%%$'\n'*}" MASTER_PORT=$((20000 + SLURM_JOB_ID % 12000))

# Which point of the sweep this task is.
case $SLURM_ARRAY_TASK_ID in
  0) export FLEETWARD_SWEEP_LR=0.001 FLEETWARD_SWEEP_SEED=1 ;;
  1) export FLEETWARD_SWEEP_LR=0.001 FLEETWARD_SWEEP_SEED=2 ;;
  2) export FLEETWARD_SWEEP_LR=0.0003 FLEETWARD_SWEEP_SEED=1 ;;
  3) export FLEETWARD_SWEEP_LR=0.0003 FLEETWARD_SWEEP_SEED=2 ;;
  4) export FLEETWARD_SWEEP_LR=0.0001 FLEETWARD_SWEEP_SEED=1 ;;
  5) export FLEETWARD_SWEEP_LR=0.0001 FLEETWARD_SWEEP_SEED=2 ;;
  *) fleetward_say 'the sweep has no such task' >&2; exit 1 ;;
esac
fleetward_say "lr=${FLEETWARD_SWEEP_LR@Q} seed=${FLEETWARD_SWEEP_SEED@Q}"

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
trap 'fleetward_hand_on USR1' USR1
trap 'fleetward_hand_on USR2' USR2

# Where Slurm ends a job it tells TERM to the tasks itself. srun is not told: it would kill them at once.
trap 'fleetward_woken=1' TERM

srun --cpus-per-task=12 --kill-on-bad-exit=1 --label \
    ./venv/bin/python train.py --lr="$FLEETWARD_SWEEP_LR" --seed "$FLEETWARD_SWEEP_SEED" --out runs/lr"$FLEETWARD_SWEEP_LR"-seed"$FLEETWARD_SWEEP_SEED" &
fleetward_step=$!
[ -z "$fleetward_early" ] || fleetward_hand_on "$fleetward_early"  # it came before the step
while :; do
  fleetward_woken=
  fleetward_status=0
  wait "$fleetward_step" || fleetward_status=$?
  [ -n "$fleetward_woken" ] || break  # where a signal came, the wait ended and not the step
done
exit "$fleetward_status"
