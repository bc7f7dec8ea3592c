"""Copies between host and GPUs, and between GPUs: NVIDIA's nvbandwidth with its JSON.

The fields are those of nvbandwidth 0.8 (json_output.cpp); a cell of a matrix is text, `N/A` where nothing was measured.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fleetward.model.fleet import HardwareProfile
from fleetward.operations.qualification.measuring import (
    Fault,
    Measurement,
    Reading,
    Unit,
    UnreadableError,
    fields,
    items,
    json_object,
    number,
    shown,
)
from fleetward.operations.qualification.workload import Each, Measure, Part, Scope, Setting, Workload, gpu_name

TO_DEVICE = "host_to_device_bandwidth"
TO_HOST = "device_to_host_bandwidth"
PEER = "device_to_device_bandwidth"
_TESTS = {
    "host_to_device_memcpy_ce": TO_DEVICE,
    "device_to_host_memcpy_ce": TO_HOST,
    "device_to_device_memcpy_read_ce": PEER,
}
_UNFIT = ("INSUFFICIENT_DRIVER", "NO_BINARY_FOR_GPU", "UNSUPPORTED_PTX", "Invalid Arguments", "testcase")
"""What it says where it was built for another driver or GPU, or is another version: no fault of the node."""


def parse(text: str) -> Reading:
    """Read what `nvbandwidth --json` printed."""
    root = fields(json_object(text, "nvbandwidth").get("nvbandwidth"), "`nvbandwidth`")
    error = root.get("error")
    if error:
        if any(sign in str(error) for sign in _UNFIT):
            raise UnreadableError(f"nvbandwidth does not fit the driver, the GPU or its arguments: {shown(error)}")
        return Reading(faults=(Fault(shown(error)),))
    measured: list[Measurement] = []
    faults: list[Fault] = []
    notes: list[str] = []
    for case in items(root.get("testcases"), "`testcases`"):
        _read(fields(case, "a test case"), measured, faults, notes)
    return Reading(tuple(measured), tuple(faults), tuple(notes))


def _read(case: Mapping[str, Any], measured: list[Measurement], faults: list[Fault], notes: list[str]) -> None:
    name, status = str(case.get("name")), str(case.get("status"))
    measure = _TESTS.get(name)
    if measure is None:
        return
    if status == "Passed":
        measured += _columns(measure, items(case.get("bandwidth_matrix"), f"the matrix of {name}"))
    elif status == "Error" or case.get("error"):
        faults.append(Fault(shown(f"{name}: {case.get('error') or 'ended with an error'}")))
    else:  # waived: a single GPU has no peer
        notes.append(shown(f"{name} was not run: {status}"))


def _columns(measure: str, rows: list[Any]) -> Iterator[Measurement]:
    """Yield the worst number of each column: a column is a GPU, and a row the host or a peer."""
    worst: dict[int, float] = {}
    for at, row in enumerate(rows):
        for column, cell in enumerate(items(row, f"a row of {measure}")):
            if cell == "N/A" or (measure == PEER and at == column):  # older versions have 0 for a GPU and itself
                continue
            value = number(cell)
            if value is None:
                raise UnreadableError(f"{shown(cell)!r} is no bandwidth")
            worst[column] = min(value, worst.get(column, value))
    for column, value in sorted(worst.items()):
        yield Measurement(measure, value, Unit.GBYTES_PER_SECOND, gpu_name(column))


def _expected(profile: HardwareProfile) -> float | None:
    return profile.bandwidth_gbytes_per_second.host_to_device


def _command(setting: Setting) -> list[str]:
    tests = [name for name in _TESTS if _TESTS[name] != PEER or (setting.profile.gpu and setting.profile.gpu.count > 1)]
    return ["nvbandwidth", "--json", "--testSamples", "10", "--testcase", *tests]


_SOURCE = "azurehpc-health-checks, check_gpu_bw: one number for both ways, and below the number itself is a failure"

NVBANDWIDTH = Workload(
    id="nvbandwidth",
    title="Copies between host and GPUs",
    scope=Scope.NODE,
    programs=("nvbandwidth",),
    command=_command,
    seconds=600,
    uses=frozenset({Part.GPU}),
    parse=parse,
    measures=(
        Measure(TO_DEVICE, Unit.GBYTES_PER_SECOND, Each.GPU, _expected, source=_SOURCE),
        Measure(TO_HOST, Unit.GBYTES_PER_SECOND, Each.GPU, _expected, source=_SOURCE),
        Measure(PEER, Unit.GBYTES_PER_SECOND, Each.GPU, needed=False),
    ),
    look_next="PCIe generation and width of the GPU (`nvidia-smi -q -d PCIE`), replays, AER lines in the kernel's log",
    source="azurehpc-health-checks",
)

WORKLOADS = (NVBANDWIDTH,)
