"""Incidents: alerts taken in once each, and what people do about them."""

from collections.abc import Callable, Iterable, Sequence

from fleetward.model.errors import ConflictError
from fleetward.model.incidents import Alert, Incident, IncidentState, TimelineEntry
from fleetward.store import deliveries, incident_rows, timeline, words
from fleetward.store.database import Connection, Database
from fleetward.store.deliveries import Delivery, Taken, key_of, no_page
from fleetward.store.joining import IncidentKey


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
        one joins the incident that is not closed and has its key, or that is about the same fault (`joining.joined`),
        else it opens one. One that fires again although it
        was resolved, as after Prometheus was away, counts as new. A resolved one that never fired here is left out.
        Returned is one entry per incident that the delivery speaks of, in the order of their keys.
        """
        with self._database.transaction() as connection:
            return deliveries.take(connection, Delivery(alerts), page, key)

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


def _closed_already(incident: Incident) -> str:
    return f"incident i{incident.id} was closed by {incident.closed_by} at {incident.closed_at:%Y-%m-%d %H:%M:%S} UTC."
