"""One picture of a cluster: nodes, jobs and partitions, each part with its age and what it cost, and how two differ."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf, isfinite
from typing import Generic, TypeAlias, TypeVar

from fleetward.slurm.answers import Job, Node, Partition

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part(Generic[T_co]):
    """One list from Slurm as it was when Slurm last told it."""

    items: tuple[T_co, ...] = ()
    at: float = -inf
    """When it was asked for, in seconds of the clock of whoever looks."""
    seconds: float = 0.0
    """How long the last question took, whether it was answered or not."""
    unread: tuple[str, ...] = ()
    """What of the answer could not be read."""
    problem: str = "it was not asked yet"
    """Why the last question was not answered; empty where it was."""

    def age(self, now: float) -> float:
        """Return how old it is in seconds; infinite where Slurm never told it."""
        return now - self.at


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The cluster at one moment, as far as Slurm answered."""

    nodes: Part[Node] = field(default_factory=Part)
    jobs: Part[Job] = field(default_factory=Part)
    partitions: Part[Partition] = field(default_factory=Part)

    @property
    def seconds(self) -> float:
        """Return what asking for all of it took."""
        return self.nodes.seconds + self.jobs.seconds + self.partitions.seconds

    @property
    def parts(self) -> Mapping[str, Part[object]]:
        """Return what is asked for by itself, by its name."""
        return {"nodes": self.nodes, "jobs": self.jobs, "partitions": self.partitions}

    def ages(self, now: float) -> Mapping[str, float]:
        """Return how old each part is that Slurm ever told, in seconds."""
        return {name: age for name, part in self.parts.items() if isfinite(age := part.age(now))}


class ChangeKind(StrEnum):
    """What became of a job's attempt, or of a node."""

    SUBMITTED = "submitted"
    STARTED = "started"
    REQUEUED = "requeued"
    ENDED = "ended"
    GONE = "gone"
    """Slurm no longer lists it: how it ended is not known, or the node was taken out of the cluster."""
    DRAINED = "drained"
    RESUMED = "resumed"
    DOWN = "down"
    UP = "up"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class JobChange:
    """Something happened to one attempt of a job; `job` is how it is now, or was last."""

    kind: ChangeKind
    job: Job


@dataclass(frozen=True, slots=True)
class NodeChange:
    """Something happened to a node; `node` is how it is now, or was last."""

    kind: ChangeKind
    node: Node


Change: TypeAlias = JobChange | NodeChange

_WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"})
_DOWN = frozenset({"DOWN", "ERROR", "NOT_RESPONDING"})


def differences(before: Snapshot, after: Snapshot) -> tuple[Change, ...]:
    """Return what happened between two pictures: nodes first, each kind by name and number.

    A part that was not told in both of them anew says nothing. Slurm gives a job's number out again, and a requeue
    changes the time of submission: with more restarts it is the same job, else one of another time is another job. One
    that came and ended in between is told as ended. Restarts grow at the requeue, the time of submission only once the
    job has left its nodes: until then it is COMPLETING, and has not begun anew.
    """
    found: list[Change] = []
    if _both_told(before.nodes, after.nodes):
        found += _nodes(before.nodes, after.nodes)
    if _both_told(before.jobs, after.jobs):
        found += _jobs(before.jobs, after.jobs)
    return tuple(found)


def _both_told(before: Part[T], after: Part[T]) -> bool:
    return before.at > -inf and after.at > before.at and not after.problem


def _nodes(before: Part[Node], after: Part[Node]) -> Iterator[NodeChange]:
    was, now = ({node.name: node for node in part.items} for part in (before, after))
    for name in sorted(was.keys() | now.keys()):
        if name not in was:
            yield NodeChange(ChangeKind.ADDED, now[name])
        elif name not in now:
            yield NodeChange(ChangeKind.GONE, was[name])
        else:
            for told, on, off in (
                (_is_drained, ChangeKind.DRAINED, ChangeKind.RESUMED),
                (_is_down, ChangeKind.DOWN, ChangeKind.UP),
            ):
                if told(now[name]) != told(was[name]):
                    yield NodeChange(on if told(now[name]) else off, now[name])


def _is_drained(node: Node) -> bool:
    return "DRAIN" in node.flags


def _is_down(node: Node) -> bool:
    return not _DOWN.isdisjoint((node.state, *node.flags))


def _jobs(before: Part[Job], after: Part[Job]) -> Iterator[JobChange]:
    was, now = ({job.number: job for job in part.items} for part in (before, after))
    for number in sorted(was.keys() | now.keys()):
        earlier, job = was.get(number), now.get(number)
        if earlier is not None and (job is None or _is_another(job, earlier)):
            if not earlier.ended:
                yield JobChange(ChangeKind.GONE, earlier)
            earlier = None
        if job is None:
            continue
        if earlier is None:
            yield from _begun(job)
        elif job.restarts > earlier.restarts:
            yield JobChange(ChangeKind.REQUEUED, job)
            yield from _begun(job, new=False)
        elif job.ended and not earlier.ended:
            yield JobChange(ChangeKind.ENDED, job)
        elif _is_under_way(job) and (not _is_under_way(earlier) or (_leaves(earlier) and not _leaves(job))):
            yield JobChange(ChangeKind.STARTED, job)


def _begun(job: Job, *, new: bool = True) -> Iterator[JobChange]:
    """Yield how far an attempt has come that was not there before."""
    if job.ended:
        yield JobChange(ChangeKind.ENDED, job)
    elif _is_under_way(job) and (new or not _leaves(job)):
        yield JobChange(ChangeKind.STARTED, job)
    elif new:
        yield JobChange(ChangeKind.SUBMITTED, job)


def _is_under_way(job: Job) -> bool:
    return not job.ended and job.state not in _WAITING


def _leaves(job: Job) -> bool:
    """Say whether a job may be leaving the nodes of the attempt before: it was requeued, or is at its own end."""
    return job.restarts > 0 and job.state == "COMPLETING"


def _is_another(job: Job, earlier: Job) -> bool:
    if job.restarts != earlier.restarts:
        return job.restarts < earlier.restarts
    return job.submitted_at != earlier.submitted_at and not _leaves(earlier)
