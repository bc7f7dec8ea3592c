"""The command, installed without a package index, and unmoved by what lies in a user's folder."""

import json
from collections.abc import Callable

import pytest
from testinfra.host import Host

On = Callable[[str], Host]

every_host = pytest.mark.parametrize("name", ["head", "gpu001"])


def installed(host: Host) -> set[str]:
    listed = json.loads(host.check_output("/opt/fleetward/bin/pip list --format=json --disable-pip-version-check"))
    return {package["name"].lower().replace("_", "-") for package in listed} - {"pip", "setuptools", "wheel"}


@every_host
def test_everybody_has_the_command(on: On, name: str) -> None:
    assert on(name).check_output("runuser --user nobody -- fleetward --version").startswith("fleetward")


def test_a_gpu_node_gets_three_wheels_and_ours(on: On) -> None:
    assert installed(on("gpu001")) == {"fleetward", "click", "nvidia-ml-py", "prometheus-client"}


def test_the_head_gets_what_reads_specs_and_inventories(on: On) -> None:
    assert {"fleetward", "clustershell", "pydantic", "pyyaml"} <= installed(on("head"))


@every_host
def test_a_users_own_files_change_nothing(on: On, name: str) -> None:
    command = (
        "folder=$(mktemp -d) && cd $folder"
        " && for each in slurm tui model; do echo 'raise SystemExit(9)' > $each.py; done"
        " && PYTHONPATH=$folder fleetward --help"
    )
    assert "Commands:" in on(name).check_output(command)


def test_where_pyslurm_cannot_be_built_the_command_does_without(on: On) -> None:
    release = on("head").check_output("scontrol --version").split()[1].split(".")[:2]
    assert on("head").file("/opt/fleetward-pyslurm/bin/python").exists == (release in (["25", "11"], ["26", "05"]))
    nodes = json.loads(on("head").check_output("fleetward nodes --json"))
    assert "gpu001" in json.dumps(nodes)
