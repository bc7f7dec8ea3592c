"""The words of what goes wrong: alerts as Prometheus says them, incidents as people work on them, and their timeline.

These are also the read models that the daemon serves as JSON: field names are part of its interface. Times are aware
and in UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlertStatus(StrEnum):
    """What Alertmanager last said of an alert."""

    FIRING = "firing"
    RESOLVED = "resolved"


class IncidentState(StrEnum):
    """Where an incident stands; one that is closed stays closed, the next alert opens another."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as Alertmanager's webhook tells it (webhook data format, version 4)."""

    fingerprint: str
    """Alertmanager's own hash over the labels: the same for every repetition."""
    status: AlertStatus
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None = None
    """None while it fires."""

    @property
    def name(self) -> str:
        """Name of the rule."""
        return self.labels.get("alertname", "")


@dataclass(frozen=True, slots=True)
class Incident:
    """What people work on: all alerts about the same thing on the same node and GPU, until it is closed."""

    id: int
    alert_name: str
    severity: Severity
    state: IncidentState
    summary: str
    node: str
    """Empty where it is not about one node."""
    gpu: str
    """NVML's index as Prometheus labels it; empty where it is not about one GPU."""
    labels: Mapping[str, str]
    opened_at: datetime
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    closed_at: datetime | None = None
    closed_by: str = ""
    firing: int = 0
    """Alerts of it that fire now."""
    runbook: str = ""
    """Id of its page; empty where no page names this alert."""

    @property
    def owner(self) -> str:
        """How this incident is named in a claim and in a drain's reason, such as `i12`."""
        return f"i{self.id}"


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One thing that happened in an incident; entries are only ever added."""

    id: int
    incident: int
    at: datetime
    kind: str
    """`alert`, `ack`, `close`, `run`, `step`, `claim` or `note`."""
    who: str
    """A user's name, `alertmanager`, or `fleetward` for the daemon itself."""
    text: str
    data: Mapping[str, object] = field(default_factory=dict)
