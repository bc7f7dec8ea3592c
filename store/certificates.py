"""Certificates: which node passed its burn-in, as what, and until when."""

from collections.abc import Mapping
from dataclasses import asdict

from fleetward.model.burn_ins import CertificateRow, NodeOutcome
from fleetward.store import burn_in_rows, words
from fleetward.store.database import Connection, Database, the_row


class Certificates:
    """The record of certificates."""

    def __init__(self, database: Database) -> None:
        """Keep them in this database."""
        self._database = database

    def latest(self) -> Mapping[str, CertificateRow]:
        """Return the newest certificate of each node that ever had one, revoked or not."""
        with self._database.transaction() as connection:
            rows = connection.execute("select distinct on (node) * from certificates order by node, id desc")
            return {row["node"]: burn_in_rows.certificate(row) for row in rows}

    def revoke(self, node: str, why: str) -> int:
        """Revoke what a node has; returns how many certificates that were."""
        with self._database.transaction() as connection:
            return revoke(connection, node, why)


def insert(connection: Connection, burn_in: int, node: str, found: NodeOutcome) -> int:
    """Add a certificate; returns its number."""
    row = the_row(
        connection.execute(
            "insert into certificates (node, burn_in, profile, fingerprint, results, issued_at, expires_at)"
            " select %(node)s, %(burn_in)s, profile, %(fingerprint)s, %(results)s, %(issued_at)s, %(expires_at)s"
            " from burn_in_nodes where burn_in = %(burn_in)s and node = %(node)s returning id",
            {
                "node": words.key(node),
                "burn_in": burn_in,
                "fingerprint": words.text(found.fingerprint),
                "results": words.json({workload: asdict(told) for workload, told in found.results.items()}),
                "issued_at": found.issued_at,
                "expires_at": found.expires_at,
            },
        )
    )
    return int(row["id"])


def revoke(connection: Connection, node: str, why: str) -> int:
    """Revoke every certificate of a node; returns how many that were."""
    return connection.execute(
        "update certificates set revoked_at = clock_timestamp(), revoked_why = %s"
        " where node = %s and revoked_at is null",
        [words.text(why), words.key(node)],
    ).rowcount
