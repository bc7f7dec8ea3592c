"""The inventory that a lab is provisioned from: the declared one, or a copy of it with this lab's hosts."""

import io
import shutil
import tarfile
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


def site_copy(folder: Path) -> bytes:
    """Return a tar of an inventory as the daemon on the head plays it: over its own SSH key in place of the lab's.

    The daemon's user is none of the head's administrators: it plays the nodes alone.
    """
    daemons = {
        "ansible_ssh_private_key_file": "/var/lib/fleetward/.ssh/id_ed25519",
        "ansible_ssh_common_args": (
            "-o UserKnownHostsFile=/etc/fleetward/known_hosts -o GlobalKnownHostsFile=/dev/null"
            " -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes -o BatchMode=yes"
        ),
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                _add(tar, str(path.relative_to(folder)), path.read_bytes())
        _add(tar, "group_vars/all/zz_this_daemon.yml", yaml.safe_dump(daemons).encode())
    return packed.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    tar.addfile(member, io.BytesIO(content))


def _declared() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((DECLARED / "hosts.yml").read_text())
    return tree


def _addresses(hosts: tuple[LabHost, ...]) -> dict[str, dict[str, str]]:
    return {host.name: {"ansible_host": host.address} for host in hosts}
