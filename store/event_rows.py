"""Events in their rows: how one is written, and how it is read."""

from datetime import UTC, datetime

from psycopg.rows import DictRow

from fleetward.model.daemon_views import EventView
from fleetward.model.gpu_faults import FaultKind, Severity
from fleetward.model.node_reports import FaultEvent
from fleetward.store import words
from fleetward.store.database import Connection


def insert(connection: Connection, node: str, event: FaultEvent) -> EventView | None:
    """Put an event on record; None where one of its key is there."""
    row = connection.execute(
        "insert into events (node, key, at, kind, code, gpu, uuid, address, severity, action, blame, meaning, source,"
        " parent, line) values (%(node)s, %(key)s, %(at)s, %(kind)s, %(code)s, %(gpu)s, %(uuid)s, %(address)s,"
        " %(severity)s, %(action)s, %(blame)s, %(meaning)s, %(source)s, %(parent)s, %(line)s)"
        " on conflict (node, key) do nothing returning *",
        {
            "node": words.key(node),
            "key": words.key(event.key),
            "at": datetime.fromtimestamp(event.at, UTC),
            "kind": str(event.kind),
            "code": event.code,
            "gpu": "" if event.gpu is None else str(event.gpu),
            "uuid": words.text(event.uuid),
            "address": words.text(event.address),
            "severity": str(event.severity),
            "action": str(event.action),
            "blame": str(event.blame),
            "meaning": words.text(event.meaning),
            "source": words.text(event.source),
            "parent": words.key(event.parent),
            "line": words.text(event.line),
        },
    ).fetchone()
    return None if row is None else view(row)


def view(row: DictRow) -> EventView:
    """Read a row of the table events."""
    return EventView(
        id=row["id"],
        node=row["node"],
        key=row["key"],
        at=row["at"],
        taken_at=row["taken_at"],
        kind=FaultKind(row["kind"]),
        code=row["code"],
        gpu=row["gpu"],
        uuid=row["uuid"],
        address=row["address"],
        severity=Severity(row["severity"]),
        action=row["action"],
        blame=row["blame"],
        meaning=row["meaning"],
        source=row["source"],
        parent=row["parent"],
        line=row["line"],
    )
