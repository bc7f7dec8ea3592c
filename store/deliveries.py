"""Taking alerts in, inside somebody's transaction: each once, into the incident that it belongs to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fleetward.model.incidents import Alert, AlertStatus, Incident, Severity
from fleetward.store import event_telling, incident_rows, timeline, words
from fleetward.store.database import Connection, the_row
from fleetward.store.joining import IncidentKey, joined, rank
from fleetward.store.locks import lock_incidents
from fleetward.store.taking_over import take_over

ALERTMANAGER = "alertmanager"
_SEVERITIES = (Severity.INFO, Severity.WARNING, Severity.CRITICAL)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of the alerts of one incident in one delivery."""

    incident: Incident
    opened: bool
    """Whether they opened it."""
    changed: bool
    """Whether any of them said something new; false where all was known already."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Alerts that came together."""

    alerts: Sequence[Alert]
    reported_by: str = ""
    """The node whose report they were made of; empty where Alertmanager sent them."""


def key_of(alert: Alert) -> IncidentKey:
    """Return the key by the labels `alertname`, `node` and `gpu`."""
    return IncidentKey(alert.name, alert.labels.get("node", ""), alert.labels.get("gpu", ""))


def no_page(alert_name: str) -> str:
    """Name no page."""
    return ""


def take(
    connection: Connection,
    delivery: Delivery,
    page: Callable[[str], str] = no_page,
    key: Callable[[Alert], IncidentKey] = key_of,
) -> tuple[Taken, ...]:
    """Take a delivery in; returned is one entry per incident that it speaks of, in the order of their keys.

    What tells most of a fault is taken first, so that the rest of it finds its incident.
    """
    lock_incidents(connection)
    taken: dict[int, Taken] = {}
    for alert in sorted(delivery.alerts, key=lambda one: (rank(one), _fit(key(one)), one.starts_at, one.fingerprint)):
        this = _take(connection, alert, _fit(key(alert)), page, delivery.reported_by)
        if this is None:
            continue
        before = taken.get(this.incident.id, this)
        taken[this.incident.id] = Taken(
            this.incident, opened=before.opened or this.opened, changed=before.changed or this.changed
        )
    return tuple(sorted(taken.values(), key=lambda one: (one.incident.alert_name, one.incident.node, one.incident.gpu)))


def _take(
    connection: Connection, alert: Alert, key: IncidentKey, page: Callable[[str], str], reported_by: str
) -> Taken | None:
    """Take one alert in; None where there is nothing to take."""
    known = connection.execute(
        "select incident, status from alerts where fingerprint = %s and starts_at = %s",
        [words.key(alert.fingerprint), alert.starts_at],
    ).fetchone()
    if known is not None and known["status"] == alert.status:
        return Taken(incident_rows.get(connection, known["incident"]), opened=False, changed=False)
    if alert.status is AlertStatus.RESOLVED:
        if known is None:
            return None
        incident_id, opened = int(known["incident"]), False
    else:
        mine = joined(connection, alert, key)
        if mine == key:
            take_over(connection, alert, key, page)
        incident_id, opened = _join(connection, alert, mine, page)
    connection.execute(
        "insert into alerts (fingerprint, starts_at, incident, status, labels, annotations, ends_at, reported_by)"
        " values (%(fingerprint)s, %(starts_at)s, %(incident)s, %(status)s, %(labels)s, %(annotations)s, %(ends_at)s,"
        " %(reported_by)s)"
        " on conflict (fingerprint, starts_at) do update set incident = excluded.incident, status = excluded.status,"
        " annotations = excluded.annotations, ends_at = excluded.ends_at",
        {
            "fingerprint": words.key(alert.fingerprint),
            "starts_at": alert.starts_at,
            "incident": incident_id,
            "status": str(alert.status),
            "labels": words.json(alert.labels),
            "annotations": words.json(alert.annotations),
            "ends_at": alert.ends_at if alert.status is AlertStatus.RESOLVED else None,
            "reported_by": reported_by,
        },
    )
    _tell(connection, incident_id, alert, reported_by or ALERTMANAGER)
    incident = incident_rows.get(connection, incident_id)
    if opened and incident.node:
        event_telling.tell_recent(connection, incident)
    return Taken(incident, opened=opened, changed=True)


def _tell(connection: Connection, incident_id: int, alert: Alert, who: str) -> None:
    """Write an alert's news into the timeline."""
    timeline.add(
        connection,
        incident_id,
        "alert",
        who,
        f"{alert.name} {alert.status}: {incident_rows.summary(alert)}",
        {"fingerprint": alert.fingerprint, "status": str(alert.status), "labels": alert.labels},
    )


def _join(connection: Connection, alert: Alert, key: IncidentKey, page: Callable[[str], str]) -> tuple[int, bool]:
    """Return the incident with this key that is not closed, and whether it was opened just now."""
    severity = _severity(alert)
    row = the_row(
        connection.execute(
            "insert into incidents (alert_name, node, gpu, severity, summary, labels, runbook)"
            " values (%(name)s, %(node)s, %(gpu)s, %(severity)s, %(summary)s, %(labels)s, %(runbook)s)"
            # Also locks the row, so that nobody closes it before this alert is in it; xmax is 0 for a new row only.
            " on conflict (alert_name, node, gpu) where state <> 'closed' do update set severity ="
            " case when array_position(%(order)s, excluded.severity) > array_position(%(order)s, incidents.severity)"
            " then excluded.severity else incidents.severity end"
            " returning id, (xmax = 0) as opened",
            {
                "name": key.alert_name,
                "node": key.node,
                "gpu": key.gpu,
                "severity": str(severity),
                "summary": incident_rows.summary(alert),
                "labels": words.json(alert.labels),
                "runbook": words.text(page(alert.name)),
                "order": [str(one) for one in _SEVERITIES],
            },
        )
    )
    return int(row["id"]), bool(row["opened"])


def _fit(key: IncidentKey) -> IncidentKey:
    """Return a key that an index takes."""
    return IncidentKey(words.key(key.alert_name), words.key(key.node), words.key(key.gpu))


def _severity(alert: Alert) -> Severity:
    """Return what the rule calls it; a word of the site's own counts as a warning."""
    word = alert.labels.get("severity", "")
    return Severity(word) if word in _SEVERITIES else Severity.WARNING
