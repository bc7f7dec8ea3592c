"""Runs: written before and after every act, so that of two writers one wins and nothing is recorded twice."""

import threading
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest

from fleetward.model.errors import ConflictError, UsageError
from fleetward.model.incidents import Alert
from fleetward.model.runs import Mode, Run, RunState, StepState
from fleetward.runbooks.journal import RunJournal
from fleetward.store.database import Database, StoreOutOfReachError
from fleetward.store.embedded import EmbeddedPostgres
from fleetward.store.incidents import Incidents
from fleetward.store.runs import LONGEST_OUTPUT, NewRun, Runs


@pytest.fixture
def incident(incidents: Incidents, alert: Callable[..., Alert]) -> int:
    return incidents.take([alert()])[0].incident.id


def states(run: Run) -> list[StepState]:
    return [step.state for step in run.steps]


def told(incidents: Incidents, incident: int) -> list[tuple[str, str]]:
    return [(entry.who, entry.text) for entry in incidents.timeline(incident) if entry.kind == "run"]


def until_it_asks(runs: Runs, new: NewRun) -> Run:
    """Take a run to its second step, which waits for approval."""
    run = runs.create(new)
    runs.reserve(run.id, 0, {})
    runs.set_step_state(run.id, 0, StepState.DONE)
    runs.reserve(run.id, 1, {})
    runs.set_step_state(run.id, 1, StepState.WAITING, why="a person")
    runs.set_run_state(run.id, RunState.WAITING, "a person")
    return runs.run(run.id)


def until_it_stops(runs: Runs, new: NewRun) -> Run:
    """Take a run to a first step that may or may not have been done."""
    run = runs.create(new)
    runs.reserve(run.id, 0, {"seen": 1})
    runs.set_step_state(run.id, 0, StepState.UNKNOWN, why="cannot tell")
    runs.set_run_state(run.id, RunState.STOPPED, "cannot tell")
    return runs.run(run.id)


class TestCreate:
    def test_keeps_what_was_planned(self, runs: Runs, new_run: NewRun) -> None:
        run = runs.create(new_run)
        assert run == runs.run(run.id)
        assert run.steps == new_run.steps
        assert (run.runbook, run.title, run.mode, run.state) == (
            "gpu-off-bus", "A GPU fell off the bus", Mode.PROPOSE, RunState.PROPOSED,
        )  # fmt: skip
        assert (run.params, run.digest, run.asked_by, run.blast) == ({"node": "gpu002"}, "d" * 64, "alice", "node")
        assert run.owner == f"r{run.id}"
        assert runs.page(run.id) == "# the page"
        assert runs.policy(run.id) == {"absolute": 20, "share": 0.1}

    def test_tells_the_incident(self, runs: Runs, incidents: Incidents, incident: int, new_run: NewRun) -> None:
        run = runs.create(replace(new_run, incident=incident))
        assert run.owner == f"i{incident}"
        assert told(incidents, incident) == [
            ("alice", f"r{run.id} proposed: A GPU fell off the bus (gpu-off-bus, propose)")
        ]

    def test_a_second_of_the_same_page_for_an_incident_is_a_conflict(
        self, runs: Runs, incident: int, new_run: NewRun
    ) -> None:
        new = replace(new_run, incident=incident)
        first = runs.create(new)
        with pytest.raises(ConflictError, match=f"already: r{first.id} is proposed"):
            runs.create(new)
        runs.abort(first.id, "alice")
        assert runs.create(new).id != first.id
        assert runs.create(replace(new, runbook="another")).state is RunState.PROPOSED

    def test_for_a_closed_incident_is_a_conflict(
        self, runs: Runs, incidents: Incidents, incident: int, new_run: NewRun
    ) -> None:
        incidents.close(incident, "alice", "")
        with pytest.raises(ConflictError, match="is closed"):
            runs.create(replace(new_run, incident=incident))

    def test_for_an_incident_that_is_not_there_says_so(self, runs: Runs, new_run: NewRun) -> None:
        with pytest.raises(UsageError, match="no incident i999"):
            runs.create(replace(new_run, incident=999))

    def test_by_several_at_once_makes_one(self, runs: Runs, incident: int, new_run: NewRun) -> None:
        barrier = threading.Barrier(4)
        refused: list[ConflictError] = []

        def create() -> None:
            barrier.wait()
            try:
                runs.create(replace(new_run, incident=incident))
            except ConflictError as error:
                refused.append(error)

        threads = [threading.Thread(target=create) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refused) == 3
        assert len(runs.of_incident(incident)) == 1


class TestLists:
    def test_of_those_not_ended_of_an_incident_and_the_latest(
        self, runs: Runs, incident: int, new_run: NewRun, running: NewRun
    ) -> None:
        ended = runs.create(new_run)
        runs.abort(ended.id, "alice")
        mine = runs.create(replace(new_run, incident=incident))
        other = runs.create(running)
        assert runs.active() == {mine.id: mine.state, other.id: other.state}
        assert [run.id for run in runs.of_incident(incident)] == [mine.id]
        assert [run.id for run in runs.list(2)] == [other.id, mine.id]
        assert all(len(run.steps) == 3 for run in runs.list())

    def test_of_what_is_not_there(self, runs: Runs) -> None:
        assert runs.active() == {}
        assert runs.list() == runs.of_incident(5) == ()
        for ask in (runs.run, runs.page, runs.policy):
            with pytest.raises(UsageError, match="no run r5"):
                ask(5)


class TestApprove:
    def test_begins_a_proposed_run(self, runs: Runs, incidents: Incidents, incident: int, new_run: NewRun) -> None:
        proposed = runs.create(replace(new_run, incident=incident))
        run = runs.approve(proposed.id, proposed.digest, "bob")
        assert (run.state, run.approved_by) == (RunState.RUNNING, "bob")
        assert run.approved_at is not None
        assert told(incidents, incident)[-1] == ("bob", f"r{run.id} approved")

    def test_of_something_else_than_the_run_is_refused(self, runs: Runs, new_run: NewRun) -> None:
        run = runs.create(new_run)
        with pytest.raises(UsageError, match="is not what was approved"):
            runs.approve(run.id, "e" * 64, "bob")
        assert runs.run(run.id) == run

    @pytest.mark.parametrize("state", [RunState.PLANNED, RunState.RUNNING])
    def test_of_what_waits_for_none_is_a_conflict(self, runs: Runs, new_run: NewRun, state: RunState) -> None:
        run = runs.create(replace(new_run, state=state))
        with pytest.raises(ConflictError, match="waits for no approval"):
            runs.approve(run.id, run.digest, "bob")
        assert runs.run(run.id) == run

    def test_of_a_run_that_waits_at_an_approve_step_is_for_that_step(self, runs: Runs, running: NewRun) -> None:
        run = until_it_asks(runs, running)
        approved = runs.approve(run.id, run.digest, "bob")
        assert approved.steps[1].outcome == {"approved_by": "bob"}
        assert approved.steps[1].state is StepState.WAITING
        assert approved.approved_by == ""
        with pytest.raises(ConflictError, match="waits for no approval"):
            runs.approve(run.id, run.digest, "carol")

    def test_of_a_step_that_does_not_ask_is_a_conflict(self, runs: Runs, running: NewRun) -> None:
        run = until_it_asks(runs, running)
        for index in (0, 2):
            with pytest.raises(ConflictError, match="waits for no approval"):
                runs.approve_step(run.id, index, "bob")
        with pytest.raises(UsageError, match="no step 9"):
            runs.approve_step(run.id, 9, "bob")
        assert runs.approve_step(run.id, 1, "bob").steps[1].outcome == {"approved_by": "bob"}

    def test_by_two_at_once_is_one_persons(self, runs: Runs, new_run: NewRun) -> None:
        run = runs.create(new_run)
        barrier = threading.Barrier(2)
        won: list[str] = []

        def approve(who: str) -> None:
            barrier.wait()
            try:
                runs.approve(run.id, run.digest, who)
            except ConflictError:
                return
            won.append(who)

        threads = [threading.Thread(target=approve, args=[who]) for who in ("bob", "carol")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [runs.run(run.id).approved_by]


class TestDecide:
    def test_that_it_was_done_goes_on_with_the_next(self, runs: Runs, running: NewRun) -> None:
        run = until_it_stops(runs, running)
        after = runs.decide(run.id, 0, "done", "bob")
        assert (after.state, after.why) == (RunState.RUNNING, "")
        assert (after.steps[0].state, after.steps[0].outcome) == (StepState.DONE, {"decided_by": "bob"})
        runs.reserve(run.id, 1, {})

    def test_that_it_is_to_be_done_again(self, runs: Runs, running: NewRun) -> None:
        run = until_it_stops(runs, running)
        after = runs.decide(run.id, 0, "again", "bob")
        assert (after.state, after.steps[0].state, after.steps[0].why) == (RunState.RUNNING, StepState.PENDING, "")
        runs.reserve(run.id, 0, {})
        assert runs.run(run.id).steps[0].attempts == 2

    def test_to_abort_keeps_the_doubt(self, runs: Runs, running: NewRun) -> None:
        run = until_it_stops(runs, running)
        after = runs.decide(run.id, 0, "abort", "bob")
        assert (after.state, after.why) == (RunState.ABORTED, "aborted by bob")
        assert states(after) == [StepState.UNKNOWN, StepState.SKIPPED, StepState.SKIPPED]

    def test_about_another_step_is_a_conflict(self, runs: Runs, running: NewRun) -> None:
        run = until_it_stops(runs, running)
        with pytest.raises(ConflictError, match=r"it stopped at step 0 \(look\)"):
            runs.decide(run.id, 2, "done", "bob")
        assert runs.run(run.id) == run

    def test_about_a_run_that_goes_is_a_conflict(self, runs: Runs, running: NewRun) -> None:
        run = runs.create(running)
        with pytest.raises(ConflictError, match="only a run that has stopped"):
            runs.decide(run.id, 0, "done", "bob")


class TestAbort:
    def test_skips_what_was_not_begun_and_still_takes_the_outcome_of_what_was(
        self, runs: Runs, incidents: Incidents, incident: int, running: NewRun
    ) -> None:
        run = runs.create(replace(running, incident=incident))
        runs.reserve(run.id, 0, {})
        after = runs.abort(run.id, "bob")
        assert states(after) == [StepState.RESERVED, StepState.SKIPPED, StepState.SKIPPED]
        assert after.ended_at is not None
        assert told(incidents, incident)[-1] == ("bob", f"r{run.id} aborted: aborted by bob")
        assert runs.set_step_state(run.id, 0, StepState.DONE, outcome={"was": "done"}).outcome == {"was": "done"}
        with pytest.raises(ConflictError):
            runs.reserve(run.id, 1, {})
        with pytest.raises(ConflictError, match="has ended already"):
            runs.abort(run.id, "bob")


class TestRunState:
    def test_ends_with_its_time_and_is_told(
        self, runs: Runs, incidents: Incidents, incident: int, running: NewRun
    ) -> None:
        run = runs.create(replace(running, incident=incident))
        runs.set_run_state(run.id, RunState.WAITING, "for Prometheus")
        runs.set_run_state(run.id, RunState.RUNNING)
        runs.set_run_state(run.id, RunState.FAILED, "no")
        after = runs.run(run.id)
        assert (after.state, after.why) == (RunState.FAILED, "no")
        assert after.ended_at is not None
        assert set(states(after)) == {StepState.SKIPPED}
        assert told(incidents, incident)[1:] == [("fleetward", f"r{run.id} failed: no")]

    def test_said_twice_is_recorded_once(
        self, runs: Runs, incidents: Incidents, incident: int, running: NewRun
    ) -> None:
        run = runs.create(replace(running, incident=incident))
        for _ in range(2):
            runs.set_run_state(run.id, RunState.DONE)
        assert len(told(incidents, incident)) == 2

    @pytest.mark.parametrize("begun", [RunState.PLANNED, RunState.PROPOSED, RunState.STOPPED, RunState.DONE])
    def test_the_engine_does_not_go_on_without_a_person(self, runs: Runs, running: NewRun, begun: RunState) -> None:
        run = runs.create(replace(running, state=begun if begun is not RunState.DONE else RunState.RUNNING))
        if begun is RunState.DONE:
            runs.set_run_state(run.id, begun)
        with pytest.raises(ConflictError, match=f"is {begun} and cannot become running"):
            runs.set_run_state(run.id, RunState.RUNNING)
        with pytest.raises(ConflictError, match="cannot begin"):
            runs.reserve(run.id, 0, {})
        assert runs.run(run.id).state is begun


class TestSteps:
    def test_reserve_act_outcome(self, runs: Runs, running: NewRun) -> None:
        run = runs.create(running)
        runs.reserve(run.id, 0, {"restarts": {"12": 1}})
        step = runs.run(run.id).steps[0]
        assert (step.state, step.before, step.attempts) == (StepState.RESERVED, {"restarts": {"12": 1}}, 1)
        assert step.started_at is not None
        assert step.ended_at is None
        step = runs.set_step_state(run.id, 0, StepState.DONE, outcome={"lines": 3}, why="")
        assert (step.state, step.outcome, step.before) == (StepState.DONE, {"lines": 3}, {"restarts": {"12": 1}})
        assert step.ended_at is not None
        assert runs.run(run.id).steps[0] == step

    def test_waiting_keeps_the_outcome_and_is_not_an_end(self, runs: Runs, running: NewRun) -> None:
        run = runs.create(running)
        runs.reserve(run.id, 0, {})
        runs.set_step_state(run.id, 0, StepState.WAITING, outcome={"so": "far"}, why="10 s more")
        step = runs.set_step_state(run.id, 0, StepState.WAITING, why="5 s more")
        assert (step.outcome, step.why, step.ended_at) == ({"so": "far"}, "5 s more", None)

    def test_cannot_begin_before_those_before_it(self, runs: Runs, running: NewRun) -> None:
        run = runs.create(running)
        with pytest.raises(ConflictError, match="before it stand pending"):
            runs.reserve(run.id, 1, {})
        runs.set_step_state(run.id, 0, StepState.SKIPPED)
        runs.reserve(run.id, 1, {})

    @pytest.mark.parametrize("ended", [StepState.DONE, StepState.FAILED, StepState.SKIPPED, StepState.UNKNOWN])
    def test_ended_or_in_doubt_it_stays_so(self, runs: Runs, running: NewRun, ended: StepState) -> None:
        run = runs.create(running)
        runs.reserve(run.id, 0, {})
        first = runs.set_step_state(run.id, 0, ended, outcome={"is": "so"})
        assert runs.set_step_state(run.id, 0, ended, outcome={"is": "other"}) == first
        with pytest.raises(ConflictError, match=f"is {ended} and cannot become waiting"):
            runs.set_step_state(run.id, 0, StepState.WAITING)
        with pytest.raises(ConflictError, match="cannot begin"):
            runs.reserve(run.id, 0, {})
        assert runs.run(run.id).steps[0] == first

    def test_a_step_that_is_not_there_says_so(self, runs: Runs, running: NewRun) -> None:
        run = runs.create(running)
        with pytest.raises(UsageError, match="no step 3: it has 3"):
            runs.set_step_state(run.id, 3, StepState.DONE)
        with pytest.raises(UsageError, match="no step 3: it has 3"):
            runs.reserve(run.id, 3, {})

    def test_output_grows_and_its_end_is_kept(self, runs: Runs, running: NewRun) -> None:
        run = runs.create(running)
        for text in ("one\n", "t\0wo\n"):
            runs.append_output(run.id, 0, text)
        assert runs.run(run.id).steps[0].output == "one\nt\ufffdwo\n"
        runs.append_output(run.id, 0, "x" * LONGEST_OUTPUT + "end")
        output = runs.run(run.id).steps[0].output
        assert len(output) == LONGEST_OUTPUT
        assert output.endswith("xend")

    def test_history_keeps_every_change_and_is_only_added_to(
        self, runs: Runs, running: NewRun, database: Database
    ) -> None:
        run = until_it_stops(runs, running)
        runs.append_output(run.id, 0, "no change of state")
        runs.decide(run.id, 0, "done", "bob")
        with database.transaction() as connection:
            rows = connection.execute(
                "select state, attempts, before, outcome, why from step_history"
                " where run = %s and index = 0 order by id",
                [run.id],
            ).fetchall()
        assert [tuple(row.values()) for row in rows] == [
            ("pending", 0, {}, {}, ""),
            ("reserved", 1, {"seen": 1}, {}, ""),
            ("unknown", 1, {"seen": 1}, {}, "cannot tell"),
            ("done", 1, {"seen": 1}, {"decided_by": "bob"}, ""),
        ]
        with pytest.raises(psycopg.IntegrityError, match="only ever added"), database.transaction() as connection:
            connection.execute("update step_history set why = 'other'")


class TestNote:
    def test_goes_to_the_incident_with_the_run(
        self, runs: Runs, incidents: Incidents, incident: int, running: NewRun
    ) -> None:
        run = runs.create(replace(running, incident=incident))
        runs.note(run.id, "step", "fleetward", "drained", {"node": "gpu002"})
        entry = incidents.timeline(incident)[-1]
        assert (entry.kind, entry.who, entry.text) == ("step", "fleetward", "drained")
        assert entry.data == {"run": run.id, "node": "gpu002"}

    def test_of_a_run_without_one_goes_nowhere(self, runs: Runs, running: NewRun, database: Database) -> None:
        run = runs.create(running)
        runs.note(run.id, "step", "fleetward", "drained")
        with database.transaction() as connection:
            assert connection.execute("select * from timeline").fetchall() == []


def test_is_the_journal_that_the_engine_needs(runs: Runs, running: NewRun) -> None:
    journal: RunJournal = runs
    run = journal.run(runs.create(running).id)
    journal.reserve(run.id, 0, {})
    assert journal.set_step_state(run.id, 0, StepState.DONE).state is StepState.DONE


def test_a_server_that_is_stopped_between_two_writes_loses_nothing(
    runs: Runs, running: NewRun, postgres: EmbeddedPostgres
) -> None:
    run = runs.create(running)
    runs.reserve(run.id, 0, {"seen": 1})
    postgres.stop()
    try:
        with pytest.raises(StoreOutOfReachError):
            runs.set_step_state(run.id, 0, StepState.DONE)
    finally:
        postgres.start()
    assert runs.run(run.id).steps[0].state is StepState.RESERVED
    assert runs.set_step_state(run.id, 0, StepState.DONE).before == {"seen": 1}
