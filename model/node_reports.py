"""What a node tells the daemon: faults as they happen, what its checks found, and what it consists of.

These are the daemon's interface for nodes, as JSON with the fields' names: POST /v1/nodes/NODE/events takes
`{"events": [FaultEvent, ...]}` and answers an EventsAnswer, POST /v1/nodes/NODE/health takes a HealthReport and answers
a HealthAnswer, POST /v1/nodes/NODE/fingerprint takes the parts of node/fingerprint.py and answers a FingerprintAnswer.
Each needs the node's token as a bearer, which speaks for that node only. A node has neither pydantic
nor the store: nothing of them in here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetward.model.gpu_faults import Action, FaultKind, Scope, Severity

MOST_EVENTS = 200
"""Of one post."""
ALERT_SOURCE = "node report"
"""Label `source` of an alert that the daemon makes of a report, where one of Prometheus' has none."""
LONGEST_LINE = 1024
"""Characters of a kernel line that an event carries."""


@dataclass(frozen=True, slots=True)
class FaultEvent:
    """One fault of a GPU or an NVSwitch, told once however many sources told of it."""

    key: str
    """The same for the same fault, also where it is read again after a restart: what was taken under it is not taken
    again. Letters, digits and `.:_-`, at most 128."""
    at: float
    """When it was seen, or the kernel wrote it, in Unix time."""
    kind: FaultKind
    code: int
    gpu: int | None
    """NVML's index; None for a switch, or a device that NVML does not list."""
    uuid: str
    address: str
    """PCI domain, bus and device: `0000:1b:00`; empty where it is not known."""
    severity: Severity
    action: Action
    blame: Scope
    meaning: str
    source: str
    """Who told of it first: `nvml` or `kernel log`."""
    parent: str = ""
    """Key of the event of which this one only tells more; empty for a fault of its own."""
    line: str = ""
    """What the driver wrote, where it did."""


@dataclass(frozen=True, slots=True)
class EventsAnswer:
    """What became of the events of one post; what is in neither list is to be sent again."""

    taken: tuple[str, ...]
    """Keys of those that are on record now, also of those that had been before."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why, by key: sending it again would not help."""


@dataclass(frozen=True, slots=True)
class ReportedFinding:
    """What one check found on the node, or on one part of it."""

    check: str
    status: str
    """`unhealthy`, `degraded` or `unknown`; what is healthy is in HealthReport.passed."""
    why: str
    entity: str = ""
    """`GPU 3`, `mlx5_0/1`, `/scratch`; empty for the whole node."""
    severity: str = ""
    action: str = ""
    problem: str = "node_problem"
    """`node_problem` or `user_problem`."""
    evidence: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HealthReport:
    """One run of a node's checks."""

    context: str
    """`periodic`, `prolog`, `epilog` or `hand`."""
    at: float
    """Unix time."""
    findings: tuple[ReportedFinding, ...]
    passed: tuple[str, ...]
    """Checks that found nothing wrong on any part of the node."""
    job: str = ""
    """The job that begins or has ended, in prolog and epilog."""


@dataclass(frozen=True, slots=True)
class HealthAnswer:
    """What the daemon made of a report."""

    incidents: tuple[int, ...] = ()
    """Those that the report's findings belong to."""


@dataclass(frozen=True, slots=True)
class FingerprintAnswer:
    """What the daemon made of a fingerprint, which it has on record now."""

    changed: bool
    """Whether it is another than the one before, or the first."""
