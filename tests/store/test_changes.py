"""Changes: of two writers one wins, a run is recorded with its node, and what a person said is not overwritten."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest

from fleetward.model.changes import Change, ChangeNode, ChangeState, Forecast, NodeState, RunNow
from fleetward.model.errors import ConflictError, FleetwardError, UsageError
from fleetward.model.runs import RunState
from fleetward.store.changes import Changes, NewChange
from fleetward.store.database import Database
from fleetward.store.runs import NewRun, Runs

DIGEST = "d" * 64
FORECAST = Forecast(1800.0, 2.5, 900.0, ("gpu002",))


@pytest.fixture
def changes(database: Database) -> Changes:
    return Changes(database)


@pytest.fixture
def new() -> NewChange:
    return NewChange(
        page="change-site",
        title="Bring a node to what is declared",
        text="# the page",
        params={"patience": "24h"},
        digest=DIGEST,
        budget=0,
        forecast=FORECAST,
        nodes=(ChangeNode("gpu001", 1), ChangeNode("gpu002", 1), ChangeNode("gpu003", 2)),
        made_by="ada",
    )


@pytest.fixture
def begun(changes: Changes, new: NewChange) -> Change:
    """Return a change that was approved."""
    return changes.approve(changes.create(new).id, DIGEST, "bob")


Turn = Callable[..., int]


@pytest.fixture
def turn(changes: Changes, runs: Runs, running: NewRun) -> Turn:
    """Return a way to begin a node of a change, and to have its run end where a state is named."""

    def begin(change: Change, node: str, end: RunState | None = None, why: str = "") -> int:
        run = changes.begin(change.id, node, running)
        assert run is not None
        if end is not None:
            runs.set_run_state(run, end, why)
            now = changes.get(change.id)
            found = next(one for one in now.nodes if one.name == node)
            state = {RunState.FAILED: NodeState.FAILED, RunState.STOPPED: NodeState.ASKS}.get(end, NodeState.DONE)
            changes.record(now, [replace(found, state=state, why=why)], now.state, now.why)
        return run

    return begin


def states(change: Change) -> list[NodeState]:
    return [node.state for node in change.nodes]


def told(changes: Changes, change: Change) -> list[tuple[str, str]]:
    return [(entry.who, entry.text) for entry in changes.history(change.id)]


def at_once(*works: Callable[[], object]) -> list[FleetwardError]:
    """Do several things at the same moment, and return what was refused."""
    barrier, refused = threading.Barrier(len(works)), list[FleetwardError]()

    def do(work: Callable[[], object]) -> None:
        barrier.wait()
        try:
            work()
        except FleetwardError as error:
            refused.append(error)

    threads = [threading.Thread(target=do, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return refused


class TestCreate:
    def test_keeps_what_was_planned(self, changes: Changes, new: NewChange) -> None:
        change = changes.create(new)
        assert change == changes.get(change.id)
        assert change.nodes == new.nodes
        assert (change.page, change.title, change.params) == (new.page, new.title, new.params)
        assert (change.digest, change.budget, change.forecast) == (DIGEST, 0, FORECAST)
        assert (change.state, change.why, change.made_by, change.approved_by) == (ChangeState.PLANNED, "", "ada", "")
        assert (change.owner, change.batches) == (f"c{change.id}", 2)
        assert changes.text(change.id) == "# the page"
        assert told(changes, change) == [("ada", "planned for 3 nodes")]

    def test_keeps_a_forecast_without_an_end(self, changes: Changes, new: NewChange) -> None:
        endless = replace(FORECAST, seconds=None)
        assert changes.create(replace(new, forecast=endless)).forecast == endless

    def test_that_fails_at_a_node_leaves_nothing(
        self, changes: Changes, new: NewChange, fails: Callable[[str, str], None]
    ) -> None:
        fails("change_nodes", "new.node = 'gpu003'")
        with pytest.raises(psycopg.Error, match="the disk is full"):
            changes.create(new)
        assert changes.list() == ()


class TestLists:
    def test_the_latest_first(self, changes: Changes, new: NewChange) -> None:
        ids = [changes.create(new).id for _ in range(3)]
        assert [one.id for one in changes.list()] == ids[::-1]
        assert [one.id for one in changes.list(2)] == ids[:0:-1]
        assert all(len(one.nodes) == 3 for one in changes.list())

    def test_of_what_is_not_there(self, changes: Changes) -> None:
        assert changes.list() == changes.going() == changes.history(5) == ()
        assert changes.runs(5) == {}
        for ask in (changes.get, changes.text):
            with pytest.raises(UsageError, match="no change c5"):
                ask(5)

    def test_going_are_those_that_the_daemon_has_to_carry_on_or_to_wind_up(
        self, changes: Changes, new: NewChange, turn: Turn
    ) -> None:
        def one(node: str) -> Change:
            made = changes.create(replace(new, nodes=(ChangeNode(node, 1),)))
            return changes.approve(made.id, DIGEST, "bob")

        changes.create(new)  # planned
        going, paused, stopped, done, aborted, wound_up = map(one, "abcdef")
        changes.pause(paused.id, "bob")
        changes.record(stopped, (), ChangeState.STOPPED, "too many")
        changes.record(done, (), ChangeState.DONE, "1 done")
        for change, node in ((aborted, "e"), (wound_up, "f")):
            turn(change, node)
            changes.abort(change.id, "bob")
        changes.settle(wound_up.id, "f", NodeState.GIVEN_BACK, "as it was")
        assert [change.id for change in changes.going()] == [going.id, paused.id, stopped.id, aborted.id]


class TestApprove:
    def test_lets_it_begin(self, changes: Changes, begun: Change) -> None:
        assert (begun.state, begun.approved_by) == (ChangeState.RUNNING, "bob")
        assert begun.approved_at is not None
        assert set(states(begun)) == {NodeState.WAITING}
        assert told(changes, begun)[-1] == ("bob", "approved")

    @pytest.mark.parametrize("digest", ["", "e" * 64, "d" * 63])
    def test_of_something_else_is_refused(self, changes: Changes, new: NewChange, digest: str) -> None:
        change = changes.create(new)
        with pytest.raises(UsageError, match=f"its digest is {DIGEST[:12]}"):
            changes.approve(change.id, digest, "bob")
        assert changes.get(change.id) == change

    def test_a_second_time_is_a_conflict(self, changes: Changes, begun: Change) -> None:
        with pytest.raises(ConflictError, match=f"c{begun.id} is running and waits for no approval"):
            changes.approve(begun.id, DIGEST, "carol")
        assert changes.get(begun.id).approved_by == "bob"

    def test_of_one_that_was_aborted_is_a_conflict(self, changes: Changes, new: NewChange) -> None:
        change = changes.create(new)
        changes.abort(change.id, "ada")
        with pytest.raises(ConflictError, match="is aborted"):
            changes.approve(change.id, DIGEST, "bob")

    @pytest.mark.parametrize("state", [ChangeState.RUNNING, ChangeState.PAUSED, ChangeState.STOPPED])
    def test_of_a_node_that_another_has_under_way_names_both(
        self, changes: Changes, new: NewChange, begun: Change, state: ChangeState
    ) -> None:
        if state is ChangeState.PAUSED:
            changes.pause(begun.id, "bob")
        elif state is ChangeState.STOPPED:
            changes.record(begun, (), state, "too many")
        other = changes.create(replace(new, nodes=(ChangeNode("gpu003", 1), ChangeNode("gpu004", 1))))
        with pytest.raises(ConflictError, match=rf"c{other.id} cannot begin: gpu003 is in c{begun.id}, which is under"):
            changes.approve(other.id, DIGEST, "bob")
        assert changes.get(other.id).state is ChangeState.PLANNED

    def test_of_a_node_that_another_holds_since_it_failed_is_refused_and_one_that_is_done_is_not(
        self, changes: Changes, new: NewChange, begun: Change, turn: Turn
    ) -> None:
        turn(begun, "gpu001", RunState.DONE)
        turn(begun, "gpu002", RunState.FAILED, "it broke")
        again = changes.create(replace(new, nodes=(ChangeNode("gpu001", 1),)))
        assert changes.approve(again.id, DIGEST, "bob").state is ChangeState.RUNNING
        held = changes.create(replace(new, nodes=(ChangeNode("gpu002", 1),)))
        with pytest.raises(ConflictError, match=f"gpu002 is in c{begun.id}"):
            changes.approve(held.id, DIGEST, "bob")

    def test_of_what_others_only_plan_or_have_ended_is_no_conflict(self, changes: Changes, new: NewChange) -> None:
        changes.create(new)
        changes.abort(changes.create(new).id, "ada")
        change = changes.create(new)
        assert changes.approve(change.id, DIGEST, "bob").state is ChangeState.RUNNING

    def test_by_two_at_once_is_one_persons(self, changes: Changes, new: NewChange) -> None:
        change = changes.create(new)
        refused = at_once(*[lambda who=who: changes.approve(change.id, DIGEST, who) for who in ("bob", "carol")])
        assert [type(error) for error in refused] == [ConflictError]
        assert [text for _, text in told(changes, change)].count("approved") == 1

    def test_of_two_that_want_the_same_node_at_once_lets_one_begin(self, changes: Changes, new: NewChange) -> None:
        ids = [changes.create(new).id for _ in range(4)]
        refused = at_once(*[lambda one=one: changes.approve(one, DIGEST, "bob") for one in ids])
        assert [type(error) for error in refused] == [ConflictError] * 3
        assert [changes.get(one).state for one in ids].count(ChangeState.RUNNING) == 1

    def test_waits_for_whoever_has_the_change_in_hand_and_not_crosswise(
        self, changes: Changes, new: NewChange, database: Database
    ) -> None:
        """An abort has locked the change and not yet written; PostgreSQL would end one of two that wait crosswise."""
        change = changes.create(new)
        refused: list[FleetwardError] = []

        def approve() -> None:
            try:
                changes.approve(change.id, DIGEST, "bob")
            except FleetwardError as error:
                refused.append(error)

        approval = threading.Thread(target=approve)
        with database.transaction() as connection:
            connection.execute("select * from changes where id = %s for no key update", [change.id])
            approval.start()
            until = time.monotonic() + 10
            while not _waits(database):
                assert time.monotonic() < until
                time.sleep(0.02)
            connection.execute("update changes set state = 'aborted', ended_at = now() where id = %s", [change.id])
        approval.join()
        assert [type(error) for error in refused] == [ConflictError]
        assert changes.get(change.id).state is ChangeState.ABORTED


def _waits(database: Database) -> bool:
    with database.transaction() as connection:
        return bool(
            connection.execute(
                "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
            ).fetchall()
        )


class TestPauseAndResume:
    def test_one_that_runs_is_paused_and_goes_on(self, changes: Changes, begun: Change) -> None:
        assert changes.pause(begun.id, "ada").state is ChangeState.PAUSED
        with pytest.raises(ConflictError, match="is paused and cannot be paused"):
            changes.pause(begun.id, "ada")
        after = changes.resume(begun.id, "bob")
        assert (after.state, after.why, after.budget) == (ChangeState.RUNNING, "", 0)
        assert told(changes, begun)[-2:] == [("ada", "paused"), ("bob", "resumed with a budget of 0")]

    def test_what_is_not_at_rest_is_not_resumed(self, changes: Changes, new: NewChange, begun: Change) -> None:
        with pytest.raises(ConflictError, match="is running and cannot be resumed"):
            changes.resume(begun.id, "ada")
        planned = changes.create(new)
        for ask in (changes.resume, changes.pause):
            with pytest.raises(ConflictError, match="is planned and cannot be"):
                ask(planned.id, "ada")
        assert changes.get(planned.id) == planned

    def test_with_more_in_trouble_than_the_budget_it_is_not(self, changes: Changes, begun: Change, turn: Turn) -> None:
        turn(begun, "gpu001", RunState.FAILED, "it broke")
        turn(begun, "gpu002", RunState.STOPPED, "was it done?")
        changes.record(changes.get(begun.id), (), ChangeState.STOPPED, "too many")
        for budget in (None, 0, 1):
            with pytest.raises(ConflictError, match=r"2 nodes would be in trouble .* --budget 2"):
                changes.resume(begun.id, "ada", budget)
        after = changes.resume(begun.id, "ada", 2)
        assert (after.state, after.why, after.budget) == (ChangeState.RUNNING, "", 2)
        assert states(after) == [NodeState.FAILED, NodeState.ASKS, NodeState.WAITING]

    def test_failed_nodes_have_another_turn_and_those_that_ask_do_not(
        self, changes: Changes, begun: Change, turn: Turn, running: NewRun
    ) -> None:
        first = turn(begun, "gpu001", RunState.FAILED, "it broke")
        turn(begun, "gpu002", RunState.STOPPED, "was it done?")
        changes.record(changes.get(begun.id), (), ChangeState.STOPPED, "too many")
        after = changes.resume(begun.id, "ada", 1, retry=True)
        assert states(after) == [NodeState.WAITING, NodeState.ASKS, NodeState.WAITING]
        assert (after.nodes[0].why, after.nodes[0].ended_at) == ("", None)
        assert told(changes, begun)[-1] == ("ada", "resumed with a budget of 1, 1 nodes once more")
        second = changes.begin(begun.id, "gpu001", running)
        assert second is not None
        assert second != first
        assert [*changes.runs(begun.id)] == [first, first + 1, second]

    def test_a_retry_with_nothing_that_failed_only_resumes(self, changes: Changes, begun: Change) -> None:
        changes.pause(begun.id, "ada")
        assert set(states(changes.resume(begun.id, "ada", retry=True))) == {NodeState.WAITING}
        assert told(changes, begun)[-1] == ("ada", "resumed with a budget of 0")


class TestAbort:
    def test_leaves_out_whose_turn_has_not_come_and_keeps_the_others(
        self, changes: Changes, begun: Change, turn: Turn
    ) -> None:
        turn(begun, "gpu001")
        turn(begun, "gpu002", RunState.DONE)
        after = changes.abort(begun.id, "ada")
        assert (after.state, after.why) == (ChangeState.ABORTED, "aborted by ada")
        assert after.ended_at is not None
        assert states(after) == [NodeState.UNDER_WAY, NodeState.DONE, NodeState.LEFT_OUT]
        assert [node.ended_at is not None for node in after.nodes] == [False, True, True]
        assert told(changes, begun)[-1] == ("ada", "aborted")

    def test_of_one_that_has_ended_is_a_conflict(self, changes: Changes, begun: Change) -> None:
        changes.abort(begun.id, "ada")
        with pytest.raises(ConflictError, match="is aborted and cannot be aborted"):
            changes.abort(begun.id, "ada")

    def test_a_node_that_failed_and_was_to_have_another_turn_is_not_forgotten(
        self, changes: Changes, begun: Change, turn: Turn
    ) -> None:
        """The change holds it since its first turn; left out it could never be given back."""
        turn(begun, "gpu001", RunState.FAILED, "it broke")
        changes.pause(begun.id, "ada")
        changes.resume(begun.id, "ada", retry=True)
        assert states(changes.abort(begun.id, "ada"))[0] is NodeState.FAILED
        assert changes.give_back(begun.id, "gpu001", "ada", "mended").nodes[0].state is NodeState.GIVEN_BACK

    def test_and_an_approval_at_once_have_one_order(self, changes: Changes, new: NewChange) -> None:
        for _ in range(5):
            change = changes.create(new)
            refused = at_once(
                lambda one=change.id: changes.approve(one, DIGEST, "bob"),
                lambda one=change.id: changes.abort(one, "ada"),
            )
            assert [type(error) for error in refused] in ([], [ConflictError])
            assert changes.get(change.id).state is ChangeState.ABORTED


class TestGiveBack:
    @pytest.mark.parametrize("end", [RunState.FAILED, RunState.STOPPED])
    def test_a_node_in_trouble_is_given_back_with_the_reason(
        self, changes: Changes, begun: Change, turn: Turn, end: RunState
    ) -> None:
        turn(begun, "gpu001", end, "it broke")
        after = changes.give_back(begun.id, "gpu001", "ada", "the disk was emptied")
        assert (after.nodes[0].state, after.nodes[0].why) == (NodeState.GIVEN_BACK, "the disk was emptied")
        assert after.nodes[0].ended_at is not None
        assert after.in_trouble == ()
        assert told(changes, begun)[-1] == ("ada", "gpu001 given back: the disk was emptied")
        with pytest.raises(ConflictError, match=f"gpu001 is given back in c{begun.id}"):
            changes.give_back(begun.id, "gpu001", "ada", "again")

    def test_after_its_change_has_ended(self, changes: Changes, begun: Change, turn: Turn) -> None:
        turn(begun, "gpu001", RunState.FAILED, "it broke")
        changes.abort(begun.id, "ada")
        assert changes.give_back(begun.id, "gpu001", "ada", "mended").nodes[0].state is NodeState.GIVEN_BACK

    def test_one_that_is_held_by_nobody_is_not(self, changes: Changes, begun: Change, turn: Turn) -> None:
        turn(begun, "gpu001", RunState.DONE)
        for node, state in (("gpu001", "done"), ("gpu003", "waiting")):
            with pytest.raises(ConflictError, match=f"{node} is {state}"):
                changes.give_back(begun.id, node, "ada", "why not")
        with pytest.raises(UsageError, match="has no node 'gpu009'"):
            changes.give_back(begun.id, "gpu009", "ada", "why not")


class TestBegin:
    def test_records_the_run_with_its_node(self, changes: Changes, begun: Change, runs: Runs, running: NewRun) -> None:
        made = changes.begin(begun.id, "gpu002", replace(running, asked_by="bob"))
        assert made is not None
        run, node = runs.run(made), changes.get(begun.id).nodes[1]
        assert (node.state, node.run) == (NodeState.UNDER_WAY, made)
        assert node.began_at is not None
        assert (run.change, run.owner, run.incident, run.state) == (begun.id, f"c{begun.id}", None, RunState.RUNNING)
        assert (run.asked_by, run.approved_by) == ("bob", "bob")
        assert run.approved_at is not None
        assert run.steps == running.steps
        assert changes.runs(begun.id) == {made: RunNow(RunState.RUNNING)}
        assert runs.active() == {made: RunState.RUNNING}

    def test_a_run_by_itself_belongs_to_no_change(self, runs: Runs, running: NewRun) -> None:
        run = runs.create(running)
        assert (run.change, run.owner, run.approved_by, run.approved_at) == (None, f"r{run.id}", "", None)

    def test_happens_once_for_each_node(self, changes: Changes, begun: Change, runs: Runs, running: NewRun) -> None:
        barrier, made = threading.Barrier(4), list[int | None]()

        def begin() -> None:
            barrier.wait()
            made.append(changes.begin(begun.id, "gpu001", running))

        threads = [threading.Thread(target=begin) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len([one for one in made if one is not None]) == 1
        assert len(runs.active()) == 1
        assert changes.begin(begun.id, "gpu001", running) is None

    def test_does_not_happen_once_a_person_said_otherwise(
        self, changes: Changes, new: NewChange, begun: Change, runs: Runs, running: NewRun
    ) -> None:
        assert changes.begin(begun.id, "gpu009", running) is None
        changes.pause(begun.id, "ada")
        assert changes.begin(begun.id, "gpu001", running) is None
        changes.resume(begun.id, "ada")
        changes.abort(begun.id, "ada")
        assert changes.begin(begun.id, "gpu001", running) is None
        assert changes.begin(changes.create(new).id, "gpu001", running) is None
        assert runs.list() == ()

    def test_that_fails_half_way_leaves_no_run_that_nobody_knows_of(
        self, changes: Changes, begun: Change, runs: Runs, running: NewRun, fails: Callable[[str, str], None]
    ) -> None:
        fails("steps", "new.index = 2")
        with pytest.raises(psycopg.Error, match="the disk is full"):
            changes.begin(begun.id, "gpu001", running)
        assert (runs.list(), states(changes.get(begun.id))[0]) == ((), NodeState.WAITING)


class TestLeaveOut:
    def test_a_node_whose_turn_came_is_left_as_it_is(self, changes: Changes, begun: Change, running: NewRun) -> None:
        changes.leave_out(begun.id, "gpu001", "was taken out of service by ada: riser")
        node = changes.get(begun.id).nodes[0]
        assert (node.state, node.why) == (NodeState.LEFT_OUT, "was taken out of service by ada: riser")
        assert node.ended_at is not None
        assert changes.begin(begun.id, "gpu001", running) is None
        assert told(changes, begun)[-1] == ("fleetward", "gpu001 left out: was taken out of service by ada: riser")

    def test_said_twice_or_of_one_under_way_it_is_not_recorded(
        self, changes: Changes, begun: Change, turn: Turn
    ) -> None:
        turn(begun, "gpu001")
        before = told(changes, begun)
        changes.leave_out(begun.id, "gpu001", "gone")
        assert states(changes.get(begun.id))[0] is NodeState.UNDER_WAY
        assert told(changes, begun) == before

    def test_one_that_had_failed_and_has_another_turn_has_failed(
        self, changes: Changes, begun: Change, turn: Turn
    ) -> None:
        turn(begun, "gpu001", RunState.FAILED, "it broke")
        changes.pause(begun.id, "ada")
        changes.resume(begun.id, "ada", retry=True)
        changes.leave_out(begun.id, "gpu001", "was taken out of service by ada: riser")
        node = changes.get(begun.id).nodes[0]
        assert (node.state, node.why) == (NodeState.FAILED, "was taken out of service by ada: riser")
        assert told(changes, begun)[-1] == ("fleetward", "gpu001 failed: was taken out of service by ada: riser")


class TestSettle:
    def test_a_node_of_an_aborted_change_has_its_end_once(self, changes: Changes, begun: Change, turn: Turn) -> None:
        turn(begun, "gpu001")
        changes.abort(begun.id, "ada")
        changes.settle(begun.id, "gpu001", NodeState.GIVEN_BACK, "nothing was done to nvidia_driver")
        changes.settle(begun.id, "gpu001", NodeState.FAILED, "in the middle")
        node = changes.get(begun.id).nodes[0]
        assert (node.state, node.why) == (NodeState.GIVEN_BACK, "nothing was done to nvidia_driver")
        assert node.ended_at is not None
        assert told(changes, begun)[-1] == ("fleetward", "gpu001 given back: nothing was done to nvidia_driver")
        assert changes.going() == ()

    def test_without_a_reason_none_is_told(self, changes: Changes, begun: Change, turn: Turn) -> None:
        turn(begun, "gpu001")
        changes.abort(begun.id, "ada")
        changes.settle(begun.id, "gpu001", NodeState.DONE, "")
        assert told(changes, begun)[-1] == ("fleetward", "gpu001 done")


class TestRecord:
    def test_nodes_and_change_stand_as_their_runs_say(self, changes: Changes, begun: Change, running: NewRun) -> None:
        for name in ("gpu001", "gpu002"):
            changes.begin(begun.id, name, running)
        now = changes.get(begun.id)
        news = [
            replace(now.nodes[0], state=NodeState.FAILED, why="step play: it broke"),
            replace(now.nodes[1], why="step empty: job 7 still runs"),
        ]
        changes.record(now, news, ChangeState.STOPPED, "1 nodes are in trouble")
        after = changes.get(begun.id)
        assert (after.state, after.why, after.ended_at) == (ChangeState.STOPPED, "1 nodes are in trouble", None)
        assert [(node.state, node.why) for node in after.nodes[:2]] == [
            (NodeState.FAILED, "step play: it broke"),
            (NodeState.UNDER_WAY, "step empty: job 7 still runs"),
        ]
        assert [node.ended_at is not None for node in after.nodes] == [True, False, False]
        assert told(changes, begun)[-1] == ("fleetward", "stopped: 1 nodes are in trouble")

    def test_the_end_has_its_time_and_is_told_once(self, changes: Changes, begun: Change) -> None:
        for _ in range(2):
            changes.record(changes.get(begun.id), (), ChangeState.DONE, "3 left out")
        assert changes.get(begun.id).ended_at is not None
        assert [text for _, text in told(changes, begun)].count("done: 3 left out") == 1

    def test_what_stays_as_it_is_is_not_told(self, changes: Changes, begun: Change) -> None:
        before = told(changes, begun)
        changes.record(begun, (), begun.state, begun.why)
        assert told(changes, begun) == before

    def test_a_pause_or_an_abort_meanwhile_stays(self, changes: Changes, begun: Change) -> None:
        changes.pause(begun.id, "ada")
        changes.record(begun, (), ChangeState.DONE, "3 done")
        assert changes.get(begun.id).state is ChangeState.PAUSED
        paused = changes.get(begun.id)
        changes.abort(begun.id, "ada")
        changes.record(paused, (), ChangeState.DONE, "3 done")
        assert changes.get(begun.id).state is ChangeState.ABORTED

    def test_a_larger_budget_given_meanwhile_is_not_spent_by_an_older_look(
        self, changes: Changes, begun: Change, turn: Turn
    ) -> None:
        turn(begun, "gpu001", RunState.FAILED, "it broke")
        looked = changes.get(begun.id)
        changes.pause(begun.id, "ada")
        changes.resume(begun.id, "ada", 1)
        changes.record(looked, (), ChangeState.STOPPED, "its budget allows none")
        assert (changes.get(begun.id).state, changes.get(begun.id).budget) == (ChangeState.RUNNING, 1)

    def test_a_node_given_back_or_to_be_done_again_meanwhile_stays(
        self, changes: Changes, begun: Change, turn: Turn
    ) -> None:
        for name in ("gpu001", "gpu002"):
            turn(begun, name, RunState.FAILED, "it broke")
        changes.record(changes.get(begun.id), (), ChangeState.STOPPED, "too many")
        looked = changes.get(begun.id)
        changes.give_back(begun.id, "gpu001", "ada", "mended")
        changes.resume(begun.id, "ada", retry=True)
        news = [replace(node, state=NodeState.FAILED, why="an older look") for node in looked.nodes[:2]]
        changes.record(looked, news, looked.state, looked.why)
        after = changes.get(begun.id)
        assert states(after) == [NodeState.GIVEN_BACK, NodeState.WAITING, NodeState.WAITING]
        assert after.state is ChangeState.RUNNING

    def test_an_older_look_says_nothing_of_a_later_run(self, changes: Changes, begun: Change, turn: Turn) -> None:
        turn(begun, "gpu001", RunState.FAILED, "it broke")
        looked = changes.get(begun.id)
        changes.pause(begun.id, "ada")
        changes.resume(begun.id, "ada", retry=True)
        turn(begun, "gpu001")
        changes.record(looked, [looked.nodes[0]], looked.state, looked.why)
        assert states(changes.get(begun.id))[0] is NodeState.UNDER_WAY


class TestHostileText:
    @pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 2**20, "'; drop table changes; --", "\x1b[2J"])
    def test_is_kept_as_far_as_it_can_be_and_breaks_nothing(
        self, changes: Changes, new: NewChange, turn: Turn, text: str
    ) -> None:
        kept = text.replace("\0", "\ufffd").replace("\ud800", "\ufffd")
        made = changes.create(replace(new, title=text, text=text, params={"patience": text, text: "24h"}, made_by=text))
        assert (made.title, made.made_by, made.params) == (kept, kept, {"patience": kept, kept: "24h"})
        assert changes.text(made.id) == kept
        begun = changes.approve(made.id, DIGEST, text)
        turn(begun, "gpu001", RunState.FAILED, text)
        changes.leave_out(begun.id, "gpu002", text)
        changes.record(changes.get(begun.id), (), ChangeState.STOPPED, text)
        stopped = changes.get(begun.id)
        assert [stopped.why, *(node.why for node in stopped.nodes)] == [kept, kept, kept, ""]
        changes.give_back(begun.id, "gpu001", text, text)
        aborted = changes.abort(begun.id, text)
        assert (aborted.why, aborted.nodes[0].why) == (f"aborted by {kept}", kept)
        assert all(kept in (who, text) or kept in text for who, text in told(changes, begun)[2:])

    @pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "gpu 1", "../etc", "\x1b[31m", "gpu[001-002]", "ü"])
    def test_in_a_nodes_name_neither_hides_nor_breaks_it(
        self, changes: Changes, new: NewChange, running: NewRun, name: str
    ) -> None:
        made = changes.create(replace(new, nodes=(ChangeNode(name, 1), ChangeNode("gpu001", 2))))
        changes.approve(made.id, DIGEST, "bob")
        kept = next(node.name for node in made.nodes if node.batch == 1)
        assert changes.begin(made.id, kept, running) is not None
        assert states(changes.get(made.id)) == [NodeState.UNDER_WAY, NodeState.WAITING]
        given = changes.give_back(made.id, kept, "ada", "odd")
        assert states(given) == [NodeState.GIVEN_BACK, NodeState.WAITING]


def test_history_is_only_ever_added_to(changes: Changes, begun: Change, database: Database) -> None:
    for statement in ("update change_history set text = 'other'", "delete from change_history"):
        with pytest.raises(psycopg.IntegrityError, match="only ever added"), database.transaction() as connection:
            connection.execute(statement.encode())
    with pytest.raises(psycopg.Error), database.transaction() as connection:
        connection.execute("truncate change_history")
    assert len(changes.history(begun.id)) == 2
