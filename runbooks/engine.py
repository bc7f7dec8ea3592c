"""Takes a run through its steps so that a crash at any line loses nothing and does nothing twice.

Each turn reads the run from the journal, does one thing and records it: prepare (which only reads), reserve, act,
record the outcome. What is found after a crash, and what follows:

| killed                          | found    | an action that only looks | an action that changes something      |
|---------------------------------|----------|---------------------------|---------------------------------------|
| before or while preparing       | pending  | prepared, reserved, acted | prepared, reserved, acted             |
| reserved, not yet acting        | reserved | acts again                | observe: not begun, so it acts        |
| in the middle of acting         | reserved | acts again                | observe: done is recorded, not begun  |
|                                 |          |                           | acts, cannot tell stops and asks      |
| it was done, and not recorded   | reserved | acts again                | observe: done is recorded             |
| while it waited                 | waiting  | acts again                | observe, as above                     |
| it was recorded                 | done     | the next step follows     | the next step follows                 |
| its failure was, the run's not  | failed   | the run ends              | the run ends                          |
| its doubt was, the run's not    | unknown  |                           | the run stops and asks                |

An action that acts again does so with what was prepared the first time. The same look follows where an act came back
with OutOfReachError: it too may or may not have been done. Where the journal itself is out of reach the engine waits
with the outcome in hand; killed then, it is the case of an outcome that was not recorded.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from threading import Event
from typing import Protocol, TypeVar

from fleetward.model.errors import ConflictError, FleetwardError, OutOfReachError
from fleetward.model.runs import Run, RunState, Step, StepState
from fleetward.runbooks.actions.base import Action, Asks, Call, CannotTell, Done, Failed, NotBegun, Result, Waiting
from fleetward.runbooks.journal import RunJournal
from fleetward.runbooks.library import library
from fleetward.runbooks.page import Page, digest_of
from fleetward.runbooks.step_output import StepOutput

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
"""Seconds between two tries of what is out of reach; doubled from the first to the longest."""

_SLICE = 0.5
"""Seconds after which a pause looks whether it is to end."""

_GOING = frozenset({RunState.RUNNING, RunState.WAITING})
_PASSED = frozenset({StepState.DONE, StepState.SKIPPED})
_WHO = "fleetward"

Answer = TypeVar("Answer")


class Clock(Protocol):
    """What lets time pass."""

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""


class Engine:
    """Advances runs, one thread for each run at a time; two engines never share a journal."""

    def __init__(
        self,
        journal: RunJournal,
        actions: Mapping[str, Action],
        clock: Clock,
        pages: Callable[[], Mapping[str, Page]] = library,
    ) -> None:
        self.journal = journal
        self.actions = actions
        self.clock = clock
        self.pages = pages
        self.asked: dict[int, str] = {}
        """Digest of the changed page that a run was last stopped for; only a person's decision lets it go on."""

    def advance(self, run_id: int, stopping: Event) -> RunState:
        """Take a run on until it ends, asks, or `stopping` is set; return where it then stands.

        Nothing happens to a run that waits for approval or a decision, or has ended. An exception that is no
        FleetwardError is a mistake in an action: it comes through, and the step stays reserved.
        """
        return _Advance(self, run_id, stopping).to_rest()


class _LeaveError(Exception):
    """The daemon stops while something is out of reach."""


class _Advance:
    """One call of `advance`."""

    def __init__(self, engine: Engine, run_id: int, stopping: Event) -> None:
        self.journal = engine.journal
        self.actions = engine.actions
        self.clock = engine.clock
        self.pages = engine.pages
        self.asked = engine.asked
        self.run_id = run_id
        self.stopping = stopping
        self.in_hand: int | None = None
        """The step that this very call has reserved or taken up, and that may simply act."""
        self.page_is_fine = False
        self.delay = 0.0
        """Seconds of the last pause for a step that could not reach something; 0 where all answers."""

    def to_rest(self) -> RunState:
        """Take turns until there is nothing to do."""
        state = RunState.RUNNING
        with contextlib.suppress(_LeaveError):
            while True:
                run = self.keep(lambda: self.journal.run(self.run_id))
                state = run.state
                if state not in _GOING or self.stopping.is_set():
                    break
                try:
                    self.turn(run)
                except ConflictError:  # a person was first: look where the run stands now
                    self.pause(FIRST_PAUSE)
        return state

    def turn(self, run: Run) -> None:
        """Do the one thing that comes next."""
        if not self.page_is_fine and (why := self.page_problem(run)):
            self.say(run, RunState.STOPPED, why)
            return
        self.page_is_fine = True
        step = next((one for one in run.steps if one.state not in _PASSED), None)
        if step is None:
            self.say(run, RunState.DONE)
        elif step.state is StepState.FAILED:
            self.say(run, RunState.FAILED, f"step {step.name}: {step.why}")
        elif step.state is StepState.UNKNOWN:
            self.say(run, RunState.STOPPED, f"step {step.name}: {step.why}")
        elif action := self.actions.get(step.action):
            self.take(Call(run, step), action)
        else:
            why = f"step {step.name}: there is no action {step.action} here; decide what became of it, or abort"
            self.say(run, RunState.STOPPED, why)

    def take(self, call: Call, action: Action) -> None:
        """Reserve a step, let it act, or look what became of it; wait where something is out of reach."""
        try:
            if call.step.state is StepState.PENDING:
                self.begin(call, action)
            elif self.in_hand == call.step.index or not action.changes:
                self.act(call, action)
            else:
                self.look(call, action)
        except OutOfReachError as error:
            if _optional(call.step, action):
                self.conclude(call, Failed(str(error)), optional=True)
                return
            if action.changes:
                self.in_hand = None
            self.say(call.run, RunState.WAITING, f"step {call.step.name}: {error}")
            self.delay = _longer(self.delay)
            self.pause(self.delay)

    def begin(self, call: Call, action: Action) -> None:
        """Prepare and reserve."""
        index = call.step.index
        _crash_at(index, "reserve")
        try:
            before = action.prepare(call)
        except OutOfReachError:
            raise
        except FleetwardError as error:
            self.conclude(call, Failed(str(error)), _optional(call.step, action))
            return
        self.delay = 0.0
        self.say(call.run, RunState.RUNNING)
        self.reserve(call.step, before, "begins")
        _crash_at(index, "prepared")

    def reserve(self, step: Step, before: Mapping[str, object], event: str) -> None:
        self.note(step, event)
        self.keep(lambda: self.journal.reserve(self.run_id, step.index, before))
        self.in_hand = step.index

    def act(self, call: Call, action: Action) -> None:
        """Act, and record what came of it."""
        if self.in_hand != call.step.index:
            self.in_hand = call.step.index
            self.note(call.step, "is taken up again")
        if call.step.state is StepState.RESERVED and not self.delay:
            self.say(call.run, RunState.RUNNING)
        output = StepOutput(lambda text: self.journal.append_output(self.run_id, call.step.index, text))
        try:
            result: Result = action.act(call, call.step.before, output)
        except OutOfReachError:
            raise
        except FleetwardError as error:
            result = Failed(str(error))
        finally:
            with contextlib.suppress(ConflictError):
                self.keep(output.flush)
        self.delay = 0.0
        if isinstance(result, Waiting):
            self.wait(call, result)
            return
        _crash_at(call.step.index, "acted")
        self.conclude(call, result, _optional(call.step, action))

    def look(self, call: Call, action: Action) -> None:
        """Ask an action that may have been cut off what became of it."""
        try:
            seen = action.observe(call, call.step.before)
        except OutOfReachError:
            raise
        except FleetwardError as error:
            seen = CannotTell(str(error))
        if isinstance(seen, NotBegun):
            self.reserve(call.step, call.step.before, "had not begun, and begins")
        else:
            self.conclude(call, seen, optional=False)

    def wait(self, call: Call, result: Waiting) -> None:
        if (call.step.state, call.step.why) != (StepState.WAITING, result.why):
            self.set_step(call.step, StepState.WAITING, why=result.why)
        self.say(call.run, RunState.WAITING, f"step {call.step.name}: {result.why}")
        self.pause(result.seconds)

    def conclude(self, call: Call, result: Done | Failed | Asks | CannotTell, optional: bool) -> None:
        """Record what became of a step, then what it means for the run."""
        step = call.step
        if isinstance(result, Done):
            self.note(step, "is done", result.outcome)
            self.set_step(step, StepState.DONE, result.outcome)
        elif isinstance(result, Failed) and optional:
            self.note(step, f"is left out: {result.why}", result.outcome)
            self.set_step(step, StepState.SKIPPED, result.outcome, result.why)
        elif isinstance(result, Failed):
            self.note(step, f"failed: {result.why}", result.outcome)
            self.set_step(step, StepState.FAILED, result.outcome, result.why)
        elif isinstance(result, Asks):
            self.note(step, f"asks: {result.why}")
            self.set_step(step, StepState.PENDING, why=result.why)
            self.say(call.run, RunState.STOPPED, f"step {step.name}: {result.why}")
        else:
            self.note(step, f"may or may not have been done: {result.why}")
            self.set_step(step, StepState.UNKNOWN, why=result.why)
        self.in_hand = None
        _crash_at(step.index, "recorded")

    def page_problem(self, run: Run) -> str:
        """Say why a run whose page is no longer what was planned has to ask; empty where it is, or was asked about."""
        page = self.pages().get(run.runbook)
        digest = page.digest if page else ""
        planned = digest_of(self.keep(lambda: self.journal.page(self.run_id)))
        if digest == planned or self.asked.get(self.run_id) == digest:
            return ""
        self.asked[self.run_id] = digest
        changed = "was changed" if page else "is no longer in the library"
        return f"page {run.runbook} {changed} since this run was planned; `again` goes on as it was planned"

    def set_step(
        self, step: Step, state: StepState, outcome: Mapping[str, object] | None = None, why: str = ""
    ) -> None:
        self.keep(lambda: self.journal.set_step_state(self.run_id, step.index, state, outcome=outcome, why=why))

    def say(self, run: Run, state: RunState, why: str = "") -> None:
        """Record where the run stands, unless that is what the record says."""
        if (run.state, run.why) != (state, why):
            self.keep(lambda: self.journal.set_run_state(self.run_id, state, why))

    def note(self, step: Step, event: str, outcome: Mapping[str, object] | None = None) -> None:
        """Tell the incident's timeline of a step."""
        data = {"run": self.run_id, "step": step.index, **({"outcome": outcome} if outcome else {})}
        text = f"r{self.run_id}: step {step.name} ({step.action}) {event}"
        self.keep(lambda: self.journal.note(self.run_id, "step", _WHO, text, data))

    def keep(self, write: Callable[[], Answer]) -> Answer:
        """Return what the journal answers, however long it is out of reach."""
        delay = 0.0
        while True:
            try:
                return write()
            except OutOfReachError:
                if self.stopping.is_set():
                    raise _LeaveError from None
                delay = _longer(delay)
                self.pause(delay)

    def pause(self, seconds: float) -> None:
        """Let time pass, and end early where the daemon stops."""
        while seconds > 0 and not self.stopping.is_set():
            self.clock.sleep(min(seconds, _SLICE))
            seconds -= _SLICE


def _longer(delay: float) -> float:
    return min(delay * 2, LONGEST_PAUSE) or FIRST_PAUSE


def _optional(step: Step, action: Action) -> bool:
    """Whether the run goes on without a step; never without one that changes something."""
    changes = action.changes or step.arguments.get("changes") is True
    return step.arguments.get("optional") is True and not changes


def _crash_at(index: int, point: str) -> None:
    """Kill this process where FLEETWARD_CRASH_AT names this moment of this step, as in `1:acted`; for tests.

    Points, in order: `reserve` (nothing is written yet), `prepared` (reserved, not yet acting), `acted` (done, not
    recorded), `recorded`.
    """
    if os.environ.get("FLEETWARD_CRASH_AT") == f"{index}:{point}":
        os.kill(os.getpid(), signal.SIGKILL)
