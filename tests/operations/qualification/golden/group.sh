#!/bin/bash
#SBATCH --job-name=qualify-test
#SBATCH --nodes=3
#SBATCH --nodelist=gpu001,gpu002,gpu003
#SBATCH --gpus-per-node=h100:8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=28
#SBATCH --mem=0
#SBATCH --time=0:18:00
#SBATCH --output=qualify-%j.log
#SBATCH --exclusive
#SBATCH --no-requeue
set -uo pipefail

export NCCL_DEBUG=WARN
export TORCH_NCCL_ASYNC_ERROR_HANDLING=1
export NCCL_IB_HCA==mlx5_0,mlx5_1,mlx5_2,mlx5_3

fleetward_mark=fleetward-0123456789abcdef0123456789abcdef
fleetward_run() {
  local id=$1 limit=$2 begun=$SECONDS code=0
  shift 2
  echo "$fleetward_mark begin $id"
  timeout --kill-after=30 "$limit" "$@" </dev/null 2>&1 || code=$?
  printf '\n%s end %s %d %d\n' "$fleetward_mark" "$id" "$code" "$((SECONDS - begun))"
}

# Says which programs a node lacks; it runs on each node.
fleetward_look='
mark=$1 id=$2 lacks=0
shift 2
for program; do
  command -v -- "$program" >/dev/null && continue
  echo "$mark missing $id ${SLURMD_NODENAME:-$HOSTNAME} $program"
  lacks=1
done
exit "$lacks"
'

fleetward_folder=$(mktemp -d -p /var/tmp fleetward-qualify.XXXXXXXX) || exit 1
trap 'rm -rf "$fleetward_folder"' EXIT
cd "$fleetward_folder" || exit 1

# NCCL all-reduce over a group of nodes
srun --nodes=3 --ntasks=3 --ntasks-per-node=1 --cpus-per-task=224 --kill-on-bad-exit=1 --chdir=/ bash -c "$fleetward_look" bash "$fleetward_mark" nccl_group all_reduce_perf &&
  fleetward_run nccl_group 900 srun --nodes=3 --ntasks=24 --ntasks-per-node=8 --cpus-per-task=28 --kill-on-bad-exit=1 --mpi=pmix --chdir=/ all_reduce_perf -b 16G -e 16G -f 2 -g 1 -c 1 -n 20

exit 0  # what came of the workloads stands in the log
