"""What follows from a fleet: each fact in its place, folded, and overridden by what is given."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fleetward
from fleetward.model.fleet import Account, Fleet, GpuProfile, HardwareProfile, Node, Partition, Qos
from fleetward.model.host_ranges import expand
from fleetward.model.inventory import read_fleet
from fleetward.slurm.configuration import render, render_node

INVENTORIES = Path(fleetward.__file__).parent / "inventories"
GPU = GpuProfile("h100", 8, "NVIDIA H100 80GB HBM3", 81559, "/dev/nvidia[0-7]", 700, 18)
H100 = HardwareProfile("hgx-h100", 2, 56, 2, 2000000, GPU)
CPU = HardwareProfile("cpu", 2, 32, 1, 500000)


def node(name: str, profile: HardwareProfile | None = H100, **facts: str) -> Node:
    address = facts.pop("address", name)
    is_ip = address[0].isdigit() or ":" in address
    return Node(name, address, is_ip, frozenset({"all"}), profile, **facts)


def fleet(*nodes: Node, **groups: list[str]) -> Fleet:
    members = {"slurm_controller": ["head"], "slurm_node": [each.name for each in nodes], **groups}
    everyone = [node("head", None, address="10.0.0.1"), *nodes]
    return Fleet(
        cluster="small",
        nodes={each.name: each for each in everyone},
        groups={group: tuple(names) for group, names in members.items()},
        partitions=(Partition("gpu", tuple(each.name for each in nodes), {"Default": "YES"}),),
        qos=(),
        accounts=(),
        slurm_parameters={},
        cgroup_parameters={},
    )


def lines(text: str, first: str) -> list[dict[str, str]]:
    """Return the lines that begin with a key, as key and value."""
    found = [line for line in text.splitlines() if line.startswith(f"{first}=")]
    return [dict(word.split("=", 1) for word in line.split()) for line in found]


def parameters(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


@given(st.sets(st.integers(1, 3000), min_size=1, max_size=200), st.integers(0, 3000))
def test_nodes_that_are_alike_share_one_line_whatever_their_addresses(indices: set[int], split: int) -> None:
    nodes = [node(f"n{i:04d}", H100 if i < split else CPU, address=f"10.1.{i % 13}.{i // 13}") for i in indices]
    found = lines(render(fleet(*nodes))["slurm.conf"], "NodeName")
    assert len(found) == len({each.profile for each in nodes})
    assert sorted(name for line in found for name in expand(line["NodeName"])) == sorted(each.name for each in nodes)
    for line in found:
        assert {each.profile for each in nodes if each.name in expand(line["NodeName"])} == {
            H100 if "Gres" in line else CPU
        }


def test_a_node_line_says_what_its_profile_says() -> None:
    [line] = lines(render(fleet(node("n1")))["slurm.conf"], "NodeName")
    assert line == {
        "NodeName": "n1",
        "CPUs": "224",
        "Sockets": "2",
        "CoresPerSocket": "56",
        "ThreadsPerCore": "2",
        "RealMemory": "2000000",
        "Gres": "gpu:h100:8",
        "State": "UNKNOWN",
    }


def test_an_address_that_is_another_name_is_written_out() -> None:
    found = lines(render(fleet(node("n1", address="n1.mgmt"), node("n2")))["slurm.conf"], "NodeName")
    assert [(line["NodeName"], line.get("NodeAddr")) for line in found] == [("n1", "n1.mgmt"), ("n2", None)]


def test_controllers_come_in_their_groups_order() -> None:
    both = fleet(node("n1"), node("b", None, address="10.0.0.2"), slurm_node=["n1"], slurm_controller=["head", "b"])
    text = render(both)["slurm.conf"]
    assert text.index("SlurmctldHost=head(10.0.0.1)") < text.index("SlurmctldHost=b(10.0.0.2)")


def test_given_parameters_win_whatever_their_case() -> None:
    given = replace(fleet(node("n1")), slurm_parameters={"slurmdtimeout": "7", "MaxJobCount": "9", "MailProg": "/a b"})
    text = render(given)["slurm.conf"]
    assert parameters(text)["slurmdtimeout"] == "7"
    assert "SlurmdTimeout" not in parameters(text)
    assert parameters(text)["MaxJobCount"] == "9"
    assert 'MailProg="/a b"\n' in text


def test_cgroups_constrain_jobs_unless_something_else_is_given() -> None:
    default = parameters(render(fleet(node("n1")))["cgroup.conf"])
    assert default["ConstrainDevices"] == default["ConstrainRAMSpace"] == "yes"
    given = replace(fleet(node("n1")), cgroup_parameters={"CgroupPlugin": "disabled"})
    assert parameters(render(given)["cgroup.conf"])["CgroupPlugin"] == "disabled"


def test_accounting_follows_from_a_database() -> None:
    assert "AccountingStorageType" not in parameters(render(fleet(node("n1")))["slurm.conf"])
    with_database = fleet(node("n1"), slurm_database=["head"])
    found = parameters(render(with_database)["slurm.conf"])
    assert found["AccountingStorageType"] == "accounting_storage/slurmdbd"
    assert found["AccountingStorageHost"] == "head"
    assert found["AccountingStorageTRES"] == "gres/gpu,gres/gpu:h100"
    assert found["AccountingStorageEnforce"] == "associations,limits,qos"


def test_nodes_without_gpus_have_no_gres_anywhere() -> None:
    files = render(fleet(node("n1", CPU), slurm_database=["head"]))
    assert lines(files["gres.conf"], "NodeName") == []
    assert "GresTypes" not in parameters(files["slurm.conf"])
    assert "AccountingStorageTRES" not in parameters(files["slurm.conf"])


def test_nodes_with_gpus_get_prolog_and_epilog_with_their_configuration() -> None:
    files = render(fleet(node("n1")))
    found = parameters(files["slurm.conf"])
    for name in (found["Prolog"], found["Epilog"]):
        assert "/" not in name, "Slurm sends along only a script whose name has no folder"
        assert files[name].startswith("#!/bin/sh\n")
    without = render(fleet(node("n1", CPU)))
    assert not {"Prolog", "Epilog"} & set(parameters(without["slurm.conf"]))
    assert not {"prolog.sh", "epilog.sh"} & set(without)


def test_a_sites_own_prolog_takes_the_place_of_ours() -> None:
    own = replace(fleet(node("n1")), slurm_parameters={"prolog": "/site/prolog"})
    assert "prolog=/site/prolog\n" in (text := render(own)["slurm.conf"])
    assert "Prolog=" not in text


def test_slurm_runs_checks_where_nodes_are_in_the_group() -> None:
    checked = parameters(render(fleet(node("n1"), node_health=["n1"]))["slurm.conf"])
    assert checked["HealthCheckProgram"].startswith("/")
    assert int(checked["HealthCheckInterval"]) > 60, "newer Slurms refuse what is not above their HealthCheckTimeout"
    assert checked["HealthCheckNodeState"] == "ANY"
    assert "HealthCheckProgram" not in parameters(render(fleet(node("n1")))["slurm.conf"])


@pytest.mark.parametrize(("count", "state"), [(1000, "ANY"), (1001, "ANY,CYCLE")])
def test_the_checks_of_a_large_fleet_are_spread_over_their_interval(count: int, state: str) -> None:
    nodes = [node(f"n{number:04d}", CPU) for number in range(count)]
    large = fleet(*nodes, node_health=[each.name for each in nodes])
    assert parameters(render(large)["slurm.conf"])["HealthCheckNodeState"] == state


def test_device_files_are_named_once_for_each_kind_of_gpu() -> None:
    other = replace(H100, name="other", gpu=replace(GPU, model="a100"))
    found = lines(render(fleet(node("n1"), node("n2"), node("n3", other), node("n4", CPU)))["gres.conf"], "NodeName")
    assert [(line["NodeName"], line["Type"], line["File"]) for line in found] == [
        ("n[1-2]", "h100", "/dev/nvidia[0-7]"),
        ("n3", "a100", "/dev/nvidia[0-7]"),
    ]


def test_without_switches_there_is_no_topology() -> None:
    files = render(fleet(node("n1")))
    assert "topology.conf" not in files
    assert "TopologyPlugin" not in files["slurm.conf"]


def test_switches_form_one_tree() -> None:
    nodes = [
        node("n1", leaf_switch="l1", spine_switch="s1"),
        node("n2", leaf_switch="l2", spine_switch="s1"),
        node("n3", leaf_switch="l3", spine_switch="s2"),
        node("n4", leaf_switch="l3", spine_switch="s2"),
    ]
    files = render(fleet(*nodes))
    found = lines(files["topology.conf"], "SwitchName")
    assert {line["SwitchName"]: line.get("Nodes") or line.get("Switches") for line in found} == {
        "l1": "n1",
        "l2": "n2",
        "l3": "n[3-4]",
        "s1": "l[1-2]",
        "s2": "l3",
        "core": "s[1-2]",
    }
    assert parameters(files["slurm.conf"])["TopologyPlugin"] == "topology/tree"


def test_one_spine_is_root_enough() -> None:
    files = render(fleet(node("n1", leaf_switch="l1", spine_switch="s1")))
    assert [line["SwitchName"] for line in lines(files["topology.conf"], "SwitchName")] == ["l1", "s1"]


def test_hosts_lists_those_with_an_ip_address() -> None:
    text = render(fleet(node("n10", address="10.0.0.12"), node("n9", address="fd00::9"), node("n1")))["hosts"]
    assert text == "10.0.0.1 head\nfd00::9 n9\n10.0.0.12 n10\n"


def test_targets_are_one_a_node_with_its_labels() -> None:
    found = fleet(node("n1", address="fd00::1", rack="r1"), gpu_exporter=["n1"], node_exporter=["n1", "head"])
    files = render(found)
    labels = {"cluster": "small", "node": "n1", "rack": "r1", "hardware_profile": "hgx-h100"}
    assert json.loads(files["targets/gpu.json"]) == [{"targets": ["[fd00::1]:9400"], "labels": labels}]
    assert [entry["targets"] for entry in json.loads(files["targets/node.json"])] == [
        ["10.0.0.1:9100"],
        ["[fd00::1]:9100"],
    ]


def test_users_have_the_first_account_that_lists_them_as_default() -> None:
    accounts = (
        Account("b", "root", "B", "small", ("ada", "bob"), ("normal",), "normal", {"Fairshare": "2"}),
        Account("a", "b", "A", "small", ("ada",), (), None, {}),
    )
    found = json.loads(
        render(replace(fleet(node("n1")), accounts=accounts, qos=(Qos("normal", {"Priority": "1"}),)))[
            "accounting.json"
        ]
    )
    assert found["users"] == {
        "ada": {"default_account": "b", "accounts": ["a", "b"]},
        "bob": {"default_account": "b", "accounts": ["b"]},
    }
    assert found["accounts"]["a"]["parent"] == "b"
    assert found["accounts"]["b"]["limits"] == {"Fairshare": "2"}
    assert found["qos"] == {"normal": {"Priority": "1"}}


def test_a_nodes_own_file_says_where_it_stands_and_what_it_is() -> None:
    one = node("n1", rack="r1", address="10.0.0.2")
    found = json.loads(render_node(fleet(one), one))
    assert (found["cluster"], found["name"], found["address"], found["rack"]) == ("small", "n1", "10.0.0.2", "r1")
    assert found["hardware_profile"]["gpu"]["product_name"] == "NVIDIA H100 80GB HBM3"
    assert found["hardware_profile"]["gpu"]["power_limit_watts"] == 700


@pytest.mark.parametrize("inventory", ["lab", "example"])
def test_every_text_ends_in_one_line_feed_and_does_not_depend_on_the_order_of_reading(inventory: str) -> None:
    once = read_fleet(INVENTORIES / inventory)
    reversed_nodes = replace(once, nodes=dict(reversed(list(once.nodes.items()))))
    files = render(once)
    assert render(reversed_nodes) == files
    for text in files.values():
        assert "\r" not in text
        assert text.endswith("\n")
        assert not text.endswith("\n\n")


def test_two_thousand_nodes_take_two_node_lines() -> None:
    example = read_fleet(INVENTORIES / "example")
    files = render(example)
    assert [line["NodeName"] for line in lines(files["slurm.conf"], "NodeName")] == [
        "a100-[0001-0980]",
        "h100-[0001-1024]",
    ]
    assert len(json.loads(files["targets/gpu.json"])) == 2004
    assert len(files["hosts"].splitlines()) == 1024 + 6
