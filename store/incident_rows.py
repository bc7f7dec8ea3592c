"""Incidents and alerts, read from their rows."""

from psycopg.rows import DictRow

from fleetward.model.errors import UsageError
from fleetward.model.incidents import Alert, AlertStatus, Incident, IncidentState, Severity
from fleetward.store import words
from fleetward.store.database import Connection

LONGEST_SUMMARY = 500
SELECT = """
select i.*, (select count(*) from alerts a where a.incident = i.id and a.status = 'firing') as firing
from incidents i
"""


def lock(connection: Connection, incident_id: int) -> str | None:
    """Keep an incident's row as it is until the transaction ends, and return its state; None where there is none."""
    # not `for update`, which would wait for, and be waited for by, whoever adds to the timeline
    row = connection.execute("select state from incidents where id = %s for no key update", [incident_id]).fetchone()
    return None if row is None else str(row["state"])


def get(connection: Connection, incident_id: int) -> Incident:
    """Return one; UsageError where there is none."""
    row = connection.execute(SELECT + "where i.id = %s", [incident_id]).fetchone()
    if row is None:
        raise UsageError(f"there is no incident i{incident_id}: `fleetward incident list --state all` shows all.")
    return incident(row)


def incident(row: DictRow) -> Incident:
    """Read a row of `SELECT`."""
    return Incident(
        id=row["id"],
        alert_name=row["alert_name"],
        severity=Severity(row["severity"]),
        state=IncidentState(row["state"]),
        summary=row["summary"],
        node=row["node"],
        gpu=row["gpu"],
        labels=row["labels"],
        opened_at=row["opened_at"],
        acknowledged_at=row["acknowledged_at"],
        acknowledged_by=row["acknowledged_by"],
        closed_at=row["closed_at"],
        closed_by=row["closed_by"],
        firing=row["firing"],
        runbook=row["runbook"],
    )


def summary(alert: Alert) -> str:
    """Return what an incident says of an alert, in one line."""
    return words.text(alert.annotations.get("summary") or alert.name)[:LONGEST_SUMMARY]


def alert(row: DictRow) -> Alert:
    """Read a row of the table alerts."""
    return Alert(
        fingerprint=row["fingerprint"],
        status=AlertStatus(row["status"]),
        labels=row["labels"],
        annotations=row["annotations"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
    )
