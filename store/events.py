"""Events: faults of GPUs and switches as their nodes told of them, each once."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from psycopg.rows import DictRow

from fleetward.model.daemon_views import EventView
from fleetward.model.gpu_faults import FaultKind, Severity
from fleetward.model.incidents import Incident
from fleetward.model.node_reports import FaultEvent
from fleetward.store import timeline, words
from fleetward.store.database import Connection, Database, the_row

MOST_OF_A_NODE = 100_000
"""On record at once; beyond it a node's events are refused, so that none can fill the disk."""
BEFORE = timedelta(minutes=10)
"""How long before an incident an event may have come that belongs to it."""


class Events:
    """The record of events."""

    def __init__(self, database: Database) -> None:
        """Keep them in this database."""
        self._database = database

    def take(self, node: str, events: Sequence[FaultEvent]) -> tuple[tuple[EventView, ...], frozenset[str]]:
        """Take a node's events in, all or nothing; return those that are new, and keys for which there is no room.

        One that was taken before is not taken again. A new one is told in the timeline of each incident about its GPU,
        or about its node alone, that is not closed.
        """
        new: list[EventView] = []
        full: set[str] = set()
        with self._database.transaction() as connection:
            room = MOST_OF_A_NODE - _count(connection, node)
            for event in events:
                if len(new) >= room:
                    if not _is_known(connection, node, event.key):
                        full.add(event.key)
                    continue
                if (view := _insert(connection, node, event)) is not None:
                    new.append(view)
                    _tell_incidents(connection, view)
        return tuple(new), frozenset(full)

    def list(
        self,
        node: str | None = None,
        gpu: str | None = None,
        since: datetime | None = None,
        severities: Iterable[Severity] = (),
        limit: int = 200,
    ) -> tuple[EventView, ...]:
        """Return events, latest first: of a node, of a GPU, since a time, of some severities, where these are given."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "select * from events where (%(node)s::text is null or node = %(node)s)"
                " and (%(gpu)s::text is null or gpu = %(gpu)s)"
                " and (%(since)s::timestamptz is null or at >= %(since)s)"
                " and (cardinality(%(severities)s::text[]) = 0 or severity = any(%(severities)s))"
                " order by at desc, id desc limit %(limit)s",
                {
                    "node": None if node is None else words.key(node),
                    "gpu": None if gpu is None else words.text(gpu),
                    "since": since,
                    "severities": [str(one) for one in severities],
                    "limit": limit,
                },
            ).fetchall()
        return tuple(map(_view, rows))

    def tell(self, incident: Incident) -> None:
        """Put the events from shortly before an incident into its timeline: what came first explains it."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "select * from events where node = %(node)s and (%(gpu)s = '' or gpu = %(gpu)s)"
                " and at between %(since)s and %(until)s order by at, id limit 50",
                {
                    "node": words.key(incident.node),
                    "gpu": incident.gpu,
                    "since": incident.opened_at - BEFORE,
                    "until": incident.opened_at + BEFORE,
                },
            ).fetchall()
            for view in map(_view, rows):
                _tell(connection, incident.id, view)


def _count(connection: Connection, node: str) -> int:
    row = the_row(connection.execute("select count(*) as count from events where node = %s", [words.key(node)]))
    return int(row["count"])


def _is_known(connection: Connection, node: str, key: str) -> bool:
    found = connection.execute("select 1 from events where node = %s and key = %s", [words.key(node), key])
    return found.fetchone() is not None


def _insert(connection: Connection, node: str, event: FaultEvent) -> EventView | None:
    row = connection.execute(
        "insert into events (node, key, at, kind, code, gpu, uuid, address, severity, action, blame, meaning, source,"
        " parent, line) values (%(node)s, %(key)s, %(at)s, %(kind)s, %(code)s, %(gpu)s, %(uuid)s, %(address)s,"
        " %(severity)s, %(action)s, %(blame)s, %(meaning)s, %(source)s, %(parent)s, %(line)s)"
        " on conflict (node, key) do nothing returning *",
        {
            "node": words.key(node),
            "key": event.key,
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
            "parent": event.parent,
            "line": words.text(event.line),
        },
    ).fetchone()
    return None if row is None else _view(row)


def _tell_incidents(connection: Connection, event: EventView) -> None:
    rows = connection.execute(
        "select id from incidents where state <> 'closed' and node = %s and gpu in ('', %s) order by id for key share",
        [event.node, event.gpu],
    ).fetchall()
    for row in rows:
        _tell(connection, int(row["id"]), event)


def _tell(connection: Connection, incident: int, event: EventView) -> None:
    """Write an event into a timeline, once."""
    known = connection.execute(
        "select 1 from timeline where incident = %s and kind = 'event' and data ->> 'event' = %s",
        [incident, str(event.id)],
    ).fetchone()
    if known is None:
        where = f"GPU {event.gpu}" if event.gpu else event.address or event.node
        text = f"{event.kind.upper()} {event.code} on {where} ({event.severity}): {event.meaning}"
        told = f"{text}, which follows from an earlier one" if event.parent else text
        timeline.add(connection, incident, "event", event.node, told, {"event": str(event.id), "line": event.line})


def _view(row: DictRow) -> EventView:
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
