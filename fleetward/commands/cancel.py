"""`fleetward cancel`: jobs are cancelled."""

import click

from fleetward.commands._slurm import backend_option, slurm
from fleetward.commands._table import echo_json, note


@click.command()
@click.argument("jobs", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@backend_option
def cancel(jobs: tuple[str, ...], as_json: bool, backend: str) -> None:
    """Cancel JOBS: 12, or 12_3 for one task of an array.

    Ids that are none are refused before anything is cancelled. Exit code 1: Slurm refuses one; 2: it knows no such job;
    3: it does not answer.
    """
    from fleetward.slurm.programs import checked_job_id

    for job in jobs:
        checked_job_id(job)
    with slurm(backend) as client:
        for job in jobs:
            client.cancel(job)
            note(f"job {job} is cancelled")
    if as_json:
        echo_json({"cancelled": list(jobs)})
