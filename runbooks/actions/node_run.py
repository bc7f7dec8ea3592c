"""`node.run`: a program on a node, given as a list of arguments; no shell reads it.

The node itself keeps a program from running twice: it is begun only where its marker is not there yet, and not where
the node came up after the step was reserved, since a marker would have gone with the boot.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from itertools import takewhile
from typing import Protocol

from fleetward.model.errors import OutOfReachError, UsageError
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
from fleetward.runbooks.actions.declared import (
    Declared,
    Kind,
    duration,
    node_name,
    node_of,
    seconds_of,
    since,
    truth,
)
from fleetward.runbooks.clock import Clock

PATIENCE = timedelta(minutes=5)
"""How long a node may be out of reach before a person is asked."""

BOOT_SLACK = 5.0
"""Seconds by which the reading of a node's age may be late."""

LONGEST_PAUSE = 10.0
"""Seconds between two looks at a program that takes long; at one that has just begun it is a second."""

_EXPECTATIONS = frozenset({"contains", "lacks", "exit"})


class NodeStepState(StrEnum):
    """How a program that was to run on a node stands."""

    ABSENT = "absent"
    """There is no trace of it."""
    RUNNING = "running"
    ENDED = "ended"
    LOST = "lost"
    """It was begun, and what watched it died before it ended."""


@dataclass(frozen=True, slots=True)
class NodeStep:
    """What a node says of one program, by its marker."""

    state: NodeStepState
    up_for: float
    """Seconds since the node came up: what was begun before that has left no trace."""
    exit: int | None = None
    """Exit status; 128 and more is 128 + the signal that ended it."""
    timed_out: bool = False
    output: str = ""
    """Its stdout and stderr, printable; before its end whole lines from the beginning, and not all of a long one."""
    cut: int = 0
    """Bytes of the output that were left out in its middle."""


class NodeRunner(Protocol):
    """Something that runs programs on nodes, each at most once by its marker.

    OutOfReachError where the node does not answer; nobody knows then whether the program was begun: `observe` tells.
    """

    def run(self, node: str, argv: Sequence[str], marker: str, seconds: float, up_for: float) -> NodeStep:
        """Begin a program unless its marker is there, and return how it stands after a short wait.

        It is ended with all that it started after `seconds`. It is not begun, and ABSENT, where the node came up less
        than `up_for` seconds ago.
        """

    def observe(self, node: str, marker: str) -> NodeStep:
        """Return how it stands; changes nothing."""


class NoNodes:
    """Refuses steps on nodes where no inventory says how to reach them."""

    def run(self, node: str, argv: Sequence[str], marker: str, seconds: float, up_for: float) -> NodeStep:
        """Refuse."""
        raise self._error(node)

    def observe(self, node: str, marker: str) -> NodeStep:
        """Refuse."""
        raise self._error(node)

    def _error(self, node: str) -> UsageError:
        return UsageError(f"{node} cannot be reached: name an inventory with daemon.inventory in the settings")


def argument_list(value: object) -> str:
    """Take a list of texts that begins with a program."""
    if isinstance(value, list) and value and all(isinstance(each, str) and "\0" not in each for each in value):
        return "" if value[0] else "begins with an empty text; name a program"
    return f"is to be a list of arguments such as [nvidia-smi, -L], not {value!r}"


def expectation(value: object) -> str:
    """Take `{contains: TEXT, lacks: TEXT, exit: STATUS}`, any of them."""
    if not isinstance(value, Mapping) or not value or not value.keys() <= _EXPECTATIONS:
        return f"is to have some of contains, lacks and exit, not {value!r}"
    wrong = [key for key in ("contains", "lacks") if key in value and not (isinstance(value[key], str) and value[key])]
    if wrong:
        return f"{wrong[0]} is to be a text, not {value[wrong[0]]!r}"
    if "exit" in value and (not isinstance(value["exit"], int) or isinstance(value["exit"], bool)):
        return f"exit is to be a number, not {value['exit']!r}"
    return ""


class NodeRun(Declared):
    """Run a program on a node; `changes: true` where running it twice is not as good as running it once.

    To the engine it only looks: acting again goes on with the program that was begun, and nothing is run twice.
    """

    declared = Kind(
        "node.run",
        changes=False,
        argument=argument_list,
        options={"on": node_name, "expect": expectation, "within": duration, "changes": truth},
        required=frozenset({"on"}),
    )

    def __init__(self, runner: NodeRunner, clock: Clock) -> None:
        self._runner = runner
        self._clock = clock

    def prepare(self, call: Call) -> Mapping[str, object]:
        """Make up the marker; a record that began anew may give the numbers of a run out again."""
        marker = f"{call.run.owner}-r{call.run.id}-{call.step.index}-{secrets.token_hex(6)}"
        now, node = self._clock.now().isoformat(), node_of(call, "on")
        return {"at": now, "node": node, "marker": marker, "shown": len(call.step.output)}

    def act(self, call: Call, before: Mapping[str, object], report: Report) -> Result:
        """Begin it, or look how it stands where it is begun already."""
        node, marker, within = str(before["node"]), str(before["marker"]), seconds_of(call, "within", "60s")
        age = since(before, self._clock).total_seconds()
        must_be_up = max(0.0, age - BOOT_SLACK) if _changes(call) else 0.0
        try:
            found = self._runner.run(node, _argv(call), marker, within, must_be_up)
        except OutOfReachError as error:
            if age < PATIENCE.total_seconds():
                raise
            return Asks(f"{error}; whether `{call.step.name}` ran there cannot be seen")
        if found.output:
            report(_news(call, before, found.output))
        if found.state is NodeStepState.RUNNING:
            return Waiting(f"runs on {node}", min(max(1.0, age / 20), LONGEST_PAUSE))
        if found.state is NodeStepState.ENDED:
            return judged(call, found)
        why = _lost(call) if found.state is NodeStepState.LOST else _booted(call, node)
        return Asks(why) if _changes(call) else Failed(why)

    def observe(self, call: Call, before: Mapping[str, object]) -> Observation:
        """Look for its marker on the node."""
        found = self._runner.observe(str(before["node"]), str(before["marker"]))
        if found.state is NodeStepState.ENDED:
            return judged(call, found)
        if found.state is NodeStepState.RUNNING or not _changes(call):
            return NotBegun()  # `act` goes on with the one that runs
        if found.state is NodeStepState.LOST:
            return CannotTell(_lost(call))
        if found.up_for + BOOT_SLACK < since(before, self._clock).total_seconds():
            return CannotTell(_booted(call, str(before["node"])))
        return NotBegun()


def judged(call: Call, found: NodeStep) -> Done | Failed:
    """Hold what a program left behind against what its step expects."""
    expect = call.step.arguments.get("expect")
    expected = expect if isinstance(expect, Mapping) else {}
    outcome = {"exit": found.exit, "timed_out": found.timed_out, "cut": found.cut}
    cut = f" in what is kept of its output ({found.cut} bytes of it are not)" if found.cut else ""
    if found.timed_out:
        return Failed("it did not end in time, and was ended with all that it had started", outcome)
    if found.exit != expected.get("exit", 0):
        return Failed(f"exit status {found.exit}, expected {expected.get('exit', 0)}", outcome)
    wanted = expected.get("contains")
    if wanted is not None and str(wanted) not in found.output:
        return Failed(f"{wanted!r} is not in its output{cut}", outcome)
    unwanted = expected.get("lacks")
    if unwanted is not None and (str(unwanted) in found.output or found.cut):
        said = f"{unwanted!r} is in its output" if str(unwanted) in found.output else f"{unwanted!r} is not{cut}"
        return Failed(said, outcome)
    return Done(outcome)


def _news(call: Call, before: Mapping[str, object], output: str) -> str:
    """Return what the record does not show yet of an output; before `shown` stands what an earlier try left there."""
    recorded = call.step.output[int(str(before.get("shown", 0))) :]
    same = takewhile(lambda pair: pair[0] == pair[1], zip(recorded, output, strict=False))
    return output[sum(1 for _ in same) :]


def _changes(call: Call) -> bool:
    return call.step.arguments.get("changes") is True


def _argv(call: Call) -> tuple[str, ...]:
    value = call.step.arguments.get("")
    problem = argument_list(value)
    if problem or not isinstance(value, list):
        raise UsageError(f"node.run {problem}")
    return tuple(value)


def _booted(call: Call, node: str) -> str:
    return f"{node} came up after `{call.step.name}` was reserved, and a trace of it would have gone with that"


def _lost(call: Call) -> str:
    return f"`{call.step.name}` was begun, and what watched it on the node died before it ended"
