"""The inventory that a lab is provisioned from: the declared one, or a copy of it with this lab's hosts."""

import shutil
from pathlib import Path
from typing import Any

import yaml

import fleetward
from fleetward.lab.spec import LabHost, LabSpec, LabState

DECLARED = Path(fleetward.__file__).parent / "inventories/lab"
HEADS, GPU_NODES = "heads", "gpu_nodes"


def of(spec: LabSpec, state: LabState) -> Path:
    """Return the folder to provision from: `inventories/lab` itself where it declares exactly these hosts."""
    groups = _declared()["all"]["children"]
    declared = {**groups[HEADS]["hosts"], **groups[GPU_NODES]["hosts"]}
    if state == LabState.of("lab") and declared == _addresses(spec.hosts):
        return DECLARED
    return state.inventory()


def write(spec: LabSpec, state: LabState) -> None:
    """Write the copy: the same groups and variables, with the hosts, key and known hosts of this lab."""
    tree = _declared()
    groups = tree["all"]["children"]
    groups[HEADS]["hosts"] = _addresses(spec.hosts[:1])
    groups[GPU_NODES]["hosts"] = _addresses(spec.gpu_hosts)
    folder = state.inventory()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DECLARED, folder)
    (folder / "hosts.yml").write_text(yaml.safe_dump(tree, sort_keys=False))
    # read last, so it wins over what the declared inventory says of the default lab
    (folder / "group_vars/all/zz_this_lab.yml").write_text(yaml.safe_dump({"lab_state": str(state.folder)}))


def _declared() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((DECLARED / "hosts.yml").read_text())
    return tree


def _addresses(hosts: tuple[LabHost, ...]) -> dict[str, dict[str, str]]:
    return {host.name: {"ansible_host": host.address} for host in hosts}
