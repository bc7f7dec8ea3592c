"""Which nodes a change takes together, which it leaves as they are, and what it will cost."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from played_slurm import START, job, node

from fleetward.model.changes import ChangeNode
from fleetward.model.errors import UsageError
from fleetward.operations.change.batches import Seen, Wanted, batches, why_not
from fleetward.slurm.answers import Job, Node

NAMES = tuple(f"gpu{number:03}" for number in range(1, 9))
LEAVES = {name: "leaf1" if name <= "gpu004" else "leaf2" for name in NAMES}


def gpus(name: str, *flags: str, reason: str = "", by: str = "") -> Node:
    return replace(node(name, "IDLE", *flags, reason=reason, by=by), gpus={"h100": 8})


def running(number: int, *names: str, limit: int | None, ran: int = 0, held: int = 8) -> Job:
    one = job(number, *names)
    return replace(
        one, time_limit=limit, started_at=START - timedelta(seconds=ran), gpus={"h100": held * len(names)}, cpus=8
    )


def seen(*jobs: Job, nodes: tuple[Node, ...] = tuple(map(gpus, NAMES))) -> Seen:
    return Seen(nodes, jobs, LEAVES, START)


def by_batch(planned: tuple[ChangeNode, ...]) -> list[list[str]]:
    return [[one.name for one in planned if one.batch == number] for number in sorted({one.batch for one in planned})]


def test_a_batch_stays_under_one_leaf_switch() -> None:
    planned, left_out, _ = batches(Wanted(NAMES, 3), seen())
    assert by_batch(planned) == [
        ["gpu001", "gpu002", "gpu003"],
        ["gpu004"],
        ["gpu005", "gpu006", "gpu007"],
        ["gpu008"],
    ]
    assert left_out == ()


def test_what_is_free_soonest_comes_first() -> None:
    jobs = (running(1, "gpu001", limit=7200), running(2, "gpu002", limit=3600), running(3, "gpu005", limit=60))
    planned, _, _ = batches(Wanted(NAMES[:3] + NAMES[4:5], 2), seen(*jobs))
    assert by_batch(planned) == [["gpu005"], ["gpu003", "gpu002"], ["gpu001"]]


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (gpus("gpu001"), ""),
        (gpus("gpu001", "DRAIN", reason="bad riser", by="ada"), "was taken out of service by ada: bad riser"),
        (replace(gpus("gpu001"), state="DOWN", reason="Not responding"), "was taken out of service: Not responding"),
        (gpus("gpu001", "DRAIN", reason="fleetward:i7 node_problem: XID 79"), "is held by i7: XID 79"),
        (gpus("gpu001", "DRAIN", reason="fleetward:c2 maintenance: reboot"), "is held by c2: reboot"),
    ],
)
def test_what_somebody_has_taken_out_of_service_is_left_as_it_is(found: Node, why: str) -> None:
    assert why_not(found) == why
    planned, left_out, _ = batches(Wanted(("gpu001", "gpu002"), 2), seen(nodes=(found, gpus("gpu002"))))
    assert ("gpu001" in [one.name for one in planned]) == (not why)
    assert [one.why for one in left_out] == ([why] if why else [])


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (Wanted(("gpu001", "gpu099"), 1), "Slurm knows no node gpu099; `fleetward nodes`"),
        (Wanted((), 1), "no node is left to change"),
        (Wanted(NAMES, 0), "0 nodes at once is no batch"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_by_name(wanted: Wanted, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        batches(wanted, seen())


def test_where_all_are_out_of_service_each_is_told_of() -> None:
    out = gpus("gpu001", "DRAIN", reason="mine", by="ada")
    with pytest.raises(UsageError, match="no node is left to change: gpu001 was taken out of service by ada: mine"):
        batches(Wanted(("gpu001",), 1), seen(nodes=(out,)))


@pytest.mark.parametrize(("count", "named"), [(5, "n1, n2, n3, n4, n5;"), (7, "n1, n2, n3, n4, n5 and 2 more;")])
def test_of_many_unknown_names_five_are_told(count: int, named: str) -> None:
    with pytest.raises(UsageError, match=f"Slurm knows no node {named}"):
        batches(Wanted([f"n{number}" for number in range(1, count + 1)], 1), seen())


def test_of_many_that_are_out_five_are_told() -> None:
    out = tuple(gpus(name, "DRAIN", reason="mine", by="ada") for name in NAMES)
    with pytest.raises(UsageError) as refused:
        batches(Wanted(NAMES, 1), seen(nodes=out))
    assert str(refused.value).count("was taken out of service") == 5


def test_a_job_on_several_nodes_holds_its_share_on_each() -> None:
    wide = running(1, "gpu001", "gpu002", limit=3600, held=4)
    _, _, forecast = batches(Wanted(("gpu001",), 1, 900), seen(wide))
    assert forecast.lost_gpu_hours == pytest.approx((4 * 3600 + 8 * 900) / 3600)


def test_what_is_left_of_a_job_when_its_batch_comes_is_not_lost() -> None:
    first, second = running(1, "gpu001", limit=600), running(2, "gpu002", limit=3600)
    _, _, forecast = batches(Wanted(("gpu001", "gpu002"), 1, 900), seen(first, second))
    assert forecast.seconds == 600 + 900 + (3600 - 1500) + 900
    assert forecast.lost_gpu_hours == pytest.approx(2 * 8 * 900 / 3600)


def test_an_idle_fleet_costs_the_work_alone() -> None:
    _, _, forecast = batches(Wanted(NAMES, 4, 900), seen())
    assert (forecast.seconds, forecast.endless) == (1800, ())
    assert forecast.lost_gpu_hours == pytest.approx(8 * 8 * 900 / 3600)


def test_what_a_job_uses_until_its_end_is_not_lost_and_what_stands_empty_beside_it_is() -> None:
    half = running(1, "gpu001", limit=7200, ran=3600, held=4)
    _, _, forecast = batches(Wanted(("gpu001",), 1, 900), seen(half))
    assert forecast.seconds == 3600 + 900
    assert forecast.lost_gpu_hours == pytest.approx((4 * 3600 + 8 * 900) / 3600)


def test_a_job_that_ends_while_others_are_worked_on_costs_no_wait_of_its_own() -> None:
    _, _, forecast = batches(Wanted(("gpu001", "gpu002"), 1, 900), seen(running(1, "gpu002", limit=600)))
    assert forecast.seconds == 1800
    assert forecast.lost_gpu_hours == pytest.approx(2 * 8 * 900 / 3600)


def test_a_job_without_a_limit_leaves_the_end_open_and_is_named() -> None:
    _, _, forecast = batches(Wanted(("gpu001", "gpu002"), 2), seen(running(1, "gpu002", limit=None)))
    assert (forecast.seconds, forecast.endless) == (None, ("gpu002",))


def test_jobs_that_hold_no_node_any_more_are_not_waited_for() -> None:
    gone = replace(running(1, "gpu001", limit=7200), state="COMPLETED")
    _, _, forecast = batches(Wanted(("gpu001",), 1, 60), seen(gone))
    assert forecast.seconds == 60


def test_a_job_beyond_its_limit_is_about_to_end() -> None:
    _, _, forecast = batches(Wanted(("gpu001",), 1, 60), seen(running(1, "gpu001", limit=60, ran=600)))
    assert forecast.seconds == 60


@given(
    st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
    st.integers(1, 9),
    st.dictionaries(st.sampled_from(NAMES), st.integers(0, 10_000)),
)
def test_every_node_has_one_place_and_no_batch_is_too_large(
    names: list[str], at_once: int, limits: dict[str, int]
) -> None:
    jobs = [running(number, name, limit=limit) for number, (name, limit) in enumerate(limits.items(), 1)]
    planned, _, forecast = batches(Wanted(names, at_once, 60), seen(*jobs))
    assert sorted(one.name for one in planned) == sorted(names)
    found = by_batch(planned)
    assert all(len(batch) <= at_once and len({LEAVES[name] for name in batch}) == 1 for batch in found)
    assert [one.batch for one in planned] == sorted(one.batch for one in planned)
    assert forecast.seconds is not None
    assert forecast.seconds >= 60 * len(found)
    assert forecast.lost_gpu_hours >= 0
