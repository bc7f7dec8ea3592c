"""Which processes on the GPUs are of no job that the GPU belongs to: pure judgements of what was read.

A process in a job's control group is that job's. One in none is taken for the job of its user on this GPU, if there is
one: not every site uses control groups, and some containers leave them. A process of the system's own accounts may be a
service of the node. What cannot be known is no leftover.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fleetward.exporters.gpu.readings import GpuJob, GpuProcess, GpuReading, ProcessOwner

FIRST_USER = 1000
"""Users below are accounts of the system (UID_MIN of login.defs)."""


class Kind(StrEnum):
    """Why a process is one that should not be there."""

    UNKNOWN_JOB = "unknown job"
    """Its job is on no GPU of the node: it is over, or has no GPU."""
    OTHER_JOB = "other job"
    """Its job is on another GPU of the node."""
    NO_JOB = "no job"


@dataclass(frozen=True)
class Leftover:
    """A process on a GPU that is of no job which the GPU belongs to."""

    gpu: int
    """NVML's index."""
    uuid: str
    pid: int
    owner: ProcessOwner
    kind: Kind


def leftovers(
    gpus: Iterable[GpuReading], jobs: Sequence[GpuJob], owners: Mapping[int, ProcessOwner]
) -> Iterator[Leftover]:
    """Yield those of all GPUs; one that has ended has no owner, and is passed over."""
    for gpu in gpus:
        its_jobs = [job for job in jobs if job.uuid == gpu.identity.uuid]
        seen: set[int] = set()
        for processes, here in _parts(gpu, its_jobs):
            for process in processes:
                owner = owners.get(process.pid)
                kind = None if owner is None or process.pid in seen else _kind(owner, here, jobs)
                if owner is not None and kind is not None:
                    seen.add(process.pid)
                    yield Leftover(gpu.identity.index, gpu.identity.uuid, process.pid, owner, kind)


def _parts(gpu: GpuReading, jobs: list[GpuJob]) -> Iterator[tuple[tuple[GpuProcess, ...], list[GpuJob]]]:
    """Yield processes and jobs of each MIG instance, or of the whole GPU."""
    for part in gpu.instances:
        yield part.processes or (), [job for job in jobs if job.instance in (None, part.gpu_instance)]
    if not gpu.instances:
        yield gpu.processes, jobs


def _kind(owner: ProcessOwner, here: list[GpuJob], on_node: Sequence[GpuJob]) -> Kind | None:
    """Return nothing for a process that belongs there, or of which that is not known."""
    if not owner.job and not owner.sluid:
        known = all(job.uid for job in here)
        return None if owner.uid < FIRST_USER or not known or _has_user(here, owner.uid) else Kind.NO_JOB
    if any(_is_of(owner, job) is not False for job in here):
        return None
    on_others = [_is_of(owner, job) for job in on_node]
    return None if None in on_others else Kind.OTHER_JOB if True in on_others else Kind.UNKNOWN_JOB


def _has_user(jobs: list[GpuJob], uid: int) -> bool:
    return any(job.uid == str(uid) for job in jobs)


def _is_of(owner: ProcessOwner, job: GpuJob) -> bool | None:
    """Return nothing where the control group has another kind of name of its job than the job map."""
    named, known = (owner.job, job.job if job.job.isdecimal() else "") if owner.job else (owner.sluid, job.sluid)
    return named == known if known else None
