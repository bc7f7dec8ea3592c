#!/bin/bash
#SBATCH --job-name=qualify-test
#SBATCH --account=operations
#SBATCH --partition=burn-in
#SBATCH --qos=high
#SBATCH --reservation=bring-up
#SBATCH --nodes=1
#SBATCH --nodelist=gpu001
#SBATCH --gpus-per-node=h100:8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=28
#SBATCH --mem=0
#SBATCH --time=2:45:00
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

# DCGM diagnostics, level 2
bash -c "$fleetward_look" bash "$fleetward_mark" dcgm_medium dcgmi &&
  fleetward_run dcgm_medium 1200 dcgmi diag --run 2 --json

# DCGM diagnostics, level 3
bash -c "$fleetward_look" bash "$fleetward_mark" dcgm_long dcgmi &&
  fleetward_run dcgm_long 3600 dcgmi diag --run 3 --json

# Copies between host and GPUs
bash -c "$fleetward_look" bash "$fleetward_mark" nvbandwidth nvbandwidth &&
  fleetward_run nvbandwidth 600 nvbandwidth --json --testSamples 10 --testcase host_to_device_memcpy_ce device_to_host_memcpy_ce device_to_device_memcpy_read_ce

# NCCL all-reduce over the GPUs of a node
bash -c "$fleetward_look" bash "$fleetward_mark" nccl_node all_reduce_perf &&
  fleetward_run nccl_node 600 all_reduce_perf -b 16G -e 16G -f 2 -g 8 -c 1 -n 20

# High-Performance Linpack over the GPUs of a node
cat >HPL.dat <<'fleetward-0123456789abcdef0123456789abcdef'
HPL
fleetward
HPL.out      file, where the next line asks for one
6            standard output
1            sizes
261120       N
1            block sizes
1024         NB
0            processes by rows
1            grids
2            P
4            Q
16.0         threshold of the residual
1            of panel factorisation
1            panel factorisation
1            of columns to stop at
4            columns to stop at
1            of panels
2            panels
1            of recursive factorisation
1            recursive factorisation
1            of broadcast
1            broadcast
1            of look-ahead
1            look-ahead
1            swap: long
192          threshold of swap
1            L1 as it is
0            U transposed
0            no equilibration
8            alignment in doubles
fleetward-0123456789abcdef0123456789abcdef
bash -c "$fleetward_look" bash "$fleetward_mark" hpl xhpl &&
  fleetward_run hpl 1800 srun --nodes=1 --ntasks=8 --ntasks-per-node=8 --cpus-per-task=28 --kill-on-bad-exit=1 --mpi=pmix_v5 xhpl

# The same matrix product over and over on each GPU
cat >matrix_product.py <<'fleetward-0123456789abcdef0123456789abcdef'
"""Multiply the same two matrices on each GPU for a while, and count results that differ from the first one.

It runs on a node by itself, with any Python that has PyTorch; nothing else of Fleetward need be there. It prints one
line of JSON. Exit codes: 0 measured, whatever was found; 3 where PyTorch or the GPUs are not there.
"""

import argparse
import importlib
import json
import sys
import time
from typing import Any

NOT_THERE = 3


def main() -> int:
    """Measure the GPUs that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, required=True, help="GPUs that there should be")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long all of them are kept busy")
    parser.add_argument("--order", type=int, default=8192, help="rows of the matrices")
    parser.add_argument("--batch", type=int, default=100, help="products between two looks at the result")
    parser.add_argument("--kind", default="cuda", help="kind of device, as PyTorch names it")
    asked = parser.parse_args()
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError as error:
        return tell({"error": f"PyTorch cannot be imported: {error}"}, NOT_THERE)
    if asked.kind == "cuda" and not torch.cuda.is_available():
        return tell({"error": "PyTorch finds no GPU, or was built without CUDA"}, NOT_THERE)
    # made by a processor, so that every GPU gets the same
    generator = torch.Generator().manual_seed(1)
    pair = [torch.randn(asked.order, asked.order, generator=generator).to(torch.bfloat16) for _ in range(2)]
    devices = [Device(torch, torch.device(asked.kind, index), pair, asked.batch) for index in range(asked.devices)]
    until = time.monotonic() + asked.seconds
    while True:
        for one in devices:
            one.multiply()
        for one in devices:
            one.look()
        if time.monotonic() >= until:
            break
    return tell({"torch": str(torch.__version__), "devices": [one.told() for one in devices]}, 0)


def tell(found: dict[str, object], code: int) -> int:
    """Print what was found as one line, and return the exit code."""
    sys.stdout.write(json.dumps({"matrix_product": found}) + "\n")
    return code


class Device:
    """One GPU with its two matrices, the first product of them, and what came of the others."""

    def __init__(self, torch: Any, device: Any, pair: list[Any], batch: int) -> None:  # noqa: ANN401  PyTorch's own
        """Put the matrices there and multiply them once."""
        self.torch, self.device, self.batch = torch, device, batch
        self.order = len(pair[0])
        self.products = self.mismatches = 0
        self.seconds = 0.0
        self.error = ""
        try:
            self.one, self.other = (matrix.to(device) for matrix in pair)
            self.out = self.one @ self.other
            self.first = self.out.clone()
            self.checksum = int(self.first.view(torch.int16).to(torch.int64).sum())
            self.clock = Clock(torch, device)
        except RuntimeError as error:
            self.error = str(error)

    def multiply(self) -> None:
        """Tell the GPU to multiply some times; it works while others are told."""
        if self.error:
            return
        try:
            self.clock.begin()
            for _ in range(self.batch):
                self.torch.matmul(self.one, self.other, out=self.out)
            self.clock.end()
        except RuntimeError as error:
            self.error = str(error)

    def look(self) -> None:
        """Wait for the products and compare the last one with the first, bit by bit."""
        if self.error:
            return
        try:
            self.seconds += self.clock.seconds()
            self.products += self.batch
            if not self.torch.equal(self.out, self.first):
                self.mismatches += 1
        except RuntimeError as error:
            self.error = str(error)

    def told(self) -> dict[str, object]:
        """Return what is to be known of it."""
        if self.error:
            return {"index": self.device.index, "error": self.error}
        return {
            "index": self.device.index,
            "tflops": self.products * 2 * self.order**3 / max(self.seconds, 1e-9) / 1e12,
            "products": self.products,
            "mismatches": self.mismatches,
            "checksum": self.checksum,
        }


class Clock:
    """Measures what one GPU takes, by its own clock: a slow one beside it must not count."""

    def __init__(self, torch: Any, device: Any) -> None:  # noqa: ANN401  PyTorch's own
        """Make what is to be recorded; a processor has no events, and works while it is told."""
        self.torch, self.device = torch, device
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if device.type == "cuda" else []
        self.times = [0.0, 0.0]

    def begin(self) -> None:
        """Mark the beginning."""
        self._mark(0)

    def end(self) -> None:
        """Mark the end."""
        self._mark(1)

    def _mark(self, which: int) -> None:
        if self.events:
            self.events[which].record(self.torch.cuda.current_stream(self.device))
        else:
            self.times[which] = time.monotonic()

    def seconds(self) -> float:
        """Wait for the end, and return the seconds between the two marks."""
        if not self.events:
            return self.times[1] - self.times[0]
        self.events[1].synchronize()
        return float(self.events[0].elapsed_time(self.events[1])) / 1000


if __name__ == "__main__":
    sys.exit(main())
fleetward-0123456789abcdef0123456789abcdef
bash -c "$fleetward_look" bash "$fleetward_mark" matrix_product /opt/venv/bin/python &&
  fleetward_run matrix_product 600 /opt/venv/bin/python matrix_product.py --devices 8 --seconds 60

# Writing to and reading from the local disk
bash -c "$fleetward_look" bash "$fleetward_mark" fio fio &&
  fleetward_run fio 600 fio --directory=. --filename=qualify.fio --size=8G --bs=1M --direct=1 --ioengine=libaio --iodepth=32 --output-format=json --name=write --rw=write --end_fsync=1 --name=read --stonewall --rw=read

# What was tested here
fleetward_run fingerprint 60 bash -c 'fleetward fingerprint --json 2>/dev/null'

exit 0  # what came of the workloads stands in the log
