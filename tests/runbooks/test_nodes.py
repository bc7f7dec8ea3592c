"""Holding and releasing nodes: what is drained, what stays as a person left it, and what comes back."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from played_slurm import START, PlayedClaims, PlayedClock, PlayedSlurm, node

from fleetward.model.claims import MAX_WHY, ClaimClass, owned_reason
from fleetward.model.errors import OutOfReachError, RefusedError, UsageError
from fleetward.model.guardrails import Guardrail
from fleetward.runbooks.nodes import DriftKind, HoldResult, NodeKeeper, ReleaseResult, held_by_fleetward
from fleetward.slurm.answers import Node
from fleetward.slurm.client import SlurmOutOfReachError, SlurmRefusedError

PROBLEM = ClaimClass.NODE_PROBLEM
OURS = "fleetward:i12 node_problem: GPU 3 off the bus"


@pytest.fixture
def clock() -> PlayedClock:
    return PlayedClock()


@pytest.fixture
def slurm(clock: PlayedClock) -> PlayedSlurm:
    slurm = PlayedSlurm(clock)
    slurm.add(node("gpu001"), node("gpu002"), node("gpu003"))
    return slurm


@pytest.fixture
def claims(clock: PlayedClock) -> PlayedClaims:
    return PlayedClaims(clock)


@pytest.fixture
def keeper(slurm: PlayedSlurm, claims: PlayedClaims, clock: PlayedClock) -> NodeKeeper:
    return NodeKeeper(slurm, claims, Guardrail(), clock)


def shown(slurm: PlayedSlurm, name: str) -> Node:
    return slurm.nodes_now[name]


def test_a_node_that_is_held_is_drained_with_a_reason_that_is_ours(keeper: NodeKeeper, slurm: PlayedSlurm) -> None:
    held = keeper.hold("gpu001", "i12", PROBLEM, "GPU 3 off the bus", "fleetward")
    assert (held.result, held.reason, held.claim.owner) == (HoldResult.DRAINED, OURS, "i12")
    assert (shown(slurm, "gpu001").flags, shown(slurm, "gpu001").reason) == (("DRAIN",), OURS)


def test_holding_twice_is_holding_once(keeper: NodeKeeper, slurm: PlayedSlurm, claims: PlayedClaims) -> None:
    for _ in range(2):
        held = keeper.hold("gpu001", "i12", PROBLEM, "GPU 3 off the bus", "fleetward")
    assert held.result is HoldResult.ALREADY
    assert (len(slurm.calls), len(claims.every)) == (1, 1)


@pytest.mark.parametrize(
    "theirs",
    [
        node("gpu001", "IDLE", "DRAIN", reason="disk is odd, ask Ada", by="root"),
        node("gpu001", "MIXED", "DRAIN"),
        node("gpu001", "IDLE", "DRAIN", reason="Prolog error", by="slurm"),
        node("gpu001", "DOWN", reason="taken apart", by="ada"),
    ],
    ids=lambda theirs: theirs.reason,
)
def test_what_somebody_else_took_out_stays_word_for_word(
    keeper: NodeKeeper, slurm: PlayedSlurm, claims: PlayedClaims, theirs: Node
) -> None:
    slurm.add(theirs)
    held = keeper.hold("gpu001", "i12", PROBLEM, "GPU off", "fleetward")
    assert (held.result, held.reason, held.reason_by) == (HoldResult.THEIRS, theirs.reason, theirs.reason_by)
    assert [claim.owner for claim in claims.open()] == ["i12"]
    released = keeper.release("gpu001", "i12", "fleetward")
    assert (released.result, released.claims) == (ReleaseResult.THEIRS, ())
    assert (shown(slurm, "gpu001"), slurm.calls) == (theirs, [])


@pytest.mark.parametrize("reason", ["Not responding", "Node unexpectedly rebooted", ""])
def test_a_node_that_slurm_set_down_is_drained_lest_it_comes_back(
    keeper: NodeKeeper, slurm: PlayedSlurm, reason: str
) -> None:
    slurm.add(node("gpu001", "DOWN", "NOT_RESPONDING", reason=reason, by="slurm"))
    assert keeper.hold("gpu001", "i12", PROBLEM, "node down", "fleetward").result is HoldResult.DRAINED
    assert "DRAIN" in shown(slurm, "gpu001").flags


def test_a_person_who_was_faster_is_not_overwritten(keeper: NodeKeeper, slurm: PlayedSlurm) -> None:
    slurm.on_write = lambda world: world.change("gpu001", reason="mine now", reason_by="ada")
    held = keeper.hold("gpu001", "i12", PROBLEM, "GPU off", "fleetward")
    assert (held.result, held.reason, held.reason_by) == (HoldResult.THEIRS, "mine now", "ada")
    assert [call[0] for call in slurm.calls] == ["drain"]


def test_a_person_who_drains_while_it_is_resumed_is_not_undone(keeper: NodeKeeper, slurm: PlayedSlurm) -> None:
    keeper.hold("gpu001", "i12", PROBLEM, "GPU off", "fleetward")
    slurm.on_write = lambda world: world.add(node("gpu001", "IDLE", "DRAIN", reason="mine now", by="ada"))
    released = keeper.release("gpu001", "i12", "fleetward")
    assert (released.result, released.reason) == (ReleaseResult.THEIRS, "mine now")
    assert [call[0] for call in slurm.calls] == ["drain", "resume"]


def test_the_node_returns_when_no_claim_is_left(keeper: NodeKeeper, slurm: PlayedSlurm) -> None:
    keeper.hold("gpu001", "i12", PROBLEM, "GPU off", "fleetward")
    keeper.hold("gpu001", "p-ada", ClaimClass.MAINTENANCE, "new fan", "ada")
    still = keeper.release("gpu001", "i12", "fleetward")
    assert (still.result, [claim.owner for claim in still.claims]) == (ReleaseResult.HELD, ["p-ada"])
    assert shown(slurm, "gpu001").reason == "fleetward:p-ada maintenance: new fan"
    assert keeper.release("gpu001", "p-ada", "ada").result is ReleaseResult.RESUMED
    assert shown(slurm, "gpu001").flags == ()


def test_the_reason_stays_while_its_owner_still_claims(keeper: NodeKeeper, slurm: PlayedSlurm) -> None:
    keeper.hold("gpu001", "i12", PROBLEM, "GPU 3 off the bus", "fleetward")
    keeper.hold("gpu001", "i13", PROBLEM, "also", "fleetward")
    keeper.release("gpu001", "i13", "fleetward")
    assert shown(slurm, "gpu001").reason == OURS
    assert len(slurm.calls) == 1


def test_releasing_twice_is_releasing_once(keeper: NodeKeeper, slurm: PlayedSlurm) -> None:
    keeper.hold("gpu001", "i12", PROBLEM, "GPU off", "fleetward")
    keeper.release("gpu001", "i12", "fleetward")
    assert keeper.release("gpu001", "i12", "fleetward").result is ReleaseResult.IN_SERVICE
    assert [call[0] for call in slurm.calls] == ["drain", "resume"]


def test_a_crash_between_claim_and_resume_is_made_good_by_releasing_again(
    keeper: NodeKeeper, slurm: PlayedSlurm, claims: PlayedClaims
) -> None:
    keeper.hold("gpu001", "i12", PROBLEM, "GPU off", "fleetward")
    claims.release("gpu001", "i12", "fleetward")
    assert keeper.release("gpu001", "i12", "fleetward").result is ReleaseResult.RESUMED


def test_a_node_that_is_down_and_drained_comes_back_whole(keeper: NodeKeeper, slurm: PlayedSlurm) -> None:
    slurm.add(node("gpu001", "DOWN", "DRAIN", reason=OURS, by="slurm"))
    assert keeper.release("gpu001", "i12", "fleetward").result is ReleaseResult.RESUMED
    assert (shown(slurm, "gpu001").state, shown(slurm, "gpu001").flags) == ("IDLE", ())


def test_slurms_complaint_about_a_node_it_never_saw_is_no_failure(keeper: NodeKeeper, slurm: PlayedSlurm) -> None:
    slurm.add(node("gpu001", "UNKNOWN", "DRAIN", "NOT_RESPONDING", reason=OURS, by="slurm"))
    assert keeper.release("gpu001", "i12", "fleetward").result is ReleaseResult.RESUMED


@pytest.mark.parametrize("flag", ["REBOOT_REQUESTED", "REBOOT_ISSUED", "POWERING_DOWN", "POWERED_DOWN"])
def test_a_node_on_its_way_through_a_reboot_is_not_resumed(keeper: NodeKeeper, slurm: PlayedSlurm, flag: str) -> None:
    slurm.add(node("gpu001", "IDLE", "DRAIN", flag, reason=OURS, by="slurm"))
    assert keeper.release("gpu001", "i12", "fleetward").result is ReleaseResult.LATER
    assert slurm.calls == []
    slurm.change("gpu001", flags=("DRAIN",))
    drift = keeper.reconcile(slurm.nodes().items)
    assert [(each.kind, each.done) for each in drift] == [(DriftKind.UNCLAIMED, "resumed")]


@pytest.mark.parametrize("flag", ["PLANNED", "MAINTENANCE", "NOT_RESPONDING"])
def test_reservations_and_plans_do_not_keep_a_node(keeper: NodeKeeper, slurm: PlayedSlurm, flag: str) -> None:
    slurm.add(node("gpu001", "IDLE", "DRAIN", flag, reason=OURS, by="slurm"))
    assert keeper.release("gpu001", "i12", "fleetward").result is ReleaseResult.RESUMED
    assert shown(slurm, "gpu001").flags == (flag,)


def test_the_breaker_counts_what_fleetward_holds_by_itself(keeper: NodeKeeper, slurm: PlayedSlurm) -> None:
    keeper.hold("gpu001", "i12", PROBLEM, "GPU off", "fleetward")
    with pytest.raises(RefusedError, match=r"gpu002 .* 1 \(gpu001\) out of 3"):
        keeper.hold("gpu002", "i13", PROBLEM, "GPU off", "fleetward")
    assert len(slurm.calls) == 1
    keeper.hold("gpu001", "i13", PROBLEM, "a second fault of the same node", "fleetward")
    keeper.release("gpu001", "i12", "fleetward")
    keeper.release("gpu001", "i13", "fleetward")
    assert keeper.hold("gpu002", "i13", PROBLEM, "GPU off", "fleetward").result is HoldResult.DRAINED


def test_a_refusal_claims_nothing(keeper: NodeKeeper, claims: PlayedClaims) -> None:
    keeper.hold("gpu001", "i12", PROBLEM, "GPU off", "fleetward")
    with pytest.raises(RefusedError):
        keeper.hold("gpu002", "r7", PROBLEM, "GPU off", "fleetward")
    assert [claim.node for claim in claims.open()] == ["gpu001"]


def test_people_are_neither_counted_nor_stopped(keeper: NodeKeeper, slurm: PlayedSlurm) -> None:
    keeper.hold("gpu001", "p-ada", PROBLEM, "odd", "ada")
    slurm.add(node("gpu003", "IDLE", "DRAIN", reason="by hand", by="root"))
    assert keeper.hold("gpu002", "i13", PROBLEM, "GPU off", "fleetward").result is HoldResult.DRAINED
    slurm.add(node("gpu004"))
    assert keeper.hold("gpu004", "p-ada", PROBLEM, "odd too", "ada").result is HoldResult.DRAINED


def test_a_person_may_override_the_breaker(keeper: NodeKeeper) -> None:
    keeper.hold("gpu001", "i12", PROBLEM, "GPU off", "fleetward")
    assert keeper.hold("gpu002", "i13", PROBLEM, "x", "ada", override=True).result is HoldResult.DRAINED


def test_a_drain_of_ours_that_outlived_its_claim_counts(clock: PlayedClock) -> None:
    claims = PlayedClaims(clock)
    claims.add("gpu009", "i1", PROBLEM, "a node that is no more", "fleetward")
    nodes = [node("gpu001", "IDLE", "DRAIN", reason=OURS), node("gpu002", "IDLE", "DRAIN", reason="by hand")]
    assert held_by_fleetward(nodes, claims.open()) == frozenset({"gpu001"})


def test_two_runs_at_once_do_not_both_take_the_last_place(
    slurm: PlayedSlurm, claims: PlayedClaims, clock: PlayedClock
) -> None:
    keeper = NodeKeeper(slurm, claims, Guardrail(), clock)
    slow = slurm.nodes

    def listed() -> object:
        found = slow()
        threading.Event().wait(0.05)  # long enough for the other to count the same nodes, were there no lock
        return found

    slurm.nodes = listed  # type: ignore[method-assign,assignment]
    refused: list[str] = []

    def hold(name: str, owner: str) -> None:
        try:
            keeper.hold(name, owner, PROBLEM, "GPU off", "fleetward")
        except RefusedError:
            refused.append(name)

    threads = [threading.Thread(target=hold, args=(f"gpu00{n}", f"i{n}")) for n in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(refused), len(claims.open()), len(slurm.calls)) == (2, 1, 1)


def test_a_drain_that_slurm_refuses_leaves_no_claim(
    keeper: NodeKeeper, slurm: PlayedSlurm, claims: PlayedClaims
) -> None:
    slurm.refuses["gpu001"] = "scontrol: slurm_update error: Access/permission denied"
    with pytest.raises(SlurmRefusedError):
        keeper.hold("gpu001", "i12", PROBLEM, "GPU off", "fleetward")
    assert claims.open() == ()


@pytest.mark.parametrize("broken", ["slurm", "claims"])
def test_what_is_out_of_reach_comes_through(
    keeper: NodeKeeper, slurm: PlayedSlurm, claims: PlayedClaims, broken: str
) -> None:
    error: OutOfReachError = SlurmOutOfReachError("no answer")
    (slurm if broken == "slurm" else claims).raises = error
    for call in (
        lambda: keeper.hold("gpu001", "i12", PROBLEM, "x", "fleetward"),
        lambda: keeper.release("gpu001", "i12", "fleetward"),
        lambda: keeper.reconcile([node("gpu001", "IDLE", "DRAIN", reason=OURS)]),
    ):
        with pytest.raises(OutOfReachError):
            call()
    assert slurm.calls == []


def test_a_node_that_slurm_does_not_know_is_named(keeper: NodeKeeper, claims: PlayedClaims) -> None:
    with pytest.raises(UsageError, match="'gpu999'"):
        keeper.hold("gpu999", "i12", PROBLEM, "x", "fleetward")
    assert claims.open() == ()


def test_a_claim_on_a_node_that_is_gone_can_be_released(
    keeper: NodeKeeper, slurm: PlayedSlurm, claims: PlayedClaims
) -> None:
    keeper.hold("gpu001", "i12", PROBLEM, "x", "fleetward")
    del slurm.nodes_now["gpu001"]
    assert keeper.release("gpu001", "i12", "fleetward").result is ReleaseResult.GONE
    assert claims.open() == ()


@pytest.mark.parametrize(
    "why",
    [
        "state=idle nodename=gpu002",
        "\x1b[31mred\nline",
        "显卡掉了",
        "",
        "x" * 500,
        "quote \" ' \\ [root@1]",
        "fleetward:i1",
    ],
)
def test_every_why_makes_a_reason_that_is_known_as_ours(keeper: NodeKeeper, slurm: PlayedSlurm, why: str) -> None:
    keeper.hold("gpu001", "i12", PROBLEM, why, "fleetward")
    reason = shown(slurm, "gpu001").reason
    own = owned_reason(reason.strip())  # Slurm drops blanks at the ends
    assert own is not None
    assert (own.owner, own.kind) == ("i12", PROBLEM)
    assert len(own.why) <= MAX_WHY
    assert reason.isascii()
    assert reason.isprintable()
    assert "=" not in reason
    assert keeper.release("gpu001", "i12", "fleetward").result is ReleaseResult.RESUMED


@pytest.mark.parametrize("owner", ["", "i 12", "p-bob@corp", "i12\n", "a b: c"])
def test_an_owner_whose_drain_could_not_be_known_again_is_refused(
    keeper: NodeKeeper, slurm: PlayedSlurm, owner: str
) -> None:
    with pytest.raises(UsageError, match="cannot own a drain"):
        keeper.hold("gpu001", owner, PROBLEM, "x", "fleetward")
    assert slurm.calls == []


def test_a_claimed_node_that_came_back_to_service_is_drained_again(keeper: NodeKeeper, slurm: PlayedSlurm) -> None:
    keeper.hold("gpu001", "i12", PROBLEM, "GPU 3 off the bus", "fleetward")
    slurm.add(node("gpu001"))
    drift = keeper.reconcile(slurm.nodes().items)
    assert [(each.node, each.kind) for each in drift] == [("gpu001", DriftKind.UNDRAINED)]
    assert shown(slurm, "gpu001").reason == OURS
    assert keeper.reconcile(slurm.nodes().items) == []


def test_a_node_that_slurm_will_not_drain_keeps_no_other_from_it(
    slurm: PlayedSlurm, claims: PlayedClaims, clock: PlayedClock
) -> None:
    keeper = NodeKeeper(slurm, claims, Guardrail(share=1), clock)
    for name in ("gpu001", "gpu002"):
        claims.add(name, "i12", PROBLEM, "GPU off", "fleetward")
    slurm.refuses["gpu001"] = "scontrol: slurm_update error: Invalid node state specified"
    drift = keeper.reconcile(slurm.nodes().items)
    assert ["not drained again" in each.done for each in drift] == [True, False]
    assert "DRAIN" in shown(slurm, "gpu002").flags


def test_a_drain_of_ours_without_an_owner_gets_the_one_who_claims_it_now(
    keeper: NodeKeeper, slurm: PlayedSlurm
) -> None:
    slurm.add(node("gpu001", "IDLE", "DRAIN", reason=OURS, by="slurm"))
    held = keeper.hold("gpu001", "i30", PROBLEM, "GPU 4 off the bus", "fleetward")
    assert (held.result, held.reason) == (HoldResult.ALREADY, "fleetward:i30 node_problem: GPU 4 off the bus")
    assert shown(slurm, "gpu001").reason == held.reason


def test_an_old_drain_that_a_controllers_crash_brought_back_is_undone(
    keeper: NodeKeeper, slurm: PlayedSlurm, clock: PlayedClock
) -> None:
    keeper.hold("gpu001", "i12", PROBLEM, "GPU off", "fleetward")
    old = shown(slurm, "gpu001")
    clock.sleep(60)
    keeper.release("gpu001", "i12", "fleetward")
    clock.sleep(60)
    slurm.add(old)
    assert [each.done for each in keeper.reconcile(slurm.nodes().items)] == ["resumed"]
    assert shown(slurm, "gpu001").flags == ()


def test_a_drain_in_our_words_that_is_younger_than_the_release_is_left(
    keeper: NodeKeeper, slurm: PlayedSlurm, clock: PlayedClock
) -> None:
    keeper.hold("gpu001", "i12", PROBLEM, "GPU off", "fleetward")
    old = shown(slurm, "gpu001")
    keeper.release("gpu001", "i12", "fleetward")
    slurm.add(replace(old, reason_at=START + timedelta(seconds=1)))
    drift = keeper.reconcile(slurm.nodes().items)
    assert "left drained for i12" in drift[0].done
    assert "DRAIN" in shown(slurm, "gpu001").flags


def test_a_lost_record_resumes_no_node(keeper: NodeKeeper, slurm: PlayedSlurm) -> None:
    slurm.add(*(node(f"gpu00{n}", "IDLE", "DRAIN", reason=OURS, by="slurm") for n in (1, 2, 3)))
    drift = keeper.reconcile(slurm.nodes().items)
    assert [each.kind for each in drift] == [DriftKind.UNCLAIMED] * 3
    assert slurm.calls == []


def test_an_old_picture_of_a_node_does_nothing(keeper: NodeKeeper, slurm: PlayedSlurm) -> None:
    picture = slurm.nodes().items
    keeper.hold("gpu001", "i12", PROBLEM, "GPU off", "fleetward")
    assert keeper.reconcile(picture) == []
    assert len(slurm.calls) == 1


def test_a_drain_by_hand_is_no_drift(keeper: NodeKeeper, slurm: PlayedSlurm) -> None:
    slurm.add(node("gpu001", "IDLE", "DRAIN", reason="by hand", by="root"))
    keeper.hold("gpu001", "i12", PROBLEM, "GPU off", "fleetward")
    assert keeper.reconcile(slurm.nodes().items) == []
    assert slurm.calls == []
