"""A playbook on one node as a step: how it ended is told, and what was cut off is played again."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from played_slurm import PlayedWorld

from fleetward.model.errors import OutOfReachError, UsageError
from fleetward.runbooks.actions.ansible_play import PATIENCE, AnsiblePlay, NoPlays, Play, Played
from fleetward.runbooks.actions.base import Asks, Call, Done, Failed, NotBegun, Report

MakeCall = Callable[..., Call]


@dataclass
class PlayedPlayer:
    """Ends as it is told to, and remembers what it was to play."""

    ends: Played | OutOfReachError = field(default_factory=lambda: Played(40, 3))
    plays: list[Play] = field(default_factory=list)

    def play(self, wanted: Play, report: Report) -> Played:
        self.plays.append(wanted)
        report("common : Set the time zone\n")
        if isinstance(self.ends, OutOfReachError):
            raise self.ends
        return self.ends


@pytest.fixture
def player() -> PlayedPlayer:
    return PlayedPlayer()


@pytest.fixture
def action(world: PlayedWorld, player: PlayedPlayer) -> AnsiblePlay:
    return AnsiblePlay(player, world.clock)


def test_a_play_that_ends_well_is_done_with_its_counts(
    world: PlayedWorld, call: MakeCall, action: AnsiblePlay, player: PlayedPlayer
) -> None:
    step = call("site", on="gpu001")
    assert action.act(step, action.prepare(step), world.report) == Done({"ok": 40, "changed": 3})
    assert player.plays == [Play("site", "gpu001", 3600.0, ())]
    assert world.said == ["common : Set the time zone\n"]


def test_what_the_page_says_is_what_is_played(
    world: PlayedWorld, call: MakeCall, action: AnsiblePlay, player: PlayedPlayer
) -> None:
    step = call("site", on="gpu002", within="2h", tags=["nvidia_driver", "munge"])
    action.act(step, action.prepare(step), world.report)
    assert player.plays == [Play("site", "gpu002", 7200.0, ("nvidia_driver", "munge"))]


def test_a_tag_that_no_task_has_is_no_success(
    world: PlayedWorld, call: MakeCall, action: AnsiblePlay, player: PlayedPlayer
) -> None:
    player.ends = Played(0, 0)
    step = call("site", on="gpu002", tags=["nvidia_drivr"])
    found = action.act(step, action.prepare(step), world.report)
    why = "no task of site.yml with the tag nvidia_drivr was played on gpu002"
    assert found == Failed(why, {"ok": 0, "changed": 0})


@pytest.mark.parametrize(
    ("failures", "why"),
    [
        (("gpu001: Install: no space left",), "gpu001: Install: no space left"),
        (("gpu001: a: b", "gpu001: c: d", "gpu001: e: f"), "gpu001: a: b (and 2 more)"),
    ],
)
def test_a_task_that_failed_is_named(
    world: PlayedWorld,
    call: MakeCall,
    action: AnsiblePlay,
    player: PlayedPlayer,
    failures: tuple[str, ...],
    why: str,
) -> None:
    player.ends = Played(12, 1, failures)
    step = call("site", on="gpu001")
    found = action.act(step, action.prepare(step), world.report)
    assert found == Failed(why, {"ok": 12, "changed": 1, "failures": list(failures)})


def test_of_very_many_failures_twenty_are_kept(
    world: PlayedWorld, call: MakeCall, action: AnsiblePlay, player: PlayedPlayer
) -> None:
    player.ends = Played(0, 0, tuple(f"gpu001: task {number}: no" for number in range(500)))
    step = call("site", on="gpu001")
    found = action.act(step, action.prepare(step), world.report)
    assert isinstance(found, Failed)
    assert found.outcome["failures"] == [f"gpu001: task {number}: no" for number in range(20)]


def test_one_without_an_end_was_ended_and_failed(
    world: PlayedWorld, call: MakeCall, action: AnsiblePlay, player: PlayedPlayer
) -> None:
    player.ends = Played(0, 0, timed_out=True)
    step = call("site", on="gpu001", within="2h")
    found = action.act(step, action.prepare(step), world.report)
    assert found == Failed("Ansible had no end within 7200 s, and was ended", {"ok": 0, "changed": 0})


def test_a_node_out_of_reach_is_tried_again_and_then_a_person_is_asked(
    world: PlayedWorld, call: MakeCall, action: AnsiblePlay, player: PlayedPlayer
) -> None:
    player.ends = OutOfReachError("gpu001 does not answer: timed out")
    step = call("site", on="gpu001")
    before = action.prepare(step)
    world.clock.sleep(PATIENCE - 1)
    with pytest.raises(OutOfReachError):
        action.act(step, before, world.report)
    world.clock.sleep(1)
    assert action.act(step, before, world.report) == Asks("gpu001 does not answer: timed out")
    assert len(player.plays) == 2


def test_after_a_crash_it_is_played_again(world: PlayedWorld, call: MakeCall, action: AnsiblePlay) -> None:
    step = call("site", on="gpu001")
    before = action.prepare(step)
    assert action.observe(step, before) == NotBegun()
    assert isinstance(action.act(step, before, world.report), Done)


def test_without_an_inventory_it_says_what_is_missing(world: PlayedWorld, call: MakeCall) -> None:
    action, step = AnsiblePlay(NoPlays(), world.clock), call("site", on="gpu001")
    found = action.act(step, action.prepare(step), world.report)
    assert isinstance(found, Failed)
    assert "provision.inventory" in found.why


@pytest.mark.parametrize(
    "tags", ["munge", ["-v"], ["munge --become-user=x"], ["a,b"], ["{{ part }}"], ["munge\n"], [1], None]
)
def test_a_tag_that_its_parameter_made_more_of_than_a_word_is_not_played(
    world: PlayedWorld, call: MakeCall, action: AnsiblePlay, player: PlayedPlayer, tags: object
) -> None:
    step = call("site", on="gpu001", tags=tags)
    with pytest.raises(UsageError, match="tags "):
        action.act(step, action.prepare(step), world.report)
    assert player.plays == []


@pytest.mark.parametrize("node", ["", "all", "gpu[001-002]", "gpu001,head", "-v", None])
def test_what_is_not_one_node_is_not_played(
    world: PlayedWorld, call: MakeCall, action: AnsiblePlay, player: PlayedPlayer, node: object
) -> None:
    step = call("site", on=node)
    with pytest.raises(UsageError):
        action.act(step, action.prepare(step), world.report)
    assert player.plays == []
