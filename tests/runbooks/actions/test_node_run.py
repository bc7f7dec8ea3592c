"""Programs on nodes as steps: judged by what is expected of them, and run at most once."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from played_slurm import PlayedWorld

from fleetward.model.errors import OutOfReachError, UsageError
from fleetward.runbooks.actions.base import Asks, Call, CannotTell, Done, Failed, NotBegun, Waiting
from fleetward.runbooks.actions.node_run import NodeRun, NodeStep, NodeStepState

MakeCall = Callable[..., Call]
LONG_UP = 1e6


def ended(output: str = "", status: int = 0, cut: int = 0, timed_out: bool = False) -> NodeStep:
    return NodeStep(NodeStepState.ENDED, LONG_UP, status, timed_out, output, cut)


@dataclass
class PlayedRunner:
    """Answers with what a node says, and remembers what it was asked to run."""

    says: NodeStep | OutOfReachError = field(default_factory=ended)
    ran: list[tuple[str, tuple[str, ...], str, float, float]] = field(default_factory=list)

    def run(self, node: str, argv: Sequence[str], marker: str, seconds: float, up_for: float) -> NodeStep:
        self.ran.append((node, tuple(argv), marker, seconds, up_for))
        return self.observe(node, marker)

    def observe(self, node: str, marker: str) -> NodeStep:
        if isinstance(self.says, OutOfReachError):
            raise self.says
        return self.says


@pytest.fixture
def runner() -> PlayedRunner:
    return PlayedRunner()


@pytest.fixture
def action(world: PlayedWorld, runner: PlayedRunner) -> NodeRun:
    return NodeRun(runner, world.clock)


def test_it_runs_the_list_as_it_is_and_tells_its_output(
    world: PlayedWorld, call: MakeCall, action: NodeRun, runner: PlayedRunner
) -> None:
    runner.says = ended("NVRM: fine\n")
    step = call(["echo", "$(reboot)", "{{ x }}"], on="gpu001", within="2m")
    before = json.loads(json.dumps(action.prepare(step)))
    done = action.act(step, before, world.report)
    assert done == Done({"exit": 0, "timed_out": False, "cut": 0})
    assert runner.ran == [("gpu001", ("echo", "$(reboot)", "{{ x }}"), before["marker"], 120.0, 0.0)]
    assert world.said == ["NVRM: fine\n"]


@pytest.mark.parametrize(
    ("expect", "found", "why"),
    [
        ({}, ended(status=0), ""),
        ({}, ended(status=3), "exit status 3, expected 0"),
        ({"exit": 3}, ended(status=3), ""),
        ({"exit": 3}, ended(status=0), "exit status 0, expected 3"),
        ({"contains": "NVRM"}, ended("x NVRM y"), ""),
        ({"contains": "NVRM"}, ended("nvrm"), "'NVRM' is not in its output"),
        ({"contains": "NVRM"}, ended("nvrm", cut=9), "(9 bytes of it are not)"),
        ({"lacks": "Xid"}, ended("fine"), ""),
        ({"lacks": "Xid"}, ended("Xid 79"), "'Xid' is in its output"),
        ({"lacks": "Xid"}, ended("fine", cut=9), "'Xid' is not in what is kept"),
        ({"contains": "a", "lacks": "b"}, ended("a b"), "'b' is in its output"),
        ({"exit": 124}, ended(status=143, timed_out=True), "did not end in time"),
    ],
)
def test_what_it_left_behind_is_held_against_what_is_expected(
    world: PlayedWorld, call: MakeCall, action: NodeRun, runner: PlayedRunner, expect: object, found: NodeStep, why: str
) -> None:
    runner.says = found
    step = call(["true"], on="gpu001", expect=expect)
    result = action.act(step, action.prepare(step), world.report)
    assert isinstance(result, Failed if why else Done)
    assert not isinstance(result, Failed) or why in result.why


def test_each_reservation_has_a_marker_of_its_own(call: MakeCall, action: NodeRun) -> None:
    step = call(["true"], on="gpu001")
    first, second = action.prepare(step), action.prepare(step)
    assert first["marker"] != second["marker"]
    assert str(first["marker"]).startswith("i12-r7-3-")


def test_what_still_runs_is_waited_for_with_the_same_marker(
    world: PlayedWorld, call: MakeCall, action: NodeRun, runner: PlayedRunner
) -> None:
    runner.says = NodeStep(NodeStepState.RUNNING, LONG_UP)
    step = call(["sleep", "30"], on="gpu001", changes=True)
    before = action.prepare(step)
    assert action.act(step, before, world.report) == Waiting("runs on gpu001", 1.0)
    assert action.observe(step, before) == NotBegun()
    runner.says = ended()
    assert isinstance(action.act(step, before, world.report), Done)
    assert len({marker for _, _, marker, _, _ in runner.ran}) == 1


def test_what_it_writes_is_told_once_while_it_runs(
    world: PlayedWorld, call: MakeCall, action: NodeRun, runner: PlayedRunner
) -> None:
    """The record is read anew at each turn, as the engine does; an earlier try has left the same words in it."""
    first = call(["diag"], on="gpu001")
    step = replace(first.step, output="GPU 0 fine\n")
    before = json.loads(json.dumps(action.prepare(Call(first.run, step))))
    for runner.says in (
        NodeStep(NodeStepState.RUNNING, LONG_UP),
        NodeStep(NodeStepState.RUNNING, LONG_UP, output="GPU 0 fine\n"),
        NodeStep(NodeStepState.RUNNING, LONG_UP, output="GPU 0 fine\n"),
        NodeStep(NodeStepState.RUNNING, LONG_UP, output="GPU 0 fine\nGPU 1 fine\n"),
        ended("GPU 0 fine\nGPU 1 fine\n\n[9 bytes left out]\nGPU 7 fine\n", cut=9),
    ):
        action.act(Call(first.run, step), before, world.report)
        step = replace(step, output="GPU 0 fine\n" + "".join(world.said))
    assert [said for said in world.said if said] == [
        "GPU 0 fine\n",
        "GPU 1 fine\n",
        "\n[9 bytes left out]\nGPU 7 fine\n",
    ]


def test_what_takes_long_is_looked_at_less_often(
    world: PlayedWorld, call: MakeCall, action: NodeRun, runner: PlayedRunner
) -> None:
    runner.says = NodeStep(NodeStepState.RUNNING, LONG_UP)
    step = call(["diag"], on="gpu001", within="1h")
    before = action.prepare(step)
    pauses = []
    for _ in range(3):
        waiting = action.act(step, before, world.report)
        assert isinstance(waiting, Waiting)
        pauses.append(waiting.seconds)
        world.clock.sleep(100)
    assert pauses == [1.0, 5.0, 10.0]


def test_what_changes_something_is_not_begun_on_a_node_that_came_up_since(
    world: PlayedWorld, call: MakeCall, action: NodeRun, runner: PlayedRunner
) -> None:
    step = call(["true"], on="gpu001", changes=True)
    before = action.prepare(step)
    world.clock.sleep(100)
    runner.says = NodeStep(NodeStepState.ABSENT, 40)
    asked = action.act(step, before, world.report)
    assert isinstance(asked, Asks)
    assert "came up after" in asked.why
    assert runner.ran[0][4] == 95.0


@pytest.mark.parametrize(
    ("changes", "says", "seen"),
    [
        (True, NodeStep(NodeStepState.ABSENT, LONG_UP), NotBegun),
        (True, NodeStep(NodeStepState.ABSENT, 40), CannotTell),
        (True, NodeStep(NodeStepState.LOST, LONG_UP), CannotTell),
        (True, ended(), Done),
        (True, ended(status=1), Failed),
        (False, NodeStep(NodeStepState.ABSENT, 40), NotBegun),
        (False, NodeStep(NodeStepState.LOST, LONG_UP), NotBegun),
        (False, ended(), Done),
    ],
)
def test_what_is_seen_when_its_record_was_lost(
    world: PlayedWorld, call: MakeCall, action: NodeRun, runner: PlayedRunner, changes: bool, says: NodeStep, seen: type
) -> None:
    step = call(["true"], on="gpu001", changes=changes)
    before = action.prepare(step)
    world.clock.sleep(100)
    runner.says = says
    assert isinstance(action.observe(step, before), seen)
    assert runner.ran == []


@pytest.mark.parametrize(("changes", "result"), [(True, Asks), (False, Failed)])
def test_a_watcher_that_died_is_told(
    world: PlayedWorld, call: MakeCall, action: NodeRun, runner: PlayedRunner, changes: bool, result: type
) -> None:
    runner.says = NodeStep(NodeStepState.LOST, LONG_UP)
    step = call(["true"], on="gpu001", changes=changes)
    assert isinstance(action.act(step, action.prepare(step), world.report), result)


def test_a_node_out_of_reach_is_waited_for_and_then_a_person_is_asked(
    world: PlayedWorld, call: MakeCall, action: NodeRun, runner: PlayedRunner
) -> None:
    runner.says = OutOfReachError("gpu001 does not answer")
    step = call(["true"], on="gpu001")
    before = action.prepare(step)
    with pytest.raises(OutOfReachError):
        action.act(step, before, world.report)
    world.clock.sleep(301)
    asked = action.act(step, before, world.report)
    assert isinstance(asked, Asks)
    assert "gpu001 does not answer" in asked.why


@pytest.mark.parametrize(("argument", "on"), [("true", "gpu001"), ([], "gpu001"), (["true"], "ALL"), (["true"], None)])
def test_what_is_no_list_or_no_node_is_not_run(
    world: PlayedWorld, call: MakeCall, action: NodeRun, runner: PlayedRunner, argument: object, on: object
) -> None:
    step = call(argument, on=on)
    with pytest.raises(UsageError):
        action.act(step, action.prepare(step), world.report)
    assert runner.ran == []
