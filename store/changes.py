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
from fleetward.model.runs import RunState
from fleetward.store import change_decisions, change_rows, runs, words
from fleetward.store.change_rows import plain
from fleetward.store.database import Database, the_row
from fleetward.store.runs import NewRun


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
            return change_decisions.approve(connection, change_id, digest, who)

    def pause(self, change_id: int, who: str) -> Change:
        """Begin no other node; what is under way goes on."""
        with self._database.transaction() as connection:
            return change_decisions.pause(connection, change_id, who)

    def resume(self, change_id: int, who: str, budget: int | None = None, *, retry: bool = False) -> Change:
        """Go on with a change that was paused or has stopped: with another budget, and with failed nodes once more.

        One that is done goes on for the sake of its failed nodes. ConflictError where it is none of these, more nodes
        are in trouble than the budget then allows, or another change that is under way has one of its nodes.
        """
        with self._database.transaction() as connection:
            return change_decisions.resume(connection, change_id, who, budget, retry=retry)

    def abort(self, change_id: int, who: str) -> Change:
        """Begin no other node, ever; those whose turn has not come are left out, or have failed as they had before."""
        with self._database.transaction() as connection:
            return change_decisions.abort(connection, change_id, who)

    def give_back(self, change_id: int, node: str, who: str, why: str) -> Change:
        """Record that a node that failed, or whose run asks or goes, is held by the change no longer.

        ConflictError where its turn has not come, or it has another end.
        """
        with self._database.transaction() as connection:
            return change_decisions.give_back(connection, change_id, node, who, why)

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
                change_rows.tell(connection, change_id, "fleetward", f"{node} {plain(row['state'])}: {why}")

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
                said = f"{node} {plain(state)}: {why}" if why else f"{node} {plain(state)}"
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
