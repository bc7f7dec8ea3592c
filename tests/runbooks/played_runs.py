"""A record of runs in a file, and a small world that actions change, both of which outlive a process that is killed."""

import os
import pickle
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from fleetward.model.errors import ConflictError
from fleetward.model.runs import Mode, Run, RunState, Step, StepState
from fleetward.runbooks.actions.base import (
    Call,
    CannotTell,
    Done,
    NotBegun,
    Observation,
    Report,
    Result,
    Waiting,
)
from fleetward.runbooks.page import Page, parse
from fleetward.store.runs import NewRun

PAGE_TEXT = """---
id: played
title: Played
alerts: []
severity: warning
blast: none
mode: auto
---
## Meaning
"""
NOW = datetime(2026, 3, 1, tzinfo=UTC)
_OPEN = {StepState.PENDING, StepState.RESERVED, StepState.WAITING}


def page(text: str = PAGE_TEXT) -> Page:
    return parse(text, "played.md")


def new_run(*steps: tuple[str, str, Mapping[str, object]], state: RunState = RunState.RUNNING) -> NewRun:
    """Return a run of steps given as (name, action, arguments)."""
    return NewRun(
        runbook="played",
        title="Played",
        incident=None,
        params={},
        page=PAGE_TEXT,
        policy={},
        digest="d" * 64,
        mode=Mode.AUTO,
        state=state,
        asked_by="alice",
        blast="none",
        steps=tuple(Step(index, name, "Mitigation", kind, given) for index, (name, kind, given) in enumerate(steps)),
    )


class FileJournal:
    """The record in one file, replaced as a whole with each write."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def create(self, new: NewRun) -> Run:
        run = Run(
            1, new.runbook, new.title, None, {}, new.digest, new.mode, new.state, "", "alice", NOW, steps=new.steps
        )
        self._path.with_suffix(".page").write_text(new.page)
        self._save(run)
        return run

    def run(self, run_id: int) -> Run:
        run: Run = pickle.loads(self._path.read_bytes())  # noqa: S301  written by this very class
        assert run.id == run_id
        return run

    def page(self, run_id: int) -> str:
        return self._path.with_suffix(".page").read_text()

    def set_run_state(self, run_id: int, state: RunState, why: str = "") -> None:
        run = self.run(run_id)
        if run.state is state and run.state.ended:
            return
        if run.state.ended or run.state in {RunState.PLANNED, RunState.PROPOSED}:
            raise ConflictError(f"r{run_id} is {run.state}")
        self._save(replace(run, state=state, why=why))

    def reserve(self, run_id: int, index: int, before: Mapping[str, object]) -> None:
        run = self.run(run_id)
        fits = run.state in {RunState.RUNNING, RunState.WAITING} and run.steps[index].state in _OPEN
        if not fits or any(step.state not in {StepState.DONE, StepState.SKIPPED} for step in run.steps[:index]):
            raise ConflictError(f"step {index} of r{run_id} cannot begin")
        attempts = run.steps[index].attempts + 1
        self._change(run_id, index, state=StepState.RESERVED, before=before, why="", attempts=attempts)

    def set_step_state(
        self, run_id: int, index: int, state: StepState, *, outcome: Mapping[str, object] | None = None, why: str = ""
    ) -> Step:
        step = self.run(run_id).steps[index]
        if step.state not in _OPEN:
            if step.state is not state:
                raise ConflictError(f"step {index} is {step.state}")
            return step
        kept = step.outcome if outcome is None else outcome
        return self._change(run_id, index, state=state, outcome=kept, why=why)

    def append_output(self, run_id: int, index: int, text: str) -> None:
        self._change(run_id, index, output=self.run(run_id).steps[index].output + text)

    def note(self, run_id: int, kind: str, who: str, text: str, data: Mapping[str, object] | None = None) -> None:
        with self._path.with_suffix(".notes").open("a") as notes:
            notes.write(f"{kind} {who}: {text}\n")

    def notes(self) -> str:
        return self._path.with_suffix(".notes").read_text()

    def decide(self, run_id: int, index: int, decision: str, who: str) -> Run:
        state = {"done": StepState.DONE, "again": StepState.PENDING}[decision]
        self._change(run_id, index, state=state, why="")
        self._save(replace(self.run(run_id), state=RunState.RUNNING, why=""))
        return self.run(run_id)

    def approve_step(self, run_id: int, index: int, who: str) -> None:
        self._change(run_id, index, outcome={"approved_by": who})

    def abort(self, run_id: int, who: str) -> Run:
        self._save(replace(self.run(run_id), state=RunState.ABORTED, why=f"aborted by {who}"))
        return self.run(run_id)

    def _change(self, run_id: int, index: int, **changes: object) -> Step:
        run = self.run(run_id)
        step: Step = replace(run.steps[index], **changes)  # type: ignore[arg-type]
        self._save(replace(run, steps=(*run.steps[:index], step, *run.steps[index + 1 :])))
        return step

    def _save(self, run: Run) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(pickle.dumps(run))
        fresh.replace(self._path)


@dataclass
class World:
    """What actions did, one line each, in a file."""

    path: Path

    def did(self, what: str) -> None:
        with self.path.open("a") as lines:
            lines.write(what + "\n")

    def effects(self) -> list[str]:
        return self.path.read_text().split() if self.path.exists() else []


def die(where: str) -> None:
    """Kill this process where PLAYED_DEATH names this place."""
    if os.environ.get("PLAYED_DEATH") == where:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Played:
    """One kind of action; `script` holds what `act` gives, one result after the other, the last one for ever."""

    world: World
    kind: str
    changes: bool
    acts: Callable[[Call, Report], Result]
    observes: Callable[[Call], Observation] = field(default=lambda call: NotBegun())

    def lint(self, arguments: Mapping[str, object]) -> list[str]:
        return []

    def prepare(self, call: Call) -> Mapping[str, object]:
        return {"attempt": call.step.attempts + 1}

    def act(self, call: Call, before: Mapping[str, object], report: Report) -> Result:
        return self.acts(call, report)

    def observe(self, call: Call, before: Mapping[str, object]) -> Observation:
        return self.observes(call)


def actions(world: World) -> dict[str, Played]:
    """Return the kinds of the crash tests: two that change the world, one that looks, one that waits."""

    def change(call: Call, report: Report) -> Result:
        die(f"{call.step.name}:before")
        world.did(call.step.name)
        report(f"{call.step.name} was done\n")
        die(f"{call.step.name}:after")
        return Done({"did": call.step.name})

    def slow(call: Call, report: Report) -> Result:
        if call.step.name in world.effects():
            return Done({"did": call.step.name})
        change(call, report)
        return Waiting("it takes a while", 0.01)

    def seen(call: Call) -> Observation:
        return Done({"seen": True}) if call.step.name in world.effects() else NotBegun()

    def wait(call: Call, report: Report) -> Result:
        world.did(f"looked-{call.step.name}")
        enough = world.effects().count(f"looked-{call.step.name}") >= 3
        return Done() if enough else Waiting("not yet", 0.01)

    def look(call: Call, report: Report) -> Result:
        world.did(f"looked-{call.step.name}")
        return Done()

    kinds = (
        Played(world, "look", False, look),
        Played(world, "wait", False, wait),
        Played(world, "change", True, change, seen),
        Played(world, "slow", True, slow, seen),
        Played(world, "dark", True, change, lambda call: CannotTell("nobody saw it")),
    )
    return {kind.kind: kind for kind in kinds}


FIVE = (("first", "look", {}), ("a", "change", {}), ("b", "slow", {}), ("until", "wait", {}), ("c", "change", {}))


@dataclass
class PlayedClock:
    """Time that passes only where somebody sleeps."""

    slept: float = 0.0
    stop_after: float = 10_000.0
    stopping: Event = field(default_factory=Event)

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        if self.slept >= self.stop_after:
            self.stopping.set()
