"""Which partition would take a job, ever and now."""

from dataclasses import replace

import pytest
from played_answers import GPU, NODES, having
from played_slurm import job, node

from fleetward.slurm.answers import JobDetail
from fleetward.slurm.verdicts.fitting import Needs, needs_of, refusals, rooms, smaller

NEEDS = Needs(nodes=2, gpus={"h100": 8}, cpus=8, seconds=3600, account="research", qos="normal")


def test_nodes_are_told_apart_by_what_they_have_and_how_they_are() -> None:
    (room,) = rooms(NEEDS, NODES, (GPU,))
    assert (room.able, room.working, room.free) == (("gpu001", "gpu002", "gpu003"), ("gpu001", "gpu002"), ("gpu001",))
    assert not room.holds(NEEDS)
    assert room.holds(replace(NEEDS, nodes=1))


def test_any_type_will_do_where_none_is_named() -> None:
    (room,) = rooms(replace(NEEDS, gpus={"gpu": 8}), NODES, (GPU,))
    assert room.able == ("gpu001", "gpu002", "gpu003", "gpu004")
    both = replace(NEEDS, gpus={"h100": 2, "gpu": 7})
    assert rooms(both, NODES, (GPU,))[0].able == ()


def test_processors_count_too() -> None:
    (room,) = rooms(replace(NEEDS, gpus={}, cpus=40), NODES, (GPU,))
    assert (room.working, room.free) == (("gpu001", "gpu002", "gpu004"), ("gpu001", "gpu004"))


def test_a_partition_that_takes_it_now_comes_first() -> None:
    debug = replace(GPU, name="debug", nodes=("gpu001", "gpu004"))
    wide = replace(GPU, name="wide", state="DRAIN")
    found = rooms(replace(NEEDS, gpus={}), NODES, (wide, replace(GPU, nodes=("gpu003",)), debug))
    assert [(room.partition, room.refuses) for room in found] == [("debug", ""), ("gpu", ""), ("wide", "is DRAIN")]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"state": "DOWN"}, "partition", "is DOWN"),
        ({"reservation_only": True}, "reservation", "takes jobs of a reservation only"),
        ({"time_limit": 600}, "time", "allows 10 minutes, it asks for 60"),
        ({"most_nodes": 1}, "nodes", "allows 1 nodes, it asks for 2"),
        ({"least_nodes": 4}, "nodes", "wants 4 nodes at least, it asks for 2"),
        ({"accounts": ("ops", "dev")}, "account", "does not take account research; it takes ops, dev"),
        ({"accounts_denied": ("research",)}, "account", "does not take account research"),
        ({"allowed_qos": ("high",)}, "qos", "does not take QOS normal; it takes high"),
        ({"qos_denied": ("normal",)}, "qos", "does not take QOS normal"),
    ],
)
def test_a_partition_says_why_it_does_not_take_it(changes: dict[str, object], field: str, words: str) -> None:
    partition = replace(GPU, **changes)  # type: ignore[arg-type]
    assert list(refusals(NEEDS, partition)) == [(field, words)]
    assert rooms(NEEDS, NODES, (partition,))[0].refuses == words


def test_everything_that_a_partition_does_not_take_is_told() -> None:
    partition = replace(GPU, state="DOWN", most_nodes=1, time_limit=60)
    assert [field for field, _ in refusals(NEEDS, partition)] == ["partition", "time", "nodes"]


def test_a_job_of_a_reservation_is_taken_where_only_those_are() -> None:
    assert list(refusals(replace(NEEDS, reservation="maintenance"), replace(GPU, reservation_only=True))) == []


def test_the_largest_smaller_job_is_one_with_fewer_nodes_else_with_fewer_gpus() -> None:
    assert smaller(NEEDS, NODES, GPU) == replace(NEEDS, nodes=1)
    busy = tuple(having(f"gpu00{n}", "MIXED", used=n) for n in (3, 5))
    assert smaller(NEEDS, busy, GPU) == replace(NEEDS, nodes=1, gpus={"h100": 5}, cpus=5)
    assert smaller(NEEDS, (), GPU) is None
    assert smaller(replace(NEEDS, gpus={}, cpus=999), NODES, GPU) is None


def test_what_a_job_asks_for_is_spread_over_its_nodes() -> None:
    found = needs_of(JobDetail(replace(job("12"), node_count=2, gpus={"h100": 16}, cpus=17, time_limit=60), ()))
    assert (found.nodes, found.gpus, found.cpus, found.seconds) == (2, {"h100": 8}, 9, 60)


def test_a_node_that_is_not_listed_is_not_counted() -> None:
    (room,) = rooms(replace(NEEDS, nodes=1), (node("other"),), (GPU,))
    assert room.able == ()


def test_bounds_themselves_are_allowed_and_a_lack_of_one_is_not() -> None:
    exact = replace(GPU, time_limit=3600, most_nodes=2, least_nodes=2)
    assert list(refusals(NEEDS, exact)) == []
    assert list(refusals(replace(NEEDS, seconds=3601), exact)) == [("time", "allows 60 minutes, it asks for 60")]
    assert list(refusals(replace(NEEDS, seconds=None), replace(GPU, time_limit=0))) == []
    assert list(refusals(NEEDS, replace(GPU, time_limit=0))) == [("time", "allows 0 minutes, it asks for 60")]


def test_a_node_with_just_enough_is_enough_and_one_with_less_is_not() -> None:
    just = having("gpu001", "MIXED", used=6)
    partition = replace(GPU, nodes=("gpu001",))
    for kind in ("h100", "gpu"):
        (room,) = rooms(replace(NEEDS, nodes=1, gpus={kind: 2}, cpus=16), (just,), (partition,))
        assert room.free == ("gpu001",)
        (room,) = rooms(replace(NEEDS, nodes=1, gpus={kind: 3}, cpus=16), (just,), (partition,))
        assert room.free == ()
        (room,) = rooms(replace(NEEDS, nodes=1, gpus={kind: 2}, cpus=17), (just,), (partition,))
        assert room.free == ()
    (room,) = rooms(
        replace(NEEDS, nodes=1, gpus={}, cpus=1), (replace(just, gpus={}, gpus_allocated={}),), (partition,)
    )
    assert room.free == ("gpu001",)
    (room,) = rooms(replace(NEEDS, nodes=1, gpus={"gpu": 1}, cpus=1), (replace(just, gpus={}),), (partition,))
    assert (room.able, room.free) == ((), ())


def test_the_smallest_smaller_job_has_one_gpu_and_one_processor() -> None:
    nodes = (having("gpu001", "MIXED", used=7),)
    partition = replace(GPU, nodes=("gpu001",))
    assert smaller(replace(NEEDS, nodes=1, gpus={"h100": 8}, cpus=4), nodes, partition) == replace(
        NEEDS, nodes=1, gpus={"h100": 1}, cpus=1
    )
    assert smaller(replace(NEEDS, nodes=1, gpus={"h100": 1}, cpus=64), nodes, partition) is None
    both = replace(NEEDS, nodes=1, gpus={"h100": 4, "gpu": 4})
    assert smaller(both, nodes, partition) is None


def test_a_job_without_nodes_asks_for_one() -> None:
    found = needs_of(JobDetail(replace(job("12"), node_count=0, gpus={"gpu": 3}, cpus=5), (), reservation="mine"))
    assert (found.nodes, found.gpus, found.cpus, found.reservation) == (1, {"gpu": 3}, 5, "mine")


def test_one_gpu_less_one_type_too_few_and_all_processors() -> None:
    node, partition = having("gpu001", "MIXED", used=5), replace(GPU, nodes=("gpu001",))
    assert smaller(replace(NEEDS, nodes=1, gpus={"h100": 4}, cpus=4), (node,), partition) == replace(
        NEEDS, nodes=1, gpus={"h100": 3}, cpus=3
    )
    (room,) = rooms(replace(NEEDS, nodes=1, gpus={"a100": 1}, cpus=1), (node,), (partition,))
    assert room.able == ()
    (room,) = rooms(replace(NEEDS, nodes=1, gpus={"h100": 1}, cpus=64), (node,), (partition,))
    assert (room.able, room.free) == (("gpu001",), ())
