"""From what Slurm says of a cluster that others configure to what an inventory says of it: pure, nothing is written.

Only names and numbers get into the inventory, each checked against what the inventory takes. Text that anybody can set
(reasons, comments, features) does not. Whatever is left out, or written otherwise than Slurm has it, is a remark.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fleetward.model.adopted import ADOPTED_GROUP, ADOPTED_NAME
from fleetward.model.host_ranges import fold, natural_key
from fleetward.printable import length
from fleetward.slurm.answers import Node, Partition

MOST_GPUS = 64
"""The most that a hardware profile may have."""
_LONGEST_GPU_PART = 30
"""Of a profile's name, so that all of it stays below the 63 characters of a word."""
_GROUP_PREFIX = "profile_"
"""With an underscore no group is called as a host is."""
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)
_NOT_HOSTS = frozenset({"all", "ungrouped"})
"""Ansible's own groups: no host may have such a name."""
_NOT_PARTITIONS = frozenset({"ALL", "DEFAULT"})
_SHOWN = 5

GpuTypes = tuple[tuple[str, int], ...]
"""Types of GPUs with their counts, as Slurm has them."""


@dataclass(frozen=True, slots=True)
class AdoptedProfile:
    """Nodes that consist of the same, as far as Slurm tells."""

    name: str
    group: str
    """The inventory's group of these nodes."""
    cpus: int
    memory_mib: int
    """RealMemory of the node that has least of them."""
    gpu_types: GpuTypes
    model: str
    """Of the GPUs, as the inventory writes it; empty where they are of several types, too many, or none."""
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AdoptedPartition:
    """One partition that has nodes."""

    name: str
    nodes: tuple[str, ...]
    members: tuple[str, ...]
    """Groups of the inventory, or else one list of hosts."""
    parameters: Mapping[str, str | int | bool]
    """What is worth showing of a PartitionName line."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """What an inventory says of a cluster."""

    nodes: tuple[str, ...]
    """All of them, in natural order."""
    profiles: tuple[AdoptedProfile, ...]
    bare: tuple[str, ...]
    """Nodes of which Slurm tells too little for a profile."""
    partitions: tuple[AdoptedPartition, ...]
    remarks: tuple[str, ...]
    """What was left out or written otherwise, a sentence each."""

    def with_gpus(self) -> tuple[AdoptedProfile, ...]:
        """Return the profiles whose nodes have GPUs, of however many types."""
        return tuple(profile for profile in self.profiles if profile.gpu_types)


def adopt(nodes: Iterable[Node], partitions: Iterable[Partition]) -> Adoption:
    """Return what an inventory says of these nodes and partitions; the same in any order gives the same."""
    remarks: list[str] = []
    known = _nodes(nodes, remarks.append)
    profiles = _profiles([node for node in known if _is_told(node)], remarks.append)
    bare = tuple(node.name for node in known if not _is_told(node))
    if bare:
        remarks.append(f"{fold(bare)}: Slurm tells of no CPUs or no memory there; adopted without a hardware profile")
    names = tuple(node.name for node in known)
    found = _partitions(partitions, names, profiles, remarks.append)
    remarks += _not_in_step(known, found)
    return Adoption(names, profiles, bare, found, tuple(remarks))


def _nodes(nodes: Iterable[Node], remark: Callable[[str], None]) -> list[Node]:
    """Return the nodes that an inventory can name, in natural order."""
    every = sorted({node.name: node for node in nodes}.values(), key=lambda node: natural_key(node.name))
    refused = [node.name for node in every if not _is_host(node.name)]
    if refused:
        remark(
            f"{_some(refused)}: left out, since no host can be called so; the inventory takes DNS names that are more "
            "than digits"
        )
    return [node for node in every if _is_host(node.name)]


def _is_host(name: str) -> bool:
    digits_alone = re.fullmatch(r"[0-9.]+", name) is not None  # which would be taken for an address
    return ADOPTED_NAME.fullmatch(name) is not None and not digits_alone and name not in _NOT_HOSTS


def _is_told(node: Node) -> bool:
    return node.cpus > 0 and node.memory > 0


def _profiles(nodes: Iterable[Node], remark: Callable[[str], None]) -> tuple[AdoptedProfile, ...]:
    """Return one profile for each kind of node, the smallest memory first within the same GPUs and CPUs."""
    alike: dict[tuple[GpuTypes, int], list[Node]] = defaultdict(list)
    for node in nodes:
        alike[_gpu_types(node), node.cpus].append(node)
    kinds = [
        AdoptedProfile("", "", cpus, together[0].memory, gpus, _model(gpus), tuple(node.name for node in together))
        for (gpus, cpus), members in sorted(alike.items())
        for together in _of_similar_memory(members)
    ]
    for kind in kinds:
        for sentence in _on_gpus(kind):
            remark(sentence)
    names = _distinct(_profile_names(kinds), ".")
    groups = _distinct([_GROUP_PREFIX + re.sub(r"[^A-Za-z0-9]", "_", name) for name in names], "_")
    return tuple(
        replace(kind, name=name, group=group, nodes=tuple(sorted(kind.nodes, key=natural_key)))
        for kind, name, group in zip(kinds, names, groups, strict=True)
    )


def _gpu_types(node: Node) -> GpuTypes:
    return tuple(sorted((kind, count) for kind, count in node.gpus.items() if count > 0))


def _model(gpus: GpuTypes) -> str:
    """Return the type as a hardware profile takes it, which has GPUs of one type."""
    if len(gpus) != 1 or gpus[0][1] > MOST_GPUS:
        return ""
    return _lower_word(gpus[0][0])


def _lower_word(kind: str) -> str:
    word = re.sub(r"[^a-z0-9_.-]", "-", kind.lower())
    return word if re.match(r"[a-z]", word) else f"gpu-{word}"


def _on_gpus(kind: AdoptedProfile) -> Iterator[str]:
    said = ", ".join(f"{count} of type {name!r}" for name, count in kind.gpu_types)
    if len(kind.gpu_types) > 1:
        yield f"{fold(kind.nodes)}: have {said}; a hardware profile has GPUs of one type, so it is written without them"
    elif kind.gpu_types and not kind.model:
        yield f"{fold(kind.nodes)}: have {said}, more than a hardware profile takes; it is written without them"
    elif kind.gpu_types and kind.model != kind.gpu_types[0][0]:
        yield f"{fold(kind.nodes)}: GPUs of type {kind.gpu_types[0][0]!r} are written {kind.model}"


def _of_similar_memory(nodes: Iterable[Node]) -> Iterator[list[Node]]:
    """Yield nodes that have as much memory but for what firmware and kernel keep, the smallest first.

    Half a GiB, or the 128th part of it, is less than the smallest module that such a node could have lost.
    """
    together: list[Node] = []
    for node in sorted(nodes, key=lambda node: (node.memory, node.name)):
        if together and node.memory > together[0].memory + max(512, together[0].memory // 128):
            yield together
            together = []
        together.append(node)
    if together:
        yield together


def _profile_names(kinds: Sequence[AdoptedProfile]) -> list[str]:
    """Return `h100x8-192c-2048g` and the like: memory as it is sold, in MiB where that would not tell two apart."""
    rounded = [_profile_name(kind, _as_sold(kind.memory_mib)) for kind in kinds]
    times = Counter(rounded)
    return [
        _profile_name(kind, f"{kind.memory_mib}m") if times[name] > 1 else name
        for kind, name in zip(kinds, rounded, strict=True)
    ]


def _profile_name(kind: AdoptedProfile, memory: str) -> str:
    gpus = "_".join(f"{_lower_word(name)}x{count}" for name, count in kind.gpu_types) or "cpu"
    return f"{gpus[:_LONGEST_GPU_PART]}-{kind.cpus}c-{memory}"


def _as_sold(memory_mib: int) -> str:
    """Return memory rounded up to a sixteenth of its power of two: 2063837 MiB, less than was built in, is 2048g."""
    if memory_mib < 1024:
        return f"{memory_mib}m"
    gib = -(-memory_mib // 1024)
    step = max(1, 2 ** (gib.bit_length() - 5))
    return f"{-(-gib // step) * step}g"


def _distinct(names: Iterable[str], separator: str) -> list[str]:
    """Return the names, those that were there before with a number behind them."""
    taken: dict[str, None] = {}
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            number += 1
            candidate = f"{name}{separator}{number}"
        taken[candidate] = None
    return list(taken)


def _partitions(
    partitions: Iterable[Partition],
    nodes: Sequence[str],
    profiles: Sequence[AdoptedProfile],
    remark: Callable[[str], None],
) -> tuple[AdoptedPartition, ...]:
    known = set(nodes)
    every = sorted({partition.name: partition for partition in partitions}.values(), key=lambda one: one.name)
    refused = [one.name for one in every if not _is_partition(one.name)]
    if refused:
        remark(f"partition {_some(refused)}: left out, since the inventory does not take the name")
    kept = [one for one in every if _is_partition(one.name)]
    several = sum(one.default for one in kept) > 1
    if several:
        remark("several partitions call themselves the default; none is written as the default")
    found = []
    for one in kept:
        members = tuple(sorted(known.intersection(one.nodes), key=natural_key))
        if strangers := set(one.nodes) - known:
            remark(f"partition {one.name}: its nodes {_some(sorted(strangers))} are left out; they are not adopted")
        if not members:
            remark(f"partition {one.name}: left out, since it has no nodes")
            continue
        parameters = _parameters(one, default=one.default and not several)
        found.append(AdoptedPartition(one.name, members, _members(members, len(nodes), profiles), parameters))
    return tuple(found)


def _is_partition(name: str) -> bool:
    return _WORD.fullmatch(name) is not None and name.upper() not in _NOT_PARTITIONS


def _members(nodes: tuple[str, ...], all_nodes: int, profiles: Iterable[AdoptedProfile]) -> tuple[str, ...]:
    """Return the groups that make up these nodes; where there are none, their list."""
    if len(nodes) == all_nodes:
        return (ADOPTED_GROUP,)
    within = set(nodes)
    groups = [profile for profile in profiles if within.issuperset(profile.nodes)]
    if sum(len(profile.nodes) for profile in groups) == len(nodes):
        return tuple(profile.group for profile in groups)
    return (fold(nodes),)


def _parameters(partition: Partition, *, default: bool) -> dict[str, str | int | bool]:
    """Return what stays as it is from day to day; who may use a partition, and its state, are asked of Slurm."""
    parameters: dict[str, str | int | bool] = {"Default": True} if default else {}
    if partition.time_limit is not None:
        parameters["MaxTime"] = length(partition.time_limit)
    if partition.default_time is not None:
        parameters["DefaultTime"] = length(partition.default_time)
    if partition.tier != 1:
        parameters["PriorityTier"] = partition.tier
    return parameters


def _not_in_step(nodes: Iterable[Node], partitions: Iterable[AdoptedPartition]) -> Iterator[str]:
    """Yield a sentence for nodes that no adopted partition has."""
    placed = {name for partition in partitions for name in partition.nodes}
    if alone := [node.name for node in nodes if node.name not in placed]:
        yield f"{fold(alone)}: in no partition of the inventory; adopted all the same"


def _some(names: Sequence[str]) -> str:
    """Return the first few names, quoted: they may be anything."""
    shown = ", ".join(repr(name[:80]) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
