"""From the report of a node's checks to alerts, as pure functions: what begins to fire, and what no longer does.

The alerts go the way of those of Alertmanager. Where Prometheus has a rule for the same trouble they bear its name, so
that one trouble is one incident, whoever tells of it first.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from fleetward.model.incidents import Alert, AlertStatus, Severity
from fleetward.model.node_reports import ALERT_SOURCE, HealthReport, ReportedFinding
from fleetward.store.health_reports import Judgement

UNHEALTHY, DEGRADED = "NodeUnhealthy", "NodeDegraded"
OF_A_GPU: Mapping[str, str] = {"gpu_lost": "GpuOffBus", "pci_gpu_off_bus": "GpuOffBus", "xid_off_bus": "GpuOffBus"}
"""Checks of which Prometheus has a rule about one GPU, where they find it unhealthy."""
OF_A_NODE: Mapping[str, str] = {"gpu_count": "GpuCountWrong", "pci_gpu_count": "GpuCountWrong"}
"""Checks of which it has one about the whole node."""
LONGEST_EVIDENCE = 2000
_GPU = re.compile(r"GPU (\d{1,3})", re.ASCII)
_ADDRESS = re.compile(r"([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2})(?:\.[0-7])?", re.ASCII)
_WORST_FIRST = ("unhealthy", "degraded")


def addresses_of(report: HealthReport) -> frozenset[str]:
    """Return the PCI addresses that have to be known as GPUs before the report's alerts can be named."""
    named = (_ADDRESS.fullmatch(one.entity) for one in _wrong(report) if one.check in OF_A_GPU)
    return frozenset(match[1] for match in named if match)


def judge(node: str, report: HealthReport, firing: Sequence[Alert], gpus: Mapping[str, str]) -> Judgement:
    """Say what a report changes of what fires by the node's earlier reports.

    Only what is the node's own problem counts. What is unknown neither fires nor resolves, and what this run did not
    check stays as it was. `gpus` are the indices of GPUs by their PCI addresses, as far as they are known.
    """
    at = datetime.fromtimestamp(report.at, UTC)
    known = {alert.fingerprint: alert for alert in firing}
    found = {alert.fingerprint: alert for alert in (_alert(node, one, at, gpus) for one in _wrong(report))}
    begun = tuple(alert for fingerprint, alert in found.items() if fingerprint not in known)
    ended = tuple(
        Alert(alert.fingerprint, AlertStatus.RESOLVED, alert.labels, alert.annotations, alert.starts_at, at)
        for fingerprint, alert in known.items()
        if fingerprint not in found and _is_judged(alert, report)
    )
    return Judgement(begun + ended, frozenset(found))


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


def _alert(node: str, finding: ReportedFinding, at: datetime, gpus: Mapping[str, str]) -> Alert:
    name, gpu = _name(finding, gpus)
    labels = {
        "alertname": name,
        "node": node,
        "severity": str(Severity.WARNING if name == DEGRADED else Severity.CRITICAL),
        "check": finding.check,
        "entity": finding.entity,
        "source": ALERT_SOURCE,
    } | ({"gpu": gpu} if gpu else {})
    where = f"{finding.entity} of {node}" if finding.entity else node
    evidence = ", ".join(f"{key} {value}" for key, value in finding.evidence.items())[:LONGEST_EVIDENCE]
    annotations = {
        "summary": f"{where}: {finding.why}",
        "description": f"The check {finding.check} found: {finding.why}. {evidence}".strip(),
    }
    digest = hashlib.sha256("\0".join((name, node, finding.check, finding.entity)).encode("utf-8", "replace"))
    return Alert(digest.hexdigest()[:32], AlertStatus.FIRING, labels, annotations, at)


def _name(finding: ReportedFinding, gpus: Mapping[str, str]) -> tuple[str, str]:
    """Return the name of an alert and the GPU that it is about; where that cannot be told, no rule's own page fits."""
    match = _GPU.fullmatch(finding.entity)
    gpu = match[1] if match else ""
    device = _ADDRESS.fullmatch(finding.entity)
    if finding.status != "unhealthy":
        return DEGRADED, gpu
    if finding.check in OF_A_NODE:
        return OF_A_NODE[finding.check], ""
    if finding.check in OF_A_GPU and (known := gpu or (gpus.get(device[1], "") if device else "")):
        return OF_A_GPU[finding.check], known
    return UNHEALTHY, gpu
