"""Where a job would fit: which nodes of which partition have what it asks for, ever and now.

Only what the picture holds is looked at: state, GPUs, CPUs and the partition's limits. Memory, features and topology
are not, and nobody else's place in the queue: a node that is free may be kept for a job of higher priority.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fleetward.slurm.answers import JobDetail, Node, Partition
from fleetward.slurm.parse import UNTYPED

_WORKING = frozenset({"IDLE", "MIXED", "ALLOCATED", "COMPLETING"})
_AWAY = frozenset(
    {
        "BLOCKED",
        "DRAIN",
        "FAIL",
        "INVALID_REG",
        "MAINTENANCE",
        "NOT_RESPONDING",
        "POWERING_DOWN",
        "REBOOT_ISSUED",
        "REBOOT_REQUESTED",
        "RESERVED",
    }
)
"""Flags of a node that takes no job of just anybody."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a job asks of every node that it gets."""

    nodes: int
    gpus: Mapping[str, int]
    """By type, `gpu` where any will do."""
    cpus: int
    seconds: int | None
    """Its time limit; None where it asks for none."""
    account: str = ""
    qos: str = ""
    reservation: str = ""


@dataclass(frozen=True, slots=True)
class Room:
    """What a partition has for a job."""

    partition: str
    refuses: str
    """Why the partition does not take it at all; empty where it does."""
    able: tuple[str, ...]
    """Nodes that have what it asks for, busy or away now as they may be."""
    working: tuple[str, ...]
    """Those of them that are in service."""
    free: tuple[str, ...]
    """Those of them on which it could start now."""

    def holds(self, needs: Needs) -> bool:
        """Say whether the job would start now."""
        return not self.refuses and len(self.free) >= needs.nodes


def needs_of(detail: JobDetail) -> Needs:
    """Return what a job asks for, spread evenly over its nodes."""
    job = detail.job
    nodes = max(1, job.node_count)
    gpus = {kind: -(-count // nodes) for kind, count in job.gpus.items()}
    return Needs(nodes, gpus, -(-job.cpus // nodes), job.time_limit, job.account, job.qos, detail.reservation)


def rooms(needs: Needs, nodes: Iterable[Node], partitions: Iterable[Partition]) -> tuple[Room, ...]:
    """Return what each partition has for it, those that would take it now first."""
    by_name = {node.name: node for node in nodes}
    found = [_room(needs, partition, by_name) for partition in partitions]
    return tuple(sorted(found, key=lambda room: (not room.holds(needs), bool(room.refuses), -len(room.working))))


def smaller(needs: Needs, nodes: Sequence[Node], partition: Partition) -> Needs | None:
    """Return the largest job of the same kind that would start in a partition now: fewer nodes, else fewer GPUs."""
    by_name = {node.name: node for node in nodes}
    free = len(_room(replace(needs, nodes=1), partition, by_name).free)
    if free:
        return replace(needs, nodes=min(free, needs.nodes))
    if len(needs.gpus) != 1:
        return None
    ((kind, wanted),) = needs.gpus.items()
    for count in range(wanted - 1, 0, -1):
        cpus = max(1, needs.cpus * count // wanted)
        less = replace(needs, nodes=1, gpus={kind: count}, cpus=cpus)
        if _room(less, partition, by_name).free:
            return less
    return None


def refusals(needs: Needs, partition: Partition) -> Iterator[tuple[str, str]]:
    """Yield the field, as a specification calls it, and what the partition allows, for all that it does not take.

    The sentence goes on after the partition's name.
    """
    if partition.state != "UP":
        yield "partition", f"is {partition.state}"
    if partition.reservation_only and not needs.reservation:
        yield "reservation", "takes jobs of a reservation only"
    if partition.time_limit is not None and (needs.seconds or 0) > partition.time_limit:
        yield "time", f"allows {partition.time_limit // 60} minutes, it asks for {(needs.seconds or 0) // 60}"
    if partition.most_nodes is not None and needs.nodes > partition.most_nodes:
        yield "nodes", f"allows {partition.most_nodes} nodes, it asks for {needs.nodes}"
    if needs.nodes < partition.least_nodes:
        yield "nodes", f"wants {partition.least_nodes} nodes at least, it asks for {needs.nodes}"
    yield from _not_allowed("account", needs.account, partition.accounts, partition.accounts_denied)
    yield from _not_allowed("qos", needs.qos, partition.allowed_qos, partition.qos_denied)


def _not_allowed(field: str, name: str, allowed: tuple[str, ...], denied: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    what = "QOS" if field == "qos" else field
    if name and allowed and name not in allowed:
        yield field, f"does not take {what} {name}; it takes {', '.join(allowed)}"
    elif name and name in denied:
        yield field, f"does not take {what} {name}"


def _room(needs: Needs, partition: Partition, nodes: Mapping[str, Node]) -> Room:
    able = [nodes[name] for name in partition.nodes if name in nodes and _has(nodes[name], needs, all_of_it=True)]
    working = [node for node in able if node.state in _WORKING and not _AWAY & set(node.flags)]
    free = [node for node in working if node.state != "COMPLETING" and _has(node, needs, all_of_it=False)]
    names = tuple(tuple(node.name for node in chosen) for chosen in (able, working, free))
    _, refuses = next(refusals(needs, partition), ("", ""))
    return Room(partition.name, refuses, *names)


def _has(node: Node, needs: Needs, *, all_of_it: bool) -> bool:
    """Say whether a node has what is needed, in all or of what is not allocated."""
    gpus = {kind: count - (0 if all_of_it else node.gpus_allocated.get(kind, 0)) for kind, count in node.gpus.items()}
    if node.cpus - (0 if all_of_it else node.cpus_allocated) < needs.cpus:
        return False
    typed = {kind: count for kind, count in needs.gpus.items() if kind != UNTYPED}
    if any(gpus.get(kind, 0) < count for kind, count in typed.items()):
        return False
    return sum(gpus.values()) - sum(typed.values()) >= needs.gpus.get(UNTYPED, 0)
