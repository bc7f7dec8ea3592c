"""What every kind of action is to the engine: lint, prepare, act, observe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fleetward.model.runs import Run, Step


@dataclass(frozen=True, slots=True)
class Call:
    """One step of one run, its arguments resolved."""

    run: Run
    step: Step


@dataclass(frozen=True, slots=True)
class Done:
    """It was done; `outcome` is kept as evidence."""

    outcome: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """It was tried and did not succeed; the run ends here, failed."""

    why: str
    outcome: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing to do yet; the engine looks again after `seconds`."""

    why: str
    seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Asks:
    """A person must decide: a guardrail refused, or the world is not as the step expects."""

    why: str


Result = Done | Failed | Waiting | Asks


@dataclass(frozen=True, slots=True)
class NotBegun:
    """After a crash: the action provably has not begun, so it may be run."""


@dataclass(frozen=True, slots=True)
class CannotTell:
    """After a crash: it may or may not have been done, so a person is asked."""

    why: str


Observation = Done | Failed | NotBegun | CannotTell

Report = Callable[[str], None]
"""Takes text as it comes, for whoever watches the step."""


class Action(Protocol):
    """One kind of action.

    OutOfReachError from `prepare`, `act` or `observe` makes the run wait and try again (after a look with `observe`
    where `act` raised it); any other FleetwardError fails the step.
    """

    @property
    def kind(self) -> str:
        """Its name on a page, such as `slurm.drain`."""

    @property
    def changes(self) -> bool:
        """Whether it changes anything: what only looks or waits may be run again after a crash without a question."""

    def lint(self, arguments: Mapping[str, object]) -> list[str]:
        """Return what is wrong with a step's arguments, placeholders still in them; one sentence each."""

    def prepare(self, call: Call) -> Mapping[str, object]:
        """Read what `observe` needs to tell later whether it was done; JSON-ready."""

    def act(self, call: Call, before: Mapping[str, object], report: Report) -> Result:
        """Do it."""

    def observe(self, call: Call, before: Mapping[str, object]) -> Observation:
        """Look, after a crash, whether it was done. Never changes anything."""
