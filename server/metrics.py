"""The daemon's own metrics: incidents, runs, nodes held, how long each leg of the loop took, and whom it reaches."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client import Counter as Counters
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fleetward.model.burn_ins import NodeStanding
from fleetward.model.changes import Change, ChangeState, NodeState
from fleetward.model.claims import Claim
from fleetward.model.daemon_views import EventView
from fleetward.model.errors import OutOfReachError, UsageError
from fleetward.model.fleet_view import DaemonStatus
from fleetward.model.gpu_faults import FaultKind
from fleetward.model.gpu_faults import Severity as GpuSeverity
from fleetward.model.incidents import Incident, IncidentState
from fleetward.model.node_reports import HealthReport
from fleetward.model.runs import RunState

BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 900)
OPEN_RUNS = tuple(state for state in RunState if not state.ended)
OPEN_CHANGES = (ChangeState.RUNNING, ChangeState.PAUSED, ChangeState.STOPPED)
OPEN_INCIDENTS = (IncidentState.OPEN, IncidentState.ACKNOWLEDGED)


class Legs:
    """How long each leg took, in seconds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register with this registry."""
        self._seconds = Histogram(
            "fleet_leg_seconds", "How long a leg of the loop took.", ["leg"], buckets=BUCKETS, registry=registry
        )

    def opened(self, incident: Incident, alert_began: datetime | None) -> None:
        """Note an incident that was opened by an alert."""
        if alert_began is not None:
            self._observe("alert_to_incident", alert_began, incident.opened_at)

    def drained(self, incident_opened: datetime, at: datetime) -> None:
        """Note the first claim of an incident."""
        self._observe("incident_to_claim", incident_opened, at)

    def closed(self, incident: Incident) -> None:
        """Note an incident that was closed."""
        if incident.closed_at is not None:
            self._observe("incident_to_closed", incident.opened_at, incident.closed_at)

    def _observe(self, leg: str, began: datetime, ended: datetime) -> None:
        self._seconds.labels(leg).observe(max(0.0, (ended - began).total_seconds()))


class Reports:
    """What nodes told, counted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register with this registry."""
        self._events = Counters(
            "fleet_events", "Faults that nodes told of, each once.", ["kind", "severity"], registry=registry
        )
        self._delay = Histogram(
            "fleet_event_delay_seconds", "From a fault to its record.", buckets=BUCKETS, registry=registry
        )
        self._refused = Counters(
            "fleet_events_refused", "Faults that nodes told of in vain: malformed, or too many.", registry=registry
        )
        self._reports = Counters(
            "fleet_health_reports", "Reports of nodes on their checks.", ["context"], registry=registry
        )
        self._findings = Counters(
            "fleet_health_findings",
            "What those reports found that is not healthy, in each report anew.",
            ["status", "problem"],
            registry=registry,
        )
        self._fingerprints = Counters(
            "fleet_fingerprint_reports", "Fingerprints that nodes told, changed or not.", registry=registry
        )
        self._changed = Counters(
            "fleet_fingerprint_changes", "Those that were others than the ones before.", registry=registry
        )
        for kind in FaultKind:  # the first one is an increase
            for severity in GpuSeverity:
                self._events.labels(kind, severity)

    def events(self, events: Iterable[EventView], refused: int) -> None:
        """Note events that are new on record, and how many came in vain."""
        self._refused.inc(refused)
        for event in events:
            self._events.labels(event.kind, event.severity).inc()
            self._delay.observe(max(0.0, (event.taken_at - event.at).total_seconds()))

    def report(self, report: HealthReport) -> None:
        """Note a report."""
        self._reports.labels(report.context).inc()
        for finding in report.findings:
            self._findings.labels(finding.status, finding.problem).inc()

    def fingerprint(self, *, changed: bool) -> None:
        """Note a fingerprint."""
        self._fingerprints.inc()
        self._changed.inc(int(changed))


class DaemonCollector(Collector):
    """Renders what the daemon's status says at each scrape."""

    def __init__(
        self,
        status: Callable[[], DaemonStatus],
        incidents: Callable[[], tuple[Incident, ...]],
        claims: Callable[[], tuple[Claim, ...]],
        nodes: Callable[[], Iterable[str]],
        changes: Callable[[], tuple[Change, ...]],
        standings: Callable[[], Sequence[NodeStanding]],
    ) -> None:
        """`incidents` and `changes` are those not ended, `claims` those not released, `nodes` what Slurm knows.

        `standings` raises UsageError where it cannot be told who is qualified.
        """
        self._status = status
        self._incidents = incidents
        self._claims = claims
        self._nodes = nodes
        self._changes = changes
        self._standings = standings

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; those that the store would have to tell are left out while it is away."""
        status = self._status()
        yield _gauge("fleet_daemon_reaches", "1 where the daemon reaches what it needs.", "target", {
            name: float(not why) for name, why in status.reaches.items()
        })  # fmt: skip
        yield GaugeMetricFamily("fleet_nodes_held_allowed", "Nodes it may hold at once.", status.drained_allowed)
        if status.reaches.get("store"):
            return
        yield GaugeMetricFamily("fleet_nodes_held", "Nodes that Fleetward itself holds.", status.drained)
        yield _gauge("fleet_runs", "Runs that have not ended.", "state", {
            state: float(status.runs.get(state, 0)) for state in OPEN_RUNS
        })  # fmt: skip
        try:
            incidents, claims, changes = self._incidents(), self._claims(), self._changes()
        except OutOfReachError:
            return
        counted = Counter(incident.state for incident in incidents)
        yield _gauge("fleet_incidents", "Incidents that are not closed.", "state", {
            state: float(counted[state]) for state in OPEN_INCIDENTS
        })  # fmt: skip
        yield _node_incidents(incidents)
        yield from _changes(changes)
        yield from self._qualified()
        claimed = Counter(claim.node for claim in claims)
        yield _gauge("fleet_node_claims", "Claims on a node; 0 for each that Slurm knows and nobody claims.", "node", {
            node: float(claimed[node]) for node in sorted({*self._nodes(), *claimed})
        })  # fmt: skip

    def _qualified(self) -> Iterator[Metric]:
        try:
            standings = self._standings()
        except (OutOfReachError, UsageError):
            return
        yield _gauge("fleet_node_qualified", "1 where a valid certificate says so.", "node", {
            one.node: float(one.standing == "valid") for one in standings
        })  # fmt: skip
        yield _gauge("fleet_node_certificate_expiry_timestamp_seconds", "When a node's certificate ends.", "node", {
            one.node: one.certificate.expires_at.timestamp() for one in standings if one.certificate
        })  # fmt: skip


def _changes(changes: Iterable[Change]) -> Iterator[Metric]:
    """Yield the changes that are under way by state, and the nodes of each."""
    counted = Counter(change.state for change in changes)
    yield _gauge("fleet_changes", "Changes that were approved and have not ended.", "state", {
        state: float(counted[state]) for state in OPEN_CHANGES
    })  # fmt: skip
    family = GaugeMetricFamily("fleet_change_nodes", "Nodes of such a change.", labels=["change", "state"])
    for change in changes:
        states = Counter(node.state for node in change.nodes)
        for state in NodeState:
            family.add_metric([change.owner, str(state)], float(states[state]))
    yield family


def _node_incidents(incidents: Iterable[Incident]) -> Metric:
    family = GaugeMetricFamily("fleet_node_incidents", "Incidents about a node, not closed.", labels=["node", "alert"])
    counted = Counter((incident.node, incident.alert_name) for incident in incidents if incident.node)
    for labels, count in sorted(counted.items()):
        family.add_metric(labels, count)
    return family


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family
