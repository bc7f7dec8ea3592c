"""Changes with their nodes, read from their rows."""

from collections.abc import Iterable

from psycopg.rows import DictRow

from fleetward.model.changes import Change, ChangeNode, ChangeState, Forecast, NodeState
from fleetward.model.errors import UsageError
from fleetward.store import words
from fleetward.store.database import Connection


def get(connection: Connection, change_id: int, *, lock: bool = False) -> Change:
    """Return a change, its row locked where asked; UsageError where there is none."""
    select = "select * from changes where id = %s"
    rows = connection.execute(select + " for no key update" if lock else select, [change_id])
    found = with_nodes(connection, rows)
    if not found:
        raise UsageError(f"there is no change c{change_id}: `fleetward change list` shows the newest.")
    return found[0]


def with_nodes(connection: Connection, rows: Iterable[DictRow]) -> tuple[Change, ...]:
    """Return the changes of these rows, in their order."""
    changes = [*rows]
    nodes: dict[int, list[ChangeNode]] = {row["id"]: [] for row in changes}
    select = "select * from change_nodes where change = any(%s) order by change, batch, node"
    for row in connection.execute(select, [[*nodes]]):
        nodes[row["change"]].append(_node(row))
    return tuple(_read(row, tuple(nodes[row["id"]])) for row in changes)


def tell(connection: Connection, change_id: int, who: str, text: str) -> None:
    """Add an entry to a change's history."""
    connection.execute(
        "insert into change_history (change, who, text) values (%s, %s, %s)",
        [change_id, words.text(who), words.text(text)],
    )


def plain(state: str) -> str:
    """Return a state as people read it."""
    return state.replace("_", " ")


def _read(row: DictRow, nodes: tuple[ChangeNode, ...]) -> Change:
    forecast = row["forecast"]
    return Change(
        forecast=Forecast(**{**forecast, "endless": tuple(forecast["endless"])}),
        state=ChangeState(row["state"]),
        nodes=nodes,
        **{
            name: row[name]
            for name in (
                *("id", "page", "title", "params", "digest", "budget", "why", "made_by", "made_at"),
                *("approved_by", "approved_at", "ended_at"),
            )
        },
    )


def _node(row: DictRow) -> ChangeNode:
    return ChangeNode(
        name=row["node"],
        batch=row["batch"],
        state=NodeState(row["state"]),
        run=row["run"],
        why=row["why"],
        began_at=row["began_at"],
        ended_at=row["ended_at"],
    )
