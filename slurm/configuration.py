"""The files that follow from the inventory: Slurm's, /etc/hosts, Prometheus' targets, what each node is.

Everything here is a pure function of a `Fleet`: no live host is asked. The text is deterministic, with LF line ends.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from fleetward.model.adopted import rendered_here
from fleetward.model.fleet import (
    ALERTMANAGER_GROUP,
    GPU_EXPORTER_GROUP,
    NODE_EXPORTER_GROUP,
    SERVER_GROUP,
    SLURM_EXPORTER_GROUP,
    Fleet,
    Node,
)
from fleetward.model.host_ranges import natural_key
from fleetward.slurm.configuration_accounting import accounting
from fleetward.slurm.configuration_defaults import gpu_models
from fleetward.slurm.configuration_files import cgroup_conf, gres_conf, slurm_conf, topology_conf
from fleetward.slurm.configuration_scripts import EPILOG, PROLOG, script


@dataclass(frozen=True)
class ScrapeJob:
    """What Prometheus asks for metrics, by its `job`."""

    group: str
    port: int
    names_nodes: bool = False
    """Whether its own series have the label `node`: then its target has none of those that say where it stands."""


SCRAPE_JOBS = {
    "gpu": ScrapeJob(GPU_EXPORTER_GROUP, 9400),
    "node": ScrapeJob(NODE_EXPORTER_GROUP, 9100),
    "slurm": ScrapeJob(SLURM_EXPORTER_GROUP, 9401, names_nodes=True),
    "alertmanager": ScrapeJob(ALERTMANAGER_GROUP, 9093),
    "fleetward": ScrapeJob(SERVER_GROUP, 9720, names_nodes=True),
}


def render(fleet: Fleet) -> dict[str, str]:
    """Return the text of every file that the whole fleet shares, by name.

    `topology.conf` is there only where nodes have a leaf switch, `prolog.sh` and `epilog.sh` where nodes have GPUs.
    """
    files = {
        "slurm.conf": slurm_conf(fleet),
        "gres.conf": gres_conf(fleet),
        "cgroup.conf": cgroup_conf(fleet),
        "hosts": hosts(fleet),
        "accounting.json": _json(accounting(fleet)),
        "inventory.json": _json(inventory(fleet)),
        "rules/fleet.json": _json(rules(fleet)),
    }
    files |= {f"targets/{name}.json": _json(_targets(fleet, job)) for name, job in SCRAPE_JOBS.items()}
    if gpu_models(fleet):
        files |= {name: script(name) for name in (PROLOG, EPILOG)}
    topology = topology_conf(fleet)
    if topology:
        files["topology.conf"] = topology
    return rendered_here(fleet, files)


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
                group: {"hosts": {name: {} for name in members}}
                for group, members in fleet.groups.items()
                if group not in {"all", "ungrouped"} and members
            },
        }
    }


def rules(fleet: Fleet) -> dict[str, Any]:
    """Return rules that tell Prometheus what is declared, for alerts to compare with.

    `fleet_profile_gpus`: GPUs of each hardware profile in use; `fleet_targets`: targets of each job of Prometheus.
    """
    return {"groups": [{"name": "fleet", "rules": [*_profile_rules(fleet), *_target_rules(fleet)]}]}


def _profile_rules(fleet: Fleet) -> Iterator[dict[str, Any]]:
    profiles = {node.profile.name: node.profile for node in fleet.nodes.values() if node.profile}
    for name, profile in sorted(profiles.items()):
        if profile.gpu:
            yield _constant("fleet_profile_gpus", profile.gpu.count, cluster=fleet.cluster, hardware_profile=name)


def _target_rules(fleet: Fleet) -> Iterator[dict[str, Any]]:
    for name, job in SCRAPE_JOBS.items():
        if members := fleet.members(job.group):
            yield _constant("fleet_targets", len(members), cluster=fleet.cluster, job=name)


def _constant(record: str, value: int, **labels: str) -> dict[str, Any]:
    return {"record": record, "expr": f"vector({value})", "labels": labels}


def _targets(fleet: Fleet, job: ScrapeJob) -> list[dict[str, Any]]:
    """Return file_sd entries: one target each, with the labels that its series get."""
    members = sorted(fleet.members(job.group), key=lambda node: natural_key(node.name))
    return [
        {"targets": [f"{_bracketed(node.address)}:{job.port}"], "labels": _labels(fleet, node, job)} for node in members
    ]


def _labels(fleet: Fleet, node: Node, job: ScrapeJob) -> dict[str, str]:
    if job.names_nodes:
        return {"cluster": fleet.cluster}
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
