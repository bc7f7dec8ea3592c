#!/bin/bash
#SBATCH --job-name=qualify-test
#SBATCH --account=operations
#SBATCH --partition=burn-in
#SBATCH --qos=high
#SBATCH --reservation=bring-up
#SBATCH --nodes=2
#SBATCH --nodelist=gpu001,gpu002
#SBATCH --gpus-per-node=h100:8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=28
#SBATCH --mem=0
#SBATCH --time=0:47:00
#SBATCH --output=qualify/%x-%j.log
#SBATCH --exclusive
#SBATCH --no-requeue
set -uo pipefail

export NCCL_DEBUG=WARN
export TORCH_NCCL_ASYNC_ERROR_HANDLING=1
export NCCL_IB_HCA==mlx5_0,mlx5_1,mlx5_2,mlx5_3
export PATH='/opt/nccl-tests/build:/opt/with space/bin':"$PATH"

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

fleetward_folder=$(mktemp -d -p '/local scratch' fleetward-qualify.XXXXXXXX) || exit 1
trap 'rm -rf "$fleetward_folder"' EXIT
cd "$fleetward_folder" || exit 1

# RDMA writes between two nodes
srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=224 --kill-on-bad-exit=1 --chdir=/ bash -c "$fleetward_look" bash "$fleetward_mark" ib_write ib_write_bw timeout sed &&
  fleetward_run ib_write 900 srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=224 --kill-on-bad-exit=1 --chdir=/ bash -c 'server=$1 limit=$2 code=0 port=18515
shift 2
measure() {
  device=${1%%:*} gpu=${1#*:} most=$2
  shift 2
  timeout "$most" ib_write_bw -d "$device" -p "$port" -s 8388608 -F --report_gbits --perform_warm_up \
    ${gpu:+"--use_cuda=$gpu"} "$@"
}
if [ "${SLURMD_NODENAME:-$HOSTNAME}" = "$server" ]; then
  for pair; do
    { echo "== ${pair%%:*}"; measure "$pair" "$limit" 2>&1; } | sed "s/^/server: /" &
    port=$((port + 1))
  done
  wait
  exit 0
fi
for pair; do
  echo "== ${pair%%:*}"
  for try in 1 2 3 4 5 6 7 8 9 10; do
    measure "$pair" 60 "$server" && break
    [ "$try" != 10 ] || code=1
    sleep 1
  done
  port=$((port + 1))
done
exit "$code"
' ib_write gpu001 240 mlx5_0: mlx5_1: mlx5_2: mlx5_3:

# RDMA writes between GPUs of two nodes (GPUDirect)
srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=224 --kill-on-bad-exit=1 --chdir=/ bash -c "$fleetward_look" bash "$fleetward_mark" ib_write_gpu ib_write_bw timeout sed &&
  fleetward_run ib_write_gpu 900 srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=224 --kill-on-bad-exit=1 --chdir=/ bash -c 'server=$1 limit=$2 code=0 port=18515
shift 2
measure() {
  device=${1%%:*} gpu=${1#*:} most=$2
  shift 2
  timeout "$most" ib_write_bw -d "$device" -p "$port" -s 8388608 -F --report_gbits --perform_warm_up \
    ${gpu:+"--use_cuda=$gpu"} "$@"
}
if [ "${SLURMD_NODENAME:-$HOSTNAME}" = "$server" ]; then
  for pair; do
    { echo "== ${pair%%:*}"; measure "$pair" "$limit" 2>&1; } | sed "s/^/server: /" &
    port=$((port + 1))
  done
  wait
  exit 0
fi
for pair; do
  echo "== ${pair%%:*}"
  for try in 1 2 3 4 5 6 7 8 9 10; do
    measure "$pair" 60 "$server" && break
    [ "$try" != 10 ] || code=1
    sleep 1
  done
  port=$((port + 1))
done
exit "$code"
' ib_write gpu001 240 mlx5_0:0 mlx5_1:2 mlx5_2:4 mlx5_3:6

# NCCL all-reduce over two nodes
srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=224 --kill-on-bad-exit=1 --chdir=/ bash -c "$fleetward_look" bash "$fleetward_mark" nccl_pair all_reduce_perf &&
  fleetward_run nccl_pair 600 srun --nodes=2 --ntasks=16 --ntasks-per-node=8 --cpus-per-task=28 --kill-on-bad-exit=1 --mpi=pmix_v5 --chdir=/ all_reduce_perf -b 16G -e 16G -f 2 -g 1 -c 1 -n 20

exit 0  # what came of the workloads stands in the log
