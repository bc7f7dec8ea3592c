"""Changes: what is to be done to which nodes, and how far each is.

Each method is one transaction that locks the change first, so that of two writers one wins and the other is told. A
node's run is recorded together with the node that it is for: after a crash there is no run that nobody knows of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from fleetward.model.changes import (
    Change,
    ChangeEntry,
    ChangeNode,
    ChangeState,
    Forecast,
    NodeState,
    RunNow,
)
from fleetward.model.errors import ConflictError, UsageError
from fleetward.model.runs import RunState
from fleetward.store import change_rows, runs, words
from fleetward.store.database import Connection, Database, the_row
from fleetward.store.runs import NewRun

_GOING = (ChangeState.RUNNING, ChangeState.PAUSED, ChangeState.STOPPED)
_APPROVING = 0x666C6368
"""Key of the advisory lock under which one change at a time is approved."""


@dataclass(frozen=True, slots=True)
class NewChange:
    """A change that was planned and not yet recorded; `text` is the page's whole text, kept with it."""

    page: str
    title: str
    text: str
    params: Mapping[str, str]
    digest: str
    budget: int
    forecast: Forecast
    nodes: Sequence[ChangeNode]
    made_by: str


class Changes:
    """The record of changes."""

    def __init__(self, database: Database) -> None:
        """Keep them in this database."""
        self._database = database

    # What people and the daemon ask.

    def create(self, new: NewChange) -> Change:
        """Record a change with its nodes; nothing begins before it is approved."""
        with self._database.transaction() as connection:
            row = the_row(
                connection.execute(
                    "insert into changes (page, title, text, params, digest, budget, forecast, made_by)"
                    " values (%s, %s, %s, %s, %s, %s, %s, %s) returning id",
                    [
                        words.key(new.page),
                        words.text(new.title),
                        words.text(new.text),
                        words.json(new.params),
                        new.digest,
                        new.budget,
                        words.json(asdict(new.forecast)),
                        words.text(new.made_by),
                    ],
                )
            )
            with connection.cursor() as cursor:
                cursor.executemany(
                    "insert into change_nodes (change, node, batch) values (%s, %s, %s)",
                    [[row["id"], words.key(node.name), node.batch] for node in new.nodes],
                )
            change_rows.tell(connection, row["id"], new.made_by, f"planned for {len(new.nodes)} nodes")
            return change_rows.get(connection, row["id"])

    def get(self, change_id: int) -> Change:
        """Return a change with its nodes; UsageError where there is none."""
        with self._database.transaction() as connection:
            return change_rows.get(connection, change_id)

    def text(self, change_id: int) -> str:
        """Return the text of the page as it was when the change was planned."""
        with self._database.transaction() as connection:
            change_rows.get(connection, change_id)
            return str(the_row(connection.execute("select text from changes where id = %s", [change_id]))["text"])

    def list(self, limit: int = 100) -> tuple[Change, ...]:
        """Return the latest changes, latest first."""
        with self._database.transaction() as connection:
            rows = connection.execute("select * from changes order by id desc limit %s", [limit])
            return change_rows.with_nodes(connection, rows)

    def going(self) -> tuple[Change, ...]:
        """Return the changes that are to be carried on or wound up, oldest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "select * from changes c where state in ('running', 'paused', 'stopped') or (state = 'aborted' and"
                " exists (select 1 from change_nodes where change = c.id and state in ('under_way', 'asks')))"
                " order by id"
            )
            return change_rows.with_nodes(connection, rows)

    def runs(self, change_id: int) -> Mapping[int, RunNow]:
        """Return where each run of a change stands."""
        with self._database.transaction() as connection:
            rows = connection.execute("select id, state, why from runs where change = %s", [change_id])
            return {row["id"]: RunNow(RunState(row["state"]), row["why"]) for row in rows}

    def history(self, change_id: int) -> tuple[ChangeEntry, ...]:
        """Return what was said and done about a change, in its order."""
        with self._database.transaction() as connection:
            rows = connection.execute("select * from change_history where change = %s order by id", [change_id])
            return tuple(ChangeEntry(row["at"], row["who"], row["text"]) for row in rows)

    # What a person decides.

    def approve(self, change_id: int, digest: str, who: str) -> Change:
        """Let a planned change begin.

        UsageError where the digest is not the change's; ConflictError where it is not planned any more, or another
        change that is under way has one of its nodes.
        """
        with self._database.transaction() as connection:
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

    def pause(self, change_id: int, who: str) -> Change:
        """Begin no other node; what is under way goes on."""
        return self._said(change_id, who, (ChangeState.RUNNING,), ChangeState.PAUSED, "paused")

    def resume(self, change_id: int, who: str, budget: int | None = None, *, retry: bool = False) -> Change:
        """Go on with a change that was paused or has stopped: with another budget, and with failed nodes once more.

        One that is done goes on for the sake of its failed nodes. ConflictError where it is none of these, more nodes
        are in trouble than the budget then allows, or another change that is under way has one of its nodes.
        """
        with self._database.transaction() as connection:
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

    def abort(self, change_id: int, who: str) -> Change:
        """Begin no other node, ever; those whose turn has not come are left out, or have failed as they had before."""
        with self._database.transaction() as connection:
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

    def give_back(self, change_id: int, node: str, who: str, why: str) -> Change:
        """Record that a node that failed, or whose run asks or goes, is held by the change no longer.

        ConflictError where its turn has not come, or it has another end.
        """
        with self._database.transaction() as connection:
            change = change_rows.get(connection, change_id, lock=True)
            found = next((one for one in change.nodes if one.name == node), None)
            if found is None:
                raise UsageError(f"c{change_id} has no node {node[:100]!r}")
            if not found.state.in_trouble and found.state is not NodeState.UNDER_WAY:
                raise ConflictError(f"{node} is {_plain(found.state)} in c{change_id}: nothing to give")
            connection.execute(
                "update change_nodes set state = 'given_back', why = %s, ended_at = clock_timestamp()"
                " where change = %s and node = %s",
                [words.text(why), change_id, words.key(node)],
            )
            change_rows.tell(connection, change_id, who, f"{node} given back: {why}")
            return change_rows.get(connection, change_id)

    # What the daemon writes.

    def begin(self, change_id: int, node: str, new: NewRun) -> int | None:
        """Record a node's run, which may begin at once; None where its turn has gone: the change does not run."""
        with self._database.transaction() as connection:
            change = change_rows.get(connection, change_id, lock=True)
            if change.state is not ChangeState.RUNNING:
                return None
            waiting = any(one.name == node and one.state is NodeState.WAITING for one in change.nodes)
            if not waiting:
                return None
            run = runs.insert(connection, new, change_id)
            connection.execute(
                "update change_nodes set state = 'under_way', run = %s, began_at = clock_timestamp()"
                " where change = %s and node = %s",
                [run, change_id, words.key(node)],
            )
            return run

    def leave_out(self, change_id: int, node: str, why: str) -> None:
        """Record that a node whose turn came is left as it is; where that was to be its second turn it has failed."""
        with self._database.transaction() as connection:
            change_rows.get(connection, change_id, lock=True)
            row = connection.execute(
                "update change_nodes set state = case when run is null then 'left_out' else 'failed' end, why = %s,"
                " ended_at = clock_timestamp() where change = %s and node = %s and state = 'waiting' returning state",
                [words.text(why), change_id, words.key(node)],
            ).fetchone()
            if row is not None:
                change_rows.tell(connection, change_id, "fleetward", f"{node} {_plain(row['state'])}: {why}")

    def settle(self, change_id: int, node: str, state: NodeState, why: str) -> None:
        """Record how a node of an aborted change has ended."""
        with self._database.transaction() as connection:
            change_rows.get(connection, change_id, lock=True)
            changed = connection.execute(
                "update change_nodes set state = %s, why = %s, ended_at = clock_timestamp()"
                " where change = %s and node = %s and state in ('under_way', 'asks')",
                [str(state), words.text(why), change_id, words.key(node)],
            ).rowcount
            if changed:
                said = f"{node} {_plain(state)}: {why}" if why else f"{node} {_plain(state)}"
                change_rows.tell(connection, change_id, "fleetward", said)

    def record(self, change: Change, nodes: Sequence[ChangeNode], state: ChangeState, why: str) -> None:
        """Record where nodes and change stand; nothing where a person has said something else meanwhile."""
        with self._database.transaction() as connection:
            now = change_rows.get(connection, change.id, lock=True)
            for node in nodes:
                ended = ", ended_at = clock_timestamp()" if node.state.ended else ""
                connection.execute(
                    f"update change_nodes set state = %s, why = %s{ended} where change = %s and node = %s"  # noqa: S608
                    " and run = %s and state in ('under_way', 'asks', 'failed')",
                    [str(node.state), words.text(node.why), change.id, words.key(node.name), node.run],
                )
            if now != change or (now.state, now.why) == (state, why) or now.state.ended:
                return
            connection.execute(
                "update changes set state = %(state)s, why = %(why)s,"
                " ended_at = case when %(ended)s then clock_timestamp() end where id = %(id)s",
                {"state": str(state), "why": words.text(why), "ended": state.ended, "id": change.id},
            )
            change_rows.tell(connection, change.id, "fleetward", f"{state}: {why}" if why else str(state))

    def _said(self, change_id: int, who: str, of: Sequence[ChangeState], to: ChangeState, word: str) -> Change:
        with self._database.transaction() as connection:
            _refuse_unless(change_rows.get(connection, change_id, lock=True), of, word)
            connection.execute("update changes set state = %s, why = '' where id = %s", [str(to), change_id])
            change_rows.tell(connection, change_id, who, word)
            return change_rows.get(connection, change_id)


def _plain(state: str) -> str:
    return state.replace("_", " ")


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
