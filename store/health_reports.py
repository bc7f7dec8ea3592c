"""What fires on a node by its own reports, and when its newest report was made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from fleetward.model.incidents import Alert, AlertStatus
from fleetward.store import deliveries, incident_rows, words
from fleetward.store.database import Connection, Database, the_row
from fleetward.store.deliveries import Delivery, Taken, no_page

MOST_AN_HOUR = 1_000
"""Alerts that a node's reports may begin within an hour; beyond it they only end some: no node can fill the record."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a report says, held against what fires."""

    news: tuple[Alert, ...]
    """What begins to fire, and what no longer does."""
    found: frozenset[str]
    """Fingerprints of all that it finds wrong, known or new."""


Judge = Callable[[Sequence[Alert]], Judgement]


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

        `judge` is given the alerts that fire by the node's earlier reports, and by nobody else's word.
        """
        with self._database.transaction() as connection:
            if not _is_newest(connection, node, at):
                return None
            judgement = judge(_firing(connection, node))
            news = _within_bounds(connection, node, judgement.news)
            taken = deliveries.take(connection, Delivery(news, reported_by=node), page) if news else ()
            incidents = _incidents_of(connection, node, judgement.found) if judgement.found else ()
            return ReportTaken(taken, incidents, len(judgement.news) - len(news))


def _is_newest(connection: Connection, node: str, at: datetime) -> bool:
    """Note when a report was made; false where a newer one is noted.

    The row is locked until the transaction ends: of a node one report is taken in at a time.
    """
    noted = connection.execute(
        "insert into health_reports (node, at) values (%s, %s) on conflict (node) do update"
        " set at = excluded.at, taken_at = excluded.taken_at where health_reports.at <= excluded.at",
        [words.key(node), at],
    )
    return noted.rowcount > 0


def _firing(connection: Connection, node: str) -> tuple[Alert, ...]:
    rows = connection.execute(
        "select * from alerts where reported_by = %s and reported_by <> '' and status = 'firing'"
        " order by starts_at, fingerprint",
        [node],
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
