"""An inventory of a Slurm that others configure: what it may leave out, and what it may not hold."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleetward.model.adopted import is_adopted
from fleetward.model.fleet import Fleet
from fleetward.model.inventory import InventoryError, read_fleet
from fleetward.slurm.configuration import render

Tree = dict[str, Any]
PROFILE = {"sockets": 1, "cores_per_socket": 8, "threads_per_core": 1, "memory_mib": 16000}
ADOPTED = {
    "all": {
        "vars": {
            "fleet_cluster": "theirs",
            "fleet_hardware_profiles": {"a": {**PROFILE, "gpu": {"model": "h100", "count": 8}}},
            "fleet_partitions": {"gpu": {"nodes": "slurm_adopted"}},
        },
        "children": {
            "slurm_adopted": {"vars": {"fleet_hardware_profile": "a"}, "hosts": {"gpu[1:3]": {}, "DGX-1.site": {}}},
            "watchers": {"hosts": {"watch": {}}},
            "prometheus": {"children": {"watchers": {}}},
        },
    }
}


def read(tree: Tree, folder: Path) -> Fleet:
    (folder / "hosts.yml").write_text(yaml.safe_dump(tree, sort_keys=False))
    return read_fleet(folder)


def problems(tree: Tree, folder: Path) -> tuple[str, ...]:
    with pytest.raises(InventoryError) as refused:
        read(tree, folder)
    return refused.value.problems


def test_it_needs_no_controller_and_no_fact_that_slurm_does_not_tell(tmp_path: Path) -> None:
    fleet = read(ADOPTED, tmp_path)
    assert is_adopted(fleet)
    assert fleet.partitions[0].nodes == ("DGX-1.site", "gpu1", "gpu2", "gpu3")
    profile = fleet.nodes["gpu1"].profile
    assert profile is not None
    assert profile.gpu is not None
    assert (profile.gpu.count, profile.gpu.product_name, profile.gpu.device_files) == (8, "", "")


def test_nothing_of_slurm_is_rendered_but_what_watches_is(tmp_path: Path) -> None:
    files = set(render(read(ADOPTED, tmp_path)))
    assert files >= {"hosts", "inventory.json", "rules/fleet.json", "targets/gpu.json", "targets/slurm.json"}
    assert not [name for name in files if name.endswith((".conf", ".sh")) or name == "accounting.json"]


@pytest.mark.parametrize("group", ["slurm_controller", "slurm_database", "slurm_node", "slurm_client", "gpu_simulator"])
@pytest.mark.parametrize("member", ["gpu1", "watch"])
def test_no_host_may_be_where_slurm_is_set_up(group: str, member: str, tmp_path: Path) -> None:
    tree = copy.deepcopy(ADOPTED)
    tree["all"]["children"][group] = {"hosts": {member: {}}}
    sentence = rf"{member}: in {group}, but others configure the Slurm of the group slurm_adopted: nothing here may .*"
    assert any(re.fullmatch(sentence, problem) for problem in problems(tree, tmp_path))


@pytest.mark.parametrize("variable", ["fleet_slurm_parameters", "fleet_cgroup_parameters"])
def test_parameters_that_nobody_would_read_are_refused(variable: str, tmp_path: Path) -> None:
    tree = copy.deepcopy(ADOPTED)
    tree["all"]["vars"][variable] = {"SlurmdTimeout": 20}
    [problem] = problems(tree, tmp_path)
    assert problem.startswith(f"{variable}: others configure the Slurm of the group slurm_adopted; ")


def test_a_partition_takes_no_host_that_slurm_does_not_have(tmp_path: Path) -> None:
    tree = copy.deepcopy(ADOPTED)
    tree["all"]["vars"]["fleet_partitions"]["gpu"]["nodes"] = ["slurm_adopted", "watch"]
    [problem] = problems(tree, tmp_path)
    assert problem.startswith("partition gpu: nodes: watch is not in slurm_node")


def test_health_checks_are_for_nodes_whose_slurm_conf_is_ours(tmp_path: Path) -> None:
    tree = copy.deepcopy(ADOPTED)
    tree["all"]["children"]["node_health"] = {"children": {"slurm_adopted": {}}}
    [problem] = problems(tree, tmp_path)
    assert "in node_health, but only nodes of slurm_node run it" in problem


@pytest.mark.parametrize("fact", ["product_name", "memory_mib", "device_files"])
def test_who_sets_up_slurm_has_to_say_what_the_gpus_are(fact: str, tmp_path: Path) -> None:
    gpu = {"model": "h100", "count": 8, "product_name": "H100", "memory_mib": 1, "device_files": "/dev/nvidia[0-7]"}
    tree = copy.deepcopy(ADOPTED)
    everything = tree["all"]
    everything["vars"]["fleet_hardware_profiles"]["a"]["gpu"] = {key: gpu[key] for key in gpu if key != fact}
    everything["children"]["slurm_adopted"]["hosts"].pop("DGX-1.site")
    everything["children"]["slurm_node"] = everything["children"].pop("slurm_adopted")
    everything["children"]["slurm_controller"] = {"hosts": {"watch": {}}}
    everything["vars"]["fleet_partitions"]["gpu"]["nodes"] = "slurm_node"
    assert problems(tree, tmp_path) == (f"fleet_hardware_profiles.a.gpu.{fact}: is missing; add it",)


def test_names_that_are_no_host_are_refused_there_too(tmp_path: Path) -> None:
    tree = copy.deepcopy(ADOPTED)
    tree["all"]["children"]["slurm_adopted"]["hosts"]["gpu_4"] = {}
    assert any(re.fullmatch(r"gpu_4: is not a valid host name; .*", problem) for problem in problems(tree, tmp_path))
