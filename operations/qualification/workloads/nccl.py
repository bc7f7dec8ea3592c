"""NCCL's all-reduce within a node, between two, and over a group: `all_reduce_perf` of NVIDIA's nccl-tests.

The table and the lines below it are those of nccl-tests 2.9 to 2.19 (src/common.cu, later src/util.cu).
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
from fleetward.operations.qualification.workload import Measure, Part, Scope, Setting, Tasks, Workload, gpus_of, hcas_of

BUS_BANDWIDTH = "all_reduce_bus_bandwidth"
_LARGE_MIB = 64 * 1024
_AVERAGE = re.compile(r"# Avg bus bandwidth +: (\S+)\s*(?:OK|FAILED)?\s*")
_WRONG = re.compile(r"# Out of bounds values +: (\d{1,18}) (OK|FAILED)\s*")
_ROW = re.compile(r" *\d{1,18} +\d{1,18} +[a-z]\w* +\w+ +-?\d+ +(.*)")
_BUS_COLUMNS = (2, 6)
"""Of a row, behind the root: out of place and in place."""
_BROKEN = re.compile(r"(\S{1,255}): Test (CUDA failure|NCCL failure|timeout)[ (](.*)")
_TOO_FEW = re.compile(r"Invalid number of GPUs: \d+ requested but only \d+ were found\.?")
_UNFIT = ("is insufficient for CUDA runtime version", "no kernel image is available", "PTX")
"""What CUDA says where the program was built for another driver or GPU: no fault of the node."""


def parse(text: str) -> Reading:
    """Read what `all_reduce_perf` printed."""
    lines = complete_lines(text)
    unfit = next((line for line in lines for sign in _UNFIT if "failure" in line and sign in line), None)
    if unfit is not None:
        raise UnreadableError(f"all_reduce_perf does not fit the driver or the GPU: {shown(unfit)}")
    faults = tuple(_faults(lines))
    averages = [found[1] for line in lines if (found := _AVERAGE.fullmatch(line))]
    if len(averages) > 1:
        raise UnreadableError(
            f"{len(averages)} processes measured each by itself: build nccl-tests with MPI=1, and see `srun --mpi=list`"
        )
    if not averages:
        if faults:
            return Reading(faults=faults)
        raise UnreadableError(f"all_reduce_perf did not come to its end: {last_words(text)}")
    average = number(averages[0])
    if not average or not _agrees(average, lines):
        raise UnreadableError(f"the average {shown(averages[0])} does not follow from the table above it")
    return Reading((Measurement(BUS_BANDWIDTH, average, Unit.GBYTES_PER_SECOND),), faults)


def _faults(lines: list[str]) -> Iterator[Fault]:
    for line in lines:
        if broken := _BROKEN.search(line):
            yield Fault(shown(f"{broken[2]} on {broken[1]}: {broken[3]}"))
        elif few := _TOO_FEW.search(line):
            yield Fault(shown(few[0]))
        elif (wrong := _WRONG.fullmatch(line)) and (wrong[2] == "FAILED" or int(wrong[1])):
            yield Fault(f"{wrong[1]} elements of the sum were wrong: data was changed on the way")


def _agrees(average: float, lines: list[str]) -> bool:
    """Say whether an average lies within what the rows say; they are rounded."""
    rows = [row[1].split() for line in lines if (row := _ROW.fullmatch(line))]
    found = [number(row[at]) for row in rows for at in _BUS_COLUMNS if at < len(row)]
    told = [one for one in found if one is not None]
    return bool(told) and min(told) * 0.99 - 0.01 <= average <= max(told) * 1.01 + 0.01


def within_node(profile: HardwareProfile) -> float | None:
    """Return the bus bandwidth that the profile names for all GPUs of a node."""
    return profile.bandwidth_gbytes_per_second.nvlink_all_reduce


def between_nodes(profile: HardwareProfile) -> float | None:
    """Return what the narrower of network and NVLink carries; None where the profile does not say both."""
    expected = profile.bandwidth_gbytes_per_second
    if expected.infiniband is None or expected.nvlink_all_reduce is None or not hcas_of(profile):
        return None
    return min(expected.nvlink_all_reduce, expected.infiniband * len(hcas_of(profile)))


def _command(gpus: int, profile: HardwareProfile) -> list[str]:
    # The size that azurehpc-health-checks measures with; send, receive and comparison buffers take three times it.
    size = "16G" if profile.gpu and profile.gpu.memory_mib >= _LARGE_MIB else "4G"
    return ["all_reduce_perf", "-b", size, "-e", size, "-f", "2", "-g", str(gpus), "-c", "1", "-n", "20"]


def _of_a_node(setting: Setting) -> list[str]:
    return _command(gpus_of(setting.profile), setting.profile)


def _of_a_process(setting: Setting) -> list[str]:
    return _command(1, setting.profile)


_NETWORK = Measure(
    BUS_BANDWIDTH,
    Unit.GBYTES_PER_SECOND,
    expected=between_nodes,
    tolerance=0.2,
    source="nccl-tests, doc/PERFORMANCE.md: the bus bandwidth is that of the narrowest part; 0.2 since Voltage Park "
    "(vpbenchmarking) measured 331 GB/s on 4 nodes whose 8 devices of 400 Gb/s carry 375",
)

NODE = Workload(
    id="nccl_node",
    title="NCCL all-reduce over the GPUs of a node",
    scope=Scope.NODE,
    programs=("all_reduce_perf",),
    command=_of_a_node,
    seconds=600,
    uses=frozenset({Part.GPU}),
    parse=parse,
    measures=(
        Measure(
            BUS_BANDWIDTH,
            Unit.GBYTES_PER_SECOND,
            expected=within_node,
            source="azurehpc-health-checks, check_nccl_allreduce: below the number itself is a failure",
        ),
    ),
    look_next="NVLink: `nvidia-smi nvlink -s` and -e, the fabric manager's log, XIDs 74 and 144 to 150 of the kernel's",
    source="azurehpc-health-checks, gcm",
)

PAIR = Workload(
    id="nccl_pair",
    title="NCCL all-reduce over two nodes",
    scope=Scope.PAIR,
    programs=("all_reduce_perf",),
    command=_of_a_process,
    seconds=600,
    uses=frozenset({Part.GPU, Part.HCA}),
    parse=parse,
    measures=(_NETWORK,),
    look_next="each of the two with another partner; then ports and rates (`ibstat`), nvidia_peermem, NCCL_DEBUG=INFO",
    source="gcm, imbue-ai/cluster-health",
    tasks=Tasks.GPU,
)

GROUP = Workload(
    id="nccl_group",
    title="NCCL all-reduce over a group of nodes",
    scope=Scope.GROUP,
    programs=("all_reduce_perf",),
    command=_of_a_process,
    seconds=900,
    uses=frozenset({Part.GPU, Part.HCA}),
    parse=parse,
    measures=(_NETWORK,),
    look_next="its halves, down to the node or pair that makes it slow",
    source="NVIDIA/DCGM multi-node health check, imbue-ai/cluster-health",
    tasks=Tasks.GPU,
)

WORKLOADS = (NODE, PAIR, GROUP)
