"""Events in the timelines of the incidents that they belong to, each once.

An event belongs to the incidents about its GPU and to those about its node as a whole. One that names no GPU, as of a
switch or of a device that NVML does not list, belongs to all of its node's.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from fleetward.model.daemon_views import EventView
from fleetward.model.incidents import Incident
from fleetward.store import event_rows, timeline
from fleetward.store.database import Connection, the_row
from fleetward.store.locks import lock_incidents

BEFORE = timedelta(minutes=10)
"""How long before an incident an event may have come that belongs to it."""
MOST_BEFORE = 50
"""Of those, the newest."""
MOST_TOLD = 100
"""In one timeline; where there are more it says how they are listed, and stays one that a person can read."""


def tell_open(connection: Connection, node: str, events: Sequence[EventView]) -> None:
    """Tell events of a node that are new on record to its incidents that are not closed."""
    lock_incidents(connection)
    rows = connection.execute(
        "select id, gpu from incidents where state <> 'closed' and node = %s order by id", [node]
    ).fetchall()
    for row in rows:
        of_it = [event for event in events if row["gpu"] == "" or event.gpu in {"", row["gpu"]}]
        if of_it:
            _tell(connection, int(row["id"]), of_it)


def tell_recent(connection: Connection, incident: Incident) -> None:
    """Tell an incident that was just opened, by who holds the lock, what came shortly before it."""
    rows = connection.execute(
        "select * from events where node = %(node)s and (%(gpu)s = '' or gpu in ('', %(gpu)s)) and at > %(since)s"
        " order by at desc, id desc limit %(most)s",
        {"node": incident.node, "gpu": incident.gpu, "since": incident.opened_at - BEFORE, "most": MOST_BEFORE},
    ).fetchall()
    if rows:
        _tell(connection, incident.id, map(event_rows.view, reversed(rows)))


def _tell(connection: Connection, incident: int, events: Iterable[EventView]) -> None:
    row = connection.execute("select count(*) as told from timeline where incident = %s and kind = 'event'", [incident])
    told = int(the_row(row)["told"])
    for event in events:
        if told > MOST_TOLD:
            return
        data = {"event": str(event.id), "key": event.key, "line": event.line}
        if told == MOST_TOLD:
            text, data = f"and more; `fleetward events --node {event.node}` lists them", {}
        else:
            text = _sentence(event)
        timeline.add(connection, incident, "event", event.node, text, data)
        told += 1


def _sentence(event: EventView) -> str:
    where = f"GPU {event.gpu}" if event.gpu else event.address or event.node
    text = f"{event.kind.upper()} {event.code} on {where} ({event.severity}): {event.meaning}"
    return f"{text}, which follows from an earlier one" if event.parent else text
