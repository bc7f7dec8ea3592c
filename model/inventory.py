"""From an inventory to a `Fleet`, or to every reason why it is not one."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fleetward.model.adopted import ADOPTED_GROUP, ADOPTED_NAME, may_compute
from fleetward.model.ansible_inventory import AnsibleInventory, Host, read_inventory
from fleetward.model.errors import UsageError
from fleetward.model.fleet import (
    SLURM_NODE_GROUP,
    Account,
    ExpectedBandwidth,
    Fleet,
    GpuProfile,
    HardwareProfile,
    InfinibandProfile,
    Node,
    Partition,
    Qos,
)
from fleetward.model.host_ranges import expand, fold, natural_key
from fleetward.model.inventory_checks import check_fleet
from fleetward.model.inventory_facts import FleetFacts, fleet_facts, templates
from fleetward.model.inventory_schema import (
    FLEET_VARIABLES,
    NODE_VARIABLES,
    FleetDeclaration,
    NodeDeclaration,
    PartitionDeclaration,
    ProfileDeclaration,
    error_sentences,
    nearest,
)
from fleetward.model.software import SOFTWARE, Software

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_SHORT_NAME = re.compile(_LABEL)
_DNS_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")


class InventoryError(UsageError):
    """The inventory cannot be used; `problems` has one sentence for each reason."""

    def __init__(self, path: Path, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        listed = "".join(f"\n  {problem}" for problem in self.problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"the inventory {path} has {count}; nothing was touched:{listed}")


def read_fleet(path: Path) -> Fleet:
    """Read and check an inventory, a file or a folder; InventoryError names every problem at once."""
    problems: list[str] = []
    inventory = read_inventory(path, problems.append)
    if not inventory.is_whole:
        raise InventoryError(path, problems)
    facts = fleet_facts(inventory.all_variables, problems.append)
    on_hosts = _HostProblems()
    nodes = _nodes(inventory, facts, on_hosts)
    problems.extend(on_hosts.sentences())
    fleet = _fleet(inventory, facts.declared, nodes, problems)
    problems.extend(check_fleet(fleet, facts.refused))
    if problems:
        raise InventoryError(path, dict.fromkeys(problems))
    return fleet


class _HostProblems:
    """What is wrong with hosts; those with the same problem share a sentence."""

    def __init__(self) -> None:
        self._hosts: dict[str, list[str]] = {}

    def add(self, host: str, sentence: str) -> None:
        self._hosts.setdefault(sentence, []).append(host)

    def sentences(self) -> list[str]:
        return [f"{fold(hosts)}: {sentence}" for sentence, hosts in self._hosts.items()]


def _nodes(inventory: AnsibleInventory, facts: FleetFacts, problems: _HostProblems) -> dict[str, Node]:
    profiles = {name: _profile(name, profile) for name, profile in facts.declared.fleet_hardware_profiles.items()}
    nodes = {}
    for host in inventory.hosts.values():
        _check_variables(host, inventory.all_variables, problems)
        given = {name: host.variables[name] for name in NODE_VARIABLES if name in host.variables}
        wrong = [sentence for name, value in given.items() for _, sentence in templates((name,), value)]
        if not wrong:
            try:
                declared = NodeDeclaration.model_validate(given)
            except ValidationError as error:
                wrong = [sentence for _, sentence in error_sentences(error)]
        if wrong:
            for sentence in wrong:
                problems.add(host.name, sentence)
            continue
        profile = _profile_of(host, declared, profiles, facts, problems)
        nodes[host.name] = _node(host, declared, profile, problems)
    return nodes


def _check_variables(host: Host, all_variables: Mapping[str, Any], problems: _HostProblems) -> None:
    for name, value in host.variables.items():
        if not isinstance(name, str) or not name.startswith("fleet_") or name in NODE_VARIABLES:
            continue
        if name not in FLEET_VARIABLES:
            known = nearest(name, FLEET_VARIABLES | NODE_VARIABLES)
            problems.add(host.name, f"{name} is not a variable of the fleet; {known}")
        elif all_variables.get(name) is not value:
            problems.add(host.name, f"{name} holds for the whole fleet; set it on the group all, not on hosts")


def _profile_of(
    host: Host,
    declared: NodeDeclaration,
    profiles: Mapping[str, HardwareProfile],
    facts: FleetFacts,
    problems: _HostProblems,
) -> HardwareProfile | None:
    name = declared.fleet_hardware_profile
    refused = facts.refused.get("fleet_hardware_profiles", frozenset())
    profile = profiles.get(name) if name is not None else None
    if name is None and SLURM_NODE_GROUP in host.groups:
        problems.add(host.name, f"is in {SLURM_NODE_GROUP} without a fleet_hardware_profile; give it one")
    elif name is not None and profile is None and name not in refused:
        problems.add(host.name, f"unknown hardware profile {name}; {nearest(name, profiles)}")
    expected = declared.fleet_gpu_count
    if profile is not None and expected is not None:
        count = profile.gpu.count if profile.gpu else 0
        if expected != count:
            problems.add(
                host.name,
                f"fleet_gpu_count is {expected}, but the hardware profile {name} has {count} GPUs; "
                "give it another profile or correct the count",
            )
    return profile


def _node(host: Host, declared: NodeDeclaration, profile: HardwareProfile | None, problems: _HostProblems) -> Node:
    allowed = _SHORT_NAME if SLURM_NODE_GROUP in host.groups else _DNS_NAME
    if ADOPTED_GROUP in host.groups:
        allowed = ADOPTED_NAME  # others chose it
    if not allowed.fullmatch(host.name):
        problems.add(
            host.name,
            "is not a valid host name; use lower-case letters, digits and hyphens"
            + (", and no dots for a Slurm node" if allowed is _SHORT_NAME else ""),
        )
    address = host.name if declared.ansible_host is None else declared.ansible_host
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        parsed = None
        if not _DNS_NAME.fullmatch(address.lower()) or re.fullmatch(r"[0-9.]+", address):
            problems.add(host.name, f"{address!r} is not an address; write an IP address or a name that resolves")
    if parsed is not None and (parsed.is_unspecified or parsed.is_multicast or parsed.is_loopback):
        problems.add(host.name, f"{address} is no address that other hosts can reach; write its own")
    return Node(
        name=host.name,
        address=str(parsed or address),
        has_ip_address=parsed is not None,
        groups=frozenset(host.groups),
        profile=profile,
        rack=declared.fleet_rack,
        leaf_switch=declared.fleet_leaf_switch,
        spine_switch=declared.fleet_spine_switch,
        software=Software(**{name: getattr(declared, f"fleet_{name}") for name in SOFTWARE}),
    )


def _profile(name: str, declared: ProfileDeclaration) -> HardwareProfile:
    return HardwareProfile(
        name=name,
        sockets=declared.sockets,
        cores_per_socket=declared.cores_per_socket,
        threads_per_core=declared.threads_per_core,
        memory_mib=declared.memory_mib,
        gpu=GpuProfile(**declared.gpu.model_dump()) if declared.gpu else None,
        infiniband=InfinibandProfile(**declared.infiniband.model_dump()) if declared.infiniband else None,
        bandwidth_gbytes_per_second=ExpectedBandwidth(**declared.bandwidth_gbytes_per_second.model_dump()),
    )


def _fleet(
    inventory: AnsibleInventory, declared: FleetDeclaration, nodes: dict[str, Node], problems: list[str]
) -> Fleet:
    groups = {group: tuple(name for name in members if name in nodes) for group, members in inventory.groups.items()}
    partitions = tuple(
        Partition(
            name,
            _partition_nodes(name, partition, inventory, nodes, problems),
            dict(partition.__pydantic_extra__),
        )
        for name, partition in declared.fleet_partitions.items()
    )
    accounts = tuple(
        Account(
            name=name,
            parent=account.parent,
            description=account.description or name,
            organization=account.organization or declared.fleet_cluster,
            users=account.users,
            qos=account.qos,
            default_qos=account.default_qos,
            limits=account.limits,
        )
        for name, account in declared.fleet_accounts.items()
    )
    return Fleet(
        cluster=declared.fleet_cluster,
        nodes=nodes,
        groups=groups,
        partitions=partitions,
        qos=tuple(Qos(name, limits) for name, limits in declared.fleet_qos.items()),
        accounts=accounts,
        slurm_parameters=declared.fleet_slurm_parameters,
        cgroup_parameters=declared.fleet_cgroup_parameters,
        site_rules=declared.fleet_compatibility.site_rules(),
    )


def _partition_nodes(
    name: str,
    declared: PartitionDeclaration,
    inventory: AnsibleInventory,
    nodes: Mapping[str, Node],
    problems: list[str],
) -> tuple[str, ...]:
    place = f"partition {name}"
    found: set[str] = set()
    for item in (part for entry in declared.nodes for part in _split_outside_brackets(entry)):
        if item in inventory.groups:
            members = inventory.groups[item]
        else:
            try:
                members = tuple(expand(item))
            except ValueError as error:
                problems.append(f"{place}: nodes: {item!r} is neither a group nor a list of hosts: {error}")
                continue
        unknown = [host for host in members if host not in inventory.hosts]
        if unknown:
            known = nearest(
                item,
                [*inventory.groups, *inventory.hosts] if len(inventory.hosts) < 100 else inventory.groups,
            )
            problems.append(f"{place}: nodes: {fold(unknown)} is neither a host nor a group; {known}")
        elif not members:
            problems.append(f"{place}: nodes: the group {item} has no hosts; add some or remove it")
        others = [host for host in members if host in nodes and not may_compute(nodes[host].groups)]
        if others:
            problems.append(
                f"{place}: nodes: {fold(others)} is not in {SLURM_NODE_GROUP}; add it there or leave it out"
            )
        found.update(members)
    return tuple(sorted(found, key=natural_key))


def _split_outside_brackets(entry: str) -> list[str]:
    return [part.strip() for part in re.split(r",(?![^\[]*\])", entry) if part.strip()]
