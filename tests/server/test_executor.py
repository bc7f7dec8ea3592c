"""The threads of runs: one each, none forgotten, and a mistake stops a run where a person sees it."""

import threading
from dataclasses import dataclass, field

from whole_daemon import Daemon, alert, eventually

from fleetward.model.runs import RunState
from fleetward.server.executor import Executor
from fleetward.store.runs import Runs


@dataclass
class PlayedEngine:
    """Advances runs as long as a test holds it up."""

    error: Exception | None = None
    begun: list[int] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)

    def advance(self, run_id: int, stopping: threading.Event) -> RunState:
        self.begun.append(run_id)
        while not (self.go.is_set() or stopping.is_set()):
            self.go.wait(0.01)
        if self.error is not None:
            raise self.error
        return RunState.WAITING


def under_way(daemon: Daemon) -> Runs:
    """Return the record, with a run in it that is under way and that no thread advances."""
    daemon.made.sources[0].look()
    daemon.post(alert())
    run = daemon.incident()["runs"][0]
    runs = Runs(daemon.database)
    runs.approve(run["id"], run["digest"], "ada")
    return runs


def made(engine: PlayedEngine, runs: Runs, rested: list[bool]) -> Executor:
    return Executor(engine, runs, lambda: rested.append(True))  # type: ignore[arg-type]  # all that it needs of one


def test_a_run_has_one_thread_at_a_time(at_rest: Daemon) -> None:
    engine, rested = PlayedEngine(), list[bool]()
    executor = made(engine, under_way(at_rest), rested)
    for _ in range(5):
        executor.wake(1)
        executor.take_up()
    eventually(lambda: engine.begun)
    engine.go.set()
    eventually(lambda: rested)
    assert engine.begun == [1]
    assert executor.stop(5)


def test_what_is_under_way_by_the_record_is_taken_up(at_rest: Daemon) -> None:
    engine = PlayedEngine()
    executor = made(engine, under_way(at_rest), [])
    executor.take_up()
    eventually(lambda: engine.begun == [1])
    assert executor.stop(5), "it stops as soon as it is told to"


def test_a_mistake_of_ours_stops_the_run_and_is_not_tried_in_a_circle(at_rest: Daemon) -> None:
    engine = PlayedEngine(error=ZeroDivisionError("division by zero"))
    engine.go.set()
    runs = under_way(at_rest)
    executor = made(engine, runs, [])
    executor.take_up()
    eventually(lambda: runs.run(1).state is RunState.STOPPED)
    assert "a mistake in Fleetward (ZeroDivisionError" in runs.run(1).why
    executor.take_up()
    assert engine.begun == [1]
    executor.stop(5)


def test_what_does_not_come_to_rest_is_told(at_rest: Daemon) -> None:
    hold = threading.Event()

    class Stuck(PlayedEngine):
        def advance(self, run_id: int, stopping: threading.Event) -> RunState:
            self.begun.append(run_id)
            hold.wait(20)
            return RunState.WAITING

    engine = Stuck()
    executor = made(engine, under_way(at_rest), [])
    executor.wake(1)
    eventually(lambda: engine.begun)
    try:
        assert not executor.stop(0.1)
        executor.wake(1)
        assert engine.begun == [1]
    finally:
        hold.set()


def test_an_auto_run_that_was_cut_off_before_it_began_begins(at_rest: Daemon) -> None:
    """As where the daemon was killed between recording a run and beginning it."""
    at_rest.page("auto")
    at_rest.made.sources[0].look()
    at_rest.post(alert())
    with at_rest.database.transaction() as connection:
        connection.execute("update runs set state = 'proposed', approved_by = '', approved_at = null")
        connection.execute("update steps set state = 'pending'")
    at_rest.made.executor.stop(5)
    at_rest.made.autopilot._settled.clear()
    at_rest.made.autopilot.round()
    assert at_rest.run()["approved_by"] == "fleetward"
