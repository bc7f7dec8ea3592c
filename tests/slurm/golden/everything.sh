#!/bin/bash
#SBATCH --job-name=llama-7b.pretrain
#SBATCH --account=research
#SBATCH --partition=gpu
#SBATCH --qos=high
#SBATCH --nodes=64
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=12
#SBATCH --mem=1T
#SBATCH --time=2-00:00:00
#SBATCH --output=logs/%x/%j.log
#SBATCH --open-mode=append
#SBATCH --no-requeue
set -euo pipefail  # sbatch reads no option beyond the first command

export NCCL_DEBUG=INFO
export GREETING='it'"'"'s $HOME'
export STEPS=100

mkdir -p 'run dir'
nvidia-smi

# srun runs in the background, so that a signal to this shell is handled at once and handed on to the job's step.
fleetward_step=
fleetward_early=
fleetward_signalled=0
fleetward_hand_on() {
  fleetward_signalled=1
  if [ -z "$fleetward_step" ]; then
    fleetward_early=$1
  else
    kill -s "$1" "$fleetward_step" 2>/dev/null || true
  fi
}
trap 'fleetward_hand_on TERM' TERM
trap 'fleetward_hand_on USR1' USR1
trap 'fleetward_hand_on USR2' USR2

srun --cpus-per-task=12 --kill-on-bad-exit=1 python -c 'print('"'"'hello; world'"'"')' --lr 3e-4 &
fleetward_step=$!
[ -z "$fleetward_early" ] || kill -s "$fleetward_early" "$fleetward_step" 2>/dev/null || true  # it came before the step
while :; do
  fleetward_signalled=0
  fleetward_status=0
  wait "$fleetward_step" || fleetward_status=$?
  [ "$fleetward_signalled" = 1 ] || break  # where a signal came, the wait ended and not the step
done
exit "$fleetward_status"
