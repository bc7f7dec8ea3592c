"""How the engine takes a run on: what waits, what asks, what ends it, and what is out of reach."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from played_runs import PAGE_TEXT, FileJournal, Played, PlayedClock, World, actions, new_run, page

from fleetward.model.errors import FleetwardError, OutOfReachError, UsageError
from fleetward.model.runs import RunState
from fleetward.runbooks.actions.base import (
    Asks,
    Call,
    CannotTell,
    Done,
    Failed,
    NotBegun,
    Observation,
    Report,
    Result,
    Waiting,
)
from fleetward.runbooks.engine import Engine
from fleetward.runbooks.page import Page
from fleetward.store.database import Database
from fleetward.store.runs import Runs


class Bench:
    """A run of one `odd` step and one `change` step, with the pieces that a test turns."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder / "world")
        self.journal = FileJournal(folder / "run")
        self.clock = PlayedClock(stop_after=1000)
        self.pages: Mapping[str, Page] = {"played": page()}
        self.actions = actions(self.world)

    def odd(
        self,
        *results: Result | FleetwardError,
        changes: bool = True,
        observes: Callable[[Call], Observation] = lambda call: NotBegun(),
        arguments: Mapping[str, object] | None = None,
        state: RunState = RunState.RUNNING,
    ) -> None:
        """Record a run whose first step gives these results, one after the other, the last one for ever."""
        script: Iterator[Result | FleetwardError] = iter(results)
        latest: Result | FleetwardError = results[0]

        def act(call: Call, report: Report) -> Result:
            nonlocal latest
            latest = next(script, latest)
            self.world.did("acted")
            if isinstance(latest, FleetwardError):
                raise latest
            return latest

        self.actions["odd"] = Played(self.world, "odd", changes, act, observes)
        self.journal.create(new_run(("odd", "odd", arguments or {}), ("then", "change", {}), state=state))

    def advance(self, engine: Engine | None = None) -> RunState:
        return (engine or self.engine()).advance(1, self.clock.stopping)

    def engine(self) -> Engine:
        return Engine(self.journal, self.actions, self.clock, lambda: self.pages)

    def states(self) -> list[str]:
        return [str(step.state) for step in self.journal.run(1).steps]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_each_step_is_told_to_the_timeline_at_its_beginning_and_end(bench: Bench) -> None:
    bench.odd(Done({"n": 1}))
    assert bench.advance() is RunState.DONE
    assert bench.journal.notes().splitlines() == [
        "step fleetward: r1: step odd (odd) begins",
        "step fleetward: r1: step odd (odd) is done",
        "step fleetward: r1: step then (change) begins",
        "step fleetward: r1: step then (change) is done",
    ]


@pytest.mark.parametrize("state", [RunState.PLANNED, RunState.PROPOSED, RunState.STOPPED, RunState.ABORTED])
def test_nothing_happens_to_a_run_that_may_not_go_on(bench: Bench, state: RunState) -> None:
    bench.odd(Done(), state=state)
    assert bench.advance() is state
    assert bench.world.effects() == []


def test_a_failure_ends_the_run(bench: Bench) -> None:
    bench.odd(Failed("it broke", {"rc": 1}))
    assert bench.advance() is RunState.FAILED
    assert bench.journal.run(1).why == "step odd: it broke"
    assert bench.journal.run(1).steps[0].outcome == {"rc": 1}
    assert bench.world.effects() == ["acted"]


def test_an_error_of_ours_is_a_failure(bench: Bench) -> None:
    bench.odd(FleetwardError("Slurm said no"))
    assert bench.advance() is RunState.FAILED
    assert bench.journal.run(1).why == "step odd: Slurm said no"


def test_an_error_in_preparing_is_a_failure_of_a_step_that_never_began(bench: Bench) -> None:
    bench.odd(Done())

    def prepare(call: Call) -> Mapping[str, object]:
        raise FleetwardError("no such node")

    bench.actions["odd"].prepare = prepare  # type: ignore[method-assign]
    assert bench.advance() is RunState.FAILED
    assert bench.journal.run(1).steps[0].attempts == 0
    assert bench.world.effects() == []


def test_a_mistake_in_an_action_comes_through_and_the_step_is_looked_at_later(bench: Bench) -> None:
    bench.odd(Done(), observes=lambda call: CannotTell("who knows"))
    bench.actions["odd"].acts = lambda call, report: {}["no such key"]
    with pytest.raises(KeyError):
        bench.advance()
    assert bench.states() == ["reserved", "pending"]
    assert bench.advance() is RunState.STOPPED


def test_a_step_that_asks_stops_the_run_and_can_be_done_again(bench: Bench) -> None:
    bench.odd(Asks("the breaker refused"), Done())
    assert bench.advance() is RunState.STOPPED
    assert bench.journal.run(1).why == "step odd: the breaker refused"
    bench.journal.decide(1, 0, "again", "bob")
    assert bench.advance() is RunState.DONE


def test_a_waiting_step_shows_why_and_is_looked_at_again(bench: Bench) -> None:
    bench.odd(Waiting("3 s to go", 3), Waiting("3 s to go", 3), Done())
    seen: list[tuple[RunState, str]] = []
    record = bench.journal.set_run_state
    bench.journal.set_run_state = lambda run_id, state, why="": (seen.append((state, why)), record(run_id, state, why))[
        1
    ]  # type: ignore[method-assign]
    assert bench.advance() is RunState.DONE
    assert seen == [(RunState.WAITING, "step odd: 3 s to go"), (RunState.RUNNING, ""), (RunState.DONE, "")]
    assert bench.clock.slept == 6
    assert bench.journal.run(1).steps[0].attempts == 1


def test_stopping_leaves_a_waiting_run_as_it_is_and_the_next_call_goes_on(bench: Bench) -> None:
    bench.odd(Waiting("for the repair", 2), changes=False)
    bench.clock.stop_after = 5
    assert bench.advance() is RunState.WAITING
    assert bench.states() == ["waiting", "pending"]
    bench.clock = PlayedClock()
    bench.actions["odd"].acts = lambda call, report: Done()
    assert bench.advance() is RunState.DONE


def test_a_run_that_is_aborted_while_it_waits_stays_aborted(bench: Bench) -> None:
    bench.odd(Waiting("for ever", 2))
    looks = iter(range(100))

    def act(call: Call, report: Report) -> Result:
        if next(looks) == 3:
            bench.journal.abort(1, "bob")
        return Waiting("for ever", 2)

    bench.actions["odd"].acts = act
    assert bench.advance() is RunState.ABORTED
    assert bench.journal.run(1).why == "aborted by bob"


def test_what_was_done_is_recorded_in_a_run_that_was_aborted_meanwhile(bench: Bench) -> None:
    bench.odd(Done())

    def act(call: Call, report: Report) -> Result:
        bench.journal.abort(1, "bob")
        return Done({"did": True})

    bench.actions["odd"].acts = act
    assert bench.advance() is RunState.ABORTED
    assert bench.states() == ["done", "pending"]
    assert bench.journal.run(1).steps[0].outcome == {"did": True}
    assert bench.world.effects() == []


class TestOutOfReach:
    def test_the_run_waits_with_growing_pauses_and_goes_on(self, bench: Bench) -> None:
        pauses: list[float] = []
        bench.odd(*[OutOfReachError("Slurm does not answer")] * 7, Done())
        states: list[tuple[RunState, str]] = []
        act = bench.actions["odd"].acts

        def watched(call: Call, report: Report) -> Result:
            pauses.append(bench.clock.slept)
            states.append((call.run.state, call.run.why))
            return act(call, report)

        bench.actions["odd"].acts = watched
        assert bench.advance() is RunState.DONE
        waits = [round(later - earlier, 1) for earlier, later in itertools.pairwise(pauses)]
        assert waits == [0.5, 1, 2, 4, 8, 10, 10]
        assert states[3] == (RunState.WAITING, "step odd: Slurm does not answer")

    def test_what_may_have_been_done_is_looked_at_before_it_acts_again(self, bench: Bench) -> None:
        bench.odd(OutOfReachError("cut off"), observes=lambda call: Done({"seen": True}))
        assert bench.advance() is RunState.DONE
        assert bench.world.effects() == ["acted", "then"]
        assert bench.journal.run(1).steps[0].outcome == {"seen": True}

    def test_what_only_looks_acts_again_without_a_question(self, bench: Bench) -> None:
        bench.odd(OutOfReachError("cut off"), Done(), changes=False, observes=lambda call: CannotTell("never asked"))
        assert bench.advance() is RunState.DONE

    def test_a_look_that_reaches_nothing_is_repeated(self, bench: Bench) -> None:
        answers: Iterator[Observation | None] = iter([None, None, Done()])

        def observe(call: Call) -> Observation:
            answer = next(answers)
            if answer is None:
                raise OutOfReachError("still cut off")
            return answer

        bench.odd(OutOfReachError("cut off"), observes=observe)
        assert bench.advance() is RunState.DONE
        assert bench.world.effects() == ["acted", "then"]

    def test_a_look_that_fails_asks(self, bench: Bench) -> None:
        def observe(call: Call) -> Observation:
            raise FleetwardError("Slurm refused to show the node")

        bench.odd(OutOfReachError("cut off"), observes=observe)
        assert bench.advance() is RunState.STOPPED
        assert bench.states() == ["unknown", "pending"]

    def test_an_outcome_is_not_lost_while_the_record_is_out_of_reach(self, bench: Bench) -> None:
        bench.odd(Done({"did": True}))
        record, failures = bench.journal.set_step_state, iter([OutOfReachError("no database")] * 5)

        def failing(*args: object, **keywords: object) -> object:
            for failure in failures:
                raise failure
            return record(*args, **keywords)  # type: ignore[arg-type]

        bench.journal.set_step_state = failing  # type: ignore[method-assign, assignment]
        assert bench.advance() is RunState.DONE
        assert bench.world.effects() == ["acted", "then"]
        assert bench.journal.run(1).steps[0].outcome == {"did": True}

    def test_output_that_cannot_be_written_now_comes_later_and_fails_no_action(self, bench: Bench) -> None:
        bench.odd(Done())
        record, failures = bench.journal.append_output, iter([OutOfReachError("no database")] * 3)

        def failing(run_id: int, index: int, text: str) -> None:
            for failure in failures:
                raise failure
            record(run_id, index, text)

        bench.journal.append_output = failing  # type: ignore[method-assign]

        def act(call: Call, report: Report) -> Result:
            report("one\n")
            report("two\n")
            return Done()

        bench.actions["odd"].acts = act
        assert bench.advance() is RunState.DONE
        assert bench.journal.run(1).steps[0].output == "one\ntwo\n"

    def test_the_daemon_can_stop_meanwhile_and_the_next_one_looks(self, bench: Bench) -> None:
        bench.odd(Done({"did": True}), observes=lambda call: Done({"seen": True}))
        record = bench.journal.set_step_state

        def failing(*args: object, **keywords: object) -> object:
            raise OutOfReachError("no database")

        bench.journal.set_step_state = failing  # type: ignore[method-assign, assignment]
        bench.clock.stop_after = 60
        assert bench.advance() is RunState.RUNNING
        bench.journal.set_step_state = record  # type: ignore[method-assign]
        bench.clock = PlayedClock()
        assert bench.advance() is RunState.DONE
        assert bench.world.effects() == ["acted", "then"]
        assert bench.journal.run(1).steps[0].outcome == {"seen": True}


class TestOptional:
    @pytest.mark.parametrize("result", [Failed("nothing there"), OutOfReachError("the node is gone")])
    def test_the_run_goes_on_without_it(self, bench: Bench, result: Result | FleetwardError) -> None:
        bench.odd(result, changes=False, arguments={"optional": True})
        assert bench.advance() is RunState.DONE
        assert bench.states() == ["skipped", "done"]
        assert bench.journal.run(1).steps[0].why in {"nothing there", "the node is gone"}

    @pytest.mark.parametrize(
        ("changes", "arguments"), [(True, {"optional": True}), (False, {"optional": True, "changes": True})]
    )
    def test_what_changes_something_is_never_optional(
        self, bench: Bench, changes: bool, arguments: Mapping[str, object]
    ) -> None:
        bench.odd(Failed("it broke"), changes=changes, arguments=arguments)
        assert bench.advance() is RunState.FAILED


class TestPage:
    def test_a_page_that_was_changed_asks_and_goes_on_as_planned(self, bench: Bench) -> None:
        bench.odd(Done())
        bench.pages = {"played": page(PAGE_TEXT + "\nAnother sentence.\n")}
        engine = bench.engine()
        assert bench.advance(engine) is RunState.STOPPED
        assert "page played was changed since" in bench.journal.run(1).why
        assert bench.world.effects() == []
        bench.journal.decide(1, 0, "again", "bob")
        assert bench.advance(engine) is RunState.DONE

    def test_a_page_that_is_changed_once_more_asks_once_more(self, bench: Bench) -> None:
        bench.odd(Done())
        engine = bench.engine()
        for sentence in ("One.", "Two."):
            bench.pages = {"played": page(PAGE_TEXT + sentence)}
            assert bench.advance(engine) is RunState.STOPPED
            bench.journal.decide(1, 0, "again", "bob")
        assert bench.advance(engine) is RunState.DONE

    def test_a_page_that_is_gone_asks(self, bench: Bench) -> None:
        bench.odd(Done())
        bench.pages = {}
        assert bench.advance() is RunState.STOPPED
        assert "is no longer in the library" in bench.journal.run(1).why

    def test_an_edit_while_it_goes_on_does_not_stop_it(self, bench: Bench) -> None:
        bench.odd(Done())

        def act(call: Call, report: Report) -> Result:
            bench.pages = {}
            return Done()

        bench.actions["odd"].acts = act
        assert bench.advance() is RunState.DONE

    def test_an_action_that_this_release_lacks_asks(self, bench: Bench) -> None:
        bench.odd(Done())
        del bench.actions["odd"]
        assert bench.advance() is RunState.STOPPED
        assert "there is no action odd here" in bench.journal.run(1).why


def test_an_edit_between_proposal_and_approval_is_asked_about(bench: Bench, database: Database) -> None:
    """With the record in PostgreSQL, as the daemon has it."""
    runs = Runs(database)
    run = runs.create(new_run(("a", "change", {}), state=RunState.PROPOSED))
    bench.pages = {"played": page(PAGE_TEXT + "\nEdited.\n")}
    engine = Engine(runs, bench.actions, bench.clock, lambda: bench.pages)
    with pytest.raises(UsageError, match="digest"):
        runs.approve(run.id, "e" * 64, "ada")
    assert engine.advance(run.id, bench.clock.stopping) is RunState.PROPOSED
    runs.approve(run.id, run.digest, "ada")
    assert engine.advance(run.id, bench.clock.stopping) is RunState.STOPPED
    assert "was changed since this run was planned" in runs.run(run.id).why
    assert bench.world.effects() == []
    runs.decide(run.id, 0, "again", "ada")
    assert engine.advance(run.id, bench.clock.stopping) is RunState.DONE
    assert bench.world.effects() == ["a"]
    assert runs.page(run.id) == PAGE_TEXT
