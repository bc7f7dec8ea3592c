"""slurm.conf, gres.conf, cgroup.conf and topology.conf as text."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from fleetward.model.fleet import (
    CONTROLLER_GROUP,
    SLURM_NODE_GROUP,
    Fleet,
    GpuProfile,
    HardwareProfile,
    Node,
)
from fleetward.model.host_ranges import NaturalKey, fold, natural_key
from fleetward.slurm.configuration_defaults import (
    CGROUP_DEFAULTS,
    accounting_parameters,
    slurm_defaults,
)

HEADER = "# Rendered from the inventory by fleetward: change the inventory, not this file.\n"
TOP_SWITCH = "core"
"""The switch above all others, where the declared ones have no single root."""


def slurm_conf(fleet: Fleet) -> str:
    """Return slurm.conf: parameters, then node lines folded by hardware profile, then partitions."""
    parameters = _overridden(slurm_defaults(fleet) | accounting_parameters(fleet), fleet.slurm_parameters)
    return "".join(
        [
            HEADER,
            _line({"ClusterName": fleet.cluster}),
            *(_line({"SlurmctldHost": _controller(node)}) for node in fleet.members(CONTROLLER_GROUP)),
            *(_line({name: parameters[name]}) for name in sorted(parameters, key=str.lower)),
            "\n",
            *_node_lines(fleet.members(SLURM_NODE_GROUP)),
            "\n",
            *(
                _line({"PartitionName": partition.name, "Nodes": fold(partition.nodes), **partition.parameters})
                for partition in fleet.partitions
            ),
        ]
    )


def gres_conf(fleet: Fleet) -> str:
    """Return gres.conf for all nodes: what each kind of GPU is called, and its device files."""
    nodes: dict[GpuProfile, list[str]] = defaultdict(list)
    for node in fleet.members(SLURM_NODE_GROUP):
        if node.profile is not None and node.profile.gpu is not None:
            nodes[node.profile.gpu].append(node.name)
    lines = [
        _line({"NodeName": fold(names), "Name": "gpu", "Type": gpu.model, "File": gpu.device_files})
        for gpu, names in sorted(nodes.items(), key=lambda item: _first(item[1]))
    ]
    return HEADER + "".join(lines)


def cgroup_conf(fleet: Fleet) -> str:
    """Return cgroup.conf."""
    parameters = _overridden(CGROUP_DEFAULTS, fleet.cgroup_parameters)
    return HEADER + "".join(_line({name: parameters[name]}) for name in sorted(parameters, key=str.lower))


def topology_conf(fleet: Fleet) -> str:
    """Return topology.conf for topology/tree; empty where no node has a leaf switch."""
    leaves: dict[str, list[str]] = defaultdict(list)
    spines: dict[str, set[str]] = defaultdict(set)
    roots: set[str] = set()
    for node in fleet.members(SLURM_NODE_GROUP):
        if node.leaf_switch is None:
            continue
        leaves[node.leaf_switch].append(node.name)
        if node.spine_switch is not None:
            spines[node.spine_switch].add(node.leaf_switch)
        roots.add(node.spine_switch or node.leaf_switch)
    if not leaves:
        return ""
    if len(roots) > 1:
        spines[TOP_SWITCH] = roots
    return "".join(
        [
            HEADER,
            *(_line({"SwitchName": leaf, "Nodes": fold(leaves[leaf])}) for leaf in sorted(leaves, key=natural_key)),
            *(
                _line({"SwitchName": spine, "Switches": fold(spines[spine])})
                for spine in sorted(spines, key=lambda spine: (spine == TOP_SWITCH, natural_key(spine)))
            ),
        ]
    )


def _controller(node: Node) -> str:
    return f"{node.name}({node.address})" if node.address != node.name else node.name


def _node_lines(nodes: Iterable[Node]) -> list[str]:
    """Return one line for all nodes that are alike.

    Addresses that are IP addresses are left to /etc/hosts, which gets every one of them: that keeps the lines folded
    however addresses are dealt out. An address that is another name is written out.
    """
    alike: dict[tuple[HardwareProfile, str | None], list[str]] = defaultdict(list)
    for node in nodes:
        if node.profile is not None:
            other_name = None if node.has_ip_address or node.address == node.name else node.address
            alike[node.profile, other_name].append(node.name)
    lines = []
    for (profile, address), names in sorted(alike.items(), key=lambda item: _first(item[1])):
        named = {} if address is None else {"NodeAddr": address}
        lines.append(_line({"NodeName": fold(names), **named, **_hardware(profile), "State": "UNKNOWN"}))
    return lines


def _first(names: Iterable[str]) -> NaturalKey:
    """Return the sort key of a line for these nodes."""
    return min(natural_key(name) for name in names)


def _hardware(profile: HardwareProfile) -> dict[str, str]:
    attributes = {
        "CPUs": str(profile.cpus),
        "Sockets": str(profile.sockets),
        "CoresPerSocket": str(profile.cores_per_socket),
        "ThreadsPerCore": str(profile.threads_per_core),
        "RealMemory": str(profile.memory_mib),
    }
    if profile.gpu is not None:
        attributes["Gres"] = f"gpu:{profile.gpu.model}:{profile.gpu.count}"
    return attributes


def _overridden(defaults: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the defaults with what is given in their place; Slurm does not mind the case of names."""
    replaced = {name.lower() for name in given}
    return {name: value for name, value in defaults.items() if name.lower() not in replaced} | dict(given)


def _line(attributes: Mapping[str, str]) -> str:
    return " ".join(f"{name}={_quoted(value)}" for name, value in attributes.items()) + "\n"


def _quoted(value: str) -> str:
    return f'"{value}"' if any(character.isspace() for character in value) else value
