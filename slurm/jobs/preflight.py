"""A job specification held against the cluster as it is: what would be refused, or wait for ever, told by field.

A pure judgement of what Slurm has told. Slurm's own word (`sbatch --test-only`) comes after it and is the last one, but
it names no field and no allowed value.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fleetward.slurm.accounting import Association, Limits, Qos
from fleetward.slurm.answers import Node, Partition, Share
from fleetward.slurm.jobs.spec import JobSpec
from fleetward.slurm.jobs.spec_checks import Complaint
from fleetward.slurm.jobs.spec_fields import seconds_of
from fleetward.slurm.parse import UNTYPED
from fleetward.slurm.verdicts.fitting import Needs, Room, refusals, rooms, smaller


@dataclass(frozen=True, slots=True)
class Cluster:
    """What Slurm told; a part that it did not tell is empty, and nothing is held against it."""

    partitions: tuple[Partition, ...] = ()
    nodes: tuple[Node, ...] = ()
    qos: tuple[Qos, ...] = ()
    associations: tuple[Association, ...] = ()
    shares: tuple[Share, ...] = ()


@dataclass(frozen=True, slots=True)
class Preflight:
    """What a job would meet."""

    complaints: tuple[Complaint, ...]
    """Field and sentence of what would be refused."""
    gpu_hours: float | None
    """At most, of all tasks together; None where its time has no limit."""
    room: Room | None
    """What its partition has for it."""
    less: Needs | None
    """A smaller job of the kind that would start now, where this one would not."""
    share: Share | None = field(default=None)
    """The fair share of who hands it in, in its account."""


def preflight(spec: JobSpec, user: str, cluster: Cluster) -> Preflight:
    """Return what a user's job would meet."""
    partition = _partition(spec, cluster.partitions)
    associations = [one for one in cluster.associations if one.user == user]
    account = spec.account or _default_account(associations)
    needs = needs_of_spec(spec, partition, account)
    complaints = [*_names(spec, partition, cluster, associations), *_bounds(spec, needs, associations, cluster.qos)]
    room = less = None
    if partition is not None:
        complaints += [(name, f"partition {partition.name} {why}") for name, why in refusals(needs, partition)]
        complaints += _hardware(spec, needs, partition, cluster.nodes)
        room = rooms(needs, cluster.nodes, (partition,))[0] if cluster.nodes else None
        less = None if room is None or room.holds(needs) else smaller(needs, cluster.nodes, partition)
    share = next((one for one in cluster.shares if (one.user, one.account) == (user, account)), None)
    tasks = spec.sweep.size if spec.sweep else 1
    hours = None if needs.seconds is None else tasks * spec.gpus_of_a_task * needs.seconds / 3600
    return Preflight(tuple(complaints), hours, room, less, share)


def needs_of_spec(spec: JobSpec, partition: Partition | None = None, account: str = "") -> Needs:
    """Return what a specification asks of every node; its time is the partition's where it names none."""
    kind, colon, _ = (spec.gpus_per_node or "").partition(":")
    gpus = {kind if colon else UNTYPED: spec.gpus_on_a_node} if spec.gpus_per_node else {}
    seconds = seconds_of(spec.time) if spec.time is not None else None
    if seconds is None and partition is not None:
        seconds = partition.time_limit if partition.default_time is None else partition.default_time
    cpus = spec.tasks_on_a_node * spec.cpus_per_task
    return Needs(spec.nodes, gpus, cpus, seconds, account, spec.qos or "", spec.reservation or "")


def _partition(spec: JobSpec, partitions: Sequence[Partition]) -> Partition | None:
    if spec.partition is None:
        return next((one for one in partitions if one.default), None)
    return next((one for one in partitions if one.name == spec.partition), None)


def _default_account(associations: Sequence[Association]) -> str:
    """Return the only account of a user; of several, Slurm alone knows which is the default."""
    accounts = {one.account for one in associations}
    return accounts.pop() if len(accounts) == 1 else ""


def _names(
    spec: JobSpec, partition: Partition | None, cluster: Cluster, associations: Sequence[Association]
) -> Iterator[Complaint]:
    """Complain of names that the cluster, or the user, does not have."""
    if cluster.partitions and partition is None:
        known = [one.name for one in cluster.partitions]
        yield ("partition", _unknown("partition", spec.partition, known))
    if associations and spec.account is not None:
        accounts = [one.account for one in associations]
        if spec.account not in accounts:
            yield ("account", _unknown("account of yours", spec.account, accounts))
    if spec.qos is None:
        return
    known = [one.name for one in cluster.qos]
    if known and spec.qos not in known:
        yield ("qos", _unknown("QOS", spec.qos, known))
        return
    allowed = {name for one in associations if spec.account in (None, one.account) for name in one.qos}
    if allowed and spec.qos not in allowed:
        yield ("qos", f"{spec.qos} is not yours to use; you may use {', '.join(sorted(allowed))}")


def _unknown(what: str, name: str | None, known: Sequence[str]) -> str:
    names = ", ".join(sorted(set(known)))
    if name is None:
        return f"is needed, since the cluster has no default {what}; there are {names}"
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{name} is no {what}; there are {names}{hint}"


def _hardware(spec: JobSpec, needs: Needs, partition: Partition, nodes: Sequence[Node]) -> Iterator[Complaint]:
    own = [node for node in nodes if node.name in set(partition.nodes)]
    if not own:
        return
    if needs.nodes > len(own):
        yield ("nodes", f"is {needs.nodes}, and partition {partition.name} has {len(own)}")
    able = rooms(needs, own, (partition,))[0].able
    if len(able) >= min(needs.nodes, len(own)):
        return
    has = sorted({" and ".join(f"{kind}:{count}" for kind, count in node.gpus.items()) or "none" for node in own})
    cpus = max(node.cpus for node in own)
    what = "gpus_per_node" if needs.gpus else "cpus_per_task"
    asked = spec.gpus_per_node if needs.gpus else f"{needs.cpus} CPUs a node"
    yield (
        what,
        f"{asked}: {len(able)} nodes of partition {partition.name} have that together with {needs.cpus} CPUs, and the "
        f"job wants {needs.nodes}; its nodes have GPUs {', '.join(has)} and at most {cpus} CPUs",
    )


def _bounds(
    spec: JobSpec, needs: Needs, associations: Sequence[Association], qos: Sequence[Qos]
) -> Iterator[Complaint]:
    """Complain of limits on one job that a QOS or an association has, and that no waiting would lift."""
    holders = [(f"your account {one.account}", one.limits) for one in associations if one.account == needs.account]
    holders += [(f"QOS {one.name}", one.limits) for one in qos if one.name == spec.qos]
    for who, limits in holders:
        yield from _over(spec, needs, who, limits)


def _over(spec: JobSpec, needs: Needs, who: str, limits: Limits) -> Iterator[Complaint]:
    if limits.time is not None and spec.time is not None and (needs.seconds or 0) > limits.time:
        yield ("time", f"{spec.time} is more than the {limits.time // 60} minutes that {who} allows")
    most = _amount(limits.tres_per_job, "gres/gpu")
    if most is not None and spec.gpus_of_a_task > most:
        yield ("gpus_per_node", f"makes {spec.gpus_of_a_task} GPUs, and {who} allows {most} for a job")
    most = _amount(limits.tres_per_job, "node")
    if most is not None and spec.nodes > most:
        yield ("nodes", f"is {spec.nodes}, and {who} allows {most} for a job")


def _amount(limits: Mapping[str, str], name: str) -> int | None:
    text = limits.get(name, "")
    return int(text) if text.isdigit() else None
