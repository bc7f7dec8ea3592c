"""What the screen and the commands show of the fleet: one picture at one moment, with the age of each of its parts.

These are read models that the daemon serves as JSON; without a daemon they are made from Slurm and Prometheus directly.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class GpuView:
    """One GPU; None for what is not known."""

    index: int
    up: bool | None
    utilization: float | None = None
    """0 to 1."""
    memory: float | None = None
    """Used share of the memory, 0 to 1."""
    temperature: float | None = None
    """In degrees Celsius."""
    power: float | None = None
    """In watts."""
    job: str = ""
    """Id of the job that holds it."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node with its GPUs."""

    name: str
    state: str
    """Slurm's word in lower case, flags after it: `idle`, `mixed+drain`."""
    partitions: tuple[str, ...]
    cpus: int
    cpus_allocated: int
    memory: int
    """MiB."""
    memory_allocated: int
    gpus: tuple[GpuView, ...]
    jobs: tuple[str, ...]
    reason: str = ""
    reason_by: str = ""
    claims: tuple[str, ...] = ()
    """Owners of the claims on it."""
    incidents: tuple[int, ...] = ()
    """Ids of those that are not closed."""
    rack: str = ""


@dataclass(frozen=True, slots=True)
class JobView:
    """One job as a row; times of length in seconds."""

    id: str
    name: str
    user: str
    account: str
    partition: str
    qos: str
    state: str
    reason: str
    nodes: tuple[str, ...]
    node_count: int
    gpus: int
    elapsed: int
    time_limit: int | None
    restarts: int
    submitted_at: datetime | None = None
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FleetView:
    """Nodes and jobs of one moment, with how old each part is and why it is no newer.

    A part that is not told anew stays as it was, so that what acts on it looks at its age.
    """

    cluster: str
    taken_at: datetime
    nodes: tuple[NodeView, ...]
    jobs: tuple[JobView, ...]
    ages: Mapping[str, float]
    """In seconds: `nodes`, `jobs` and `partitions` as Slurm told them, `prometheus`; not those never told."""
    problems: tuple[str, ...] = ()
    """Sentences."""


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """How the daemon itself is: what it reaches and how much it may still take out of service."""

    version: str
    started_at: datetime
    reaches: Mapping[str, str]
    """`store`, `slurm`, `prometheus`: empty text where it is well, else since when and why not."""
    drained: int
    """Nodes that Fleetward holds now."""
    drained_allowed: int
    modes: Mapping[str, str]
    """Mode of each page by its id."""
    runs: Mapping[str, int]
    """Runs that have not ended, by state."""
