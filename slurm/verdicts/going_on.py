"""Whether a job is put back into the queue, and which nodes it had better keep off."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fleetward.slurm.answers import JobDetail, Node, Partition
from fleetward.slurm.verdicts.causes import Again, Cause, Verdict
from fleetward.slurm.verdicts.fitting import needs_of, rooms


def why_not(last: Verdict) -> str:
    """Return why a job is not put back into the queue after an attempt that ended like this; empty where it is."""
    if last.cause in (Cause.RUNNING, Cause.PENDING):
        return f"{last.sentence}: a requeue would end this attempt"
    if last.cause is Cause.COMPLETED:
        return "it completed"
    return f"{last.sentence}: a requeue would end the same way" if last.again is Again.NO else ""


def suspects(verdicts: Iterable[Verdict]) -> tuple[str, ...]:
    """Return the nodes that ended attempts of a job through no fault of its own, in the order in which they did."""
    return tuple(dict.fromkeys(name for verdict in verdicts for name in verdict.nodes))


def avoidable(
    wanted: Sequence[str], detail: JobDetail, nodes: Sequence[Node], partitions: Sequence[Partition]
) -> tuple[str, ...]:
    """Return those of the nodes that a job can do without: all of them, or none where too few would be left to it.

    Nodes that it names itself stay. Which others have what it asks for follows from what Slurm tells of them now, out
    of service as they may be.
    """
    names = tuple(name for name in wanted if name not in detail.wanted)
    off = {*names, *detail.excluded}
    own = [one for one in partitions if one.name in detail.job.partition.split(",")]
    needs = replace(needs_of(detail), seconds=None)
    left = {name for room in rooms(needs, nodes, own) for name in room.able if name not in off}
    return names if len(left) >= needs.nodes else ()
