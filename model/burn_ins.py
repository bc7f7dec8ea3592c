"""The words of burn-ins: which nodes are tested, by which jobs, and the certificates of those that passed.

These are also the read models that the daemon serves as JSON. Times are aware and in UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class BurnInState(StrEnum):
    """Where a burn-in stands."""

    RUNNING = "running"
    DONE = "done"
    """Every node has its result; not all of them need to have passed."""
    ABORTED = "aborted"

    @property
    def ended(self) -> bool:
        """Whether no other job of it begins."""
        return self is not BurnInState.RUNNING


class Phase(StrEnum):
    """What a job of a burn-in is for, in the order in which they come."""

    NODE = "node"
    """Each node by itself."""
    PAIR = "pair"
    PAIR_SEARCH = "pair_search"
    """With other partners, to tell which node or link makes a pair slow."""
    GROUP = "group"
    """All together, then parts of them."""


class JobState(StrEnum):
    """Where a job of a burn-in stands."""

    PLANNED = "planned"
    """On record, and perhaps in Slurm's queue: its name tells."""
    SUBMITTED = "submitted"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that is to be recorded."""

    phase: Phase
    round: int
    """Of a search, from 0."""
    nodes: tuple[str, ...]
    workloads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BurnInJob:
    """One of its jobs."""

    id: int
    phase: Phase
    round: int
    nodes: tuple[str, ...]
    workloads: tuple[str, ...]
    token: str
    """That marks our own lines in its log."""
    state: JobState
    slurm_job: str
    """Its number, empty until it was submitted."""
    why: str
    """Why there is no log of it, or no whole one."""
    made_at: datetime
    ended_at: datetime | None = None
    log: str = ""

    @property
    def name(self) -> str:
        """Return what Slurm calls it: no other job is called so."""
        return f"fleetward-burn-in-{self.id}-{self.token[:8]}"


@dataclass(frozen=True, slots=True)
class BurnInNode:
    """One node of a burn-in."""

    name: str
    profile: str
    outcome: str = ""
    """`passed`, `failed` or `unknown`; empty until it is known."""
    why: tuple[str, ...] = ()
    certificate: int | None = None
    lifts: str = ""
    """The owner whose claim on it is lifted while it is tested, and is back where it did not pass."""


@dataclass(frozen=True, slots=True)
class BurnIn:
    """Nodes that are tested together."""

    id: int
    state: BurnInState
    why: str
    workloads: tuple[str, ...]
    """That were asked for."""
    seconds: float
    """After which what has not ended is cancelled."""
    made_by: str
    made_at: datetime
    ended_at: datetime | None
    nodes: tuple[BurnInNode, ...] = ()
    jobs: tuple[BurnInJob, ...] = ()
    """Without their logs, unless one is asked for."""

    @property
    def owner(self) -> str:
        """Who owns its claims on nodes that failed."""
        return f"q{self.id}"


@dataclass(frozen=True, slots=True)
class WorkloadOutcome:
    """What came of one workload on one node."""

    outcome: str
    why: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeOutcome:
    """What came of a burn-in on one node; a certificate is issued where it passed."""

    outcome: str
    why: Sequence[str] = ()
    fingerprint: str = ""
    results: Mapping[str, WorkloadOutcome] = field(default_factory=dict)
    issued_at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A certificate as it is kept."""

    id: int
    node: str
    burn_in: int
    profile: str
    fingerprint: str
    """The parts as JSON, as the node told them."""
    results: Mapping[str, WorkloadOutcome]
    """By workload."""
    issued_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    revoked_why: str = ""


@dataclass(frozen=True, slots=True)
class NodeStanding:
    """Whether a node is qualified."""

    node: str
    standing: str
    """`valid`, `expired`, `void` or `missing`."""
    why: tuple[str, ...]
    told: tuple[str, ...]
    """What a person should know of, and that voids nothing."""
    certificate: CertificateRow | None = None
    kept_out: bool = False
    """Whether the gate keeps it from production."""


@dataclass(frozen=True, slots=True)
class StartedBurnIn:
    """A burn-in that was begun just now, and what was left out of it."""

    burn_in: BurnIn
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Why, by node."""
