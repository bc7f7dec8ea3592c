"""The files of an adopted inventory: what the project's own check and Ansible make of them."""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleetward.model.fleet import Fleet
from fleetward.model.host_ranges import expand_ansible_range
from fleetward.model.inventory import read_fleet
from fleetward.slurm.adoption.adopting import Adoption, adopt
from fleetward.slurm.adoption.files import (
    HARDWARE_FILE,
    HOSTS_FILE,
    SLURM_FILE,
    ansible_ranges,
    cluster_of,
    exporters_of,
    inventory_files,
    is_as_written,
)
from fleetward.slurm.answers import Node, Partition

ODD = ("on", "off", "null", "true", "yes", "n", "1e3", "0x1f", "0o17", "1-2-3", "e1", "DGX-01", "a1b2", "x.y", "12ab")
EVIL = "{{ lookup('pipe', 'id') }}: [\n&a *a !!python/object"


def node(name: str, memory: int = 515_000, cpus: int = 64, **gpus: int) -> Node:
    return Node(name, "DOWN", (), (), gpus, {}, cpus, 0, memory, 0, EVIL, EVIL)


def partition(name: str, nodes: tuple[str, ...], *, default: bool = False) -> Partition:
    return Partition(
        name, "UP", default, nodes, {}, 86_400, 60, 1, None, (EVIL,), (), (), (), EVIL, 2, EVIL, reservation_only=False
    )


def read(files: dict[str, str]) -> Fleet:
    with tempfile.TemporaryDirectory() as folder:
        write(files, Path(folder))
        return read_fleet(Path(folder))


def write(files: dict[str, str], folder: Path) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def assert_says_what_was_adopted(fleet: Fleet, adoption: Adoption) -> None:
    assert set(fleet.nodes) == set(adoption.nodes)
    assert set(fleet.groups["slurm_adopted"]) == set(adoption.nodes)
    assert {one.name: set(one.nodes) for one in fleet.partitions} == {
        one.name: set(one.nodes) for one in adoption.partitions
    }
    for profile in adoption.profiles:
        for name in profile.nodes:
            declared = fleet.nodes[name].profile
            assert declared is not None
            assert (declared.name, declared.cpus, declared.memory_mib) == (
                profile.name,
                profile.cpus,
                profile.memory_mib,
            )
            gpus = ((declared.gpu.model, declared.gpu.count),) if declared.gpu else ()
            assert gpus == (((profile.model, profile.gpu_types[0][1]),) if profile.model else ())
    assert {name for name, one in fleet.nodes.items() if one.profile is None} == set(adoption.bare)


NAMES = st.one_of(
    st.sampled_from(ODD),
    st.builds("{}{}".format, st.sampled_from(["gpu", "g-", "rack1-n", "1e", "0", "a.b"]), st.integers(0, 120)),
    st.builds("gpu{:03d}".format, st.integers(0, 1200)),
    st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,8}[A-Za-z0-9])?", fullmatch=True),
    st.text(max_size=8),
)
GPUS = st.dictionaries(
    st.one_of(st.sampled_from(["h100", "A100", "gpu", "1g.10gb"]), st.text(max_size=5)), st.integers(0, 70), max_size=2
)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[list[Node], list[Partition]]:
    names = draw(st.lists(NAMES, min_size=1, max_size=30, unique=True))
    nodes = [
        Node(name, "IDLE", (), (), draw(GPUS), {}, draw(st.integers(0, 3)), 0, draw(st.integers(0, 9_000)), 0, EVIL)
        for name in names
    ]
    labels = st.one_of(st.sampled_from(["gpu", "null", "1e3", "ALL", "all", "on"]), st.text(max_size=6))
    partitions = [
        partition(
            draw(labels),
            tuple(draw(st.lists(st.sampled_from([*names, "gone"]), max_size=12))),
            default=draw(st.booleans()),
        )
        for _ in range(draw(st.integers(0, 4)))
    ]
    return nodes, partitions


@settings(deadline=None)
@given(clusters(), st.sets(st.sampled_from(["gpu_exporter", "node_exporter"])))
@example(([node("gpu1")], []), set())
def test_whatever_slurm_says_the_inventory_passes_the_check_and_says_the_same(
    cluster: tuple[list[Node], list[Partition]], exporters: set[str]
) -> None:
    adoption = adopt(*cluster)
    files = inventory_files("theirs", adoption, exporters)
    assert all(is_as_written(text) for text in files.values())
    assert not any("lookup" in text or "python" in text for text in files.values())
    if adoption.nodes:
        assert_says_what_was_adopted(read(files), adoption)


def fleet_of(count: int) -> tuple[list[Node], list[Partition]]:
    """Return a fleet of three kinds of nodes, with what firmware keeps of each node's memory."""
    chance = random.Random(5)  # noqa: S311  the same fleet each time
    nodes = []
    for index in range(count):
        kept = chance.randrange(4_000)
        if index % 10 == 9:
            nodes.append(node(f"cpu-{index:05d}", memory=515_700 - kept, cpus=128))
        elif index % 2:
            nodes.append(node(f"h100-{index // 2:04d}", memory=2_063_900 - kept, cpus=224, h100=8))
        else:
            nodes.append(node(f"a{index // 2}", memory=1_031_900 - kept, cpus=256, a100=4))
    every = tuple(one.name for one in nodes)
    parts = [
        partition("all-nodes", every, default=True),
        partition("cpu", tuple(name for name in every if "cpu" in name)),
    ]
    return nodes, [*parts, partition("half", every[: count // 2])]


def test_a_fleet_of_5000_nodes_folds_into_few_lines() -> None:
    adoption = adopt(*fleet_of(5000))
    files = inventory_files("big", adoption)
    fleet = read(files)
    assert len(fleet.nodes) == 5000
    assert_says_what_was_adopted(fleet, adoption)
    assert [profile.name for profile in adoption.profiles] == [
        "cpu-128c-512g",
        "a100x4-256c-1024g",
        "h100x8-224c-2048g",
    ]
    assert '"a[0:2499]": {}' in files[HOSTS_FILE]
    assert files[HARDWARE_FILE].count("\n") < 40


def test_neither_a_reason_nor_anything_that_sets_up_slurm_is_written() -> None:
    files = inventory_files("c", adopt([node("gpu1", h100=8)], [partition("p", ("gpu1",))]), ["gpu_exporter"])
    assert set(files) == {HARDWARE_FILE, SLURM_FILE, HOSTS_FILE}
    assert list(files)[-1] == HOSTS_FILE  # without hosts there is no inventory: one that is half written is none
    groups = set(read(files).groups)
    assert groups == {"all", "ungrouped", "slurm_adopted", "profile_h100x8_64c_512g", "gpu_exporter"}


def test_exporters_get_the_nodes_that_they_are_for() -> None:
    adoption = adopt([node("gpu1", h100=8), node("gpu2", a100=2, h100=2), node("cpu1"), node("odd", memory=0)], [])
    fleet = read(inventory_files("c", adoption, ["node_exporter", "gpu_exporter"]))
    assert set(fleet.groups["gpu_exporter"]) == {"gpu1", "gpu2"}
    assert set(fleet.groups["node_exporter"]) == {"gpu1", "gpu2", "cpu1", "odd"}
    assert "gpu_exporter" not in read(inventory_files("c", adopt([node("cpu1")], []), ["gpu_exporter"])).groups


def test_what_was_chosen_is_read_back() -> None:
    adoption = adopt([node("gpu1", h100=8)], [])
    files = inventory_files("1e3", adoption, ["node_exporter", "gpu_exporter"])
    assert cluster_of(files[SLURM_FILE]) == "1e3"
    assert exporters_of(files[HOSTS_FILE]) == ("gpu_exporter", "node_exporter")
    assert exporters_of(inventory_files("c", adoption)[HOSTS_FILE]) == ()


@settings(deadline=None)
@given(st.data())
def test_any_change_of_a_file_is_noticed(data: st.DataObject) -> None:
    text = inventory_files("c", adopt([node("gpu1", h100=8)], []))[
        data.draw(st.sampled_from([HOSTS_FILE, HARDWARE_FILE]))
    ]
    at = data.draw(st.integers(0, len(text)))
    change = data.draw(st.sampled_from(["", " ", "\n", "#", "\r", "x"]))
    end = data.draw(st.sampled_from([at, at + 1]))
    changed = text[:at] + change + text[end:]
    assert is_as_written(changed) == (changed == text)


@pytest.mark.parametrize("text", ["", "---\n", "all:\n  hosts: {}\n", "\ufffd" * 100])
def test_what_adopt_never_wrote_is_not_as_it_wrote_it(text: str) -> None:
    assert not is_as_written(text)


def test_other_readers_of_yaml_find_text_where_there_is_text() -> None:
    words = ("1e3", "n", "null", "on")
    files = inventory_files("null", adopt([node(name) for name in ODD], [partition(name, (name,)) for name in words]))
    assert list(yaml.safe_load(files[SLURM_FILE])["fleet_partitions"]) == list(words)
    for name in words:
        assert f'\n  "{name}":\n    nodes: "{name}"\n    MaxTime: "1-00:00:00"\n' in files[SLURM_FILE]
        assert f'\n            "{name}": {{}}\n' in files[HOSTS_FILE]
    assert '\nfleet_cluster: "null"\n' in files[SLURM_FILE]


INDICES = st.from_regex(r"[0-9]{0,4}|[0-9]{17,21}", fullmatch=True)


@settings(deadline=None)
@given(st.sets(st.builds("{}{}".format, st.sampled_from(["gpu", "a-", "r1n"]), INDICES), max_size=60))
@example({"gpu8", "gpu9", "gpu10", "gpu08", "gpu09", "gpu0", "gpu00", "gpu010", "gpu011"})
@example({"gpu99", "gpu100", "gpu098", "gpu099"})
def test_ranges_of_ansible_are_every_name_once(names: set[str]) -> None:
    expanded = [name for pattern in ansible_ranges(sorted(names)) for name in expand_ansible_range(pattern)]
    assert sorted(expanded) == sorted(names)


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        ([], []),
        (["head"], ["head"]),
        (["gpu1", "gpu2", "gpu3", "gpu5"], ["gpu[1:3]", "gpu5"]),
        (["gpu08", "gpu09", "gpu10"], ["gpu[08:10]"]),
        (["gpu8", "gpu9", "gpu10"], ["gpu[8:10]"]),
        (["n0", "n1", "n00", "n01"], ["n[0:1]", "n[00:01]"]),
        (["r2n1", "r10n1", "r10n2"], ["r2n1", "r10n[1:2]"]),
    ],
)
def test_runs_become_ranges(names: list[str], patterns: list[str]) -> None:
    assert ansible_ranges(names) == patterns


def test_a_range_is_never_longer_than_the_reader_takes() -> None:
    assert ansible_ranges(f"n{index}" for index in range(1, 100_002)) == ["n[1:100000]", "n100001"]


def test_ansible_reads_the_same_hosts_and_groups(tmp_path: Path) -> None:
    adoption = adopt(
        [
            *(node(name) for name in ODD),
            *(node(f"gpu{index:03d}", h100=8) for index in range(95, 106)),
            node("z9", memory=0),
        ],
        [partition("p", ("on", "gpu100"))],
    )
    write(inventory_files("c", adoption, ["gpu_exporter", "node_exporter"]), tmp_path)
    listed = subprocess.run(
        [Path(sys.executable).with_name("ansible-inventory"), "-i", tmp_path, "--list"],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    document = json.loads(listed.stdout)
    fleet = read_fleet(tmp_path)
    assert (
        set(document["_meta"]["hostvars"])
        == set(fleet.nodes)
        == {*ODD, "z9", *(f"gpu{at:03d}" for at in range(95, 106))}
    )
    assert set(document["profile_h100x8_64c_512g"]["hosts"]) == set(fleet.groups["gpu_exporter"])
    assert document["_meta"]["hostvars"]["on"]["fleet_hardware_profile"] == "cpu-64c-512g"
    assert document["_meta"]["hostvars"]["1e3"]["fleet_partitions"]["p"]["nodes"] == "gpu100,on"
