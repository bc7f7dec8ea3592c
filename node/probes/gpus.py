"""The GPUs as NVML shows them: in one process, or where that hangs each in one of its own, to hide no other."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import pynvml

from fleetward.exporters.gpu.job_map import JOB_MAP, JobMap
from fleetward.exporters.gpu.leftovers import Leftover, leftovers
from fleetward.exporters.gpu.nvml import Nvml
from fleetward.exporters.gpu.owners import PROC, owners
from fleetward.exporters.gpu.readings import Census, GpuJob, GpuReading, ProcessOwner
from fleetward.exporters.gpu.release import RELEASE_FILE, standing_release
from fleetward.exporters.gpu.series_list import BY_KEY
from fleetward.model.errors import OutOfReachError
from fleetward.node.checking import Probe
from fleetward.node.children import begun, collect
from fleetward.node.probes.job_steps import jobs_with_steps
from fleetward.node.results import ProbeError
from fleetward.node.surroundings import Surroundings

ALL_SECONDS = 1.0
"""For all GPUs one after the other; opening NVML for each of them takes longer than asking it everything."""
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
    jobs: tuple[GpuJob, ...] | None = None
    """Those that the GPUs work for; None where there is no job map, or something in it is wrong."""
    owners: Mapping[int, ProcessOwner] | None = None
    """Of the processes on the GPUs that are still there; None where they cannot be seen."""
    job_steps: frozenset[str] = frozenset()
    """Jobs with a step on this node; looked for only where there are leftovers."""

    @property
    def up(self) -> tuple[GpuReading, ...]:
        """Return the GPUs that have values."""
        return tuple(one for one in self.gpus if one.up)

    @property
    def leftovers(self) -> tuple[Leftover, ...]:
        """Return the processes that are of no job of their GPU, as far as that is known."""
        return tuple(leftovers(self.up, self.jobs, self.owners)) if self.jobs is not None and self.owners else ()


def value(reading: GpuReading, key: str) -> float | None:
    """Return one number of a GPU by its key in the exporter's list; None for one that it does not have."""
    return None if reading.values is None else reading.values[BY_KEY[key]]


def read_gpus(surroundings: Surroundings) -> Gpus:
    """Ask how many GPUs there are, then each, then whose they are.

    Raises ProbeError where the driver hangs, and while the GPUs are released: whoever resets one needs them to himself.
    """
    standing = standing_release(surroundings.path(str(RELEASE_FILE)))
    if standing is not None and standing.holds(time.time()):
        raise ProbeError(
            f"the GPUs are released, as {standing.by or 'somebody'} asked: `fleetward release --end` ends it"
        )
    at_once = collect({0: begun(_look_at_all, ALL_SECONDS)})[0]
    found = _one_by_one() if isinstance(at_once, ProbeError) else at_once
    return found if found.census.failure else _with_jobs(found, surroundings)


def _one_by_one() -> Gpus:
    census = collect({0: begun(_census, CENSUS_SECONDS)})[0]
    if isinstance(census, ProbeError):
        raise ProbeError(f"NVML: {census}")
    if census.census.failure:
        return census
    looks = collect({index: begun(partial(_look, index), GPU_SECONDS) for index in _indices(census.census)})
    return Gpus(
        census.census,
        tuple(one for _, one in sorted(looks.items()) if isinstance(one, GpuReading)),
        tuple(index for index, one in sorted(looks.items()) if isinstance(one, ProbeError)),
    )


def _with_jobs(gpus: Gpus, surroundings: Surroundings) -> Gpus:
    job_map = JobMap(surroundings.path(str(JOB_MAP)), surroundings.slurm_gpu_numbers)
    jobs, _ = job_map.look(gpus.gpus)
    pids = (process.pid for one in gpus.gpus for process in one.processes)
    known = replace(gpus, jobs=jobs if job_map.whole else None, owners=owners(pids, surroundings.path(str(PROC))))
    return replace(known, job_steps=jobs_with_steps(surroundings)) if known.leftovers else known


def _indices(census: Census) -> range:
    return range(min(census.count, MOST_GPUS))


def _look_at_all() -> Gpus:
    nvml = _opened()
    if isinstance(nvml, Gpus):
        return nvml
    census = nvml.census()
    return Gpus(census, tuple(nvml.look(index) for index in _indices(census)))


def _census() -> Gpus:
    nvml = _opened()
    return nvml if isinstance(nvml, Gpus) else Gpus(nvml.census())


def _opened() -> Nvml | Gpus:
    """Return NVML, or why it does not open in place of what it would say."""
    try:
        return Nvml()
    except OutOfReachError as error:
        cause = error.__cause__
        missing = isinstance(cause, pynvml.NVMLError) and cause.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
        return Gpus(Census(failure=str(error)), missing_library=missing)


def _look(index: int) -> GpuReading:
    try:
        return Nvml().look(index)
    except OutOfReachError as error:
        raise ProbeError(str(error)) from error


GPUS: Probe[Gpus] = Probe("NVML", read_gpus, ALL_SECONDS + CENSUS_SECONDS + GPU_SECONDS + 1)
