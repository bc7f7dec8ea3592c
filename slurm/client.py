"""What Slurm is asked and what it answers: one Protocol for every backend, with frozen results.

Every call has a time limit and raises an error of this file; none waits for ever.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from fleetward.model.errors import FleetwardError, OutOfReachError, UsageError


class SlurmOutOfReachError(OutOfReachError):
    """slurmctld, slurmdbd or Slurm's programs did not answer."""


class SlurmRefusedError(FleetwardError):
    """Slurm answered and said no."""


class NoSuchJobError(UsageError):
    """Slurm knows no job of this id."""


ENDED = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "LAUNCH_FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    }
)
"""Job states that nothing follows, except for a requeue by hand."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node as slurmctld sees it; memory in MiB, GPUs by type (`gpu` where Slurm knows no type)."""

    name: str
    state: str
    flags: tuple[str, ...]
    partitions: tuple[str, ...]
    gpus: Mapping[str, int]
    gpus_allocated: Mapping[str, int]
    cpus: int
    cpus_allocated: int
    memory: int
    memory_allocated: int
    reason: str = ""
    reason_by: str = ""
    reason_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One job, or the waiting part of an array; times of length in seconds.

    `id` is what a person types (`12`, `12_3`; `12_[4-9]` for tasks that wait), `number` Slurm's own for it. Slurm
    can give a number out again: (cluster, number, submitted_at, restarts) is what tells two jobs apart.
    `gpus` counts what is allocated, and what is asked for while the job waits.
    """

    id: str
    number: int
    name: str
    user: str
    account: str
    partition: str
    qos: str
    state: str
    reason: str
    nodes: tuple[str, ...]
    node_count: int
    cpus: int
    gpus: Mapping[str, int]
    elapsed: int
    time_limit: int | None
    submitted_at: datetime | None
    started_at: datetime | None
    restarts: int
    working_directory: str

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to this job by itself."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class NodeGpus:
    """The GPUs of one type that a job holds on one node, by Slurm's index."""

    node: str
    type: str
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class JobDetail:
    """A job with the GPUs that it holds on each of its nodes."""

    job: Job
    gpus: tuple[NodeGpus, ...]


@dataclass(frozen=True, slots=True)
class Accounting:
    """What slurmdbd recorded of the last attempt of a job; `elapsed` in seconds."""

    job_id: str
    name: str
    state: str
    exit_code: int
    exit_signal: int
    elapsed: int
    allocated: Mapping[str, str]
    restarts: int
    nodes: tuple[str, ...]
    submitted_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether the record is final."""
        return self.state in ENDED


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list from Slurm, which backend gave it, and what of it could not be read."""

    items: tuple[T, ...]
    backend: str
    unread: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that Slurm took, and which backend handed it in."""

    job_id: str
    backend: str


@dataclass(frozen=True, slots=True)
class Controller:
    """One slurmctld and whether it answers."""

    host: str
    answers: bool


class SlurmClient(Protocol):
    """Slurm, however it is reached.

    Every method raises SlurmOutOfReachError where Slurm does not answer in time, and SlurmRefusedError where it
    says no. A job's id is `12` or, for one task of an array, `12_3`; NoSuchJobError where there is none.
    """

    @property
    def backend(self) -> str:
        """Name of the backend, as `--backend` takes it."""

    def nodes(self) -> Listing[Node]:
        """Return every node, by name."""

    def jobs(self) -> Listing[Job]:
        """Return the jobs that slurmctld knows, those that ended a short while ago too."""

    def job(self, job_id: str) -> JobDetail:
        """Return one job and the GPUs it holds."""

    def submit(self, script: str, working_directory: Path) -> Submitted:
        """Hand a batch script in; the directory is one of the nodes."""

    def accounting(self, job_id: str) -> Accounting | None:
        """Return the record of a job, None where slurmdbd has none yet."""

    def cancel(self, job_id: str) -> None:
        """Cancel a job; nothing happens to one that has ended."""

    def requeue(self, job_id: str) -> None:
        """Put a running or ended batch job back into the queue."""

    def start_now(self, job_id: str) -> None:
        """Lift the delay of a waiting job: slurmctld holds one that was requeued back for two minutes."""

    def drain(self, node: str, reason: str) -> None:
        """Take a node out of service once its jobs have ended; replaces the reason that it has."""

    def resume(self, node: str) -> None:
        """Put a drained or DOWN node back into service; SlurmRefusedError where it is neither."""

    def ping(self) -> tuple[Controller, ...]:
        """Return the controllers, at least one of which answers."""
