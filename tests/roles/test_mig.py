"""What the role mig makes of its variables: the unit that divides the GPUs at boot, and what is in its way."""

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

import fleetward

# Jinja's, of the backslashes in Ansible's conditions
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")

init_plugin_loader()

ROLE = Path(fleetward.__file__).parent / "roles/mig"


def read(file: str) -> Any:  # noqa: ANN401  a YAML file may hold anything
    return DataLoader().load_from_file(str(ROLE / file), trusted_as_template=True)


STANDING = {**read("defaults/main.yml"), **read("vars/main.yml")}
LOOKED = {"instances": {}, "differences": {}, "blocked": "", "reboot_why": ""}


def role(**given: object) -> Templar:
    """Return the role's variables on a node that Slurm gives jobs to."""
    host = {
        "ansible_check_mode": False,
        "inventory_hostname": "gpu001",
        "role_path": str(ROLE),
        "group_names": ["mig", "slurm_node"],
        "__mig_looked": LOOKED,
    }
    return Templar(loader=DataLoader(), variables={**STANDING, **host, **given})


def value(templar: Templar, expression: str) -> Any:  # noqa: ANN401  whatever the variable is
    return templar.template(trust_as_template(f"{{{{ {expression} }}}}"))


def unit(instances: dict[str, list[str]]) -> list[str]:
    made = role(__mig_divided={**LOOKED, "instances": instances})
    text = str(made.template(trust_as_template((ROLE / "templates/fleetward-mig.service.j2").read_text())))
    return [line for line in text.splitlines() if line.startswith("ExecStart=")]


def test_gpus_that_are_divided_alike_stand_in_one_line_with_the_places_of_their_instances() -> None:
    halves = ["3g.40gb:0", "3g.40gb:4"]
    assert unit({"0": halves, "1": halves, "4": ["7g.80gb:0"], "5": halves}) == [
        "ExecStart=/usr/bin/nvidia-smi -i 0,1,5 -mig 1",
        "ExecStart=/usr/bin/nvidia-smi mig -i 0,1,5 -cgi 3g.40gb:0,3g.40gb:4 -C",
        "ExecStart=/usr/bin/nvidia-smi -i 4 -mig 1",
        "ExecStart=/usr/bin/nvidia-smi mig -i 4 -cgi 7g.80gb:0 -C",
    ]


def test_the_unit_destroys_nothing() -> None:
    text = (ROLE / "templates/fleetward-mig.service.j2").read_text()
    assert not {"-dgi", "-dci", "-mig 0", "--gpu-reset"} & set(text.split())


def test_of_the_services_that_look_at_the_gpus_those_that_run_are_stopped() -> None:
    said = (
        "nvidia-dcgm.service            loaded active running NVIDIA DCGM service\n"
        "fleetward-gpu-exporter.service loaded active running Metrics of GPUs\n"
    )
    made = role(__mig_services={"stdout": said})
    assert value(made, "__mig_running") == ["nvidia-dcgm", "fleetward-gpu-exporter"]
    assert value(role(__mig_services={"stdout": ""}), "__mig_running") == []


@pytest.mark.parametrize(
    ("groups", "asks"), [(["mig", "slurm_node"], True), (["mig", "slurm_adopted"], True), (["mig"], False)]
)
def test_slurm_is_asked_about_nodes_that_it_gives_jobs_to(groups: list[str], asks: bool) -> None:
    assert value(role(group_names=groups), "mig_asks_slurm") is asks


def test_a_site_may_know_gpus_that_the_table_does_not() -> None:
    theirs = {"b999": {"model": "b999", "memory_gb": 1, "compute": 7, "memory": 8, "profiles": {}}}
    table = value(role(mig_gpus=theirs), "__mig_table")
    assert {"b999", "h100-80"} <= set(table)
