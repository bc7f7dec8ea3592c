"""From the report of a node's checks to alerts, as pure functions: what begins to fire, and what no longer does.

The alerts go the way of those of Alertmanager. Where Prometheus has a rule for the same trouble they bear its name, so
that one trouble is one incident, whoever tells of it first.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from fleetward.model.incidents import Alert, AlertStatus, Severity
from fleetward.model.node_reports import ALERT_SOURCE, HealthReport, ReportedFinding
from fleetward.server.gpu_places import TOLD_TWICE, address_of, gpu_of, places_of, xid_of
from fleetward.store.health_reports import Judgement, Known

UNHEALTHY, DEGRADED = "NodeUnhealthy", "NodeDegraded"
OF_A_GPU: Mapping[str, str] = {
    **dict.fromkeys(("gpu_lost", "gpu_requires_reset", "pci_gpu_off_bus", "xid_off_bus"), "GpuOffBus"),
    **dict.fromkeys(("xid_gpu", "xid_memory", "xid_nvlink", "xid_recovery"), "GpuXidFatal"),
}
"""Checks of which Prometheus has a rule about one GPU, where they find it unhealthy."""
OF_A_NODE: Mapping[str, str] = dict.fromkeys(("gpu_count", "gpu_driver", "pci_gpu_count"), "GpuCountWrong")
"""Checks of which it has one about the whole node."""
BETWEEN_JOBS = frozenset({"gpu_memory_between_jobs", "gpu_process_between_jobs"})
"""Checks that are run around jobs alone."""
UNNAMED_SECONDS = 60.0
"""How long an XID at an address that nobody names is left for a later report; events and Prometheus name the GPU."""
MOST_SILENT = 3
"""After so many reports that might have named a check and did not, it is not run any more, and its alerts end."""
LONGEST_EVIDENCE = 2000
_WORST_FIRST = ("unhealthy", "degraded")


def addresses_of(report: HealthReport) -> frozenset[str]:
    """Return the PCI addresses that have to be known as GPUs before the report's alerts can be named."""
    return frozenset(address for one in _wrong(report) if (address := address_of(one.entity)))


def judge(node: str, report: HealthReport, known: Known, gpus: Mapping[str, str]) -> Judgement:
    """Say what a report changes of what fires by the node's earlier reports.

    Only what is the node's own problem counts. What is unknown neither fires nor resolves, and what this run did not
    check stays as it was, until MOST_SILENT runs did not. `gpus` are the indices of GPUs by their PCI addresses, as far
    as events name them.
    """
    at = datetime.fromtimestamp(report.at, UTC)
    wrong = tuple(_wrong(report))
    places = places_of(wrong, gpus, known.reported, known.others)
    firing = {alert.fingerprint: alert for alert in known.reported}
    waiting = _waiting(wrong, places, known.reported)
    told = (_alert(node, one, at, places) for one in wrong if one not in waiting)
    found = {alert.fingerprint: alert for alert in told}
    silent = _silent(report, known)
    begun = tuple(alert for fingerprint, alert in found.items() if fingerprint not in firing)
    ended = tuple(
        Alert(alert.fingerprint, AlertStatus.RESOLVED, alert.labels, alert.annotations, alert.starts_at, at)
        for fingerprint, alert in firing.items()
        if fingerprint not in found
        and (_is_judged(alert, report) or silent.get(alert.labels.get("check", ""), 0) >= MOST_SILENT)
    )
    lasting = {check: count for check, count in silent.items() if 0 < count < MOST_SILENT}
    return Judgement(begun + ended, frozenset(found), lasting)


def _silent(report: HealthReport, known: Known) -> Mapping[str, int]:
    """Count the reports in a row that did not name a check of which something fires, by check."""
    named = {*report.passed, *(one.check for one in report.findings)}
    counts: dict[str, int] = {}
    for check in {alert.labels.get("check", "") for alert in known.reported} - named:
        usual = {"prolog", "epilog"} if check in BETWEEN_JOBS else {"periodic"}
        counts[check] = known.silent.get(check, 0) + (report.context in usual)
    return counts


def _waiting(
    wrong: Sequence[ReportedFinding], places: Mapping[str, str], reported: Iterable[Alert]
) -> Sequence[ReportedFinding]:
    """Return the XIDs that are so fresh that their GPU will yet be told, and what GPUs themselves say of the same.

    What fires already waits no more. A GPU that is lost never waits: its incident has the right name without the XID.
    """
    firing = {(alert.labels.get("check"), alert.labels.get("entity")) for alert in reported}
    new = [one for one in wrong if (one.check, one.entity) not in firing]
    xids = [one for one in new if address_of(one.entity) and xid_of(one) and not gpu_of(one.entity, places)]
    fresh = [one for one in xids if _age(one) < UNNAMED_SECONDS]
    checks = {one.check for one in fresh}
    same = {check for at_address, by_index in TOLD_TWICE if at_address & checks for check in by_index - OF_A_GPU.keys()}
    return [*fresh, *(one for one in new if one.check in same)]


def _age(finding: ReportedFinding) -> float:
    """Return for how many seconds a line has stood in the kernel's log; where that is not known it is old."""
    age = finding.evidence.get("seconds_ago")
    return age if isinstance(age, int | float) else math.inf


def _wrong(report: HealthReport) -> Iterator[ReportedFinding]:
    """Yield what is wrong with the node itself, the worst finding of each check and entity, the worst first."""
    told: set[tuple[str, str]] = set()
    for status in _WORST_FIRST:
        for one in report.findings:
            named = (one.check, one.entity)
            if one.status == status and one.problem == "node_problem" and named not in told:
                told.add(named)
                yield one


def _is_judged(alert: Alert, report: HealthReport) -> bool:
    """Say whether a report knows how the thing is that an alert is about."""
    check, entity = alert.labels.get("check", ""), alert.labels.get("entity", "")
    if check in report.passed:
        return True
    said = [one for one in report.findings if one.check == check]
    unknown = {one.entity for one in said if one.status == "unknown"}
    return bool(said) and not unknown & {"", entity}


def _alert(node: str, finding: ReportedFinding, at: datetime, places: Mapping[str, str]) -> Alert:
    name, about = _name(finding, places)
    labels = {
        "alertname": name,
        "node": node,
        "severity": str(Severity.WARNING if name == DEGRADED else Severity.CRITICAL),
        "check": finding.check,
        "entity": finding.entity,
        "source": ALERT_SOURCE,
    } | about
    where = f"{finding.entity} of {node}" if finding.entity else node
    evidence = ", ".join(f"{key} {value}" for key, value in finding.evidence.items())[:LONGEST_EVIDENCE]
    annotations = {
        "summary": f"{where}: {finding.why}",
        "description": f"The check {finding.check} found: {finding.why}. {evidence}".strip(),
    }
    digest = hashlib.sha256("\0".join((name, node, finding.check, finding.entity)).encode("utf-8", "replace"))
    return Alert(digest.hexdigest()[:32], AlertStatus.FIRING, labels, annotations, at)


def _name(finding: ReportedFinding, places: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the name of an alert and the labels of the GPU that it is about; without one no rule's own page fits."""
    gpu, xid = gpu_of(finding.entity, places), xid_of(finding)
    about = {"gpu": gpu} if gpu else {}
    if finding.status != "unhealthy":
        return DEGRADED, about
    if finding.check in OF_A_NODE:
        return OF_A_NODE[finding.check], {}
    name = OF_A_GPU.get(finding.check, UNHEALTHY)
    if not gpu or (name == "GpuXidFatal" and not xid):
        return UNHEALTHY, about
    return name, about | ({"xid": xid} if name == "GpuXidFatal" else {})
