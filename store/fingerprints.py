"""Fingerprints: what software and hardware each node has, as it told it last."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import DictRow

from fleetward.store import words
from fleetward.store.database import Database, the_row


@dataclass(frozen=True, slots=True)
class FingerprintRow:
    """The newest fingerprint of a node."""

    parts: str
    """The JSON that the node told, word for word."""
    digest: str
    told_at: datetime
    changed_at: datetime
    """When the node told this digest first, after another one or none."""


class Fingerprints:
    """The record of fingerprints, one for each node."""

    def __init__(self, database: Database) -> None:
        """Keep them in this database."""
        self._database = database

    def tell(self, node: str, parts: str, digest: str, at: datetime) -> bool:
        """Keep what a node told at a time; return whether its digest changed, as it does with the first one.

        What was told earlier than what is kept changes nothing.
        """
        told = {"node": words.key(node), "parts": words.text(parts), "digest": digest, "at": at}
        with self._database.transaction() as connection:
            first = connection.execute(
                "insert into fingerprints (node, parts, digest, told_at, changed_at)"
                " values (%(node)s, %(parts)s, %(digest)s, %(at)s, %(at)s) on conflict do nothing returning node",
                told,
            ).fetchone()
            if first is not None:
                return True
            select = "select digest, told_at from fingerprints where node = %(node)s for update"
            before = the_row(connection.execute(select, told))
            if at < before["told_at"]:
                return False
            connection.execute(
                "update fingerprints set parts = %(parts)s, digest = %(digest)s, told_at = %(at)s,"
                " changed_at = case when digest = %(digest)s then changed_at else %(at)s end where node = %(node)s",
                told,
            )
            return bool(before["digest"] != digest)

    def all(self) -> Mapping[str, FingerprintRow]:
        """Return the newest of every node that ever told one."""
        with self._database.transaction() as connection:
            return {row["node"]: _read(row) for row in connection.execute("select * from fingerprints order by node")}

    def of(self, node: str) -> FingerprintRow | None:
        """Return the newest of one node; None where it never told one."""
        with self._database.transaction() as connection:
            row = connection.execute("select * from fingerprints where node = %s", [words.key(node)]).fetchone()
            return None if row is None else _read(row)


def _read(row: DictRow) -> FingerprintRow:
    return FingerprintRow(row["parts"], row["digest"], row["told_at"], row["changed_at"])
