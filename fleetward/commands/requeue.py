"""`fleetward requeue`: a job goes back into the queue, where that makes sense, and keeps off nodes that failed it."""

from pathlib import Path

import click

from fleetward.commands._daemon import socket_option
from fleetward.commands._slurm import backend_option, slurm
from fleetward.commands._table import echo_json, note
from fleetward.model.errors import RefusedError


@click.command()
@click.argument("job")
@click.option("--force", is_flag=True, help="Also where it would end the same way, has completed, or runs.")
@click.option("--anywhere", is_flag=True, help="Do not keep it off the nodes that failed it.")
@click.option("--now", is_flag=True, help="Do not let it wait the two minutes that Slurm holds a requeued job back.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@backend_option
@socket_option
def requeue(job: str, force: bool, anywhere: bool, now: bool, as_json: bool, backend: str, socket: Path | None) -> None:
    """Put JOB back into the queue: 12, or 12_3 for one task of an array.

    Its attempts are judged as by `fleetward why`. Nodes that ended one through no fault of the job are excluded, unless
    too few would be left. Exit code 4: it would end the same way, or runs; 2: there is no such job.
    """
    from fleetward.commands._why import Gatherer, faults_told
    from fleetward.slurm.client import JobUpdate
    from fleetward.slurm.looking import Looker
    from fleetward.slurm.verdicts.going_on import avoidable, suspects, why_not

    with slurm(backend) as client:
        found = Gatherer(client, faults_told(socket)).explain(job)
        for text in found.unknown:
            note(f"not known: {text}")
        reason = why_not(found.attempts[-1].verdict) if found.attempts else "it has not run yet"
        if reason and not force:
            raise RefusedError(f"job {job} is not put back into the queue: {reason}; --force does it all the same")
        blamed = () if anywhere else suspects(one.verdict for one in found.attempts)
        client.requeue(job)
        detail = client.job(job)
        off: tuple[str, ...] = ()
        if blamed:
            picture = Looker(client).look(jobs=False)
            off = avoidable(blamed, detail, picture.nodes.items, picture.partitions.items)
            if off:
                client.update_job(job, JobUpdate(excluded=tuple(dict.fromkeys((*detail.excluded, *off)))))
            else:
                note(f"{', '.join(blamed)} failed it, and it cannot do without")
        if now:
            client.start_now(job)
    note(f"job {job} is back in the queue" + (f", and keeps off {', '.join(off)}" if off else ""))
    if as_json:
        echo_json({"job_id": job, "excluded": list(off), "restarts": detail.job.restarts})
