"""Draining and resuming as steps: what they do, and what is seen of them when their record was lost."""

from collections.abc import Callable

import pytest
from played_slurm import PlayedWorld, node

from fleetward.model.claims import ClaimClass
from fleetward.model.errors import OutOfReachError, UsageError
from fleetward.runbooks.actions.base import Asks, Call, Done, NotBegun, Result
from fleetward.runbooks.actions.slurm_nodes import Drain, Resume
from fleetward.slurm.client import SlurmOutOfReachError

MakeCall = Callable[..., Call]
OURS = "fleetward:i12 node_problem: GPU 3 off the bus"


def drain(world: PlayedWorld, call: Call) -> Result:
    return Drain(world.keeper).act(call, Drain(world.keeper).prepare(call), world.report)


def resume(world: PlayedWorld, call: Call) -> Result:
    return Resume(world.keeper).act(call, Resume(world.keeper).prepare(call), world.report)


def test_a_drain_tells_what_slurm_shows(world: PlayedWorld, call: MakeCall) -> None:
    done = drain(world, call("gpu001", why="GPU 3 off the bus"))
    assert done == Done({"result": "drained", "claim": 1, "reason": OURS, "reason_by": "slurm"})
    assert world.said == [f"gpu001: drained; Slurm shows `{OURS}` by slurm\n"]


def test_a_drain_without_a_why_names_the_page(world: PlayedWorld, call: MakeCall) -> None:
    drain(world, call("gpu001", class_="maintenance", incident=None))
    assert world.slurm.nodes_now["gpu001"].reason == "fleetward:r7 maintenance: A GPU fell off the bus"


def test_what_stood_there_before_is_kept(world: PlayedWorld, call: MakeCall) -> None:
    world.slurm.add(node("gpu001", "MIXED", "DRAIN", reason="by hand", by="ada"))
    assert Drain(world.keeper).prepare(call("gpu001")) == {
        "state": "MIXED+DRAIN",
        "reason": "by hand",
        "reason_by": "ada",
    }


def test_a_guardrails_refusal_asks_a_person(world: PlayedWorld, call: MakeCall) -> None:
    world.keeper.hold("gpu002", "i9", ClaimClass.NODE_PROBLEM, "x", "fleetward")
    asked = drain(world, call("gpu001"))
    assert isinstance(asked, Asks)
    assert "gpu002" in asked.why


def test_a_drain_whose_record_was_lost_is_seen(world: PlayedWorld, call: MakeCall) -> None:
    step = call("gpu001", why="GPU 3 off the bus")
    assert Drain(world.keeper).observe(step, {}) == NotBegun()
    drain(world, step)
    assert Drain(world.keeper).observe(step, {}) == Done({"result": "seen", "reason": OURS, "reason_by": "slurm"})


def test_a_claim_without_its_drain_is_not_a_drain(world: PlayedWorld, call: MakeCall) -> None:
    world.claims.add("gpu001", "i12", ClaimClass.NODE_PROBLEM, "GPU 3 off the bus", "fleetward")
    step = call("gpu001", why="GPU 3 off the bus")
    assert Drain(world.keeper).observe(step, {}) == NotBegun()
    drain(world, step)
    assert world.slurm.nodes_now["gpu001"].reason == OURS
    assert len(world.claims.every) == 1


def test_a_drain_that_may_have_been_taken_is_looked_for(world: PlayedWorld, call: MakeCall) -> None:
    def answer_is_lost(_: object) -> None:
        raise SlurmOutOfReachError("scontrol gave no answer within 30 s")

    world.slurm.on_write = answer_is_lost
    step = call("gpu001", why="GPU 3 off the bus")
    with pytest.raises(OutOfReachError):
        drain(world, step)
    assert isinstance(Drain(world.keeper).observe(step, {}), Done)


def test_somebody_elses_claim_on_a_drained_node_is_not_ours(world: PlayedWorld, call: MakeCall) -> None:
    world.keeper.hold("gpu001", "p-ada", ClaimClass.MAINTENANCE, "fan", "ada")
    assert Drain(world.keeper).observe(call("gpu001"), {}) == NotBegun()


def test_a_resume_gives_the_node_back(world: PlayedWorld, call: MakeCall) -> None:
    drain(world, call("gpu001"))
    assert resume(world, call("gpu001")) == Done({"result": "resumed", "claims": [], "reason": "", "reason_by": ""})


def test_a_resume_tells_who_still_holds_the_node(world: PlayedWorld, call: MakeCall) -> None:
    drain(world, call("gpu001"))
    world.keeper.hold("gpu001", "p-ada", ClaimClass.MAINTENANCE, "fan", "ada")
    done = resume(world, call("gpu001"))
    assert (done.outcome["result"], done.outcome["claims"]) == ("held", ["p-ada"])
    assert "still held by p-ada" in world.said[-1]


def test_a_resume_leaves_what_a_person_drained(world: PlayedWorld, call: MakeCall) -> None:
    world.slurm.add(node("gpu001", "IDLE", "DRAIN", reason="by hand", by="ada"))
    drain(world, call("gpu001"))
    done = resume(world, call("gpu001"))
    assert (done.outcome["result"], done.outcome["reason"], done.outcome["reason_by"]) == ("theirs", "by hand", "ada")
    assert world.slurm.nodes_now["gpu001"].reason == "by hand"


def test_a_resume_in_the_middle_of_a_reboot_asks(world: PlayedWorld, call: MakeCall) -> None:
    drain(world, call("gpu001"))
    world.slurm.change("gpu001", flags=("DRAIN", "REBOOT_ISSUED"))
    asked = resume(world, call("gpu001"))
    assert isinstance(asked, Asks)
    assert "once it is back" in asked.why


def test_a_resume_whose_record_was_lost_is_seen(world: PlayedWorld, call: MakeCall) -> None:
    drain(world, call("gpu001"))
    assert Resume(world.keeper).observe(call("gpu001"), {}) == NotBegun()
    resume(world, call("gpu001"))
    seen = Resume(world.keeper).observe(call("gpu001"), {})
    assert seen == Done({"result": "seen", "claims": [], "reason": "", "reason_by": ""})


def test_a_release_without_its_resume_is_not_a_resume(world: PlayedWorld, call: MakeCall) -> None:
    drain(world, call("gpu001"))
    world.claims.release("gpu001", "i12", "fleetward")
    assert Resume(world.keeper).observe(call("gpu001"), {}) == NotBegun()
    assert resume(world, call("gpu001")).outcome["result"] == "resumed"


def test_a_drain_that_came_after_the_lost_resume_is_left(world: PlayedWorld, call: MakeCall) -> None:
    drain(world, call("gpu001"))
    resume(world, call("gpu001"))
    world.slurm.add(node("gpu001", "IDLE", "DRAIN", reason="by hand", by="ada"))
    seen = Resume(world.keeper).observe(call("gpu001"), {})
    assert isinstance(seen, Done)
    assert seen.outcome["reason"] == "by hand"


@pytest.mark.parametrize("argument", ["gpu001,gpu002", "ALL", "", "gpu[001-003]", 3, None, ["gpu001"]])
def test_what_is_not_one_node_reaches_nothing(world: PlayedWorld, call: MakeCall, argument: object) -> None:
    for action in (Drain(world.keeper), Resume(world.keeper)):
        with pytest.raises(UsageError, match="name of one node"):
            action.prepare(call(argument))
    assert world.slurm.calls == []
