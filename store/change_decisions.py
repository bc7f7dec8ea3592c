"""What people decide about a change: each within the transaction of `Changes`, on a row that is locked first."""

from collections.abc import Sequence

from fleetward.model.changes import Change, ChangeState, NodeState
from fleetward.model.errors import ConflictError, UsageError
from fleetward.store import change_rows, words
from fleetward.store.change_rows import plain
from fleetward.store.database import Connection

_GOING = (ChangeState.RUNNING, ChangeState.PAUSED, ChangeState.STOPPED)
_APPROVING = 0x666C6368
"""Key of the advisory lock under which one change at a time is approved."""


def approve(connection: Connection, change_id: int, digest: str, who: str) -> Change:
    """Let a planned change begin."""
    # One at a time: of two changes that want the same node one is to see the other. The table itself is no lock
    # for that: who has locked a row of it and is about to write there would wait crosswise.
    connection.execute("select pg_advisory_xact_lock(%s)", [_APPROVING])
    change = change_rows.get(connection, change_id, lock=True)
    if digest != change.digest:
        raise UsageError(
            f"c{change_id} is not what was approved: its digest is {change.digest[:12]}, the approval names"
            f" {digest[:12] or 'none'}. Look at it again with `fleetward change status c{change_id}`."
        )
    if change.state is not ChangeState.PLANNED:
        raise ConflictError(f"c{change_id} is {change.state} and waits for no approval.")
    _refuse_a_second(connection, change_id)
    connection.execute(
        "update changes set state = 'running', approved_by = %s, approved_at = clock_timestamp() where id = %s",
        [words.text(who), change_id],
    )
    change_rows.tell(connection, change_id, who, "approved")
    return change_rows.get(connection, change_id)


def pause(connection: Connection, change_id: int, who: str) -> Change:
    """Begin no other node; what is under way goes on."""
    change = change_rows.get(connection, change_id, lock=True)
    _refuse_unless(change, (ChangeState.RUNNING,), "paused")
    connection.execute("update changes set state = 'paused', why = '' where id = %s", [change_id])
    change_rows.tell(connection, change_id, who, "paused")
    return change_rows.get(connection, change_id)


def resume(
    connection: Connection, change_id: int, who: str, budget: int | None = None, *, retry: bool = False
) -> Change:
    """Go on with a change that was paused or has stopped: with another budget, and with failed nodes once more."""
    connection.execute("select pg_advisory_xact_lock(%s)", [_APPROVING])
    change = change_rows.get(connection, change_id, lock=True)
    failed = sum(node.state is NodeState.FAILED for node in change.nodes) if retry else 0
    again = (ChangeState.DONE,) if failed else ()
    _refuse_unless(change, (ChangeState.PAUSED, ChangeState.STOPPED, *again), "resumed")
    if change.state is ChangeState.DONE:
        _refuse_a_second(connection, change_id)
    troubled = len(change.in_trouble) - failed
    allowed = change.budget if budget is None else budget
    if troubled > allowed:
        raise ConflictError(
            f"c{change_id} is not resumed: {troubled} nodes would be in trouble and its budget allows"
            f" {allowed}; give --budget {troubled}, or --retry, or give nodes back"
        )
    if failed:
        connection.execute(
            "update change_nodes set state = 'waiting', why = '', ended_at = null"
            " where change = %s and state = 'failed'",
            [change_id],
        )
    connection.execute(
        "update changes set state = 'running', why = '', budget = %s, ended_at = null where id = %s",
        [allowed, change_id],
    )
    once_more = f", {failed} nodes once more" if failed else ""
    change_rows.tell(connection, change_id, who, f"resumed with a budget of {allowed}{once_more}")
    return change_rows.get(connection, change_id)


def abort(connection: Connection, change_id: int, who: str) -> Change:
    """Begin no other node, ever; those whose turn has not come are left out, or have failed as they had before."""
    change = change_rows.get(connection, change_id, lock=True)
    _refuse_unless(change, (ChangeState.PLANNED, *_GOING), "aborted")
    connection.execute(
        "update change_nodes set state = case when run is null then 'left_out' else 'failed' end,"
        " why = 'the change was aborted before its turn', ended_at = clock_timestamp()"
        " where change = %s and state = 'waiting'",
        [change_id],
    )
    connection.execute(
        "update changes set state = 'aborted', why = %s, ended_at = clock_timestamp() where id = %s",
        [words.text(f"aborted by {who}"), change_id],
    )
    change_rows.tell(connection, change_id, who, "aborted")
    return change_rows.get(connection, change_id)


def give_back(connection: Connection, change_id: int, node: str, who: str, why: str) -> Change:
    """Record that a node that failed, or whose run asks or goes, is held by the change no longer."""
    change = change_rows.get(connection, change_id, lock=True)
    found = next((one for one in change.nodes if one.name == node), None)
    if found is None:
        raise UsageError(f"c{change_id} has no node {node[:100]!r}")
    if not found.state.in_trouble and found.state is not NodeState.UNDER_WAY:
        raise ConflictError(f"{node} is {plain(found.state)} in c{change_id}: nothing to give")
    connection.execute(
        "update change_nodes set state = 'given_back', why = %s, ended_at = clock_timestamp()"
        " where change = %s and node = %s",
        [words.text(why), change_id, words.key(node)],
    )
    change_rows.tell(connection, change_id, who, f"{node} given back: {why}")
    return change_rows.get(connection, change_id)


def _refuse_unless(change: Change, of: Sequence[ChangeState], word: str) -> None:
    if change.state not in of:
        raise ConflictError(f"c{change.id} is {change.state} and cannot be {word}.")


def _refuse_a_second(connection: Connection, change_id: int) -> None:
    row = connection.execute(
        "select other.change, other.node from change_nodes mine join change_nodes other on other.node = mine.node"
        " join changes c on c.id = other.change where mine.change = %s and other.change <> mine.change"
        " and c.state in ('running', 'paused', 'stopped') and other.state in ('waiting', 'under_way', 'asks', 'failed')"
        " order by other.change, other.node limit 1",
        [change_id],
    ).fetchone()
    if row is not None:
        raise ConflictError(
            f"c{change_id} cannot begin: {row['node']} is in c{row['change']}, which is under way; wait for its end,"
            " abort it, or plan without that node"
        )
