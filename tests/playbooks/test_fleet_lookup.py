"""The lookup `fleet`, driven by ansible-playbook as the roles drive it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fleetward
from fleetward.model.inventory import read_fleet
from fleetward.slurm.configuration import render, render_node

ROOT = Path(fleetward.__file__).parent
LAB = ROOT / "inventories" / "lab"
SITE = ROOT / "playbooks" / "site.yml"
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        content: "{{ %s }}"
        dest: "%s/{{ inventory_hostname }}"
        mode: "0600"
      connection: local
      vars: {ansible_python_interpreter: "%s"}
"""


def play(expression: str, inventory: Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Have every host of an inventory write what an expression gives into `folder`."""
    (folder / "play.yml").write_text(PLAY % (expression, folder, sys.executable))
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, folder / "play.yml"],
        env=os.environ | {"ANSIBLE_LOOKUP_PLUGINS": str(ROOT / "playbooks" / "lookup_plugins")} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """Return a copy of the lab's inventory with a profile that is not there."""
    copy = tmp_path / "wrong"
    shutil.copytree(LAB, copy)
    hosts = copy / "hosts.yml"
    hosts.write_text(hosts.read_text().replace("fleet_hardware_profile: lab-h100", "fleet_hardware_profile: lab-h10"))
    return copy


def test_every_host_gets_its_own_and_the_shared_files(tmp_path: Path) -> None:
    expression = "[lookup('fleet', 'slurm.conf'), lookup('fleet', 'node.json', host=inventory_hostname)] | to_json"
    done = play(expression, LAB, tmp_path)
    assert done.returncode == 0, done.stdout
    fleet = read_fleet(LAB)
    for node in fleet.nodes.values():
        got = json.loads((tmp_path / node.name).read_text())
        assert got == [render(fleet)["slurm.conf"], render_node(fleet, node)]


def test_another_inventory_can_be_named(tmp_path: Path) -> None:
    expression = f"lookup('fleet', 'gres.conf', inventory='{ROOT / 'inventories' / 'example'}')"
    assert play(expression, LAB, tmp_path).returncode == 0
    assert "Type=a100" in (tmp_path / "head").read_text()


def test_problems_are_a_list_that_is_empty_for_a_right_inventory(tmp_path: Path, wrong: Path) -> None:
    expression = "query('fleet', 'problems') | to_json"
    assert play(expression, LAB, tmp_path).returncode == 0
    assert json.loads((tmp_path / "head").read_text()) == []
    assert play(expression, wrong, tmp_path).returncode == 0
    assert json.loads((tmp_path / "head").read_text()) == [
        "gpu[001-003]: unknown hardware profile lab-h10; did you mean lab-h100?"
    ]


def test_software_that_does_not_go_together_is_a_problem_that_keeps_no_file_back(tmp_path: Path) -> None:
    copy = tmp_path / "incompatible"
    shutil.copytree(LAB, copy)
    (copy / "group_vars/gpu_nodes.yml").write_text("fleet_cuda: '13.0'\nfleet_nvidia_driver: '570.86.15'\n")
    expression = "[query('fleet', 'problems'), lookup('fleet', 'targets/gpu.json')] | to_json"
    done = play(expression, copy, tmp_path)
    assert done.returncode == 0, done.stdout
    problems, targets = json.loads((tmp_path / "head").read_text())
    assert [problem.partition(" needs")[0] for problem in problems] == ["gpu[001-003]: fleet_cuda 13.0"]
    assert "10.213.1.101:9400" in targets


def test_site_yml_refuses_it_before_any_host_is_touched(tmp_path: Path) -> None:
    copy = tmp_path / "incompatible"
    shutil.copytree(LAB, copy)
    (copy / "group_vars/gpu_nodes.yml").write_text("fleet_cuda: '13.0'\nfleet_nvidia_driver: '570.86.15'\n")
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", copy, SITE, "--limit", "head"],
        cwd=SITE.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "gpu[001-003]: fleet_cuda 13.0 needs fleet_nvidia_driver to be 580 or later" in done.stdout
    assert "rule cuda-13-driver" in done.stdout
    assert done.stdout.count("PLAY [") == 1


def test_a_wrong_inventory_renders_nothing(tmp_path: Path, wrong: Path) -> None:
    done = play("lookup('fleet', 'slurm.conf')", wrong, tmp_path)
    assert done.returncode == 2
    assert "unknown hardware profile lab-h10" in done.stdout + done.stderr
    assert not (tmp_path / "head").exists()


def test_a_file_that_is_not_rendered_is_refused_with_those_that_are(tmp_path: Path) -> None:
    done = play("lookup('fleet', 'slrm.conf')", LAB, tmp_path)
    assert done.returncode == 2
    assert "the inventory renders no file 'slrm.conf'; there are: accounting.json" in done.stdout + done.stderr


def test_topology_is_empty_where_there_are_no_switches(tmp_path: Path) -> None:
    copy = tmp_path / "flat"
    shutil.copytree(LAB, copy)
    hosts = copy / "hosts.yml"
    hosts.write_text(hosts.read_text().replace("fleet_leaf_switch: leaf1", "fleet_rack: lab2"))
    hosts.write_text(hosts.read_text().replace("        fleet_rack: lab\n", ""))
    assert play("'<' ~ lookup('fleet', 'topology.conf') ~ '>'", copy, tmp_path).returncode == 0
    assert (tmp_path / "head").read_text() == "<>"


def test_without_the_package_it_says_what_is_needed(tmp_path: Path) -> None:
    shadow = tmp_path / "shadow" / "pydantic"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("raise ImportError('no pydantic here')\n")
    done = play("lookup('fleet', 'slurm.conf')", LAB, tmp_path, PYTHONPATH=str(shadow.parent))
    assert done.returncode == 2
    assert "needs the package fleetward with its head extra" in done.stdout + done.stderr
