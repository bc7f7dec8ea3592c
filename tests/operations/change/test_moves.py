"""What comes next in a change, wherever its nodes and their runs stand."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.changes import Change, ChangeNode, ChangeState, Forecast, NodeState, RunNow
from fleetward.model.runs import RunState
from fleetward.operations.change.moves import in_words, moves

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)


def change(*nodes: ChangeNode, state: ChangeState = ChangeState.RUNNING, budget: int = 0, why: str = "") -> Change:
    forecast = Forecast(60.0, 1.0, 60.0)
    return Change(3, "change-site", "Play", {}, "d" * 64, budget, state, why, "ada", NOW, forecast, nodes)


def at(name: str, batch: int, state: NodeState = NodeState.WAITING, run: int | None = None) -> ChangeNode:
    return ChangeNode(name, batch, state, run)


def test_only_the_batch_at_hand_is_begun() -> None:
    found = moves(change(at("a", 1), at("b", 1), at("c", 2)), {})
    assert (found.begin, found.nodes, found.state) == (("a", "b"), (), ChangeState.RUNNING)


def test_the_next_batch_waits_for_each_node_of_the_one_before() -> None:
    nodes = (at("a", 1, NodeState.UNDER_WAY, 1), at("b", 1, NodeState.UNDER_WAY, 2), at("c", 2))
    runs = {1: RunNow(RunState.DONE), 2: RunNow(RunState.WAITING, "step empty: job 7 still runs")}
    found = moves(change(*nodes), runs)
    assert found.begin == ()
    assert [(one.name, one.state) for one in found.nodes] == [("a", NodeState.DONE), ("b", NodeState.UNDER_WAY)]
    assert found.nodes[1].why == "step empty: job 7 still runs"
    found = moves(change(*nodes), {1: RunNow(RunState.DONE), 2: RunNow(RunState.DONE)})
    assert found.begin == ("c",)


@pytest.mark.parametrize(
    ("run", "state"),
    [
        (RunState.FAILED, NodeState.FAILED),
        (RunState.ABORTED, NodeState.FAILED),
        (RunState.STOPPED, NodeState.ASKS),
    ],
)
@pytest.mark.parametrize(("budget", "goes_on"), [(0, False), (1, True)])
def test_more_trouble_than_the_budget_allows_stops_it(
    run: RunState, state: NodeState, budget: int, goes_on: bool
) -> None:
    nodes = (at("a", 1, NodeState.UNDER_WAY, 1), at("b", 2))
    found = moves(change(*nodes, budget=budget), {1: RunNow(run, "step play: it broke")})
    assert [(one.name, one.state, one.why) for one in found.nodes] == [("a", state, "step play: it broke")]
    assert (found.begin == ("b",)) == goes_on
    assert found.state is (ChangeState.RUNNING if goes_on else ChangeState.STOPPED)
    if not goes_on:
        assert found.why == "1 nodes are in trouble (a), and its budget allows none"


@pytest.mark.parametrize("state", [ChangeState.PLANNED, ChangeState.PAUSED, ChangeState.STOPPED, ChangeState.ABORTED])
def test_what_does_not_run_begins_no_node_and_still_tells_of_those_under_way(state: ChangeState) -> None:
    nodes = (at("a", 1, NodeState.UNDER_WAY, 1), at("b", 2))
    found = moves(change(*nodes, state=state, why="w"), {1: RunNow(RunState.DONE)})
    assert (found.begin, found.state, found.why) == ((), state, "w")
    assert [one.state for one in found.nodes] == [NodeState.DONE]


@pytest.mark.parametrize("state", [ChangeState.RUNNING, ChangeState.PAUSED, ChangeState.STOPPED])
def test_where_every_node_has_its_end_it_is_done(state: ChangeState) -> None:
    nodes = (at("a", 1, NodeState.UNDER_WAY, 1), at("b", 2, NodeState.LEFT_OUT), at("c", 2, NodeState.FAILED, 2))
    found = moves(change(*nodes, state=state, budget=1), {1: RunNow(RunState.DONE), 2: RunNow(RunState.FAILED)})
    assert (found.state, found.why) == (ChangeState.DONE, "1 done, 1 failed, 1 left out")


def test_one_whose_last_nodes_spend_its_budget_has_stopped_and_is_not_done() -> None:
    nodes = (at("a", 1, NodeState.DONE, 1), at("b", 2, NodeState.UNDER_WAY, 2))
    found = moves(change(*nodes), {1: RunNow(RunState.DONE), 2: RunNow(RunState.FAILED)})
    assert (found.state, found.why) == (ChangeState.STOPPED, "1 nodes are in trouble (b), and its budget allows none")


def test_a_change_with_a_node_that_asks_has_not_ended() -> None:
    nodes = (at("a", 1, NodeState.ASKS, 1), at("b", 2, NodeState.DONE, 2))
    found = moves(change(*nodes, budget=1), {1: RunNow(RunState.STOPPED, "?"), 2: RunNow(RunState.DONE)})
    assert found.state is ChangeState.RUNNING


def test_a_node_that_asked_and_was_answered_goes_on() -> None:
    found = moves(change(at("a", 1, NodeState.ASKS, 1)), {1: RunNow(RunState.RUNNING)})
    assert [one.state for one in found.nodes] == [NodeState.UNDER_WAY]


def test_what_a_person_gave_back_stays_so_whatever_its_run_says() -> None:
    found = moves(change(at("a", 1, NodeState.GIVEN_BACK, 1)), {1: RunNow(RunState.ABORTED)})
    assert (found.nodes, found.state) == ((), ChangeState.DONE)


@pytest.mark.parametrize(
    ("count", "named"),
    [(5, "n1, n2, n3, n4, n5"), (6, "n1, n2, n3, n4, n5 and 1 more"), (7, "n1, n2, n3, n4, n5 and 2 more")],
)
def test_many_in_trouble_are_counted_and_five_named(count: int, named: str) -> None:
    nodes = tuple(at(f"n{number}", 1, NodeState.FAILED, number) for number in range(1, count + 1))
    runs = {number: RunNow(RunState.FAILED) for number in range(1, count + 1)}
    found = moves(change(*nodes, at("z", 2), budget=2), runs)
    assert found.why == f"{count} nodes are in trouble ({named}), and its budget allows no more than 2"


RUN_STATES = st.sampled_from(
    [RunState.RUNNING, RunState.WAITING, RunState.STOPPED, RunState.DONE, RunState.FAILED, RunState.ABORTED]
)


@given(st.lists(st.tuples(st.integers(1, 3), RUN_STATES), min_size=1, max_size=9), st.integers(0, 3), st.data())
def test_however_it_goes_it_ends_and_never_begins_beyond_its_budget(
    plan: list[tuple[int, RunState]], budget: int, data: st.DataObject
) -> None:
    """Carry a change out against runs that end in any order: a node is begun once, and none once it has stopped."""
    nodes = [at(f"n{index}", batch) for index, (batch, _) in enumerate(sorted(plan, key=lambda one: one[0]))]
    ends = {f"n{index}": end for index, (_, end) in enumerate(sorted(plan, key=lambda one: one[0]))}
    now = change(*nodes, budget=budget)
    runs: dict[int, RunNow] = {}
    for _ in range(200):
        found = moves(now, runs)
        renewed = {one.name: one for one in found.nodes}
        now = replace(
            now,
            nodes=tuple(renewed.get(one.name, one) for one in now.nodes),
            state=found.state,
            why=found.why,
        )
        if now.state is not ChangeState.RUNNING:
            break
        assert len(now.in_trouble) <= budget
        for name in found.begin:
            number = int(name[1:]) + 1
            assert number not in runs, "a node was begun twice"
            runs[number] = RunNow(RunState.RUNNING)
            now = replace(
                now,
                nodes=tuple(
                    replace(one, state=NodeState.UNDER_WAY, run=number) if one.name == name else one
                    for one in now.nodes
                ),
            )
        going = [number for number, run in runs.items() if run.state is RunState.RUNNING]
        if going:
            number = data.draw(st.sampled_from(going))
            end = ends[f"n{number - 1}"]
            runs[number] = RunNow(RunState.DONE if end in {RunState.RUNNING, RunState.WAITING} else end)
        elif not found.begin:
            break
    asks = any(one.state is NodeState.ASKS for one in now.nodes)
    if now.state is ChangeState.RUNNING:
        assert asks
    elif now.state is ChangeState.STOPPED:
        assert len(now.in_trouble) > budget
    else:
        assert now.state is ChangeState.DONE
        assert all(one.state.ended for one in now.nodes)
        assert sum(int(words.split(" ")[0]) for words in in_words(now).split(", ")) == len(now.nodes)
