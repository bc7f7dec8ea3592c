"""`fleetward logs`: a job's log, as it is, as it grows, and what went wrong first in it."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._slurm import backend_option, slurm
from fleetward.commands._table import echo_json, note
from fleetward.model.errors import ExitCode, FleetwardError, UsageError

if TYPE_CHECKING:
    from fleetward.commands._log_words import LogPrinter
    from fleetward.slurm.answers import Job
    from fleetward.slurm.client import NoSuchJobError, SlurmClient

FIRST_NODE = "%N"


@click.command()
@click.argument("job")
@click.option("--follow", is_flag=True, help="Go on until the job has ended, over requeues too.")
@click.option(
    "--lines",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="Begin with so many of the last lines; 0: with all.",
)
@click.option("--rank", type=click.IntRange(0), metavar="N", help="Only what this rank wrote, by the labels of lines.")
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="Only this attempt; 1 is before any requeue.")
@click.option("--first-error", is_flag=True, help="Find what went wrong first, in the last attempt or --attempt.")
@click.option(
    "--file",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Read this file, not what Slurm names; may be given several times.",
)
@click.option("--raw", is_flag=True, help="Print bytes as they are; into a pipe or a file only.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document a line, or one of all errors.")
@backend_option
def logs(
    job: str,
    follow: bool,
    lines: int,
    rank: int | None,
    attempt: int | None,
    first_error: bool,
    files: tuple[Path, ...],
    raw: bool,
    as_json: bool,
    backend: str,
) -> int:
    """Show the log of a job, follow it, or find the first error over all ranks.

    With --follow, of the last lines those are shown that --rank asks for. Exit code 1: the log cannot be read; 2: there
    is none, or no such job; 3: Slurm does not answer, and no --file is given; 5: --first-error found an error.
    """
    if follow and (first_error or attempt is not None):
        raise click.UsageError(
            "--follow shows the attempt that runs, to its end: leave out --first-error and --attempt"
        )
    if raw and (first_error or as_json):
        raise click.UsageError("--raw prints lines as they are: leave out --first-error and --json")
    if files and not follow:
        _check_there(files)
        return _show(job, files, lines, rank, attempt, first_error=first_error, raw=raw, as_json=as_json)
    with slurm(backend) as client:
        if follow:
            named, _ = (files, None) if files else _named_by_slurm(client, job)
            _follow(client, job, named, lines, _printer(rank, None, named, raw=raw, as_json=as_json))
            return ExitCode.DONE
        named, seen = _named_by_slurm(client, job)
    there = _there(named, job, seen)
    return _show(job, there, lines, rank, attempt, first_error=first_error, raw=raw, as_json=as_json)


def _show(
    job: str,
    files: Sequence[Path],
    lines: int,
    rank: int | None,
    attempt: int | None,
    *,
    first_error: bool,
    raw: bool,
    as_json: bool,
) -> int:
    if first_error:
        return _first_error(job, files, rank, attempt, as_json=as_json)
    from fleetward.slurm.logs.tail import blocks

    printer = _printer(rank, attempt, files, raw=raw, as_json=as_json)
    for file in files:
        if lines and not printer.chooses:
            for block in blocks(file, lines):
                printer.add(file, block)
        else:
            printer.show(file, blocks(file), lines or None)
    if printer.chooses and not printer.printed:
        note("no line fits; lines tell their rank where `srun --label` or torchrun puts it before them")
    return ExitCode.DONE


def _first_error(job: str, files: Sequence[Path], rank: int | None, attempt: int | None, *, as_json: bool) -> int:
    from dataclasses import replace

    from fleetward.commands._log_words import errors_text
    from fleetward.slurm.logs.scanning import first_errors, scan
    from fleetward.slurm.logs.tail import blocks, last_change

    scanned = [scan(str(file), blocks(file), last_change(file), attempt) for file in files]
    begun = {number for one in scanned for number, _ in one.attempts} | {1}
    if attempt is not None and attempt not in begun:
        raise UsageError(f"the log tells of no attempt {attempt}; the last is {max(begun)}")
    found = first_errors(scanned, attempt)
    if rank is not None:
        found = replace(found, findings=tuple(one for one in found.findings if one.rank == rank))
    if as_json:
        echo_json(
            {
                "job": job,
                "files": [str(file) for file in files],
                "attempt": found.attempt,
                "first": found.findings[0] if found.findings else None,
                "findings": found.findings,
                "left_out": found.left_out,
            }
        )
    elif found.findings:
        click.echo(errors_text(found))
    if not found.findings:
        note(f"no error found in attempt {found.attempt}")
        return ExitCode.DONE
    if found.left_out:
        note(f"{found.left_out} more errors are like those, and left out")
    return ExitCode.FINDINGS


def _follow(client: "SlurmClient", job: str, files: Sequence[Path], lines: int, printer: "LogPrinter") -> None:
    from fleetward.slurm.logs.follow import Watch, follow
    from fleetward.slurm.logs.tail import Tail
    from fleetward.slurm.wait import Clock

    watch = Watch(lambda: client.job(job).job, Clock(time.monotonic, time.sleep), note)
    tails = [Tail(file, lines or None) for file in files]
    try:
        for file, block in follow(tails, watch):
            printer.add(file, block)
    finally:
        for tail in tails:
            tail.close()


def _printer(rank: int | None, attempt: int | None, files: Sequence[Path], *, raw: bool, as_json: bool) -> "LogPrinter":
    from datetime import datetime

    from fleetward.commands._log_words import LogPrinter

    if raw and sys.stdout.isatty():
        note("--raw is for a pipe or a file: on a terminal the log is shown without what could play tricks with it")
        raw = False
    now = datetime.now().astimezone()
    return LogPrinter(now, rank, attempt, as_json=as_json, raw=raw, several=len(files) > 1)


def _named_by_slurm(client: "SlurmClient", job: str) -> "tuple[tuple[Path, ...], Job | None]":
    """Return where a job's logs are, and the job where slurmctld still knows it."""
    from fleetward.slurm.client import NoSuchJobError
    from fleetward.slurm.logs.paths import logs_of

    try:
        detail = client.job(job)
    except NoSuchJobError as error:
        return (_named_by_record(client, job, error),), None
    if not detail.job.nodes and (FIRST_NODE in detail.output or FIRST_NODE in detail.error):
        raise FleetwardError(
            f"the log of job {job} is named after its first node, and it is {detail.job.state}: ask once it has started"
        )
    return tuple(map(Path, logs_of(detail))), detail.job


def _named_by_record(client: "SlurmClient", job: str, error: "NoSuchJobError") -> Path:
    """Return where slurmdbd says the log of a job is that slurmctld has forgotten; NoSuchJobError where it does not."""
    from fleetward.slurm.client import NoSuchJobError, SlurmOutOfReachError
    from fleetward.slurm.logs.paths import log_of_attempt

    try:
        records = client.attempts(job)
    except SlurmOutOfReachError:  # a cluster may have no slurmdbd
        records = ()
    path = log_of_attempt(records[-1]) if records else None
    if path is None:
        raise NoSuchJobError(
            f"slurmctld no longer knows job {job}, and nothing says where its log is: give it by --file PATH"
        ) from error
    return Path(path)


def _check_there(files: Sequence[Path]) -> None:
    from fleetward.slurm.logs.tail import last_change

    for file in files:
        last_change(file)


def _there(files: Sequence[Path], job: str, seen: "Job | None") -> list[Path]:
    """Return the logs that are there; NoLogError where none is."""
    from fleetward.slurm.logs.tail import MissingLogError, NoLogError, last_change

    there: list[Path] = []
    missing: list[Path] = []
    for file in files:
        try:
            last_change(file)
        except MissingLogError:
            missing.append(file)
        else:
            there.append(file)
    if there:
        for file in missing:
            note(f"{file} is not there")
        return there
    if seen is not None and not seen.ended:
        raise NoLogError(f"{missing[0]} is not there yet: job {job} is {seen.state}; --follow waits for it")
    raise NoLogError(
        f"{missing[0]} is not there: a log may lie on a disk of its node, or was moved; give it by --file PATH"
    )
