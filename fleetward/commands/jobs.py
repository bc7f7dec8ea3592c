"""`fleetward jobs`: the queue, and what jobs made of the GPUs that they held."""

import os
import pwd
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from fleetward.commands._daemon import settings
from fleetward.commands._slurm import backend_option, note_unread, slurm
from fleetward.commands._table import echo_json, note, table
from fleetward.printable import length

if TYPE_CHECKING:
    from fleetward.slurm.answers import Job


GROUPINGS = ("account", "user", "partition", "qos", "job")
PROMETHEUS_SECONDS = 30.0
"""How long one sum over weeks may take."""


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document; lengths of time in seconds.")
@click.option("--all", "everyone", is_flag=True, help="Show the jobs of all users.")
@click.option("--user", help="Show the jobs of this user.")
@click.option("--ended", is_flag=True, help="Show also those that ended a short while ago.")
@backend_option
@click.pass_context
def jobs(context: click.Context, as_json: bool, everyone: bool, user: str | None, ended: bool, backend: str) -> None:
    """Show the jobs in the queue: yours, unless told otherwise.

    Exit code 3: slurmctld does not answer.
    """
    if context.invoked_subcommand is not None:
        _check_no_options(context, context.invoked_subcommand)
        return
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


@jobs.command()
@click.option(
    "--since",
    default="7d",
    show_default=True,
    metavar="TIME",
    help="From when on: 7d (so long ago), 2026-11-01 or 2026-11-01T08:00, of this machine's clock, or with a zone.",
)
@click.option("--until", metavar="TIME", help="Until when, likewise.  [default: now]")
@click.option(
    "--by",
    type=click.Choice(GROUPINGS),
    default="account",
    show_default=True,
    help="What a row is. How busy GPUs were is known by account, user and partition only.",
)
@click.option("--user", metavar="USER", help="Of this user alone.")
@click.option("--account", metavar="ACCOUNT", help="Of this account alone.")
@click.option(
    "--price",
    "prices",
    multiple=True,
    metavar="[TYPE=]PRICE",
    help="What a GPU costs for an hour: 2.50 for any, h100=3 for those of a type; may be given several times.",
)
@click.option(
    "--top", type=click.IntRange(0), metavar="N", help="At most so many rows; 0: all.  [default: all, but 20 jobs]"
)
@click.option("--all", "everything", is_flag=True, help="Count jobs without a GPU too.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document; nothing in it is rounded.")
@backend_option
def report(
    since: str,
    until: str | None,
    by: str,
    user: str | None,
    account: str | None,
    prices: tuple[str, ...],
    top: int | None,
    everything: bool,
    as_json: bool,
    backend: str,
) -> None:
    """Report who held GPUs, how busy they were, and what it cost.

    A job counts for what of it lies within the time. GPU-H = BUSY + IDLE, by the utilization that Prometheus has;
    and GPU-H = DONE + OPEN (jobs that run, or that a requeue, a preemption or the time limit stopped, and whose work
    may have been saved) + FAILED + FLEET (lost to nodes that failed) + CANCEL. You see the jobs that slurmdbd shows
    to you; where it keeps them private (PrivateData), those of others are not in any number.

    Exit code 3: slurmdbd does not answer. Where Prometheus does not, BUSY and IDLE show -.
    """
    with slurm(backend) as client:
        from fleetward.commands._jobs_report import MEASURED, Asked, make_report, window_of
        from fleetward.commands._jobs_report_words import columns, document, notes
        from fleetward.runbooks.prometheus import HttpPrometheus
        from fleetward.slurm.verdicts.usage import read_prices

        window = window_of(since, until, datetime.now(UTC))
        asked = Asked(window, by, user, account, everything, top, read_prices(prices))
        known = settings()
        found = client.attempts_between(window.since, window.until)
    prometheus = HttpPrometheus(known.daemon.prometheus_url, PROMETHEUS_SECONDS) if by in MEASURED else None
    made = make_report(found, asked, prometheus, known.cluster.name)
    note_unread(made.unread, "records of jobs")
    for text in notes(made, asked):
        note(text)
    if as_json:
        echo_json(document(made, asked, found.backend))
    else:
        click.echo(table(*columns(made, asked)))


def _check_no_options(context: click.Context, command: str) -> None:
    """Refuse options of the list before the name of another command, which would not heed them."""
    typed = [
        option.opts[0]
        for option in context.command.params
        if option.name is not None and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    ]
    if typed:
        raise click.UsageError(f"{' and '.join(typed)} before {command}: write options behind it")


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
