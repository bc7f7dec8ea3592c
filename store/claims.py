"""Claims on nodes: why each is kept out of service, and by whom."""

import re

from psycopg.rows import DictRow

from fleetward.model.claims import Claim, ClaimClass
from fleetward.model.errors import ConflictError
from fleetward.store import incident_rows, timeline, words
from fleetward.store.database import Connection, Database, the_row


class Claims:
    """The record of claims; what Slurm is told of them is somebody else's."""

    def __init__(self, database: Database) -> None:
        """Keep them in this database."""
        self._database = database

    def add(self, node: str, owner: str, kind: ClaimClass, why: str, made_by: str) -> Claim:
        """Claim a node; the owner's open claim on it, where there is one, is returned as it stands.

        ConflictError where the owner is an incident that is closed: nothing would ever release the claim.
        """
        with self._database.transaction() as connection:
            incident, state = _incident_of(connection, owner)
            row = the_row(
                connection.execute(
                    "insert into claims (node, owner, kind, why, made_by) values (%s, %s, %s, %s, %s)"
                    " on conflict (node, owner) where released_at is null do update set node = excluded.node"
                    " returning *, (xmax = 0) as made",
                    [words.key(node), words.key(owner), str(kind), words.text(why), words.text(made_by)],
                )
            )
            claim = _claim(row)
            if row["made"]:
                if state == "closed":
                    raise ConflictError(f"{owner} is closed, so it cannot claim {claim.node}.")
                _tell(connection, incident, claim, made_by, f"claimed {claim.node} ({claim.kind}): {claim.why}")
            return claim

    def release(self, node: str, owner: str, by: str) -> Claim | None:
        """Release the owner's claim on a node; None where there is no open one."""
        with self._database.transaction() as connection:
            incident, _ = _incident_of(connection, owner)  # first, as in `add`: two that lock crosswise wait for ever
            row = connection.execute(
                "update claims set released_at = clock_timestamp(), released_by = %s"
                " where node = %s and owner = %s and released_at is null returning *",
                [words.text(by), words.key(node), words.key(owner)],
            ).fetchone()
            if row is None:
                return None
            claim = _claim(row)
            _tell(connection, incident, claim, by, f"released {claim.node}")
            return claim

    def open(self, node: str | None = None) -> tuple[Claim, ...]:
        """Return the claims not released, of one node or of all, oldest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "select * from claims where released_at is null and (%(node)s::text is null or node = %(node)s)"
                " order by id",
                {"node": None if node is None else words.key(node)},
            ).fetchall()
        return tuple(_claim(row) for row in rows)

    def of_closed(self) -> tuple[Claim, ...]:
        """Return the claims not released whose incident is closed, or whose node the change is done with.

        It is what a close, or an abort, that was cut off has left, or a drain that came right after it.
        """
        with self._database.transaction() as connection:
            rows = connection.execute(
                "select c.* from claims c join incidents i on c.owner = 'i' || i.id"
                " where c.released_at is null and i.state = 'closed' union all"
                " select c.* from claims c join change_nodes n on c.owner = 'c' || n.change and c.node = n.node"
                " where c.released_at is null and n.state in ('done', 'given_back', 'left_out') order by id"
            )
            return tuple(_claim(row) for row in rows)


def _incident_of(connection: Connection, owner: str) -> tuple[int | None, str]:
    """Return the incident that an owner such as `i12` names, with its state, locked so that it is not closed meanwhile.

    None where there is none.
    """
    number = re.fullmatch(r"i([1-9][0-9]{0,17})", owner)
    state = number and incident_rows.lock(connection, int(number[1]))
    return (int(number[1]), state) if number and state else (None, "")


def _tell(connection: Connection, incident: int | None, claim: Claim, who: str, text: str) -> None:
    """Write into the timeline of the incident that owns the claim, where one does."""
    if incident is not None:
        timeline.add(connection, incident, "claim", who, text, {"node": claim.node, "claim": claim.id})


def _claim(row: DictRow) -> Claim:
    return Claim(
        id=row["id"],
        node=row["node"],
        owner=row["owner"],
        kind=ClaimClass(row["kind"]),
        why=row["why"],
        made_by=row["made_by"],
        made_at=row["made_at"],
        released_at=row["released_at"],
        released_by=row["released_by"],
    )
