"""A reboot as a step: told to the node once, and done where the node has come up since the step was reserved."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from played_slurm import PlayedClock, PlayedWorld

from fleetward.model.errors import FleetwardError, OutOfReachError, UsageError
from fleetward.runbooks.actions.base import Call, Done, Failed, NotBegun, Waiting
from fleetward.runbooks.actions.node_reboot import Reboot
from fleetward.runbooks.actions.node_run import NodeStep, NodeStepState

MakeCall = Callable[..., Call]
AWAY = OutOfReachError("gpu001 does not answer: Connection refused")


@dataclass
class PlayedNode:
    """A node that keeps markers until it boots, by the clock of the test."""

    clock: PlayedClock
    up_at: float = -1e6
    """When it came up, in seconds of `age`."""
    exit: int | None = None
    """Of the program that was begun, once it has ended."""
    output: str = ""
    raises: FleetwardError | None = None
    raises_after: FleetwardError | None = None
    """Raised by `run` once it has begun the program: its answer was lost."""
    boots_before_run: bool = False
    markers: dict[str, float] = field(default_factory=dict)
    told: list[tuple[str, tuple[str, ...], float]] = field(default_factory=list)
    """Node, program and seconds, of each that was begun."""

    def __post_init__(self) -> None:
        self.began = self.clock.now()

    @property
    def up_for(self) -> float:
        return (self.clock.now() - self.began).total_seconds() - self.up_at

    def boot(self) -> None:
        """Come up right now."""
        self.up_at = (self.clock.now() - self.began).total_seconds()
        self.raises, self.exit = None, None
        self.markers.clear()

    def observe(self, node: str, marker: str) -> NodeStep:
        if self.raises is not None:
            raise self.raises
        if marker not in self.markers:
            return NodeStep(NodeStepState.ABSENT, self.up_for)
        state = NodeStepState.RUNNING if self.exit is None else NodeStepState.ENDED
        return NodeStep(state, self.up_for, self.exit, output=self.output)

    def run(self, node: str, argv: Sequence[str], marker: str, seconds: float, up_for: float) -> NodeStep:
        if self.boots_before_run:
            self.boot()
        if self.up_for >= up_for and marker not in self.markers:
            self.markers[marker] = self.up_for
            self.told.append((node, tuple(argv), seconds))
        if self.raises_after is not None:
            raise self.raises_after
        return self.observe(node, marker)


@pytest.fixture
def played(world: PlayedWorld) -> PlayedNode:
    return PlayedNode(world.clock)


@pytest.fixture
def action(world: PlayedWorld, played: PlayedNode) -> Reboot:
    return Reboot(played, world.clock)


def test_it_is_told_once_and_done_once_the_node_has_come_up_since(
    world: PlayedWorld, call: MakeCall, action: Reboot, played: PlayedNode
) -> None:
    before = json.loads(json.dumps(action.prepare(call("gpu001"))))
    waits = action.act(call("gpu001"), before, world.report)
    assert waits == Waiting("gpu001 was told to reboot, it is still up", 5.0)
    assert played.told == [("gpu001", ("systemctl", "reboot"), 60)]
    played.exit = 0
    world.clock.sleep(5)
    assert isinstance(action.act(call("gpu001"), before, world.report), Waiting)
    played.raises = AWAY
    world.clock.sleep(60)
    waits = action.act(call("gpu001"), before, world.report)
    assert waits == Waiting("gpu001 is away: gpu001 does not answer: Connection refused", 10.0)
    world.clock.sleep(300)
    played.boot()
    world.clock.sleep(20)
    assert action.act(call("gpu001"), before, world.report) == Done({"up_for": 20.0})
    assert world.said == ["gpu001 came up 20 s ago\n"]
    assert len(played.told) == 1


def test_a_node_that_was_up_before_is_not_taken_for_one_that_came_back(
    world: PlayedWorld, call: MakeCall, action: Reboot, played: PlayedNode
) -> None:
    """It came up a minute before the step: its youth is no reboot of ours."""
    played.up_at = -60
    before = action.prepare(call("gpu001"))
    for _ in range(5):
        assert isinstance(action.act(call("gpu001"), before, world.report), Waiting)
        world.clock.sleep(60)
    assert len(played.told) == 1


def test_one_that_came_up_since_by_another_hand_is_not_rebooted_again(
    world: PlayedWorld, call: MakeCall, action: Reboot, played: PlayedNode
) -> None:
    before = action.prepare(call("gpu001"))
    world.clock.sleep(100)
    played.boot()
    world.clock.sleep(30)
    assert action.act(call("gpu001"), before, world.report) == Done({"up_for": 30.0})
    assert played.told == []


def test_one_that_boots_between_the_look_and_the_word_is_not_rebooted_again(
    world: PlayedWorld, call: MakeCall, action: Reboot, played: PlayedNode
) -> None:
    before = action.prepare(call("gpu001"))
    world.clock.sleep(100)
    played.boots_before_run = True
    assert isinstance(action.act(call("gpu001"), before, world.report), Waiting)
    world.clock.sleep(10)
    assert action.act(call("gpu001"), before, world.report) == Done({"up_for": 10.0})
    assert played.told == []


@pytest.mark.parametrize("lost", [AWAY, FleetwardError("gpu001: Shared connection closed")])
def test_where_its_answer_was_lost_it_is_not_told_twice(
    world: PlayedWorld, call: MakeCall, action: Reboot, played: PlayedNode, lost: FleetwardError
) -> None:
    before = action.prepare(call("gpu001"))
    played.raises_after = lost
    assert isinstance(action.act(call("gpu001"), before, world.report), Waiting)
    played.raises_after = None
    world.clock.sleep(10)
    assert isinstance(action.act(call("gpu001"), before, world.report), Waiting)
    assert len(played.told) == 1


def test_after_a_crash_it_looks_before_it_says_anything(
    world: PlayedWorld, call: MakeCall, action: Reboot, played: PlayedNode
) -> None:
    before = action.prepare(call("gpu001"))
    action.act(call("gpu001"), before, world.report)
    again = Reboot(played, world.clock)
    assert again.observe(call("gpu001"), before) == NotBegun()
    world.clock.sleep(5)
    assert isinstance(again.act(call("gpu001"), before, world.report), Waiting)
    world.clock.sleep(100)
    played.boot()
    world.clock.sleep(10)
    assert isinstance(Reboot(played, world.clock).act(call("gpu001"), before, world.report), Done)
    assert len(played.told) == 1


def test_another_try_of_the_step_is_another_reboot(
    world: PlayedWorld, call: MakeCall, action: Reboot, played: PlayedNode
) -> None:
    """The first was told and never went; what the node remembers of it is no answer to the second."""
    before = action.prepare(call("gpu001"))
    action.act(call("gpu001"), before, world.report)
    played.exit = 1
    assert isinstance(action.act(call("gpu001"), before, world.report), Failed)
    played.exit = None
    before = action.prepare(call("gpu001"))
    assert isinstance(action.act(call("gpu001"), before, world.report), Waiting)
    assert len(played.told) == 2


def test_a_node_that_is_away_from_the_beginning_is_waited_for_and_then_told(
    world: PlayedWorld, call: MakeCall, action: Reboot, played: PlayedNode
) -> None:
    played.raises = AWAY
    before = action.prepare(call("gpu001"))
    assert isinstance(action.act(call("gpu001"), before, world.report), Waiting)
    played.raises = None
    world.clock.sleep(60)
    assert isinstance(action.act(call("gpu001"), before, world.report), Waiting)
    assert len(played.told) == 1


@pytest.mark.parametrize(
    ("away", "why"),
    [
        (True, "gpu001 was not back within 2700 s of its reboot: gpu001 does not answer: Connection refused"),
        (False, "gpu001 was not back within 2700 s of its reboot: it is still up"),
    ],
)
def test_one_that_never_comes_back_or_never_goes_fails_in_time(
    world: PlayedWorld, call: MakeCall, action: Reboot, played: PlayedNode, away: bool, why: str
) -> None:
    step = call("gpu001", within="45m")
    before = action.prepare(step)
    action.act(step, before, world.report)
    played.raises = AWAY if away else None
    world.clock.sleep(2700)
    assert isinstance(action.act(step, before, world.report), Waiting)
    world.clock.sleep(1)
    assert action.act(step, before, world.report) == Failed(why)


def test_one_that_comes_back_late_is_back_all_the_same(
    world: PlayedWorld, call: MakeCall, action: Reboot, played: PlayedNode
) -> None:
    before = action.prepare(call("gpu001"))
    action.act(call("gpu001"), before, world.report)
    world.clock.sleep(10_000)
    played.boot()
    assert isinstance(action.act(call("gpu001"), before, world.report), Done)


def test_a_program_that_fails_is_told_with_its_last_words(
    world: PlayedWorld, call: MakeCall, action: Reboot, played: PlayedNode
) -> None:
    before = action.prepare(call("gpu001"))
    action.act(call("gpu001"), before, world.report)
    played.exit, played.output = 1, "Call to Reboot failed: Interactive authentication required.\n" + "x" * 500
    found = action.act(call("gpu001"), before, world.report)
    assert isinstance(found, Failed)
    assert found.why.startswith("gpu001 does not reboot: exit status 1: Call to Reboot failed: Interactive")
    assert len(found.why) < 300


@pytest.mark.parametrize("node", ["", "ALL", "gpu[001-002]", "-v", None])
def test_what_is_not_one_node_is_not_rebooted(
    world: PlayedWorld, call: MakeCall, action: Reboot, played: PlayedNode, node: object
) -> None:
    with pytest.raises(UsageError):
        action.act(call(node), action.prepare(call(node)), world.report)
    assert played.told == []
