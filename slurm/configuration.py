"""The files that follow from the inventory: Slurm's, /etc/hosts, Prometheus' targets, and what each node is.

Everything here is a pure function of a `Fleet`: no live host is asked. The text is deterministic, with LF line ends.
"""

import json
from dataclasses import asdict
from typing import Any

from fleetward.model.fleet import GPU_EXPORTER_GROUP, NODE_EXPORTER_GROUP, Fleet, Node
from fleetward.model.host_ranges import natural_key
from fleetward.slurm.configuration_accounting import accounting
from fleetward.slurm.configuration_files import cgroup_conf, gres_conf, slurm_conf, topology_conf

GPU_EXPORTER_PORT = 9400
NODE_EXPORTER_PORT = 9100


def render(fleet: Fleet) -> dict[str, str]:
    """Return the text of every file that the whole fleet shares, by name.

    `topology.conf` is there only where nodes have a leaf switch.
    """
    files = {
        "slurm.conf": slurm_conf(fleet),
        "gres.conf": gres_conf(fleet),
        "cgroup.conf": cgroup_conf(fleet),
        "hosts": hosts(fleet),
        "accounting.json": _json(accounting(fleet)),
        "inventory.json": _json(inventory(fleet)),
        "targets/gpu.json": _json(_targets(fleet, GPU_EXPORTER_GROUP, GPU_EXPORTER_PORT)),
        "targets/node.json": _json(_targets(fleet, NODE_EXPORTER_GROUP, NODE_EXPORTER_PORT)),
    }
    topology = topology_conf(fleet)
    if topology:
        files["topology.conf"] = topology
    return files


def render_node(fleet: Fleet, node: Node) -> str:
    """Return `node.json` of one node: where it stands and what it consists of."""
    description = {
        "cluster": fleet.cluster,
        "name": node.name,
        "address": node.address,
        "rack": node.rack,
        "leaf_switch": node.leaf_switch,
        "spine_switch": node.spine_switch,
        "hardware_profile": asdict(node.profile) if node.profile else None,
    }
    return _json(description)


def hosts(fleet: Fleet) -> str:
    """Return the lines for /etc/hosts of every node with an IP address."""
    known = (node for node in fleet.nodes.values() if node.has_ip_address)
    lines = [f"{node.address} {node.name}\n" for node in sorted(known, key=lambda node: natural_key(node.name))]
    return "".join(lines)


def inventory(fleet: Fleet) -> dict[str, Any]:
    """Return the hosts and groups as an inventory of Ansible's, without any way to reach them.

    For the daemon: how the machine that provisions logs in, and what else it keeps in its variables, is its own.
    """
    return {
        "all": {
            "hosts": {
                node.name: {"ansible_host": node.address} | ({"fleet_rack": node.rack} if node.rack else {})
                for node in fleet.nodes.values()
            },
            "children": {
                group: {"hosts": dict.fromkeys(members, {})}
                for group, members in fleet.groups.items()
                if group not in {"all", "ungrouped"} and members
            },
        }
    }


def _targets(fleet: Fleet, group: str, port: int) -> list[dict[str, Any]]:
    """Return file_sd entries: one target each, with the labels that its series get."""
    members = sorted(fleet.members(group), key=lambda node: natural_key(node.name))
    return [{"targets": [f"{_bracketed(node.address)}:{port}"], "labels": _labels(fleet, node)} for node in members]


def _labels(fleet: Fleet, node: Node) -> dict[str, str]:
    labels = {
        "cluster": fleet.cluster,
        "node": node.name,
        "rack": node.rack,
        "hardware_profile": node.profile.name if node.profile else None,
    }
    return {name: value for name, value in labels.items() if value is not None}


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _json(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"
