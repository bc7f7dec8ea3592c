"""Bisections of groups whose nodes and links are played: what is bad is named, and nothing else, in bounded rounds."""

from collections.abc import Callable, Iterable
from math import ceil, log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetward.model.claims import ClaimClass
from fleetward.operations.qualification.bisecting import Bisection, NextRound, most_rounds, plan
from fleetward.operations.qualification.bisecting_words import BadLink, Member, Trial, Verdict
from fleetward.operations.qualification.judging import Outcome
from fleetward.operations.qualification.workload_list import BY_ID

Oracle = Callable[[frozenset[str]], Outcome]
sizes = st.integers(2, 24)


def members(count: int, per_leaf: int = 4) -> tuple[Member, ...]:
    return tuple(Member(f"n{at}", f"leaf{at // per_leaf}" if per_leaf else "") for at in range(count))


def slow_where(is_slow: Callable[[frozenset[str]], bool]) -> Oracle:
    return lambda group: Outcome.FAILED if is_slow(group) else Outcome.PASSED


def bad_nodes(*names: str) -> Oracle:
    return slow_where(lambda group: not group.isdisjoint(names))


def bisected(bisection: Bisection, oracle: Oracle) -> tuple[Verdict, Bisection]:
    """Go on with a bisection until its verdict, with what was recorded for it."""
    known = {one.name for one in (*bisection.members, *bisection.partners)}
    while True:
        step = plan(bisection)
        if isinstance(step, Verdict):
            return step, bisection
        assert step.groups
        nodes = [name for group in step.groups for name in group]
        assert len(nodes) == len(set(nodes))
        assert known.issuperset(nodes)
        assert all(len(group) >= 2 for group in step.groups)
        bisection = bisection.after([(group, oracle(frozenset(group))) for group in step.groups], step.round)


def verdict_of(count: int, oracle: Oracle, partners: Iterable[Member] = ()) -> Verdict:
    return bisected(Bisection(members(count), tuple(partners)), oracle)[0]


def rounds_of(bisection: Bisection) -> int:
    return max((one.round for one in bisection.trials), default=-1) + 1


def test_a_group_that_is_fast_takes_one_test() -> None:
    assert plan(Bisection(members(4))) == NextRound(0, (("n0", "n1", "n2", "n3"),))
    verdict, record = bisected(Bisection(members(4)), bad_nodes())
    assert (verdict.bad, verdict.healthy, verdict.confirmed) == ((), ("n0", "n1", "n2", "n3"), True)
    assert len(record.trials) == 1


def test_one_bad_node_of_many_is_found_in_few_rounds() -> None:
    verdict, record = bisected(Bisection(members(64)), bad_nodes("n37"))
    assert verdict.bad == ("n37",)
    assert len(verdict.healthy) == 63
    assert verdict.confirmed
    assert rounds_of(record) <= log2(64) + 4
    assert verdict.why == ("n37 is slow with n1 and n36, which are fast with others",)


def test_halves_go_along_leaf_switches() -> None:
    mixed = tuple(Member(f"n{at}", f"leaf{at % 2}") for at in range(8))
    first = plan(Bisection(mixed).after([([one.name for one in mixed], Outcome.FAILED)], 0))
    assert first == NextRound(1, (("n0", "n2", "n4", "n6"), ("n1", "n3", "n5", "n7")))


@settings(deadline=None)
@given(sizes, st.data())
def test_every_bad_node_is_named_and_no_other(count: int, data: st.DataObject) -> None:
    names = [one.name for one in members(count)]
    bad = data.draw(st.sets(st.sampled_from(names), max_size=count - 2))
    verdict, record = bisected(Bisection(members(count)), bad_nodes(*bad))
    assert set(verdict.bad) == bad
    assert set(verdict.healthy) == set(names) - bad
    assert (verdict.links, verdict.unresolved, verdict.confirmed) == ((), (), True)
    assert rounds_of(record) < most_rounds(count)


@settings(deadline=None)
@given(sizes, st.data())
def test_with_partners_from_outside_all_may_be_bad(count: int, data: st.DataObject) -> None:
    names = [one.name for one in members(count)]
    bad = data.draw(st.sets(st.sampled_from(names)))
    partners = (Member("p0", "leaf0"), Member("p1", "leaf9"))
    verdict, record = bisected(Bisection(members(count), partners), bad_nodes(*bad))
    assert set(verdict.bad) == bad
    assert verdict.unresolved == ()
    assert rounds_of(record) < most_rounds(count)


@settings(deadline=None)
@given(st.integers(3, 24), st.data())
def test_a_bad_pair_is_named_and_neither_of_its_nodes(count: int, data: st.DataObject) -> None:
    names = [one.name for one in members(count)]
    pair = frozenset(data.draw(st.lists(st.sampled_from(names), min_size=2, max_size=2, unique=True)))
    verdict = verdict_of(count, slow_where(pair.issubset))
    (link,) = verdict.links
    assert {*link.one, *link.other} == pair
    assert len(link.one) == len(link.other) == 1
    assert (verdict.bad, verdict.unresolved) == ((), ())
    assert set(verdict.healthy) == set(names)


@settings(deadline=None)
@given(st.integers(6, 24), st.data())
def test_a_bad_pair_does_not_hide_a_bad_node(count: int, data: st.DataObject) -> None:
    names = [one.name for one in members(count)]
    one, other, bad = data.draw(st.lists(st.sampled_from(names), min_size=3, max_size=3, unique=True))
    verdict = verdict_of(count, slow_where(lambda group: bad in group or group.issuperset((one, other))))
    assert verdict.bad == (bad,)
    assert [{*link.one, *link.other} for link in verdict.links] == [{one, other}]


def test_a_pair_is_told_with_the_switches_between_its_nodes() -> None:
    near = verdict_of(8, slow_where(frozenset(("n1", "n2")).issubset))
    far = verdict_of(8, slow_where(frozenset(("n1", "n6")).issubset))
    assert near.why == (
        "n1 and n2 are fast, and slow with each other: both at leaf switch leaf0: its ports, and their cables",
    )
    assert far.why == (
        "n1 and n6 are fast, and slow with each other: from leaf switch leaf0 to leaf switch leaf1: their uplinks, "
        "and the spine",
    )
    unplaced = bisected(Bisection(members(4, per_leaf=0)), slow_where(frozenset(("n1", "n2")).issubset))[0]
    assert unplaced.links == (BadLink(("n1",), ("n2",), "the inventory does not say which switches lie between them"),)


def leaf_of(name: str) -> int:
    return int(name[1:]) // 4


@pytest.mark.parametrize("leaf", range(4))
def test_a_leaf_switch_with_a_bad_uplink_is_told_from_its_nodes(leaf: int) -> None:
    def is_slow(group: frozenset[str]) -> bool:
        leaves = {leaf_of(name) for name in group}
        return leaf in leaves and len(leaves) > 1

    verdict = verdict_of(16, slow_where(is_slow))
    assert verdict.bad == ()
    assert {name for link in verdict.links for name in link.worse} == {f"n{at}" for at in range(16) if at // 4 == leaf}
    assert verdict.confirmed


def test_nodes_that_are_all_of_one_leaf_switch_point_at_it() -> None:
    verdict = verdict_of(16, bad_nodes("n4", "n5", "n6", "n7"))
    assert verdict.bad == ("n4", "n5", "n6", "n7")
    assert verdict.why[-1] == "all 4 nodes at leaf switch leaf1 are slow: look at the switch first"


def test_a_group_that_is_only_slow_as_a_whole_names_nobody() -> None:
    verdict = verdict_of(16, slow_where(lambda group: len(group) > 8))
    assert (verdict.bad, verdict.links, verdict.unresolved, verdict.confirmed) == ((), (), (), False)
    assert verdict.why == (
        "n[0-15] are slow as a whole, and every part of them is fast: look at routing, the spine, and the limit itself",
    )


def test_where_all_are_bad_nobody_is_named() -> None:
    verdict, record = bisected(Bisection(members(8)), slow_where(lambda _: True))
    assert (verdict.bad, verdict.healthy) == ((), ())
    assert verdict.unresolved == tuple(f"n{at}" for at in range(8))
    assert len({one.nodes for one in record.trials if len(one.nodes) == 2}) == 28


def test_two_nodes_alone_cannot_be_told_apart() -> None:
    verdict = verdict_of(2, bad_nodes("n1"))
    assert (verdict.bad, verdict.unresolved) == ((), ("n0", "n1"))
    assert verdict_of(2, bad_nodes("n1"), [Member("p", "leaf7")]).bad == ("n1",)


def test_one_node_is_tested_with_partners() -> None:
    partners = [Member("p", "leaf0"), Member("q", "leaf1")]
    assert verdict_of(1, bad_nodes("n0"), partners).bad == ("n0",)
    assert verdict_of(1, bad_nodes(), partners).healthy == ("n0",)
    assert verdict_of(1, bad_nodes()).unresolved == ("n0",)
    assert verdict_of(0, bad_nodes()) == Verdict()


def test_partners_are_at_more_than_one_leaf_switch() -> None:
    _, record = bisected(Bisection(members(16)), bad_nodes("n0"))
    partners = {name for one in record.trials if len(one.nodes) == 2 for name in one.nodes if "n0" in one.nodes}
    leaves = {leaf_of(name) for name in partners - {"n0"}}
    assert 0 in leaves
    assert len(leaves) > 1


def test_a_node_whose_tests_have_no_outcome_is_unresolved_and_no_other() -> None:
    verdict = verdict_of(16, lambda group: Outcome.UNKNOWN if "n3" in group else Outcome.PASSED)
    assert (verdict.bad, verdict.unresolved) == ((), ("n3",))
    assert len(verdict.healthy) == 15


def test_an_unknown_outcome_is_asked_for_once_more() -> None:
    everybody = ("n0", "n1", "n2", "n3")
    again = plan(Bisection(members(4)).after([(everybody, Outcome.UNKNOWN)], 0))
    assert again == NextRound(1, (everybody,))
    record = Bisection(members(4), trials=(Trial(frozenset(everybody), Outcome.UNKNOWN, 0),))
    assert isinstance(plan(record.after([(everybody, Outcome.PASSED)], 1)), Verdict)


def test_where_no_test_has_an_outcome_it_soon_ends() -> None:
    verdict, record = bisected(Bisection(members(256)), lambda _: Outcome.UNKNOWN)
    assert len(verdict.unresolved) == 256
    assert rounds_of(record) < 8


@settings(deadline=None)
@given(sizes, st.data())
def test_it_goes_on_from_a_record_that_a_crash_cut_off(count: int, data: st.DataObject) -> None:
    names = [one.name for one in members(count)]
    bad = data.draw(st.sets(st.sampled_from(names), max_size=count - 2))
    _, record = bisected(Bisection(members(count)), bad_nodes(*bad))
    kept = data.draw(st.integers(0, len(record.trials)))
    cut = Bisection(record.members, trials=record.trials[:kept])
    verdict, _ = bisected(cut, bad_nodes(*bad))
    assert set(verdict.bad) == bad
    assert verdict.confirmed
    assert plan(cut) == plan(cut)


@settings(deadline=None)
@given(st.integers(0, 12), st.integers(0, 2), st.randoms(use_true_random=False))
def test_whatever_tests_say_it_ends_in_bounded_rounds(count: int, partners: int, random: object) -> None:
    draw = random.choice  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    bisection = Bisection(members(count), tuple(Member(f"p{at}", "leaf0") for at in range(partners)))
    verdict, record = bisected(bisection, lambda _: draw(list(Outcome)))
    assert rounds_of(record) <= most_rounds(count)
    named = (*verdict.bad, *verdict.healthy, *verdict.unresolved)
    assert sorted(named) == sorted(one.name for one in bisection.members)


def test_after_its_last_round_it_tells_what_it_knows() -> None:
    record = Bisection(members(8))
    while isinstance(step := plan(record, rounds=3), NextRound):
        record = record.after([(group, bad_nodes("n5")(frozenset(group))) for group in step.groups], step.round)
    assert rounds_of(record) == 3
    assert step.bad == ()
    assert set(step.healthy) == {"n0", "n1", "n2", "n3", "n6", "n7"}
    assert step.unresolved == ("n4", "n5")


def test_a_record_of_strangers_is_left_out() -> None:
    record = Bisection(members(4)).after([(("n0", "x"), Outcome.FAILED), (("x", "y"), Outcome.FAILED)], 0)
    verdict, _ = bisected(record, bad_nodes())
    assert (verdict.bad, verdict.links, verdict.confirmed) == ((), (), True)


def test_a_verdict_becomes_a_result_of_each_node() -> None:
    results = {one.nodes: one for one in verdict_of(8, bad_nodes("n5")).results(BY_ID["nccl_group"])}
    assert len(results) == 8
    bad = results[("n5",)]
    assert (bad.outcome, bad.blamed, bad.problem) == (Outcome.FAILED, ("n5",), ClaimClass.NODE_PROBLEM)
    assert results[("n0",)].outcome is Outcome.PASSED
    alone = verdict_of(1, bad_nodes()).results(BY_ID["nccl_group"])
    assert [one.outcome for one in alone] == [Outcome.UNKNOWN]


def test_one_bad_node_takes_log2_rounds_and_four() -> None:
    for count in (4, 8, 16, 32, 64, 128):
        _, record = bisected(Bisection(members(count)), bad_nodes(f"n{count // 3}"))
        assert rounds_of(record) <= ceil(log2(count)) + 4
