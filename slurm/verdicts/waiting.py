"""Why a job waits, when it would start, and where it would fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fleetward.slurm.answers import Job, JobDetail, Node, Partition
from fleetward.slurm.parse import UNTYPED
from fleetward.slurm.verdicts.fitting import Needs, Room, needs_of, rooms, smaller
from fleetward.slurm.verdicts.waiting_reasons import REASONS, Reason, Who, reason_of


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why one job waits."""

    reason: str
    """In Slurm's words."""
    sentence: str
    who: Who
    advice: str
    starts_at: datetime | None
    """When Slurm has planned to start it; None where it has no plan."""
    ahead: int
    """Jobs of the same partition that wait with a higher priority."""
    needs: Needs
    rooms: tuple[Room, ...]
    less: Needs | None
    """A smaller job of the kind that would start now in its own partition; None where none would."""


def judge_waiting(
    detail: JobDetail,
    jobs: Sequence[Job],
    nodes: Sequence[Node],
    partitions: Sequence[Partition],
    priorities: Mapping[int, int],
) -> Waiting:
    """Return why a job waits; `priorities` are those of all jobs that wait, by Slurm's number."""
    job, reason = detail.job, reason_of(detail.job.reason or "None")
    needs = needs_of(detail)
    own = next((one for one in partitions if one.name in job.partition.split(",")), None)
    found = rooms(needs, nodes, partitions)
    here = next((room for room in found if own is not None and room.partition == own.name), None)
    less = None if own is None or here is None or here.holds(needs) else smaller(needs, nodes, own)
    return Waiting(
        reason=job.reason,
        sentence=_sentence(reason, detail, here, needs),
        who=reason.who,
        advice=reason.advice,
        starts_at=job.started_at,
        ahead=_ahead(job, jobs, priorities),
        needs=needs,
        rooms=found,
        less=less,
    )


def in_words(needs: Needs) -> str:
    """Return what a job asks for: `2 nodes with 8 x h100 each`."""
    gpus = " and ".join(f"{count} x {'GPU' if kind == UNTYPED else kind}" for kind, count in needs.gpus.items())
    nodes = "1 node" if needs.nodes == 1 else f"{needs.nodes} nodes"
    return f"{nodes} with {gpus}{' each' if needs.nodes > 1 else ''}" if gpus else nodes


def _sentence(reason: Reason, detail: JobDetail, here: Room | None, needs: Needs) -> str:
    sentence = reason.sentence
    if detail.dependency:
        sentence += f" ({detail.dependency})"
    word, comma, names = detail.job.reason.partition(",")
    if comma and word in REASONS:
        sentence += f" ({names.strip()})"
    if here is not None and not here.refuses and len(here.able) < needs.nodes:
        sentence += f"; only {len(here.able)} nodes of {here.partition} have what it asks for, it will not start there"
    elif here is not None and not here.refuses and len(here.working) < needs.nodes:
        away = len(here.able) - len(here.working)
        sentence += f"; {away} of the {len(here.able)} nodes that it could use are out of service"
    return sentence


def _ahead(job: Job, jobs: Sequence[Job], priorities: Mapping[int, int]) -> int:
    own = priorities.get(job.number)
    if own is None:
        return 0
    mine = set(job.partition.split(","))
    rivals = [one for one in jobs if one.state == "PENDING" and mine & set(one.partition.split(","))]
    return sum(1 for one in rivals if priorities.get(one.number, -1) > own)
