"""`fleetward why`: why a job waits, or ended as it did."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._daemon import socket_option
from fleetward.commands._slurm import backend_option, slurm
from fleetward.commands._table import echo_json, note
from fleetward.printable import length, printable

if TYPE_CHECKING:
    from fleetward.commands._why import Explained, Judged
    from fleetward.slurm.verdicts.waiting import Waiting

AGAIN = {
    "yes": "a requeue is safe: the job was not to blame",
    "no": "a requeue would end the same way",
    "perhaps": "",
}


@click.command()
@click.argument("job")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document; lengths of time in seconds.")
@backend_option
@socket_option
def why(job: str, as_json: bool, backend: str, socket: Path | None) -> None:
    """Say why JOB waits, or why each of its attempts ended, and whether trying again makes sense.

    JOB is 12, or 12_3 for one task of an array. Asks Slurm, the daemon for faults of GPUs, and the job's log; what
    does not answer is named. Exit code 2: there is no such job; 3: Slurm does not answer.
    """
    with slurm(backend) as client:
        from fleetward.commands._why import Gatherer, faults_told

        found = Gatherer(client, faults_told(socket)).explain(job)
    if as_json:
        echo_json({name: getattr(found, name) for name in found.__slots__})
        return
    for line in _lines(found):
        click.echo(printable(line))
    for text in found.unknown:
        note(f"not known: {text}")


def _lines(found: "Explained") -> Iterator[str]:
    yield f"job {found.job_id} ({found.name}) of {found.user}: {found.state}"
    for one in found.attempts:
        yield from _attempt(one)
    if found.attempts and found.attempts[-1].verdict.evidence:
        last = found.attempts[-1].verdict
        yield from (f"  → {line}" for line in (AGAIN[last.again], last.advice) if line)
    if found.waiting is not None:
        yield from _waiting(found.waiting)


def _attempt(one: "Judged") -> Iterator[str]:
    from fleetward.slurm.parse import folded
    from fleetward.slurm.verdicts.judging import clock

    attempt, verdict = one.attempt, one.verdict
    began = f", began {clock(attempt.started_at)}" if attempt.started_at else ""
    nodes = f" on {folded(attempt.nodes)}" if attempt.nodes else ""
    yield f"attempt {one.number}: {verdict.sentence}"
    yield f"    ran {length(attempt.elapsed)}{nodes}{began}"
    for line in verdict.evidence:
        yield f"    {line}"


def _waiting(found: "Waiting") -> Iterator[str]:
    from fleetward.slurm.verdicts.judging import clock
    from fleetward.slurm.verdicts.waiting import in_words

    yield f"it waits ({found.reason or 'None'}): {found.sentence}"
    yield f"    it asks for {in_words(found.needs)}"
    if found.ahead:
        yield f"    jobs of its partition with a higher priority: {found.ahead}"
    if found.starts_at is not None:
        yield f"    Slurm plans to start it at {clock(found.starts_at)}, or earlier where others end early"
    for room in found.rooms:
        counts = (
            f"has nodes with what it asks for: {len(room.able)}, in service {len(room.working)}, free {len(room.free)}"
        )
        yield f"    partition {room.partition} {room.refuses or counts}"
    if found.less is not None:
        yield f"  → would start now with {in_words(found.less)}"
    if found.advice:
        yield f"  → {found.advice}"
