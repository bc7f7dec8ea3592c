"""`fleetward jobs`: the queue."""

import os
import pwd
from typing import TYPE_CHECKING

import click

from fleetward.commands._slurm import backend_option, note_unread, slurm
from fleetward.commands._table import echo_json, note, table
from fleetward.printable import length

if TYPE_CHECKING:
    from fleetward.slurm.answers import Job


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document; lengths of time in seconds.")
@click.option("--all", "everyone", is_flag=True, help="Show the jobs of all users.")
@click.option("--user", help="Show the jobs of this user.")
@click.option("--ended", is_flag=True, help="Show also those that ended a short while ago.")
@backend_option
def jobs(as_json: bool, everyone: bool, user: str | None, ended: bool, backend: str) -> None:
    """Show the jobs in the queue: yours, unless told otherwise.

    Exit code 3: slurmctld does not answer.
    """
    if everyone and user is not None:
        raise click.UsageError("--all and --user exclude each other")
    with slurm(backend) as client:
        found = client.jobs()
    note_unread(found.unread, "jobs")
    alive = [job for job in found.items if ended or not job.ended]
    whose = user or _me()
    shown = alive if everyone else [job for job in alive if job.user == whose]
    if as_json:
        echo_json({"backend": found.backend, "jobs": [_document(job) for job in shown], "unread": list(found.unread)})
        return
    headers = ("JOB", "NAME", "USER", "PARTITION", "STATE", "TIME", "LIMIT", "NODES", "GPUS", "WHERE")
    click.echo(table(headers, [_row(job) for job in shown]))
    if len(shown) < len(alive):
        note(f"{len(alive) - len(shown)} more of other users; --all shows them")


def _me() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user known to no directory of this machine
        return str(os.getuid())


def _row(job: "Job") -> tuple[str, ...]:
    from fleetward.slurm.parse import folded

    return (
        job.id,
        job.name,
        job.user,
        job.partition,
        job.state,
        length(job.elapsed),
        length(job.time_limit),
        str(job.node_count),
        " ".join(f"{kind}:{count}" for kind, count in job.gpus.items()),
        folded(job.nodes) if job.nodes else f"({job.reason})" if job.reason else "",
    )


def _document(job: "Job") -> dict[str, object]:
    return {
        "id": job.id,
        "number": job.number,
        "name": job.name,
        "user": job.user,
        "account": job.account,
        "partition": job.partition,
        "qos": job.qos,
        "state": job.state,
        "reason": job.reason,
        "nodes": job.nodes,
        "node_count": job.node_count,
        "cpus": job.cpus,
        "gpus": job.gpus,
        "elapsed_seconds": job.elapsed,
        "time_limit_seconds": job.time_limit,
        "submitted_at": job.submitted_at,
        "started_at": job.started_at,
        "restarts": job.restarts,
        "working_directory": job.working_directory,
    }
