"""RDMA writes between two nodes over each InfiniBand device: `ib_write_bw` of perftest, from host or from GPU memory.

The table is that of perftest 6.06 to 6.29 with `--report_gbits`. The second node writes into the first, where a server
of its own waits for each device.
"""

import re
from collections.abc import Iterator

from fleetward.model.fleet import HardwareProfile
from fleetward.operations.qualification.measuring import (
    Fault,
    Measurement,
    Reading,
    Unit,
    UnreadableError,
    complete_lines,
    last_words,
    number,
    shown,
)
from fleetward.operations.qualification.workload import (
    Each,
    Measure,
    Part,
    Scope,
    Setting,
    Tasks,
    Workload,
    gpus_of,
    hcas_of,
)

BANDWIDTH = "rdma_write_bandwidth"
GPU_BANDWIDTH = "rdma_write_bandwidth_of_gpu_memory"
_DEVICE = re.compile(r"(server: )?== ([\w.-]{1,64})")
_HEAD = re.compile(r"\s*#bytes\s+#iterations\s+BW peak\[(\S+)\]\s+BW average\[(\S+)\].*")
_ROW = re.compile(r"\s*\d{1,18}\s+\d{1,18}\s+\S+\s+(\S+)(?:\s.*)?")
_BROKEN = re.compile(
    r"IB device \S+ not found|Port number \d+ state is \w+|Couldn't allocate MR|[Cc]ompletion with [Ee]rror"
    r"|Failed status \d+|(?:cuMem\w+|cuCtx\w+|cuInit)\S* (?:error=|returned )\d+|No such device ID"
)
_UNFIT = ("Unsupported memory type", "unrecognized option", "invalid option")
"""What it says where it was built without CUDA, or is older than an option."""

# One process on each node. On the first one a server for each device, at a port of its own; the second writes to them
# one after the other, and tries again while a server is not there yet. What it is about comes as arguments.
_SCRIPT = """\
server=$1 limit=$2 code=0 port=18515
shift 2
measure() {
  device=${1%%:*} gpu=${1#*:} most=$2
  shift 2
  timeout "$most" ib_write_bw -d "$device" -p "$port" -s 8388608 -F --report_gbits --perform_warm_up \\
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
"""


def parse(text: str, name: str = BANDWIDTH) -> Reading:
    """Read what the two processes printed, each device below a line with its name."""
    lines = complete_lines(text)
    unfit = next((line for line in lines for sign in _UNFIT if sign in line), None)
    if unfit is not None:
        raise UnreadableError(f"ib_write_bw has not what is asked of it: {shown(unfit)}")
    measured: dict[str, Measurement] = {}
    faults: list[Fault] = []
    for device, own in _sections(lines):
        found = list(_bandwidths(own))
        if found:
            measured[device] = Measurement(name, found[-1], Unit.GBYTES_PER_SECOND, device)
            continue
        for line in own:
            if broken := _BROKEN.search(line):
                faults.append(Fault(shown(broken[0]), device))
                break
    if not measured and not faults:
        raise UnreadableError(f"ib_write_bw measured nothing: {last_words(text)}")
    return Reading(tuple(measured.values()), tuple(faults))


def _sections(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each device with the lines of its client and what is broken at its server."""
    own: dict[str, list[str]] = {}
    device = {"": "", "server: ": ""}
    for line in lines:
        side = "server: " if line.startswith("server: ") else ""
        if begun := _DEVICE.fullmatch(line):
            device[side] = begun[2]
        elif device[side] and (not side or _BROKEN.search(line)):
            own.setdefault(device[side], []).append(line)
    yield from own.items()


def _bandwidths(lines: list[str]) -> Iterator[float]:
    """Yield the average of each row below a head that says Gb/sec, in GB/s."""
    below = False
    for line in lines:
        if head := _HEAD.fullmatch(line):
            below = head[2] == "Gb/sec"
        elif below and not line.startswith("server: ") and (row := _ROW.fullmatch(line)):
            average = number(row[1])
            if average:
                yield average / 8
                below = False


def _parse_gpu(text: str) -> Reading:
    return parse(text, GPU_BANDWIDTH)


def _expected(profile: HardwareProfile) -> float | None:
    return profile.bandwidth_gbytes_per_second.infiniband


def _arguments(setting: Setting, gpus: int) -> list[str]:
    """Return the script with its arguments; with GPUs, device and GPU are paired in the order of both.

    So does azurehpc-health-checks: the first device with the first GPU.
    """
    devices = hcas_of(setting.profile)
    pairs = [f"{device}:{at * gpus // len(devices) if gpus else ''}" for at, device in enumerate(devices)]
    return ["bash", "-c", _SCRIPT, "ib_write", setting.nodes[0], str(60 * len(devices)), *pairs]


def _from_host(setting: Setting) -> list[str]:
    return _arguments(setting, 0)


def _from_gpu(setting: Setting) -> list[str]:
    return _arguments(setting, gpus_of(setting.profile))


_SOURCE = "azurehpc-health-checks, {}: below the number itself is a failure"
_LOOK = "the same device with another partner, to tell which end it is; then `ibstat`, symbol errors and the cable"

HOST = Workload(
    id="ib_write",
    title="RDMA writes between two nodes",
    scope=Scope.PAIR,
    programs=("ib_write_bw", "timeout", "sed"),
    command=_from_host,
    seconds=900,
    uses=frozenset({Part.HCA}),
    parse=parse,
    measures=(
        Measure(BANDWIDTH, Unit.GBYTES_PER_SECOND, Each.HCA, _expected, source=_SOURCE.format("check_ib_bw_non_gdr")),
    ),
    look_next=_LOOK,
    source="azurehpc-health-checks",
    tasks=Tasks.NODE,
)

GPU = Workload(
    id="ib_write_gpu",
    title="RDMA writes between GPUs of two nodes (GPUDirect)",
    scope=Scope.PAIR,
    programs=("ib_write_bw", "timeout", "sed"),
    command=_from_gpu,
    seconds=900,
    uses=frozenset({Part.GPU, Part.HCA}),
    parse=_parse_gpu,
    measures=(
        Measure(GPU_BANDWIDTH, Unit.GBYTES_PER_SECOND, Each.HCA, _expected, source=_SOURCE.format("check_ib_bw_gdr")),
    ),
    look_next=f"nvidia_peermem loaded, ACS off, GPU and device below one PCIe switch (`nvidia-smi topo -m`); {_LOOK}",
    source="azurehpc-health-checks",
    tasks=Tasks.NODE,
)

WORKLOADS = (HOST, GPU)
