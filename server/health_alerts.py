"""From the report of a node's checks to alerts, as a pure function: what begins to fire, and what no longer does.

The alerts go the way of those of Alertmanager. Where Prometheus has a rule for the same trouble they bear its name, so
that one trouble is one incident, whoever tells of it first.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from fleetward.model.incidents import Alert, AlertStatus, Severity
from fleetward.model.node_reports import ALERT_SOURCE, HealthReport, ReportedFinding

UNHEALTHY, DEGRADED = "NodeUnhealthy", "NodeDegraded"
RULES: Mapping[str, str] = {
    "gpu_lost": "GpuOffBus",
    "xid_off_bus": "GpuOffBus",
    "gpu_count": "GpuCountWrong",
}
"""Checks of which Prometheus has a rule of its own, where they find the node unhealthy."""
_GPU = re.compile(r"GPU (\d{1,3})", re.ASCII)


def alerts_of(node: str, report: HealthReport, firing: Sequence[Alert]) -> tuple[Alert, ...]:
    """Return what a report says that was not known: `firing` are the alerts of the node's earlier reports.

    Only what is the node's own problem counts. What is unknown neither fires nor resolves, and what this run did not
    check stays as it was.
    """
    at = datetime.fromtimestamp(report.at, UTC)
    known = {alert.fingerprint: alert for alert in firing}
    bad = [one for one in report.findings if one.status in {"unhealthy", "degraded"} and one.problem == "node_problem"]
    found = {alert.fingerprint: alert for alert in (_alert(node, one, at) for one in bad)}
    begun = tuple(alert for fingerprint, alert in found.items() if fingerprint not in known)
    ended = tuple(
        Alert(alert.fingerprint, AlertStatus.RESOLVED, alert.labels, alert.annotations, alert.starts_at, at)
        for fingerprint, alert in known.items()
        if fingerprint not in found and _is_judged(alert, report)
    )
    return begun + ended


def _is_judged(alert: Alert, report: HealthReport) -> bool:
    """Say whether a report knows how the thing is that an alert is about."""
    check, entity = alert.labels.get("check", ""), alert.labels.get("entity", "")
    if check in report.passed:
        return True
    said = [one for one in report.findings if one.check == check]
    unknown = {one.entity for one in said if one.status == "unknown"}
    return bool(said) and not unknown & {"", entity}


def _alert(node: str, finding: ReportedFinding, at: datetime) -> Alert:
    is_unhealthy = finding.status == "unhealthy"
    name = RULES.get(finding.check, UNHEALTHY) if is_unhealthy else DEGRADED
    match = _GPU.fullmatch(finding.entity)
    labels = {
        "alertname": name,
        "node": node,
        "severity": str(Severity.CRITICAL if is_unhealthy else Severity.WARNING),
        "check": finding.check,
        "entity": finding.entity,
        "source": ALERT_SOURCE,
    } | ({"gpu": match[1]} if match else {})
    where = f"{finding.entity} of {node}" if finding.entity else node
    evidence = ", ".join(f"{key} {value}" for key, value in finding.evidence.items())
    annotations = {
        "summary": f"{where}: {finding.why}",
        "description": f"The check {finding.check} found: {finding.why}. {evidence}".strip(),
    }
    digest = hashlib.sha256("\0".join((name, node, finding.check, finding.entity)).encode("utf-8", "replace"))
    return Alert(digest.hexdigest()[:32], AlertStatus.FIRING, labels, annotations, at)
