"""`fleetward submit`: a job specification becomes a batch script and a job."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._daemon import not_installed
from fleetward.commands._hardware import hardware_of
from fleetward.commands._slurm import backend_option, slurm
from fleetward.commands._table import echo_json, note, table
from fleetward.model.errors import FleetwardError, UsageError
from fleetward.printable import length, printable

if TYPE_CHECKING:
    from fleetward.slurm.client import SlurmClient
    from fleetward.slurm.jobs.spec import JobSpec
    from fleetward.slurm.wait import Ending


class JobFailedError(FleetwardError):
    """The job ended otherwise than COMPLETED."""


@click.command()
@click.argument("spec", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Print the batch script and submit nothing; Slurm is not asked.")
@click.option("--test-only", is_flag=True, help="Check against the cluster, say when it would start, submit nothing.")
@click.option(
    "--check/--no-check", default=True, show_default=True, help="Check against the cluster before submitting."
)
@click.option("--wait", is_flag=True, help="Wait for the job's end; exit code 1 where it did not complete.")
@click.option(
    "--workdir",
    type=click.Path(file_okay=False, path_type=Path),
    help="The job's working directory; default: the specification's, else the folder it lies in.",
)
@click.option(
    "--inventory",
    type=click.Path(path_type=Path),
    help="Where NCCL's variables come from; default: the setting daemon.inventory.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@backend_option
def submit(
    spec: Path,
    dry_run: bool,
    test_only: bool,
    check: bool,
    wait: bool,
    workdir: Path | None,
    inventory: Path | None,
    as_json: bool,
    backend: str,
) -> None:
    """Submit the training job that SPEC describes, in YAML or TOML.

    Prints the job's id. Exit code 1: refused, or not completed (--wait); 2: the specification is wrong, or asks for
    what the cluster does not have or allow; 3: Slurm does not answer.
    """
    job, script = _script(spec, inventory)
    if wait and job.sweep:
        raise UsageError(f"{spec}: a sweep is many jobs, and --wait waits for one; leave it out")
    where = _working_directory(spec, job, workdir)
    if dry_run:
        if as_json:
            echo_json({"script": script, "working_directory": str(where)})
        else:
            click.echo(script, nl=False)
            note(f"would run in {where}; nothing was submitted")
        return
    with slurm(backend) as client:
        if test_only or check:
            _check(client, spec, job, script, where, as_json=as_json and test_only)
        if test_only:
            return
        submitted = client.submit(script, where)
        document: dict[str, object] = {
            "backend": submitted.backend,
            "job_id": submitted.job_id,
            "name": job.name,
            "working_directory": str(where),
            "log": str(where / _log(job, submitted.job_id)),
        }
        note(f"submitted {job.name} as job {submitted.job_id}; its log: {document['log']}")
        if not wait:
            _print(document, submitted.job_id, as_json)
            return
        from fleetward.slurm.wait import Clock, wait_for_end

        try:
            ending = wait_for_end(client, submitted.job_id, Clock(time.monotonic, time.sleep), note)
        except KeyboardInterrupt:
            note(f"job {submitted.job_id} goes on")
            raise
    _print(document | _result(ending), submitted.job_id, as_json, ending)
    if ending.state != "COMPLETED":
        raise JobFailedError(f"job {submitted.job_id} ended {ending.state}; see {document['log']}")


def _script(spec: Path, inventory: Path | None) -> "tuple[JobSpec, str]":
    try:
        from fleetward.slurm.jobs.script import render
        from fleetward.slurm.jobs.spec import read_job_spec
    except ModuleNotFoundError as error:
        raise not_installed(error) from error
    job = read_job_spec(spec)
    return job, render(job, hardware_of(job, inventory, note))


def _check(client: "SlurmClient", spec: Path, job: "JobSpec", script: str, where: Path, *, as_json: bool) -> None:
    from fleetward.slurm.jobs.asking import checked, told
    from fleetward.slurm.jobs.spec import UnfitJobError

    try:
        found, estimate = checked(client, job, script, where, note)
    except UnfitJobError as error:
        raise UnfitJobError(error.complaints, f"{spec}: ") from error
    if as_json:
        echo_json({"estimate": estimate, "gpu_hours": found.gpu_hours, "less": found.less, "fair_share": found.share})
        return
    for line in told(found, estimate):
        note(line)


def _working_directory(spec: Path, job: "JobSpec", option: Path | None) -> Path:
    """Return the option, else the specification's own (seen from its folder), else its folder."""
    if option is not None:
        return option.absolute()
    folder = spec.absolute().parent
    return folder / job.working_directory if job.working_directory else folder


def _log(job: "JobSpec", job_id: str) -> str:
    return job.output.replace("%j", job_id).replace("%A", job_id).replace("%x", job.name).replace("%a", "*")


def _result(ending: "Ending") -> dict[str, object]:
    record = ending.record
    if record is None:
        return {"state": ending.state}
    return {
        "state": ending.state,
        "exit_code": record.exit_code,
        "exit_signal": record.exit_signal,
        "elapsed_seconds": record.elapsed,
        "alloc_tres": ",".join(f"{name}={value}" for name, value in record.allocated.items()),
        "restarts": record.restarts,
        "nodes": record.nodes,
        "submitted_at": record.submitted_at,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
    }


def _print(document: dict[str, object], job_id: str, as_json: bool, ending: "Ending | None" = None) -> None:
    if as_json:
        echo_json(document)
        return
    if ending is None:
        click.echo(printable(job_id))
        return
    from fleetward.slurm.parse import folded

    record = ending.record
    if record is None:
        note("slurmdbd has no final record of it yet")
        click.echo(table(("JOB", "STATE"), [(job_id, ending.state)]))
        return
    code = f"{record.exit_code}" + (f" (signal {record.exit_signal})" if record.exit_signal else "")
    allocated = " ".join(f"{name}={value}" for name, value in record.allocated.items())
    headers = ("JOB", "STATE", "EXIT", "ELAPSED", "RESTARTS", "NODES", "ALLOCATED")
    row = (
        job_id,
        ending.state,
        code,
        length(record.elapsed),
        str(record.restarts),
        folded(record.nodes),
        allocated,
    )
    click.echo(table(headers, [row]))
