"""What an inventory says of a cluster, from nodes and partitions as Slurm tells of them."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetward.slurm.adoption.adopting import Adoption, adopt
from fleetward.slurm.answers import Node, Partition


def node(name: str, memory: int = 2_063_837, cpus: int = 192, reason: str = "", **gpus: int) -> Node:
    return Node(name, "IDLE", (), (), gpus, {}, cpus, 0, memory, 0, reason)


def partition(name: str, *nodes: str, default: bool = False, limit: int | None = None, tier: int = 1) -> Partition:
    return Partition(
        name, "UP", default, nodes, {}, limit, None, 1, None, (), (), (), (), "", tier, "OFF", reservation_only=False
    )


def profiles(adoption: Adoption) -> dict[str, tuple[str, ...]]:
    return {profile.name: profile.nodes for profile in adoption.profiles}


def test_nodes_of_the_same_hardware_share_a_profile_that_is_named_after_it() -> None:
    found = adopt(
        [
            node("gpu2", h100=8),
            node("gpu1", memory=2_063_901, h100=8),
            node("gpu3", h100=4),
            node("gpu4", cpus=96, h100=8),
            node("login1", memory=515_000, cpus=64),
        ],
        [],
    )
    assert profiles(found) == {
        "h100x8-192c-2048g": ("gpu1", "gpu2"),
        "h100x4-192c-2048g": ("gpu3",),
        "h100x8-96c-2048g": ("gpu4",),
        "cpu-64c-512g": ("login1",),
    }
    [both] = [profile for profile in found.profiles if "gpu1" in profile.nodes]
    assert (both.memory_mib, both.cpus, both.model, both.group) == (2_063_837, 192, "h100", "profile_h100x8_192c_2048g")
    assert found.nodes == ("gpu1", "gpu2", "gpu3", "gpu4", "login1")


def test_a_node_that_lost_a_module_of_memory_has_a_profile_of_its_own() -> None:
    lost = 2_063_837 - 65_536
    found = adopt([node("gpu1", h100=8), node("gpu2", memory=lost, h100=8)], [])
    assert profiles(found) == {"h100x8-192c-1984g": ("gpu2",), "h100x8-192c-2048g": ("gpu1",)}


@pytest.mark.parametrize(("least", "most"), [(1, 513), (65_663, 66_175), (128_000, 129_000), (2_048_000, 2_064_000)])
def test_what_firmware_keeps_is_half_a_gib_or_the_128th_part(least: int, most: int) -> None:
    assert len(adopt([node("a", memory=least), node("b", memory=most)], []).profiles) == 1
    assert len(adopt([node("a", memory=least), node("b", memory=most + 1)], []).profiles) == 2


def test_profiles_that_would_be_called_the_same_are_told_apart_by_mebibytes() -> None:
    found = adopt([node("gpu1", memory=2_063_837), node("gpu2", memory=2_040_000)], [])
    assert profiles(found) == {"cpu-192c-2040000m": ("gpu2",), "cpu-192c-2063837m": ("gpu1",)}


@pytest.mark.parametrize(
    ("memory", "name"),
    [
        (1, "cpu-192c-1m"),
        (1023, "cpu-192c-1023m"),
        (1024, "cpu-192c-1g"),
        (16_000, "cpu-192c-16g"),
        (31_744, "cpu-192c-31g"),
        (31_745, "cpu-192c-32g"),
        (128_500, "cpu-192c-128g"),
        (386_000, "cpu-192c-384g"),
        (515_000, "cpu-192c-512g"),
        (1_547_000, "cpu-192c-1536g"),
        (2_097_152, "cpu-192c-2048g"),
    ],
)
def test_memory_is_called_as_it_is_sold(memory: int, name: str) -> None:
    assert list(profiles(adopt([node("n", memory=memory)], []))) == [name]


@settings(deadline=None)
@given(st.lists(st.integers(1, 4_000_000), min_size=1, max_size=30))
def test_no_node_has_less_memory_than_its_profile_nor_much_more(memories: list[int]) -> None:
    found = adopt([node(f"n{index}", memory=memory) for index, memory in enumerate(memories)], [])
    by_node = {name: profile.memory_mib for profile in found.profiles for name in profile.nodes}
    assert len(by_node) == len(memories)
    assert len(profiles(found)) == len(found.profiles)
    for index, memory in enumerate(memories):
        least = by_node[f"n{index}"]
        assert least <= memory <= least + max(512, least // 128)
    assert set(by_node.values()) <= set(memories)


def test_gpus_of_two_types_are_not_written_as_if_they_were_one() -> None:
    found = adopt([node("gpu1", a100=4, h100=2), node("gpu2", gpu=1, h100=7)], [])
    assert [(profile.name, profile.model) for profile in found.profiles] == [
        ("a100x4_h100x2-192c-2048g", ""),
        ("gpux1_h100x7-192c-2048g", ""),
    ]
    assert found.with_gpus() == found.profiles
    assert found.remarks[0] == (
        "gpu1: have 4 of type 'a100', 2 of type 'h100'; a hardware profile has GPUs of one type, so it is written "
        "without them"
    )


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("h100", "h100"),
        ("gpu", "gpu"),  # what Slurm has no type for
        ("nvidia_a100-sxm4-80gb", "nvidia_a100-sxm4-80gb"),
        ("A100", "a100"),
        ("3090", "gpu-3090"),
        ("1g.10gb", "gpu-1g.10gb"),
        ("{{ x }}", "gpu----x---"),
        ("x" * 300, "x" * 300),
    ],
)
def test_types_of_gpus_become_words_and_a_remark_where_they_are_others(kind: str, model: str) -> None:
    found = adopt([node("gpu1", **{kind: 8})], [partition("p", "gpu1")])
    [profile] = found.profiles
    assert profile.model == model
    assert len(profile.name) <= 63
    assert profile.name.endswith("-192c-2048g")
    assert found.remarks == (() if model == kind else (f"gpu1: GPUs of type {kind!r} are written {model}",))


def test_types_that_are_written_alike_stay_two_profiles() -> None:
    found = adopt(
        [node("gpu1", A100=8), node("gpu2", a100=8), node("gpu3", **{"a1.0": 8}), node("g4", **{"a1_0": 8})], []
    )
    assert len(profiles(found)) == 4
    assert len({profile.group for profile in found.profiles}) == 4
    assert {profile.nodes for profile in found.profiles if profile.model == "a100"} == {("gpu1",), ("gpu2",)}


def test_names_that_would_be_the_same_are_numbered() -> None:
    found = adopt([node(f"n{index}", **{kind: 8}) for index, kind in enumerate(("A?", "a!", "a?"))], [])
    assert profiles(found) == {
        "a-x8-192c-2063837m": ("n0",),
        "a-x8-192c-2063837m.2": ("n1",),
        "a-x8-192c-2063837m.3": ("n2",),
    }
    assert [profile.group for profile in found.profiles] == [
        "profile_a_x8_192c_2063837m",
        "profile_a_x8_192c_2063837m_2",
        "profile_a_x8_192c_2063837m_3",
    ]


def test_long_names_are_cut_and_stay_distinct() -> None:
    found = adopt([node("n1", **{"x" * 80 + "!": 8}), node("n2", **{"x" * 80 + "?": 8})], [])
    assert list(profiles(found)) == [f"{'x' * 30}-192c-2063837m", f"{'x' * 30}-192c-2063837m.2"]


def test_more_gpus_than_a_profile_takes_are_told_of() -> None:
    found = adopt([node("mig1", **{"1g.10gb": 65}), node("mig2", **{"1g.10gb": 64})], [])
    assert sorted((profile.nodes[0], profile.model) for profile in found.profiles) == [
        ("mig1", ""),
        ("mig2", "gpu-1g.10gb"),
    ]
    assert any("more than a hardware profile takes" in remark for remark in found.remarks)


def test_a_type_with_no_gpus_is_none() -> None:
    assert adopt([node("n1", gpu=0)], []).with_gpus() == ()


@pytest.mark.parametrize(("cpus", "memory"), [(0, 1000), (8, 0), (-1, -1)])
def test_a_node_of_which_slurm_tells_nothing_is_adopted_without_a_profile(cpus: int, memory: int) -> None:
    found = adopt([node("gpu1", h100=8), node("odd", memory=memory, cpus=cpus)], [partition("p", "gpu1", "odd")])
    assert found.bare == ("odd",)
    assert list(profiles(found).values()) == [("gpu1",)]
    assert found.partitions[0].members == ("slurm_adopted",)
    assert found.remarks == ("odd: Slurm tells of no CPUs or no memory there; adopted without a hardware profile",)


HOSTILE = [
    "",
    "gpu[1-3]",
    "gpu 1",
    "gpu_1",
    "-n",
    "n-",
    "a..b",
    "{{ lookup('pipe','id') }}",
    "gpu1\nall",
    "\x1b[31m",
    "gpu\udcff",
    "gpü1",
    "٣",
    "10.0.0.1",
    "007",
    "all",
    "ungrouped",
    "n" * 64,
    "a." * 127,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_no_host_can_have_is_left_out_and_told(name: str) -> None:
    found = adopt([node("gpu1"), node(name)], [partition("p", "gpu1", name)])
    assert found.nodes == ("gpu1",)
    assert found.partitions[0].nodes == ("gpu1",)
    assert found.remarks[0].startswith(f"{name[:80]!r}: left out, since no host can be called so")
    assert found.remarks[1] == f"partition p: its nodes {name[:80]!r} are left out; they are not adopted"
    assert all(remark.isprintable() for remark in found.remarks)


def test_of_many_such_names_a_few_are_shown() -> None:
    found = adopt([node(f"n_{index}") for index in range(5000)], [])
    [remark] = found.remarks
    assert remark.startswith("'n_0', 'n_1', 'n_2', 'n_3', 'n_4' and 4995 more: left out")


@pytest.mark.parametrize("name", ["on", "null", "1e3", "0x1", "yes", "DGX-01", "gpu1.site", "y", "e3", "true1"])
def test_names_that_only_yaml_finds_odd_are_taken(name: str) -> None:
    assert adopt([node(name)], [partition("p", name)]).nodes == (name,)


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "DEFAULT", "all", "p" * 64, "{{ x }}", "-p", "ü"])
def test_a_partition_that_an_inventory_cannot_name_is_left_out_and_told(name: str) -> None:
    found = adopt([node("gpu1")], [partition("gpu", "gpu1"), partition(name, "gpu1")])
    assert [one.name for one in found.partitions] == ["gpu"]
    assert found.remarks == (f"partition {name!r}: left out, since the inventory does not take the name",)


def test_partitions_name_groups_where_these_are_their_nodes() -> None:
    nodes = [
        *(node(f"gpu{index}", h100=8) for index in (1, 2, 3)),
        *(node(f"cpu{index}") for index in (1, 2)),
        node("x"),
    ]
    found = adopt(
        nodes,
        [
            partition("everything", *(one.name for one in nodes)),
            partition("h100", "gpu1", "gpu2", "gpu3"),
            partition("cpu", "cpu1", "cpu2", "x"),
            partition("some", "gpu1", "gpu3", "gpu2", "cpu1"),
        ],
    )
    assert {one.name: one.members for one in found.partitions} == {
        "everything": ("slurm_adopted",),
        "h100": ("profile_h100x8_192c_2048g",),
        "cpu": ("profile_cpu_192c_2048g",),
        "some": ("cpu1,gpu[1-3]",),
    }
    assert found.remarks == ()


def test_nodes_in_no_partition_and_partitions_without_nodes_are_told() -> None:
    found = adopt([node("gpu1"), node("gpu2")], [partition("empty"), partition("one", "gpu1", "gone1")])
    assert [(one.name, one.nodes) for one in found.partitions] == [("one", ("gpu1",))]
    assert found.remarks == (
        "partition empty: left out, since it has no nodes",
        "partition one: its nodes 'gone1' are left out; they are not adopted",
        "gpu2: in no partition of the inventory; adopted all the same",
    )


def test_of_a_partition_only_what_lasts_is_kept() -> None:
    found = adopt([node("n")], [partition("a", "n", default=True, limit=93_784, tier=5), partition("b", "n")])
    assert [one.parameters for one in found.partitions] == [
        {"Default": True, "MaxTime": "1-02:03:04", "PriorityTier": 5},
        {},
    ]


def test_two_default_partitions_are_told_and_none_is_one() -> None:
    found = adopt([node("n")], [partition("a", "n", default=True), partition("b", "n", default=True)])
    assert [one.parameters for one in found.partitions] == [{}, {}]
    assert found.remarks == ("several partitions call themselves the default; none is written as the default",)


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_in_which_slurm_tells_makes_no_difference(order: random.Random) -> None:
    nodes = [node(f"gpu{index}", memory=2_000_000 + 9_000 * (index % 7), h100=index % 3) for index in range(30)]
    partitions = [partition(f"p{index}", *(f"gpu{at}" for at in range(index, 30, 3))) for index in range(3)]
    wanted = adopt(nodes, partitions)
    order.shuffle(nodes)
    order.shuffle(partitions)
    assert adopt(nodes, partitions) == wanted


def test_nothing_is_adopted_of_nothing() -> None:
    assert adopt([], []) == Adoption((), (), (), (), ())
