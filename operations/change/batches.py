"""Which nodes a change takes together, in which order, and what that will cost: a pure judgement of one picture.

A batch stays under one leaf switch, so that the other leaves are whole for jobs of many nodes, and what goes wrong goes
wrong in one place. Nodes that are free soonest come first: while they are worked on, the others' jobs come to an end.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fleetward.model.changes import ChangeNode, Forecast, LeftOut
from fleetward.model.claims import owned_reason
from fleetward.model.errors import UsageError
from fleetward.slurm.answers import Job, Node

WORK_SECONDS = 900.0
"""That a node is taken to need where nobody has said: Ansible, a reboot of a GPU server, checks."""
_HOLDS = frozenset({"RUNNING", "SUSPENDED", "STOPPED", "CONFIGURING", "COMPLETING", "STAGE_OUT", "SIGNALING"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a change is to do to how many at once."""

    nodes: Sequence[str]
    at_once: int
    """The size of a batch."""
    work_seconds: float = WORK_SECONDS


@dataclass(frozen=True, slots=True)
class Seen:
    """The fleet at one moment."""

    nodes: Iterable[Node]
    jobs: Iterable[Job]
    leaves: Mapping[str, str]
    """Leaf switch by node, empty where none is declared."""
    now: datetime


@dataclass(frozen=True, slots=True)
class _Use:
    """What runs on one node."""

    wait: float
    """Seconds until its last job ends at the latest; infinite where one has no limit."""
    gpus: int
    used: tuple[tuple[float, int], ...]
    """Of each job, how long it may still run and how many GPUs it holds here."""


def batches(wanted: Wanted, seen: Seen) -> tuple[tuple[ChangeNode, ...], tuple[LeftOut, ...], Forecast]:
    """Return the nodes batch by batch, those left out with the reason, and what it will cost.

    UsageError where there is nothing to do, a name is none of Slurm's, or a batch is less than one node.
    """
    if wanted.at_once < 1:
        raise UsageError(f"{wanted.at_once} nodes at once is no batch; give 1 or more")
    known = {node.name: node for node in seen.nodes}
    if unknown := [name for name in wanted.nodes if name not in known]:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise UsageError(f"Slurm knows no node {', '.join(unknown[:5])}{more}; `fleetward nodes` lists those it knows")
    chosen = dict.fromkeys(wanted.nodes)
    left_out = tuple(LeftOut(name, why) for name in chosen if (why := why_not(known[name])))
    names = [name for name in chosen if not why_not(known[name])]
    if not names:
        told = "; ".join(f"{one.name} {one.why}" for one in left_out[:5])
        raise UsageError(f"no node is left to change{': ' + told if told else ''}")
    uses = _uses(known, seen, names)
    planned = tuple(_dealt(names, wanted.at_once, seen.leaves, {name: uses[name].wait for name in names}))
    return planned, left_out, _forecast(planned, uses, wanted.work_seconds)


def why_not(node: Node) -> str:
    """Say why a change leaves a node as it is; empty where it may be taken.

    What a person, or Slurm for a reason of its own, has taken out of service is theirs; what Fleetward holds for an
    incident is being repaired.
    """
    is_out = "DRAIN" in node.flags or node.state in {"DOWN", "DRAINED", "DRAINING"}
    if not is_out:
        return ""
    own = owned_reason(node.reason)
    if own is not None:
        return f"is held by {own.owner}: {own.why}"
    by = f" by {node.reason_by}" if node.reason_by else ""
    return f"was taken out of service{by}: {node.reason or node.state}"


def _uses(known: Mapping[str, Node], seen: Seen, names: Collection[str]) -> dict[str, _Use]:
    used: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for job in seen.jobs:
        if job.state in _HOLDS:
            gpus = math.ceil(sum(job.gpus.values()) / max(1, len(job.nodes)))
            for name in job.nodes:
                used[name].append((_left(job, seen.now), gpus))
    return {
        name: _Use(
            max((left for left, _ in used[name]), default=0.0), sum(known[name].gpus.values()), tuple(used[name])
        )
        for name in names
    }


def _left(job: Job, now: datetime) -> float:
    """Return the seconds that a job may still run: to its limit, infinite where it has none."""
    if job.time_limit is None:
        return math.inf
    gone = (now - job.started_at).total_seconds() if job.started_at else 0.0
    return max(0.0, job.time_limit - gone)


def _dealt(
    names: Sequence[str], at_once: int, leaves: Mapping[str, str], waits: Mapping[str, float]
) -> Iterator[ChangeNode]:
    by_leaf: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_leaf[leaves.get(name, "")].append(name)
    dealt = []
    for leaf in by_leaf.values():
        ordered = sorted(leaf, key=lambda name: (waits[name], name))
        dealt += [ordered[first : first + at_once] for first in range(0, len(ordered), at_once)]
    dealt.sort(key=lambda batch: (max(waits[name] for name in batch), batch))
    for number, batch in enumerate(dealt, 1):
        for name in batch:
            yield ChangeNode(name, number)


def _forecast(planned: Sequence[ChangeNode], uses: Mapping[str, _Use], work: float) -> Forecast:
    """Return what it costs as if no other job began: a job in the way ends at its limit, whenever its turn comes."""
    endless = tuple(node.name for node in planned if math.isinf(uses[node.name].wait))
    at, lost = 0.0, 0.0
    for number in range(1, planned[-1].batch + 1):
        batch = [uses[node.name] for node in planned if node.batch == number]
        waits = [max(0.0, use.wait - at) if not math.isinf(use.wait) else 0.0 for use in batch]
        for use, wait in zip(batch, waits, strict=True):
            busy = sum(min(wait, max(0.0, left - at)) * gpus for left, gpus in use.used if not math.isinf(left))
            lost += max(0.0, use.gpus * (wait + work) - busy)
        at += max(waits) + work
    return Forecast(None if endless else at, lost / 3600, work, endless)
