"""What a check found, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from fleetward.model.errors import OutOfReachError
from fleetward.model.gpu_faults import Action, Severity

Evidence: TypeAlias = Mapping[str, str | int | float]
"""What was read, by name; the names carry the units."""


class Status(StrEnum):
    """How a node is, as one check sees it, the worst first."""

    UNHEALTHY = "unhealthy"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"
    """It could not be read or judged; never a reason to act on the node."""
    HEALTHY = "healthy"


class Context(StrEnum):
    """When a check is run."""

    PERIODIC = "periodic"
    PROLOG = "prolog"
    """Before a job; nobody else's work is on the node where jobs have nodes to themselves."""
    EPILOG = "epilog"
    HAND = "hand"


class Problem(StrEnum):
    """Whose problem it is that a check finds something."""

    NODE = "node_problem"
    """It stays until the check passes again."""
    USER = "user_problem"
    """It may go away by itself, as with a program that ends."""


class ProbeError(OutOfReachError):
    """Something could not be read or judged; the check is unknown, for this reason."""


class StarvedError(ProbeError):
    """It was not read in time because no processor was given to the process that was to read it."""


STATUS_OF = {
    Severity.FATAL: Status.UNHEALTHY,
    Severity.DEGRADED: Status.DEGRADED,
    Severity.WARNING: Status.DEGRADED,
    Severity.INFO: Status.HEALTHY,
}
"""What a trouble of each severity makes of the node."""


@dataclass(frozen=True)
class Trouble:
    """One thing that a judgement found; what it does not say is as the check declares it."""

    why: str
    entity: str = ""
    evidence: Evidence = field(default_factory=dict)
    severity: Severity | None = None
    action: Action | None = None
    problem: Problem | None = None
    known: bool = True
    """False where the entity could not be judged."""


@dataclass(frozen=True)
class Finding:
    """What one check says of the node, or of one part of it."""

    check: str
    status: Status
    why: str
    entity: str = ""
    """The part of the node: `GPU 3`, `mlx5_0/1`, `/scratch`; empty for the whole."""
    evidence: Evidence = field(default_factory=dict)
    severity: Severity | None = None
    """None where nothing is wrong, or nobody knows."""
    action: Action | None = None
    problem: Problem = Problem.NODE
    source: str = ""
