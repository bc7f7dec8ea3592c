"""What Slurm answers: frozen results, the same from every backend. Lengths of time are seconds, memory is MiB."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

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
    """A job with what only its own page tells."""

    job: Job
    gpus: tuple[NodeGpus, ...]
    """Those that it holds on each of its nodes."""
    exit_code: int = 0
    exit_signal: int = 0
    dependency: str = ""
    """What it waits for, in Slurm's words."""
    excluded: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    """Nodes that it must not, or wants to, run on."""
    reservation: str = ""
    output: str = ""
    """Its log, with Slurm's patterns as they were written (see `logs/paths.py`); empty where it has none."""
    error: str = ""
    """The log of what is no output, where that is another file."""


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
class Estimate:
    """When a job would start, and where, if nothing else changed; Slurm's own guess."""

    starts_at: datetime
    cpus: int
    nodes: tuple[str, ...]
    partition: str


@dataclass(frozen=True, slots=True)
class Controller:
    """One slurmctld and whether it answers."""

    host: str
    answers: bool


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition as slurmctld has it; an empty tuple of accounts or QOS allows all."""

    name: str
    state: str
    """UP, DOWN (takes jobs and starts none), DRAIN (takes none) or INACTIVE."""
    default: bool
    nodes: tuple[str, ...]
    gpus: Mapping[str, int]
    time_limit: int | None
    """The longest that a job may ask for; None where there is no limit."""
    default_time: int | None
    """What a job has that asks for nothing; None where that is the limit."""
    least_nodes: int
    most_nodes: int | None
    accounts: tuple[str, ...]
    accounts_denied: tuple[str, ...]
    allowed_qos: tuple[str, ...]
    qos_denied: tuple[str, ...]
    qos: str
    """The QOS whose limits hold for the partition itself; empty where it has none."""
    tier: int
    """Jobs of a higher tier start first, whatever their priority."""
    preemption: str
    """PreemptMode, in Slurm's words."""
    reservation_only: bool = False


@dataclass(frozen=True, slots=True)
class Reservation:
    """Nodes that are kept for somebody for a while."""

    name: str
    active: bool
    starts_at: datetime | None
    ends_at: datetime | None
    nodes: tuple[str, ...]
    flags: tuple[str, ...]
    users: tuple[str, ...]
    accounts: tuple[str, ...]
    partition: str
    """Empty where it is none's."""


@dataclass(frozen=True, slots=True)
class Share:
    """The fair share of an account, or of a user in an account; numbers are those of `sshare`."""

    account: str
    user: str
    """Empty for the account itself."""
    shares: int | None
    """None for the root of the tree, and where they are those of the parent."""
    normalized_shares: float
    usage: int
    """In TRES seconds by billing weight, decayed."""
    effective_usage: float
    fair_share: float | None
    """From 0 to 1, the higher the better; accounts have none."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Remote procedure calls of one type, or of one user."""

    name: str
    count: int
    seconds: float
    """Time that slurmctld spent on all of them."""


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """What slurmctld says of itself, counted since `since`."""

    at: datetime
    since: datetime
    threads: int
    agent_queue: int
    """Messages to nodes that wait."""
    database_queue: int
    """Messages to slurmdbd that wait: it grows while slurmdbd is away."""
    scheduler_cycle: float
    """Seconds of the last cycle of the main scheduler."""
    scheduler_cycles: int
    backfill_cycle: float
    backfill_cycles: int
    backfilled_jobs: int
    """Since slurmctld began."""
    jobs_submitted: int
    jobs_started: int
    calls_by_type: tuple[Calls, ...]
    calls_by_user: tuple[Calls, ...]
