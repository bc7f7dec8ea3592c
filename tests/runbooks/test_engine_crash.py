"""A process that is killed at any point of a run: the next one comes to the same end, and nothing is done twice."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
from played_runs import FIVE, FileJournal, PlayedClock, World, actions, new_run, page

from fleetward.model.runs import RunState, StepState
from fleetward.runbooks.engine import Engine
from fleetward.runbooks.journal import RunJournal
from fleetward.store.database import Database
from fleetward.store.embedded import EmbeddedPostgres
from fleetward.store.runs import Runs

POINTS = ("reserve", "prepared", "acted", "recorded")
PLACES = [f"{index}:{point}" for index in range(len(FIVE)) for point in POINTS]
DEATHS = [f"{step}:{where}" for step in ("a", "b", "c") for where in ("before", "after")]
KILLED = -9

OpenJournal = Callable[[], RunJournal]


def advance(journal: RunJournal, world: World, run_id: int) -> RunState:
    engine = Engine(journal, actions(world), PlayedClock(), lambda: {"played": page()})
    return engine.advance(run_id, Event())


def killed(open_journal: OpenJournal, world: World, run_id: int, **variables: str) -> int | None:
    """Advance in a process of its own that dies where a variable says; return how it ended."""

    def child() -> None:
        os.environ.update(variables)
        advance(open_journal(), world, run_id)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode is not None, "the child hangs"
    return process.exitcode


def ends_well(journal: RunJournal, world: World, run_id: int) -> None:
    assert advance(journal, world, run_id) is RunState.DONE
    assert [step.state for step in journal.run(run_id).steps] == [StepState.DONE] * 5
    changed = [effect for effect in world.effects() if not effect.startswith("looked-")]
    assert changed == ["a", "b", "c"]
    assert {"looked-first", "looked-until"} <= set(world.effects())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world")


@pytest.fixture
def kept(tmp_path: Path) -> FileJournal:
    journal = FileJournal(tmp_path / "run")
    journal.create(new_run(*FIVE))
    return journal


def test_without_a_crash_all_is_done_once(kept: FileJournal, world: World) -> None:
    ends_well(kept, world, 1)
    assert [step.attempts for step in kept.run(1).steps] == [1] * 5
    assert kept.run(1).steps[1].output == "a was done\n"


@pytest.mark.parametrize("place", PLACES)
def test_killed_at_a_point_of_the_engine(kept: FileJournal, world: World, place: str) -> None:
    assert killed(lambda: kept, world, 1, FLEETWARD_CRASH_AT=place) == KILLED
    ends_well(kept, world, 1)


@pytest.mark.parametrize("place", DEATHS)
def test_killed_inside_an_action(kept: FileJournal, world: World, place: str) -> None:
    assert killed(lambda: kept, world, 1, PLAYED_DEATH=place) == KILLED
    ends_well(kept, world, 1)


@pytest.mark.parametrize("first", PLACES)
def test_killed_twice(tmp_path: Path, first: str) -> None:
    """The second crash comes at any point from there on, or not at all where that point has passed."""
    for number, second in enumerate(PLACES[PLACES.index(first) :]):
        folder = tmp_path / str(number)
        folder.mkdir()
        journal, world = FileJournal(folder / "run"), World(folder / "world")
        journal.create(new_run(*FIVE))
        assert killed(lambda journal=journal: journal, world, 1, FLEETWARD_CRASH_AT=first) == KILLED
        killed(lambda journal=journal: journal, world, 1, FLEETWARD_CRASH_AT=second)
        ends_well(journal, world, 1)


@pytest.mark.parametrize(("point", "done"), [("prepared", 0), ("acted", 1)])
def test_where_the_action_cannot_tell_a_person_is_asked(tmp_path: Path, world: World, point: str, done: int) -> None:
    journal = FileJournal(tmp_path / "run")
    journal.create(new_run(("first", "look", {}), ("in-the-dark", "dark", {}), ("c", "change", {})))
    assert killed(lambda: journal, world, 1, FLEETWARD_CRASH_AT=f"1:{point}") == KILLED
    assert advance(journal, world, 1) is RunState.STOPPED
    run = journal.run(1)
    assert run.why == "step in-the-dark: nobody saw it"
    assert [step.state for step in run.steps] == [StepState.DONE, StepState.UNKNOWN, StepState.PENDING]
    assert world.effects().count("in-the-dark") == done
    assert advance(journal, world, 1) is RunState.STOPPED, "it went on without a decision"
    journal.decide(1, 1, "again" if done == 0 else "done", "bob")
    assert advance(journal, world, 1) is RunState.DONE
    assert world.effects().count("in-the-dark") == 1
    assert world.effects().count("c") == 1


@pytest.mark.parametrize(("place", "death"), [(place, "") for place in PLACES] + [("", death) for death in DEATHS])
def test_killed_with_the_record_in_postgresql(
    postgres: EmbeddedPostgres, database: Database, world: World, place: str, death: str
) -> None:
    run_id = Runs(database).create(new_run(*FIVE)).id
    with database.transaction() as connection:
        row = connection.execute("select current_database() as name").fetchone()
    assert row is not None
    address = postgres.address.replace("dbname=fleetward", f"dbname={row['name']}")

    def open_journal() -> RunJournal:
        return Runs(Database(address))  # connections do not survive a fork

    assert killed(open_journal, world, run_id, FLEETWARD_CRASH_AT=place, PLAYED_DEATH=death) == KILLED
    ends_well(Runs(database), world, run_id)
