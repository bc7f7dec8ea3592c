"""What the role infiniband makes of its variables, what it refuses, and what its program does to PCI bridges."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from hypothesis import given, settings
from hypothesis import strategies as st

import fleetward
from fleetward.model.inventory import read_fleet
from fleetward.node.probes.pci import _REDIRECTS
from fleetward.slurm.jobs.nccl import nccl_environment

# Jinja's, of the backslashes in Ansible's conditions
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")

init_plugin_loader()

HOME = Path(fleetward.__file__).parent
ROLE = HOME / "roles/infiniband"
DOCA = {
    "infiniband_stack": "doca",
    "infiniband_doca_repository_url": "http://mirror.site/doca/debian12",
    "infiniband_doca_repository_key": "/site/doca.asc",
    "infiniband_doca_repository_key_fingerprint": "0123 4567 89AB CDEF 0123  4567 89AB CDEF 0123 4567",
}


def read(file: str) -> Any:  # noqa: ANN401  a YAML file may hold anything
    return DataLoader().load_from_file(str(ROLE / file), trusted_as_template=True)


STANDING = {**read("defaults/main.yml"), **read("vars/main.yml")}
PREFLIGHT = read("tasks/preflight.yml")
PROFILE = {"gpu": {"model": "h100", "count": 8}, "infiniband": {"devices": ["mlx5_0", "mlx5_1"]}}


def role(profile: dict[str, Any] | None = None, **variables: object) -> Templar:
    """Return the role's variables on a host of this hardware profile."""
    host = {
        "ansible_check_mode": False,
        "inventory_hostname": "gpu001",
        "group_names": ["infiniband"],
        "common_packages_pending": False,
        "ansible_managed": "made",
        "fleet_hardware_profile": "theirs",
        "fleet_hardware_profiles": {"theirs": PROFILE if profile is None else profile},
        "__infiniband_driver": {"msg": "file not found"},
    }
    return Templar(loader=DataLoader(), variables={**STANDING, **host, **variables})


def value(templar: Templar, expression: str) -> Any:  # noqa: ANN401  whatever the variable is
    return templar.template(trust_as_template(f"{{{{ {expression} }}}}"))


def rendered(templar: Templar, file: str, **variables: object) -> str:
    """Return what a template of the role makes."""
    templar.available_variables = {**templar.available_variables, **variables}
    return str(templar.template(trust_as_template((ROLE / "templates" / file).read_text())))


def refusal(templar: Templar) -> tuple[str, str] | None:
    """Return name and message of the first task of the preflight that refuses."""
    for task in PREFLIGHT:
        if "ansible.builtin.assert" not in task:
            continue
        assertion = task["ansible.builtin.assert"]
        that = [assertion["that"]] if isinstance(assertion["that"], str) else assertion["that"]
        applies = "when" not in task or templar.evaluate_conditional(task["when"])
        if applies and not all(templar.evaluate_conditional(one) for one in that):
            return task["name"], templar.template(assertion["fail_msg"])
    return None


@pytest.mark.parametrize(
    ("declared", "peer_memory"),
    [
        ({}, "dmabuf"),
        ({"fleet_nvidia_modules": "open", "fleet_nvidia_driver": "515"}, "dmabuf"),
        ({"fleet_nvidia_modules": "open", "fleet_nvidia_driver": "580.95.05"}, "dmabuf"),
        ({"nvidia_driver_modules": "proprietary"}, "none"),
        ({"fleet_nvidia_modules": "open", "fleet_nvidia_driver": "510.85.02"}, "none"),
        ({**DOCA, "fleet_nvidia_modules": "open", "nvidia_driver_version": "580.95.05"}, "dmabuf"),
        ({**DOCA, "fleet_nvidia_modules": "proprietary"}, "peermem"),
        ({**DOCA, "fleet_nvidia_modules": "proprietary", "fleet_nvidia_driver": "470.256.02"}, "peermem"),
        ({**DOCA, "fleet_nvidia_modules": "proprietary", "fleet_nvidia_driver": "460.106.00"}, "none"),
        ({"profile": {}}, "none"),
    ],
)
def test_peer_memory_follows_from_modules_branch_and_stack(declared: dict[str, Any], peer_memory: str) -> None:
    made = role(**declared)
    assert value(made, "infiniband_peer_memory") == peer_memory
    assert refusal(made) is None, "what the role chooses by itself works"


@given(
    modules=st.sampled_from(["open", "proprietary"]),
    branch=st.integers(390, 700),
    stack=st.sampled_from([{}, DOCA]),
    asked=st.sampled_from(["dmabuf", "peermem", "none"]),
)
@settings(max_examples=60, deadline=None)
def test_what_cannot_work_is_refused_and_nothing_else(
    modules: str, branch: int, stack: dict[str, str], asked: str
) -> None:
    works = {
        "dmabuf": modules == "open" and branch >= 515,
        "peermem": stack == DOCA and branch >= 470,
        "none": True,
    }
    declared = {"fleet_nvidia_modules": modules, "fleet_nvidia_driver": f"{branch}.10"}
    found = refusal(role(**stack, **declared, infiniband_peer_memory=asked))
    assert (found is None) is works[asked], found


@pytest.mark.parametrize("inventory", ["lab", "example"])
def test_nccl_is_told_what_the_scripts_of_jobs_tell_it(inventory: str) -> None:
    fleet = read_fleet(HOME / "inventories" / inventory)
    profiles = {node.profile.name: node.profile for node in fleet.nodes.values() if node.profile is not None}
    assert profiles
    for profile in profiles.values():
        declared = {
            "gpu": {"model": profile.gpu.model} if profile.gpu else None,
            "infiniband": {"devices": list(profile.infiniband.devices)} if profile.infiniband else None,
        }
        scripts = {name: text for name, text in nccl_environment(profile).items() if name.startswith("NCCL_")}
        assert value(role(declared), "infiniband_nccl") == scripts


def test_a_node_without_gpus_or_network_cards_gets_no_settings_for_them() -> None:
    assert value(role({}), "__infiniband_nccl") == {}
    assert value(role({"gpu": {"model": "l40s"}, "infiniband": None}), "__infiniband_nccl") == {"NCCL_DEBUG": "WARN"}


def test_the_site_adds_to_nccls_settings_and_has_the_last_word() -> None:
    made = role(infiniband_nccl_extra={"NCCL_DEBUG": "INFO", "NCCL_IB_TC": 106})
    assert rendered(made, "nccl.conf.j2") == "NCCL_DEBUG=INFO\nNCCL_IB_HCA==mlx5_0,mlx5_1\nNCCL_IB_TC=106\n"


@pytest.mark.parametrize(
    ("given", "task", "words"),
    [
        ({"fleet_doca": "2.9"}, "The stack must be what the inventory declares", ["DOCA 2.9", "gpu001", "doca"]),
        (
            {**DOCA, "infiniband_doca_repository_url": ""},
            "DOCA must have a repository and a key",
            ["infiniband_doca_repository_url: none"],
        ),
        (
            {**DOCA, "infiniband_doca_repository_key_fingerprint": "A024F6F0"},
            "DOCA must have a repository and a key",
            ["A024F6F0", "40 hexadecimal digits"],
        ),
        ({**DOCA, "infiniband_doca_version": 2.9}, "DOCA must have a repository and a key", ["in quotes", "2.9"]),
        ({**DOCA, "infiniband_doca_version": "2.9 -o X"}, "DOCA must have a repository and a key", ["2.9 -o X"]),
        (
            {"infiniband_tools": ["perftest=1", "--reinstall"]},
            "Packages must have names of packages",
            ["perftest=1, --reinstall"],
        ),
        (
            {**DOCA, "group_names": ["infiniband", "subnet_manager"]},
            "The subnet manager must be one that the role knows",
            ["infiniband_stack inbox", "switch"],
        ),
        (
            {"infiniband_subnet_manager_options": {"sm_priority": "14\nguid 0x1"}},
            "The subnet manager must get settings of one line",
            ["14\\nguid"],
        ),
        (
            {"infiniband_ipoib_interfaces": [{"name": "ib0", "addresses": ["10.70.0.11"]}]},
            "Interfaces must have names and addresses",
            ["10.70.0.11", "10.70.0.11/16"],
        ),
        (
            {"infiniband_ipoib_interfaces": [{"name": "../ib0", "addresses": ["10.70.0.11/16"]}]},
            "Interfaces must have names and addresses",
            ["../ib0"],
        ),
        (
            {"infiniband_ipoib_interfaces": [{"name": "ib0", "addresses": []}]},
            "Interfaces must have names and addresses",
            ["ib0 without address"],
        ),
        ({"infiniband_memlock": "64G"}, "The limit must be one", ["64G", "number of KiB"]),
        ({"infiniband_memlock": "0"}, "The limit must be one", ["is 0"]),
        (
            {"infiniband_module_options": {"mlx5_core": {"prof_sel": "2 other=1"}}},
            "Options of modules must be words",
            ["2 other=1"],
        ),
        (
            {"infiniband_nccl_extra": {"NCCL_IB_DISABLE": False}},
            "NCCL must get settings that it reads",
            ["NCCL_IB_DISABLE", "yes and no are 1 and 0"],
        ),
        ({"infiniband_nccl_extra": {"LD_PRELOAD": "x"}}, "NCCL must get settings that it reads", ["LD_PRELOAD"]),
        ({"infiniband_nccl_extra": {"NCCL_X": "1\nA=2"}}, "NCCL must get settings that it reads", ["NCCL_X"]),
    ],
)
def test_what_cannot_be_used_is_refused_by_one_sentence(given: dict[str, Any], task: str, words: list[str]) -> None:
    found = refusal(role(**given))
    assert found is not None
    assert found[0] == task
    for word in words:
        assert word in found[1]


def test_proprietary_modules_that_nobody_declared_are_seen() -> None:
    line = "TlZSTSB2ZXJzaW9uOiBOVklESUEgVU5JWCB4ODZfNjQgS2VybmVsIE1vZHVsZSAgNTM1LjIxNi4wMwo="
    found = refusal(role(__infiniband_driver={"content": line}))
    assert found is not None
    assert found[0] == "DMA-BUF must be what the loaded driver can do"
    assert "NVIDIA UNIX x86_64 Kernel Module  535.216.03" in found[1]


def test_doca_is_taken_in_the_version_that_the_inventory_declares() -> None:
    assert value(role(**DOCA, fleet_doca="2.9"), "__infiniband_wanted") == ["doca-ofed=2.9*", "kmod", "pciutils"]
    assert "doca-ofed" in value(role(**DOCA), "__infiniband_wanted")


def test_the_subnet_manager_is_for_its_group_alone() -> None:
    assert "opensm" not in value(role(), "__infiniband_wanted")
    assert "opensm" in value(role(group_names=["infiniband", "subnet_manager"]), "__infiniband_wanted")


@pytest.mark.parametrize(("limit", "systemds"), [("unlimited", "infinity"), ("4096", "4096K")])
def test_users_and_slurmd_get_the_same_limit(limit: str, systemds: str) -> None:
    made = role(infiniband_memlock=limit)
    assert rendered(made, "slurmd.conf.j2").endswith(f"[Service]\nLimitMEMLOCK={systemds}\n")
    lines = [line.split() for line in rendered(made, "limits.conf.j2").splitlines() if line[0] != "#"]
    assert lines == [[who, kind, "memlock", limit] for who in ("*", "root") for kind in ("soft", "hard")]


def test_each_module_has_a_line_with_its_options() -> None:
    options = {"mlx5_core": {"prof_sel": 2, "debug_mask": 1}, "ib_ipoib": {"send_queue_size": 512}}
    text = rendered(role(infiniband_module_options=options), "modprobe.conf.j2")
    assert [line for line in text.splitlines() if line and line[0] != "#"] == [
        "options mlx5_core prof_sel=2 debug_mask=1",
        "options ib_ipoib send_queue_size=512",
    ]


def test_an_interface_without_a_size_of_packets_keeps_its_own() -> None:
    one = {"name": "ib0", "addresses": ["10.70.0.11/16"]}
    assert "MTUBytes" not in rendered(role(), "ipoib.network.j2", item=one)
    assert "MTUBytes=65520\n" in rendered(role(), "ipoib.network.j2", item={**one, "mtu": 65520})


def test_each_interface_gets_its_mode() -> None:
    interfaces = [
        {"name": "ib0", "addresses": ["::1/64"]},
        {"name": "ib1", "addresses": ["::2/64"], "mode": "connected"},
    ]
    lines = rendered(role(infiniband_ipoib_interfaces=interfaces), "ipoib.rules.j2").splitlines()
    assert [line for line in lines if line[0] != "#"] == [
        'ACTION=="add", SUBSYSTEM=="net", KERNEL=="ib0", ATTR{mode}="datagram"',
        'ACTION=="add", SUBSYSTEM=="net", KERNEL=="ib1", ATTR{mode}="connected"',
    ]


# -- The program that turns ACS redirection off

GPU, CARD = ("0x10de", "0x030200"), ("0x15b3", "0x020700")
DRIVE, BRIDGE = ("0x144d", "0x010802"), ("0x1000", "0x060400")
SETPCI = """#!/bin/sh
echo "$*" >> "$PLAYED/asked"
file=$PLAYED/registers/$2
[ -e "$file" ] || { echo "setpci: $2: Capability ECAP_ACS not found" >&2; exit 1; }
case $3 in
*=*:*)
    [ ! -e "$PLAYED/stuck" ] || exit 0
    value=${3#*=} mask=${3#*:}
    printf '%04x\\n' $(( (0x$(cat "$file") & ~0x$mask) | (0x${value%:*} & 0x$mask) )) > "$file.new"
    mv "$file.new" "$file" ;;
*) cat "$file" ;;
esac
"""


class Machine:
    """PCI devices that are played, and the program asked about them."""

    def __init__(self, folder: Path, devices: dict[str, tuple[str, str]], registers: dict[str, str]) -> None:
        self.folder = folder
        for name in ("bus", "registers", "bin"):
            (folder / name).mkdir()
        for path, (vendor, device_class) in devices.items():
            device = folder / "devices/pci0000:00" / path
            device.mkdir(parents=True, exist_ok=True)
            (device / "vendor").write_text(f"{vendor}\n")
            (device / "class").write_text(f"{device_class}\n")
            (folder / "bus" / device.name).symlink_to(device)
        for address, register in registers.items():
            (folder / "registers" / address).write_text(f"{register}\n")
        program = folder / "bin/setpci"
        program.write_text(SETPCI)
        program.chmod(0o755)

    def acs(self, verb: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": path or f"{self.folder}/bin:{os.environ['PATH']}",
            "PLAYED": str(self.folder),
            "FLEETWARD_PCI_DEVICES": str(self.folder / "bus"),
            "RUNTIME_DIRECTORY": str(self.folder / "run"),
        }
        command = ["/bin/sh", str(ROLE / "files/acs.sh"), verb]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def registers(self) -> dict[str, str]:
        return {file.name: file.read_text().strip() for file in (self.folder / "registers").iterdir()}

    def written(self) -> list[str]:
        return [line for line in (self.folder / "asked").read_text().splitlines() if "=" in line]


TREE = {
    "0000:00:01.0": BRIDGE,
    "0000:00:01.0/0000:02:00.0": BRIDGE,
    "0000:00:01.0/0000:02:00.0/0000:03:00.0": GPU,
    "0000:00:01.0/0000:02:01.0": BRIDGE,
    "0000:00:01.0/0000:02:01.0/0000:04:00.0": CARD,
    "0000:00:02.0": BRIDGE,
    "0000:00:02.0/0000:09:00.0": DRIVE,
}
REGISTERS = {"0000:00:01.0": "001d", "0000:02:01.0": "007f", "0000:00:02.0": "001d"}


def test_only_the_bits_that_redirect_are_cleared_and_only_above_gpus_and_cards(tmp_path: Path) -> None:
    machine = Machine(tmp_path, TREE, REGISTERS)
    done = machine.acs("off")
    assert done.returncode == 0, done.stderr
    assert machine.registers() == {**REGISTERS, "0000:00:01.0": "0011", "0000:02:01.0": "0073"}
    assert done.stdout.splitlines() == ["0000:00:01.0 001d -> 0011", "0000:02:01.0 007f -> 0073"]


def test_what_was_there_is_put_back_even_if_it_was_turned_off_twice(tmp_path: Path) -> None:
    machine = Machine(tmp_path, TREE, REGISTERS)
    for verb in ("off", "off", "restore"):
        assert machine.acs(verb).returncode == 0
    assert machine.registers() == REGISTERS
    (tmp_path / "asked").unlink()
    assert machine.acs("restore").returncode == 0
    assert not (tmp_path / "asked").exists(), "what was put back is no longer remembered"


def test_where_nothing_redirects_nothing_is_written(tmp_path: Path) -> None:
    machine = Machine(tmp_path, TREE, {"0000:00:01.0": "0011", "0000:00:02.0": "001d"})
    assert machine.acs("off").returncode == 0
    assert machine.written() == []


def test_a_bridge_that_keeps_redirecting_is_told(tmp_path: Path) -> None:
    machine = Machine(tmp_path, TREE, REGISTERS)
    (tmp_path / "stuck").touch()
    done = machine.acs("off")
    assert done.returncode == 1
    assert "the bridge 0000:00:01.0 keeps redirecting" in done.stderr
    assert "the bridge 0000:02:01.0 keeps redirecting" in done.stderr


def test_without_setpci_it_says_what_to_install(tmp_path: Path) -> None:
    done = Machine(tmp_path, TREE, REGISTERS).acs("off", path="/nonexistent")
    assert done.returncode == 1
    assert "install the package pciutils" in done.stderr


def test_the_bits_are_those_that_the_check_pci_acs_looks_at() -> None:
    assert f"redirects={_REDIRECTS:04x}\n" in (ROLE / "files/acs.sh").read_text()
