"""Incidents: alerts taken in once each, and what people do about them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fleetward.model.errors import ConflictError
from fleetward.model.incidents import Alert, AlertStatus, Incident, IncidentState, Severity, TimelineEntry
from fleetward.model.node_reports import ALERT_SOURCE
from fleetward.store import incident_rows, timeline, words
from fleetward.store.database import Connection, Database, the_row

ALERTMANAGER = "alertmanager"
LONGEST_SUMMARY = 500
_DELIVERY = 0x666C6465
"""Key of the advisory lock under which a delivery is taken in."""
_SEVERITIES = (Severity.INFO, Severity.WARNING, Severity.CRITICAL)


@dataclass(frozen=True, slots=True, order=True)
class IncidentKey:
    """What makes two alerts the same incident."""

    alert_name: str
    node: str = ""
    gpu: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of the alerts of one incident in one delivery."""

    incident: Incident
    opened: bool
    """Whether they opened it."""
    changed: bool
    """Whether any of them said something new; false where all was known already."""


def key_of(alert: Alert) -> IncidentKey:
    """Return the key by the labels `alertname`, `node` and `gpu`."""
    return IncidentKey(alert.name, alert.labels.get("node", ""), alert.labels.get("gpu", ""))


def no_page(alert_name: str) -> str:
    """Name no page."""
    return ""


class Incidents:
    """The record of incidents."""

    def __init__(self, database: Database) -> None:
        """Keep them in this database."""
        self._database = database

    def take(
        self,
        alerts: Sequence[Alert],
        key: Callable[[Alert], IncidentKey] = key_of,
        page: Callable[[str], str] = no_page,
    ) -> tuple[Taken, ...]:
        """Take a delivery of alerts in, all or nothing; `page` names the page of a rule by the rule's name.

        What was said before of an alert (its fingerprint, when it began, whether it fires) is not taken twice. A new
        one joins the incident that is not closed and has its key, else it opens one. One that fires again although it
        was resolved, as after Prometheus was away, counts as new. A resolved one that never fired here is left out.
        Returned is one entry per incident that the delivery speaks of, in the order of their keys.
        """
        taken: dict[int, Taken] = {}
        with self._database.transaction() as connection:
            # One delivery at a time: two would lock the same alerts and incidents crosswise.
            connection.execute("select pg_advisory_xact_lock(%s)", [_DELIVERY])
            for alert in sorted(alerts, key=lambda one: (_fit(key(one)), one.starts_at, one.fingerprint)):
                this = _take(connection, alert, _fit(key(alert)), page)
                if this is None:
                    continue
                before = taken.get(this.incident.id, this)
                taken[this.incident.id] = Taken(
                    this.incident, opened=before.opened or this.opened, changed=before.changed or this.changed
                )
        return tuple(taken.values())

    def get(self, incident_id: int) -> Incident:
        """Return one; UsageError where there is none."""
        with self._database.transaction() as connection:
            return incident_rows.get(connection, incident_id)

    def list(self, states: Iterable[IncidentState] = (), limit: int = 200) -> tuple[Incident, ...]:
        """Return those in one of the states, or all where none is given; the latest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                incident_rows.SELECT + "where cardinality(%(states)s::text[]) = 0 or state = any(%(states)s)"
                " order by id desc limit %(limit)s",
                {"states": [str(state) for state in states], "limit": limit},
            ).fetchall()
        return tuple(incident_rows.incident(row) for row in rows)

    def alerts(self, incident_id: int) -> tuple[Alert, ...]:
        """Return an incident's alerts as last told, the one that began last at the end."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "select * from alerts where incident = %s order by starts_at, fingerprint", [incident_id]
            ).fetchall()
        return tuple(incident_rows.alert(row) for row in rows)

    def firing_on(self, node: str, source: str) -> tuple[Alert, ...]:
        """Return the alerts about a node that fire now and have this label `source`."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "select * from alerts where status = 'firing' and labels ->> 'node' = %s and labels ->> 'source' = %s"
                " order by starts_at, fingerprint",
                [words.text(node), source],
            ).fetchall()
        return tuple(incident_rows.alert(row) for row in rows)

    def timeline(self, incident_id: int) -> tuple[TimelineEntry, ...]:
        """Return what happened in it, in order; UsageError where there is no such incident."""
        with self._database.transaction() as connection:
            incident_rows.get(connection, incident_id)
            return timeline.of_incident(connection, incident_id)

    def note(self, incident_id: int, kind: str, who: str, text: str, data: dict[str, object] | None = None) -> None:
        """Add to its timeline; UsageError where there is no such incident."""
        with self._database.transaction() as connection:
            incident_rows.get(connection, incident_id)
            timeline.add(connection, incident_id, kind, who, text, data)

    def ack(self, incident_id: int, who: str, note: str = "") -> Incident:
        """Record that somebody is at it; of several the first keeps the honour, and each note is kept.

        ConflictError where it is closed.
        """
        with self._database.transaction() as connection:
            changed = connection.execute(
                "update incidents set state = 'acknowledged', acknowledged_at = clock_timestamp(), acknowledged_by = %s"
                " where id = %s and state = 'open'",
                [words.text(who), incident_id],
            ).rowcount
            incident = incident_rows.get(connection, incident_id)
            if incident.state is IncidentState.CLOSED:
                raise ConflictError(_closed_already(incident))
            if changed or note:
                timeline.add(connection, incident_id, "ack", who, f"acknowledged: {note}" if note else "acknowledged")
            return incident

    def close(self, incident_id: int, who: str, why: str) -> Incident:
        """Close it, whatever still fires, and withdraw its runs not begun; ConflictError where it is closed."""
        with self._database.transaction() as connection:
            incident = _close(connection, incident_id, who, why, only_settled=False)
            if incident is None:
                raise ConflictError(_closed_already(incident_rows.get(connection, incident_id)))
            return incident

    def close_if_settled(self, incident_id: int, who: str, why: str) -> Incident | None:
        """Close it where nothing of it is left: no alert fires, no claim is open, no run is proposed or under way.

        None where something is left, or it was closed already. A proposed run counts: an alert that falls silent by
        itself does not take the question away from the person who was asked.
        """
        with self._database.transaction() as connection:
            return _close(connection, incident_id, who, why, only_settled=True)


def _take(connection: Connection, alert: Alert, key: IncidentKey, page: Callable[[str], str]) -> Taken | None:
    """Take one alert in, under the lock of the delivery; None where there is nothing to take."""
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
        incident_id, opened = _join(connection, alert, key, page)
    connection.execute(
        "insert into alerts (fingerprint, starts_at, incident, status, labels, annotations, ends_at)"
        " values (%(fingerprint)s, %(starts_at)s, %(incident)s, %(status)s, %(labels)s, %(annotations)s, %(ends_at)s)"
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
        },
    )
    _tell(connection, incident_id, alert)
    return Taken(incident_rows.get(connection, incident_id), opened=opened, changed=True)


def _tell(connection: Connection, incident_id: int, alert: Alert) -> None:
    """Write an alert's news into the timeline."""
    timeline.add(
        connection,
        incident_id,
        "alert",
        alert.labels.get("node", "") if alert.labels.get("source") == ALERT_SOURCE else ALERTMANAGER,
        f"{alert.name} {alert.status}: {_summary(alert)}",
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
                "summary": _summary(alert),
                "labels": words.json(alert.labels),
                "runbook": words.text(page(alert.name)),
                "order": [str(one) for one in _SEVERITIES],
            },
        )
    )
    return int(row["id"]), bool(row["opened"])


def _close(connection: Connection, incident_id: int, who: str, why: str, *, only_settled: bool) -> Incident | None:
    # First the lock, then the look: a claim, run or alert that is being added holds the lock too, and is seen then.
    incident_rows.lock(connection, incident_id)
    closed = connection.execute(
        "update incidents i set state = 'closed', closed_at = clock_timestamp(), closed_by = %(who)s"
        " where id = %(id)s and state <> 'closed' and (not %(only_settled)s or not ("
        "  exists (select 1 from alerts where incident = i.id and status = 'firing')"
        "  or exists (select 1 from runs where incident = i.id and ended_at is null and state <> 'planned')"
        "  or exists (select 1 from claims where owner = 'i' || i.id and released_at is null)))",
        {"id": incident_id, "who": words.text(who), "only_settled": only_settled},
    ).rowcount
    if not closed:
        return None
    withdrawn = connection.execute(
        "with gone as (update runs set state = 'aborted', ended_at = clock_timestamp(), why = %(why)s"
        " where incident = %(id)s and state in ('planned', 'proposed') returning id),"
        " skipped as (update steps set state = 'skipped' from gone where run = gone.id and state = 'pending')"
        " select id from gone order by id",
        {"id": incident_id, "why": "its incident was closed"},
    ).fetchall()
    for row in withdrawn:
        timeline.add(connection, incident_id, "run", timeline.DAEMON, f"r{row['id']} withdrawn", {"run": row["id"]})
    timeline.add(connection, incident_id, "close", who, f"closed: {why}" if why else "closed")
    return incident_rows.get(connection, incident_id)


def _fit(key: IncidentKey) -> IncidentKey:
    """Return a key that an index takes."""
    return IncidentKey(words.key(key.alert_name), words.key(key.node), words.key(key.gpu))


def _severity(alert: Alert) -> Severity:
    """Return what the rule calls it; a word of the site's own counts as a warning."""
    word = alert.labels.get("severity", "")
    return Severity(word) if word in _SEVERITIES else Severity.WARNING


def _summary(alert: Alert) -> str:
    return words.text(alert.annotations.get("summary") or alert.name)[:LONGEST_SUMMARY]


def _closed_already(incident: Incident) -> str:
    return f"incident i{incident.id} was closed by {incident.closed_by} at {incident.closed_at:%Y-%m-%d %H:%M:%S} UTC."
