"""The timeline of incidents: entries are only ever added, in the transaction of what they tell of."""

from collections.abc import Mapping

from psycopg.rows import DictRow

from fleetward.model.incidents import TimelineEntry
from fleetward.store import words
from fleetward.store.database import Connection

DAEMON = "fleetward"


def add(
    connection: Connection, incident: int, kind: str, who: str, text: str, data: Mapping[str, object] | None = None
) -> None:
    """Add an entry; the incident must be there."""
    connection.execute(
        "insert into timeline (incident, kind, who, text, data) values (%s, %s, %s, %s, %s)",
        [incident, words.text(kind), words.text(who), words.text(text), words.json(data or {})],
    )


def of_incident(connection: Connection, incident: int) -> tuple[TimelineEntry, ...]:
    """Return an incident's entries in their order."""
    rows = connection.execute("select * from timeline where incident = %s order by id", [incident])
    return tuple(_entry(row) for row in rows)


def _entry(row: DictRow) -> TimelineEntry:
    return TimelineEntry(
        id=row["id"],
        incident=row["incident"],
        at=row["at"],
        kind=row["kind"],
        who=row["who"],
        text=row["text"],
        data=row["data"],
    )
