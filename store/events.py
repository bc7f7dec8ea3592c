"""Events: faults of GPUs and switches as their nodes told of them, each once.

No node can fill the record. Of each severity it takes no more than MOST_AN_HOUR of a node's events within an hour, so
that a flood of mild ones leaves room for the fatal one; and of all that a node has told it keeps the newest MOST_KEPT.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from fleetward.model.daemon_views import EventView
from fleetward.model.gpu_faults import Severity
from fleetward.model.node_reports import FaultEvent
from fleetward.store import event_rows, event_telling, words
from fleetward.store.database import Connection, Database
from fleetward.store.locks import lock_node

MOST_AN_HOUR = 2_000
MOST_KEPT = 100_000


class Events:
    """The record of events."""

    def __init__(self, database: Database) -> None:
        """Keep them in this database."""
        self._database = database

    def take(self, node: str, events: Sequence[FaultEvent]) -> tuple[tuple[EventView, ...], frozenset[str]]:
        """Take a node's events in, all or nothing; return those that are new, and keys for which there is no room.

        One that was taken before is not taken again. A new one is told in the timeline of each incident that it
        belongs to and that is not closed.
        """
        name = words.key(node)
        with self._database.transaction() as connection:
            lock_node(connection, name)
            told = {event.key: event for event in reversed(events)}  # of several with one key the first counts
            known = _known(connection, name, told)
            there = _within_an_hour(connection, name)
            new: list[EventView] = []
            full: set[str] = set()
            for event in sorted((told[key] for key in told.keys() - known), key=lambda one: (one.at, one.key)):
                if there[event.severity] >= MOST_AN_HOUR:
                    full.add(event.key)
                elif (view := event_rows.insert(connection, name, event)) is not None:
                    there[event.severity] += 1
                    new.append(view)
            if new:
                event_telling.tell_open(connection, name, new)
                _forget_oldest(connection, name)
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
        return tuple(map(event_rows.view, rows))

    def gpus_at(self, node: str, addresses: Collection[str]) -> Mapping[str, str]:
        """Return the index of the GPU that a node last told of at each PCI address, where it told of one."""
        found: dict[str, str] = {}
        with self._database.transaction() as connection:
            for address in addresses:
                row = connection.execute(
                    "select gpu from events where node = %s and address = %s and gpu <> '' order by at desc limit 1",
                    [words.key(node), words.text(address)],
                ).fetchone()
                if row is not None:
                    found[address] = str(row["gpu"])
        return found


def _known(connection: Connection, node: str, keys: Iterable[str]) -> frozenset[str]:
    rows = connection.execute("select key from events where node = %s and key = any(%s)", [node, [*keys]])
    return frozenset(row["key"] for row in rows)


def _within_an_hour(connection: Connection, node: str) -> Counter[Severity]:
    """Count what was taken of a node within the last hour."""
    rows = connection.execute(
        "select severity, count(*) as taken from events"
        " where node = %s and taken_at > clock_timestamp() - interval '1 hour' group by severity",
        [node],
    )
    return Counter({Severity(row["severity"]): int(row["taken"]) for row in rows})


def _forget_oldest(connection: Connection, node: str) -> None:
    connection.execute("set local fleetward.forgets = 'events'")  # what the table asks for before it lets rows go
    connection.execute(
        "delete from events where id in"
        " (select id from events where node = %s order by taken_at desc, id desc offset %s)",
        [node, MOST_KEPT],
    )
