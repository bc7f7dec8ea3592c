"""What nodes post: who may, what a post may say, and what becomes of it.

A node is believed only about itself, and its texts are untrusted: they are bounded, and cleaned of what no database
takes. Nothing here acts on a node.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from fleetward.model.errors import UsageError
from fleetward.model.gpu_faults import Action, FaultKind, Scope, Severity
from fleetward.model.node_reports import (
    ALERT_SOURCE,
    LONGEST_LINE,
    MOST_EVENTS,
    EventsAnswer,
    FaultEvent,
    HealthAnswer,
    HealthReport,
    ReportedFinding,
)
from fleetward.server.health_alerts import alerts_of
from fleetward.server.intake import Intake
from fleetward.server.metrics import Reports
from fleetward.server.webhook import clean
from fleetward.store.events import MOST_OF_A_NODE, Events
from fleetward.store.incidents import Incidents

MOST_BYTES = 1024 * 1024
MOST_FINDINGS = 1000
MOST_EVIDENCE = 32
LATE_SECONDS = 600.0
"""A report older than this says nothing of how the node is now."""
EARLY_SECONDS = 60.0
"""How far a node's clock may be ahead of the daemon's."""

Short = Annotated[str, Field(max_length=128), AfterValidator(clean)]
Key = Annotated[str, Field(pattern=r"^[0-9A-Za-z.:_-]{1,128}$")]
CheckId = Annotated[str, Field(pattern=r"^[0-9A-Za-z_]{1,64}$")]
Text = Annotated[str, Field(max_length=LONGEST_LINE), AfterValidator(clean)]
Time = Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False)]


class _Posted(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Shape = TypeVar("Shape", bound=_Posted)


class PostedEvent(_Posted):
    """A FaultEvent."""

    key: Key
    at: Time
    kind: FaultKind
    code: Annotated[int, Field(ge=1, le=99_999, strict=True)]
    gpu: Annotated[int, Field(ge=0, le=999, strict=True)] | None
    uuid: Short
    address: Short
    severity: Severity
    action: Action
    blame: Scope
    meaning: Text
    source: Short
    parent: Key | Literal[""] = ""
    line: Text = ""


class PostedEvents(_Posted):
    """A post of events; each is looked at by itself."""

    events: Annotated[tuple[dict[str, JsonValue], ...], Field(max_length=MOST_EVENTS)]


class PostedFinding(_Posted):
    """A ReportedFinding."""

    check: CheckId
    status: Literal["unhealthy", "degraded", "unknown"]
    why: Text
    entity: Short = ""
    severity: Short = ""
    action: Short = ""
    problem: Literal["node_problem", "user_problem"] = "node_problem"
    evidence: Annotated[dict[Short, Text | int | float], Field(max_length=MOST_EVIDENCE)] = {}


class PostedHealth(_Posted):
    """A HealthReport."""

    context: Literal["periodic", "prolog", "epilog", "hand"]
    at: Time
    findings: Annotated[tuple[PostedFinding, ...], Field(max_length=MOST_FINDINGS)]
    passed: Annotated[tuple[CheckId, ...], Field(max_length=MOST_FINDINGS)]
    job: Short = ""


@dataclass(frozen=True)
class Records:
    """Where reports are kept, and who is told of them."""

    events: Events
    incidents: Incidents
    intake: Intake
    metrics: Reports


class NodeReports:
    """Takes what nodes post."""

    def __init__(
        self, records: Records, nodes: Callable[[], Collection[str]], clock: Callable[[], float] = time.time
    ) -> None:
        """`nodes` returns every node of the fleet, or nothing where that is not known."""
        self._records = records
        self._nodes = nodes
        self._clock = clock
        self._lock = threading.Lock()
        self._newest: dict[str, float] = {}
        """When the newest report of each node was made: an older one that comes after it says nothing."""

    def is_known(self, node: str) -> bool:
        """Say whether there is such a node; everybody is believed where nobody knows."""
        nodes = self._nodes()
        return not nodes or node in nodes

    def events(self, node: str, body: bytes) -> EventsAnswer:
        """Put a node's events on record; UsageError where the post as a whole is none."""
        found, refused = read_events(body)
        new, full = self._records.events.take(node, found)
        self._records.metrics.events(new)
        why = f"{node} has {MOST_OF_A_NODE} events on record, which is the most that are kept of a node"
        return EventsAnswer(
            taken=tuple(event.key for event in found if event.key not in full),
            refused={**refused, **dict.fromkeys(sorted(full), why)},
        )

    def health(self, node: str, body: bytes) -> HealthAnswer:
        """Turn a report into alerts, and take them in; UsageError where it is none, or of another time."""
        report = read_health(body)
        now = self._clock()
        if not now - LATE_SECONDS <= report.at <= now + EARLY_SECONDS:
            raise UsageError(
                f"at: the report was made {now - report.at:.0f} s ago by the daemon's clock; set the node's clock"
            )
        with self._lock:  # one at a time: what fires is read, compared and written
            self._records.metrics.report(report)
            if report.at < self._newest.get(node, 0.0):
                return HealthAnswer()
            firing = self._records.incidents.firing_on(node, ALERT_SOURCE)
            taken = self._records.intake.take(alerts_of(node, report, firing))
            self._newest[node] = report.at
        return HealthAnswer(tuple(each.incident.id for each in taken))


def read_events(body: bytes) -> tuple[tuple[FaultEvent, ...], Mapping[str, str]]:
    """Return the events of a post, each key once, and by key why others are refused.

    UsageError where the post is none, or one of its events cannot even be named.
    """
    posted = _read(PostedEvents, body)
    found: dict[str, FaultEvent] = {}
    refused: dict[str, str] = {}
    for index, raw in enumerate(posted.events):
        try:
            event = PostedEvent.model_validate(raw)
        except ValidationError as error:
            key = raw.get("key")
            if not isinstance(key, str) or not _is_key(key):
                raise UsageError(f"events.{index}.{_first(error)}") from None
            refused[key] = _first(error)
            continue
        found.setdefault(event.key, FaultEvent(**event.model_dump()))
    return tuple(found.values()), {key: why for key, why in refused.items() if key not in found}


def read_health(body: bytes) -> HealthReport:
    """Return the report of a post; UsageError where it is none."""
    posted = _read(PostedHealth, body)
    findings = tuple(ReportedFinding(**one.model_dump()) for one in posted.findings)
    return HealthReport(posted.context, posted.at, findings, posted.passed, posted.job)


def _read(shape: type[Shape], body: bytes) -> Shape:
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        raise UsageError(_first(error)) from None


def _is_key(text: str) -> bool:
    return 0 < len(text) <= 128 and text.isascii() and all(sign.isalnum() or sign in ".:_-" for sign in text)


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"])) or "the post"
    return clean(f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}")[:300]
