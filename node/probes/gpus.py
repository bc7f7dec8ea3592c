"""The GPUs as NVML shows them: each asked in a process of its own, so that one that hangs hides no other."""

from dataclasses import dataclass, field
from functools import partial

import pynvml

from fleetward.exporters.gpu.nvml import Nvml
from fleetward.exporters.gpu.readings import Census, GpuReading
from fleetward.exporters.gpu.series_list import BY_KEY
from fleetward.model.errors import OutOfReachError
from fleetward.node.checking import Probe
from fleetward.node.children import begun, collect
from fleetward.node.results import ProbeError
from fleetward.node.surroundings import Surroundings

CENSUS_SECONDS = 2.0
GPU_SECONDS = 2.0
"""For one GPU; all are asked at the same time."""
MOST_GPUS = 64


@dataclass(frozen=True)
class Gpus:
    """What the driver says of all GPUs."""

    census: Census = field(default_factory=Census)
    gpus: tuple[GpuReading, ...] = ()
    """Those that answered, also where the answer is that the GPU is lost."""
    hung: tuple[int, ...] = ()
    """Indices of those that did not answer in time."""
    missing_library: bool = False
    """Whether the census failed because NVIDIA's library is not installed."""

    @property
    def up(self) -> tuple[GpuReading, ...]:
        """Return the GPUs that have values."""
        return tuple(one for one in self.gpus if one.up)


def value(reading: GpuReading, key: str) -> float | None:
    """Return one number of a GPU by its key in the exporter's list; None for one that it does not have."""
    return None if reading.values is None else reading.values[BY_KEY[key]]


def read_gpus(_: Surroundings) -> Gpus:
    """Ask how many GPUs there are, then each; raises ProbeError where the driver hangs."""
    census = collect({0: begun(_census, CENSUS_SECONDS)})[0]
    if isinstance(census, ProbeError):
        raise ProbeError(f"NVML: {census}")
    if census.census.failure:
        return census
    indices = range(min(census.census.count, MOST_GPUS))
    looks = collect({index: begun(partial(_look, index), GPU_SECONDS) for index in indices})
    return Gpus(
        census.census,
        tuple(one for _, one in sorted(looks.items()) if isinstance(one, GpuReading)),
        tuple(index for index, one in sorted(looks.items()) if isinstance(one, ProbeError)),
    )


def _census() -> Gpus:
    try:
        nvml = Nvml()
    except OutOfReachError as error:
        cause = error.__cause__
        missing = isinstance(cause, pynvml.NVMLError) and cause.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
        return Gpus(Census(failure=str(error)), missing_library=missing)
    return Gpus(nvml.census())


def _look(index: int) -> GpuReading:
    try:
        return Nvml().look(index)
    except OutOfReachError as error:
        raise ProbeError(str(error)) from error


GPUS: Probe[Gpus] = Probe("NVML", read_gpus, CENSUS_SECONDS + GPU_SECONDS + 1)
