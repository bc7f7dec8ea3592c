"""A wrong inventory is refused by name, and a right one becomes a fleet."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import fleetward
from fleetward.model.compatibility_files import incompatibilities
from fleetward.model.errors import ExitCode
from fleetward.model.fleet import Fleet
from fleetward.model.inventory import InventoryError, read_fleet

LAB = Path(fleetward.__file__).parent / "inventories" / "lab"
Tree = dict[str, Any]

GPU = {
    "model": "h100",
    "count": 8,
    "product_name": "NVIDIA H100 80GB HBM3",
    "memory_mib": 81559,
    "device_files": "/dev/nvidia[0-7]",
}
PROFILE = {"sockets": 2, "cores_per_socket": 8, "threads_per_core": 1, "memory_mib": 16000, "gpu": GPU}


def right() -> Tree:
    """Return a small inventory with nothing wrong, the caller's to change."""
    return copy.deepcopy(
        {
            "all": {
                "vars": {
                    "fleet_cluster": "small",
                    "fleet_hardware_profiles": {"h100": PROFILE},
                    "fleet_partitions": {"gpu": {"nodes": "gpus", "Default": True}},
                    "fleet_qos": {"normal": {}, "high": {"Priority": 10}},
                    "fleet_accounts": {
                        "research": {"users": ["ada"], "qos": ["normal", "high"], "default_qos": "normal"}
                    },
                    "fleet_slurm_parameters": {"SlurmdTimeout": 20},
                },
                "children": {
                    "slurm_controller": {"hosts": {"head": {"ansible_host": "10.0.0.1"}}},
                    "gpus": {
                        "vars": {"fleet_hardware_profile": "h100"},
                        "hosts": {f"gpu{index}": {"ansible_host": f"10.0.1.{index}"} for index in (1, 2, 3)},
                    },
                    "slurm_node": {"children": {"gpus": {}}},
                },
            }
        }
    )


def read(tree: Tree, folder: Path) -> Fleet:
    (folder / "hosts.yml").write_text(yaml.safe_dump(tree, sort_keys=False))
    return read_fleet(folder)


def changed(path: str, value: object) -> Tree:
    """Return the right inventory with one value at a dotted path put in its place."""
    tree = right()
    at: Any = tree["all"]
    *before, last = path.split("/")
    for key in before:
        at = at[key]
    at[last] = value
    return tree


HOSTS = "children/gpus/hosts"
WRONG: list[tuple[str, object, str]] = [
    # hosts
    (
        "children/gpus/vars/fleet_hardware_profile",
        "h10",
        r"gpu\[1-3\]: unknown hardware profile h10; did you mean h100\?",
    ),
    ("children/gpus/vars", {}, r"gpu\[1-3\]: is in slurm_node without a fleet_hardware_profile; give it one"),
    (f"{HOSTS}/gpu1/fleet_gpu_count", 4, r"gpu1: fleet_gpu_count is 4, but the hardware profile h100 has 8 GPUs; .*"),
    (
        f"{HOSTS}/gpu2/ansible_host",
        "10.0.1.1",
        r"duplicate address 10.0.1.1: gpu\[1-2\] share it; give each its own .*",
    ),
    (f"{HOSTS}/gpu2/ansible_host", "gpu1", r"duplicate address 10.0.1.1: .*"),
    (f"{HOSTS}/gpu2/ansible_host", "10.0.1.300", r"gpu2: '10.0.1.300' is not an address; write an IP address .*"),
    (f"{HOSTS}/gpu2/ansible_host", "a b", r"gpu2: 'a b' is not an address; .*"),
    (f"{HOSTS}/gpu2/ansible_host", "127.0.0.1", r"gpu2: 127.0.0.1 is no address that other hosts can reach; .*"),
    (f"{HOSTS}/gpu2/ansible_host", "{{ base }}.2", r"gpu2: ansible_host: '{{ base }}.2' is a template; facts are .*"),
    (f"{HOSTS}/gpu2/ansible_host", 10, r"gpu2: ansible_host: input should be a valid string, not 10"),
    (f"{HOSTS}/gpu2/fleet_rack", 7, r"gpu2: fleet_rack: input should be a valid string, not 7"),
    (f"{HOSTS}/gpu2/fleet_rack", "a\nb", r"gpu2: fleet_rack: 'a\\nb' does not match .*"),
    (f"{HOSTS}/gpu2/fleet_rak", "a", r"gpu2: fleet_rak is not a variable of the fleet; did you mean fleet_rack\?"),
    (
        f"{HOSTS}/gpu2/fleet_qos",
        {},
        r"gpu2: fleet_qos holds for the whole fleet; set it on the group all, not on hosts",
    ),
    (f"{HOSTS}/GPU4", {}, r"GPU4: is not a valid host name; use lower-case letters, .*"),
    (f"{HOSTS}/gpu_4", {}, r"gpu_4: is not a valid host name; .*"),
    (f"{HOSTS}/gpu4.example.org", {}, r"gpu4.example.org: is not a valid host name; .* no dots for a Slurm node"),
    (f"{HOSTS}/gpu2/fleet_spine_switch", "s", r"gpu2: has a fleet_spine_switch but no fleet_leaf_switch; name its .*"),
    # what runs on hosts
    (
        f"{HOSTS}/gpu2/fleet_kernel",
        6.1,
        r"gpu2: fleet_kernel: is read by YAML as 6.1 \(float\), not as text; put it in q.*",
    ),
    (
        f"{HOSTS}/gpu2/fleet_nvidia_driver",
        580,
        r"gpu2: fleet_nvidia_driver: is read by YAML as 580 \(int\), .* in quotes",
    ),
    (f"{HOSTS}/gpu2/fleet_cuda", True, r"gpu2: fleet_cuda: is read by YAML as True \(bool\), not as text; .*"),
    (f"{HOSTS}/gpu2/fleet_cuda", ["12", "13"], r"gpu2: fleet_cuda: is read by YAML as \['12', '13'\] \(list\), .*"),
    (
        f"{HOSTS}/gpu2/fleet_cuda",
        "thirteen",
        r"gpu2: fleet_cuda: 'thirteen' is no version; write one such as 6.12 or .*",
    ),
    (f"{HOSTS}/gpu2/fleet_cuda", "{{ cuda }}", r"gpu2: fleet_cuda: '{{ cuda }}' is a template; facts are literal, .*"),
    (f"{HOSTS}/gpu2/fleet_os", "debian", r"gpu2: fleet_os: 'debian' is no system; write name and version, such as .*"),
    (
        f"{HOSTS}/gpu2/fleet_os",
        "ubunut-24.04",
        r"gpu2: fleet_os: 'ubunut-24.04' is no system; did you mean ubuntu-24.04\?",
    ),
    (
        f"{HOSTS}/gpu2/fleet_nvidia_modules",
        "closed",
        r"gpu2: fleet_nvidia_modules: .*'open' or 'proprietary', not 'closed'",
    ),
    (
        f"{HOSTS}/gpu2/fleet_kernal",
        "6.1",
        r"gpu2: fleet_kernal is not a variable of the fleet; did you mean fleet_kernel\?",
    ),
    (
        "vars/fleet_hardware_profiles/h100/gpu/nvswitch",
        "yes",
        r".*gpu.nvswitch: input should be a valid boolean, not 'yes'",
    ),
    ("vars/fleet_hardware_profiles/h100/gpu/generation", "Hopper", r".*gpu.generation: 'Hopper' does not match .*"),
    ("vars/fleet_compatibility", {"rule": {}}, r"fleet_compatibility.rule: is not a key here; did you mean rules\?"),
    (
        "vars/fleet_compatibility",
        {"rules": {"x": {"when": {"kernel": 6.1}}}},
        r".*rules.x.when: kernel: YAML reads 6.1 .*",
    ),
    ("vars/fleet_compatibility", {"rules": {"x": {"acepted": "y"}}}, r".*rules.x.acepted: .*; did you mean accepted\?"),
    (f"{HOSTS}/gpu2/fleet_compatibility", {}, r"gpu2: fleet_compatibility holds for the whole fleet; set it on .*"),
    ("children/slurm_controller/hosts", {}, r"no host is in the group slurm_controller; put the head there"),
    (
        "children/slurm_controller/hosts/head2",
        {"ansible_host": "10.0.0.2"},
        r"group slurm_controller has 2 hosts, which must share their state; set StateSaveLocation .*",
    ),
    # profiles
    (
        "vars/fleet_hardware_profiles/h100/gpu/count",
        4,
        r"hardware profile h100: gpu.count is 4, but .* names 8; make .*",
    ),
    (
        "vars/fleet_hardware_profiles/h100/gpu/count",
        "8",
        r"fleet_hardware_profiles.h100.gpu.count: needs a number, not '8'",
    ),
    ("vars/fleet_hardware_profiles/h100/gpu/count", 0, r"fleet_hardware_profiles.h100.gpu.count: input should be .*"),
    ("vars/fleet_hardware_profiles/h100/gpu/cout", 8, r"fleet_.*gpu.cout: is not a key here; did you mean count\?"),
    (
        "vars/fleet_hardware_profiles/h100/gpu/device_files",
        "nvidia[0-7]",
        r".*device_files: .* is not a pattern of paths .*",
    ),
    (
        "vars/fleet_hardware_profiles/h100/gpu/device_files",
        "/dev/nvidia[0-",
        r".*device_files: .* is not a pattern of paths .*",
    ),
    ("vars/fleet_hardware_profiles/h100/gpu/model", "H100", r".*gpu.model: 'H100' does not match .*"),
    ("vars/fleet_hardware_profiles/h100/sockets", True, r".*h100.sockets: needs a number, not True"),
    ("vars/fleet_hardware_profiles/h100", {"gpu": GPU}, r"fleet_hardware_profiles.h100.sockets: is missing; add it"),
    # health checks
    (
        "children/node_health",
        {"hosts": {"gpu1": {}}},
        r"gpu\[2-3\]: not in the group node_health, .*: put all .*, or none",
    ),
    (
        "children/node_health",
        {"children": {"slurm_node": {}, "slurm_controller": {}}},
        r"head: in node_health, but only nodes of slurm_node run it; leave it out there",
    ),
    # partitions
    ("vars/fleet_partitions/gpu/nodes", "gpu[1-2]", r"gpu3: in no partition; add it to one in fleet_partitions"),
    ("vars/fleet_partitions/gpu/nodes", "gpu[1-4]", r"partition gpu: nodes: gpu4 is neither a host nor a group; .*"),
    (
        "vars/fleet_partitions/gpu/nodes",
        "gps",
        r"partition gpu: nodes: gps is neither a host nor a group; did you mean gpus\?",
    ),
    (
        "vars/fleet_partitions/gpu/nodes",
        ["gpus", "head"],
        r"partition gpu: nodes: head is not in slurm_node; add it .*",
    ),
    ("vars/fleet_partitions/gpu/nodes", "gpu[1-", r"partition gpu: nodes: 'gpu\[1-' is neither a group nor .*"),
    ("vars/fleet_partitions/gpu/nodes", [], r"fleet_partitions.gpu.nodes: .*"),
    ("vars/fleet_partitions/gpu/QOS", "hihg", r"partition gpu: QOS: unknown QOS hihg; did you mean high\?"),
    (
        "vars/fleet_partitions/gpu/AllowAccounts",
        ["x"],
        r"partition gpu: AllowAccounts: unknown account x; there are: .*",
    ),
    ("vars/fleet_partitions/gpu/PartitionName", "x", r"partition gpu: PartitionName follows from other facts; .*"),
    ("vars/fleet_partitions/gpu/Max Time", "x", r"partition gpu: 'Max Time' is not a name of a parameter; .*"),
    ("vars/fleet_partitions/DEFAULT", {"nodes": "gpus"}, r"partition DEFAULT: Slurm keeps this name for itself; .*"),
    ("vars/fleet_partitions/two", {"nodes": "gpus", "default": "yes"}, r"partitions gpu, two all have Default=YES; .*"),
    # accounting
    (
        "vars/fleet_accounts/research/parent",
        "reserch",
        r"account research: parent: unknown account reserch; did you mean .*",
    ),
    ("vars/fleet_accounts/research/parent", "research", r"account research: is its own ancestor; .*"),
    (
        "vars/fleet_accounts",
        {"a": {"parent": "b"}, "b": {"parent": "c"}, "c": {"parent": "a"}},
        r"account b: is its own ancestor; .*",
    ),
    ("vars/fleet_accounts/research/limits", {"Max Jobs": 1}, r"account research: limits: 'Max Jobs' is not a name .*"),
    ("vars/fleet_accounts/research/qos", ["nomal"], r"account research: qos: unknown QOS nomal; did you mean normal\?"),
    (
        "vars/fleet_accounts/research/qos",
        ["high"],
        r"account research: default_qos normal is not among its qos; add it .*",
    ),
    ("vars/fleet_accounts/research/users", ["a;b"], r"fleet_accounts.research.users.0: 'a;b' does not match .*"),
    ("vars/fleet_accounts/Research", {}, r"fleet_accounts.Research: 'Research' does not match .*"),
    ("vars/fleet_accounts/root", {}, r"fleet_accounts: root is Slurm's own account; choose another name"),
    ("vars/fleet_qos/high/Preempt", "lo", r"QOS high: Preempt: unknown QOS lo; .*"),
    # values for Slurm's files
    ("vars/fleet_slurm_parameters/MailProg", "/bin/true\nNodeName=x", r".*MailProg: .* holds a line break .*"),
    ("vars/fleet_slurm_parameters/MailProg", "a # b", r".*MailProg: .* holds '#', which .*"),
    ("vars/fleet_slurm_parameters/MailProg", 'a" b', r".*MailProg: .* holds a double quote, .*"),
    ("vars/fleet_slurm_parameters/MailProg", "a\\", r".*MailProg: .* holds a backslash, .*"),
    ("vars/fleet_slurm_parameters/MailProg", None, r".*MailProg: None \(NoneType\) is no value for Slurm; .*"),
    ("vars/fleet_slurm_parameters/MailProg", "{{ x }}", r".*MailProg: '{{ x }}' is a template; .*"),
    ("vars/fleet_slurm_parameters/nodename", "x", r"fleet_slurm_parameters: nodename follows from other facts; put .*"),
    ("vars/fleet_slurm_parameters/slurmdtimeout", 1, r"fleet_slurm_parameters: slurmdtimeout is there twice .*"),
    ("vars/fleet_slurm_parameters/SlurmctldParameters", "x", r".*SlurmctldParameters: lacks enable_configless, .*"),
    ("vars/fleet_cgroup_parameters", {"Constrain RAM": "yes"}, r"fleet_cgroup_.*: 'Constrain RAM' is not a name .*"),
    ("vars/fleet_cluster", "two words", r"fleet_cluster: 'two words' does not match .*"),
    ("vars", {}, r"fleet_cluster: is missing; add it"),
    (
        "vars/fleet_partitons",
        {},
        r"gpu\[1-3\],head: fleet_partitons is not a variable of the fleet; did you mean fleet_partitions\?",
    ),
]


@pytest.mark.parametrize(("path", "value", "sentence"), WRONG)
def test_a_wrong_inventory_is_refused_by_name(path: str, value: object, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InventoryError) as refused:
        read(changed(path, value), tmp_path)
    problems = refused.value.problems
    assert any(re.fullmatch(sentence, problem) for problem in problems), problems
    assert all(problem in str(refused.value) for problem in problems)
    assert refused.value.exit_code == ExitCode.USAGE


def test_the_inventory_that_those_change_has_nothing_wrong(tmp_path: Path) -> None:
    fleet = read(right(), tmp_path)
    assert [node.name for node in fleet.members("slurm_node")] == ["gpu1", "gpu2", "gpu3"]


def test_what_only_looks_like_one_of_those_is_right(tmp_path: Path) -> None:
    tree = changed("vars/fleet_partitions/two", {"nodes": "gpus", "Hidden": "YES", "Default": "NO"})
    chain = {"a": {"parent": "research"}, "b": {"parent": "a"}, "c": {"parent": "b"}}
    tree["all"]["vars"]["fleet_accounts"] |= chain
    assert [account.name for account in read(tree, tmp_path).accounts] == ["research", "a", "b", "c"]


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    tree = changed("vars/fleet_partitions/gpu/MaxTime", "a#b")
    everything = tree["all"]
    everything["children"]["gpus"]["hosts"]["gpu1"]["fleet_hardware_profile"] = "b200"
    everything["children"]["gpus"]["hosts"]["gpu3"]["ansible_host"] = "10.0.0.1"
    everything["vars"]["fleet_accounts"]["research"]["parent"] = "nobody"
    with pytest.raises(InventoryError) as refused:
        read(tree, tmp_path)
    places = sorted(problem.split(":")[0] for problem in refused.value.problems)
    assert places == [
        "account research",
        "duplicate address 10.0.0.1",
        "fleet_partitions.gpu.MaxTime",
        "gpu1",
    ]


def test_what_was_refused_is_not_missed_elsewhere(tmp_path: Path) -> None:
    tree = changed("vars/fleet_hardware_profiles/h100/sockets", "two")
    tree["all"]["vars"]["fleet_qos"]["high"] = {"Priority": "a#b"}
    with pytest.raises(InventoryError) as refused:
        read(tree, tmp_path)
    assert [problem.split(":")[0] for problem in refused.value.problems] == [
        "fleet_hardware_profiles.h100.sockets",
        "fleet_qos.high.Priority",
    ]


def test_a_file_that_cannot_be_read_is_the_only_thing_said(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("fleet_cluster: [\n")
    with pytest.raises(InventoryError) as refused:
        read(changed("vars", {}), tmp_path)
    [problem] = refused.value.problems
    assert "all.yml:2: is not valid YAML" in problem


def test_leaves_of_one_switch_hang_on_one_spine(tmp_path: Path) -> None:
    tree = right()
    for name, spine in (("gpu1", "s1"), ("gpu2", "s2")):
        tree["all"]["children"]["gpus"]["hosts"][name] |= {"fleet_leaf_switch": "l1", "fleet_spine_switch": spine}
    with pytest.raises(InventoryError, match=r"gpu2: leaf switch l1 hangs on s2 here and on s1 elsewhere"):
        read(tree, tmp_path)


def test_times_that_yaml_makes_numbers_of_are_refused(tmp_path: Path) -> None:
    text = yaml.safe_dump(right(), sort_keys=False).replace("Default: true", "MaxTime: 24:00:00")
    (tmp_path / "hosts.yml").write_text(text)
    with pytest.raises(
        InventoryError, match=r"MaxTime: 24:00:00 is read by YAML as the number 86400; put it in quotes"
    ):
        read_fleet(tmp_path)


def test_versions_that_yaml_makes_numbers_of_are_refused_as_they_stand_in_the_file(tmp_path: Path) -> None:
    text = yaml.safe_dump(right(), sort_keys=False).replace("fleet_hardware_profile: h100", "fleet_kubernetes: 1.30")
    (tmp_path / "hosts.yml").write_text(text)
    with pytest.raises(InventoryError, match=r"fleet_kubernetes: is read by YAML as 1.3 \(float\), not as text"):
        read_fleet(tmp_path)
    (tmp_path / "hosts.yml").write_text(text.replace("1.30", "10:30"))
    with pytest.raises(
        InventoryError, match=r"fleet_kubernetes: 10:30 is read by YAML as the number 630; put it in quo"
    ):
        read_fleet(tmp_path)


def test_what_runs_on_hosts_is_read_and_a_group_has_it_otherwise(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("fleet_slurm: '25.11'\nfleet_kernel: '6.12'\n")
    (tmp_path / "group_vars" / "gpus.yml").write_text("fleet_kernel: '6.8'\nfleet_nvidia_modules: open\n")
    tree = changed(f"{HOSTS}/gpu2/fleet_nvidia_modules", "proprietary")
    tree["all"]["children"]["gpus"]["hosts"]["gpu2"]["fleet_slurm"] = None
    fleet = read(tree, tmp_path)
    said = {name: node.software.declared() for name, node in fleet.nodes.items()}
    assert {name: str(facts["kernel"]) for name, facts in said.items()} == {
        "head": "6.12",
        "gpu1": "6.8",
        "gpu2": "6.8",
        "gpu3": "6.8",
    }
    assert [str(said[name].get("nvidia_modules")) for name in ("head", "gpu1", "gpu2")] == [
        "None",
        "open",
        "proprietary",
    ]
    assert [str(said[name].get("slurm")) for name in ("head", "gpu1", "gpu2")] == ["25.11", "25.11", "None"]


def test_the_example_declares_what_its_gpu_nodes_run_and_that_goes_together() -> None:
    fleet = read_fleet(LAB.parent / "example")
    assert {str(node.software.nvidia_driver) for node in fleet.members("h100_nodes")} == {"580.95.05"}
    assert {str(node.software.nvidia_driver) for node in fleet.members("a100_nodes")} == {"535.274.02"}
    assert all(node.profile and node.profile.gpu and node.profile.gpu.nvswitch for node in fleet.members("gpu_nodes"))
    assert incompatibilities(fleet) == ()


def test_the_lab_declares_nothing_that_it_does_not_have() -> None:
    fleet = read_fleet(LAB)
    assert {name: node.software.declared() for name, node in fleet.nodes.items() if node.software.declared()} == {}
    assert incompatibilities(fleet) == ()


def test_encrypted_facts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("fleet_cluster: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  00\n")
    tree = right()
    del tree["all"]["vars"]["fleet_cluster"]
    with pytest.raises(InventoryError, match="fleet_cluster: is encrypted"):
        read(tree, tmp_path)


def test_partitions_take_groups_ranges_and_lists(tmp_path: Path) -> None:
    tree = changed(
        "vars/fleet_partitions", {"a": {"nodes": "gpu[1-2],gpu3"}, "b": {"nodes": ["gpus"]}, "c": {"nodes": "gpu2"}}
    )
    partitions = {partition.name: partition.nodes for partition in read(tree, tmp_path).partitions}
    assert partitions == {"a": ("gpu1", "gpu2", "gpu3"), "b": ("gpu1", "gpu2", "gpu3"), "c": ("gpu2",)}


def test_values_become_what_slurm_writes(tmp_path: Path) -> None:
    values = {"A": True, "B": [1, "x"], "C": {"gres/gpu": 4, "cpu": 2}, "D": 1.5, "E": '"quoted text"'}
    parameters = read(changed("vars/fleet_slurm_parameters", values), tmp_path).slurm_parameters
    assert parameters == {"A": "YES", "B": "1,x", "C": "gres/gpu=4,cpu=2", "D": "1.5", "E": "quoted text"}


def test_a_declared_gpu_count_that_agrees_is_fine(tmp_path: Path) -> None:
    assert read(changed(f"{HOSTS}/gpu1/fleet_gpu_count", 8), tmp_path).cluster == "small"


def test_the_lab_is_a_head_and_three_nodes_of_eight_h100() -> None:
    fleet = read_fleet(LAB)
    assert {name: node.address for name, node in fleet.nodes.items()} == {
        "head": "10.213.1.10",
        "gpu001": "10.213.1.101",
        "gpu002": "10.213.1.102",
        "gpu003": "10.213.1.103",
    }
    for node in fleet.members("slurm_node"):
        assert node.profile is not None
        assert node.profile.gpu is not None
        assert (node.profile.gpu.model, node.profile.gpu.count, node.profile.cpus) == ("h100", 8, 16)
