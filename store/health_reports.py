"""What fires on a node by its own reports, and when its newest report was made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from fleetward.model.incidents import Alert, AlertStatus
from fleetward.store import deliveries, incident_rows, words
from fleetward.store.database import Connection, Database, the_row
from fleetward.store.deliveries import Delivery, Taken, no_page

MOST_AN_HOUR = 1_000
"""Alerts that a node's reports may begin within an hour; beyond it they only end some: no node can fill the record."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a node before a report of it."""

    reported: tuple[Alert, ...] = ()
    """What fires by its earlier reports."""
    others: tuple[Alert, ...] = ()
    """What Alertmanager told of its GPUs in incidents that are not closed, whether it fires now or not."""
    silent: Mapping[str, int] = field(default_factory=dict)
    """As its newest report left it."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a report says, held against what fires."""

    news: tuple[Alert, ...]
    """What begins to fire, and what no longer does."""
    found: frozenset[str]
    """Fingerprints of all that it finds wrong, known or new."""
    silent: Mapping[str, int] = field(default_factory=dict)
    """How many reports in a row did not name a check of which something fires, by check; kept for the next report."""


Judge = Callable[[Known], Judgement]


@dataclass(frozen=True, slots=True)
class ReportTaken:
    """What became of a report."""

    taken: tuple[Taken, ...] = ()
    """What it changed, by incident."""
    incidents: tuple[int, ...] = ()
    """All that what it finds belongs to."""
    left_out: int = 0
    """Alerts that were one too many."""


class HealthReports:
    """The record of what nodes say of their own health."""

    def __init__(self, database: Database) -> None:
        """Keep it in this database."""
        self._database = database

    def take(self, node: str, at: datetime, judge: Judge, page: Callable[[str], str] = no_page) -> ReportTaken | None:
        """Take a report in, all or nothing; None where a newer one of the node was taken already.

        What is known of the node outlasts the daemon, and so does how often a check was not named.
        """
        with self._database.transaction() as connection:
            silent = _noted(connection, node, at)
            if silent is None:
                return None
            judgement = judge(Known(_firing(connection, node), _others(connection, node), silent))
            if judgement.silent != silent:
                connection.execute(
                    "update health_reports set silent = %s where node = %s",
                    [words.json(judgement.silent), words.key(node)],
                )
            news = _within_bounds(connection, node, judgement.news)
            taken = deliveries.take(connection, Delivery(news, reported_by=node), page) if news else ()
            incidents = _incidents_of(connection, node, judgement.found) if judgement.found else ()
            return ReportTaken(taken, incidents, len(judgement.news) - len(news))


def _noted(connection: Connection, node: str, at: datetime) -> Mapping[str, int] | None:
    """Note when a report was made, and return how often checks were not named; None where a newer one is noted.

    The row is locked until the transaction ends: of a node one report is taken in at a time.
    """
    noted = connection.execute(
        "insert into health_reports (node, at) values (%s, %s) on conflict (node) do update"
        " set at = excluded.at, taken_at = excluded.taken_at where health_reports.at <= excluded.at returning silent",
        [words.key(node), at],
    ).fetchone()
    return None if noted is None else dict(noted["silent"])


def _firing(connection: Connection, node: str) -> tuple[Alert, ...]:
    rows = connection.execute(
        "select * from alerts where reported_by = %s and reported_by <> '' and status = 'firing'"
        " order by starts_at, fingerprint",
        [node],
    )
    return tuple(map(incident_rows.alert, rows))


def _others(connection: Connection, node: str) -> tuple[Alert, ...]:
    rows = connection.execute(
        "select a.* from incidents i join alerts a on a.incident = i.id"
        " where i.state <> 'closed' and i.node = %s and a.reported_by = '' and coalesce(a.labels ->> 'gpu', '') <> ''"
        " order by a.starts_at, a.fingerprint",
        [words.key(node)],
    )
    return tuple(map(incident_rows.alert, rows))


def _within_bounds(connection: Connection, node: str, news: Sequence[Alert]) -> tuple[Alert, ...]:
    """Return the news without the alerts that are too many within an hour."""
    begun = sum(alert.status is AlertStatus.FIRING for alert in news)
    if not begun:
        return tuple(news)
    row = connection.execute(
        "select count(*) as begun from alerts"
        " where reported_by = %s and reported_by <> '' and taken_at > clock_timestamp() - interval '1 hour'",
        [node],
    )
    room = max(0, MOST_AN_HOUR - int(the_row(row)["begun"]))
    kept: list[Alert] = []
    for alert in news:
        room -= alert.status is AlertStatus.FIRING
        if alert.status is AlertStatus.RESOLVED or room >= 0:
            kept.append(alert)
    return tuple(kept)


def _incidents_of(connection: Connection, node: str, fingerprints: frozenset[str]) -> tuple[int, ...]:
    rows = connection.execute(
        "select distinct incident from alerts where reported_by = %s and reported_by <> '' and status = 'firing'"
        " and fingerprint = any(%s) order by incident",
        [node, [*fingerprints]],
    )
    return tuple(int(row["incident"]) for row in rows)
