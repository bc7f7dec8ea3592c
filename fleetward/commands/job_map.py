"""`fleetward job-map`: which job each GPU of this node works for, as Slurm's prolog and epilog wrote it down."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._table import echo_json, note, table
from fleetward.model.errors import ExitCode, FleetwardError

if TYPE_CHECKING:
    from fleetward.exporters.gpu.job_map import MapLine
    from fleetward.node.job_map_reconcile import Reconciled

ASK_SECONDS = 5.0
"""For all of Slurm's answers together."""

folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default="/run/fleetward/jobs",
    show_default=True,
    metavar="DIR",
    help="Where the map is; it need not be there.",
)
root_option = click.option(
    "--root", type=click.Path(path_type=Path, exists=True, file_okay=False), default="/", hidden=True, metavar="DIR"
)


@click.group(name="job-map")
def job_map() -> None:
    """Show and mend which job each GPU of this node works for.

    Slurm's prolog writes a job down for each GPU that it gets, and its epilog takes it out again.
    """


@job_map.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@folder_option
@root_option
def list_(as_json: bool, folder: Path, root: Path) -> None:
    """Show the jobs by GPU, under Slurm's numbers, and whether a step of theirs is on this node."""
    from fleetward.exporters.gpu.job_map import JobMap
    from fleetward.node.probes.job_steps import jobs_with_steps
    from fleetward.node.surroundings import Surroundings

    lines, errors = JobMap(folder).lines()
    has_step = jobs_with_steps(Surroundings(root.resolve()))
    if as_json:
        echo_json({"jobs": [_as_json(one, has_step) for one in lines], "errors": errors})
    else:
        rows = [(str(one.device), *_words(one), "yes" if one.job.job in has_step else "no") for one in lines]
        click.echo(table(("GPU", "JOB", "ATTEMPT", "USER", "ACCOUNT", "PARTITION", "STEP HERE"), rows))
    if errors:
        note(f"{errors} files or lines of {folder} are wrong and left out")


@job_map.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@click.option(
    "--splay",
    type=click.FloatRange(min=0, max=3600),
    default=0.0,
    metavar="SECONDS",
    help="Wait a random time up to this before, so that not all nodes ask Slurm at once.",
)
@folder_option
@root_option
def reconcile(as_json: bool, splay: float, folder: Path, root: Path) -> int:
    """Take out the jobs that are over and whose epilog never came.

    Slurm is asked only for jobs that have no step on this node and were not written down just now. What is taken out
    is told on stderr. Exit codes: 0 done, 1 the map cannot be changed, 3 of some jobs it is not known whether they are
    over.
    """
    import secrets
    import time

    from fleetward.node.deadline import Deadline
    from fleetward.node.job_map_reconcile import reconcile as run
    from fleetward.node.job_map_slurm import asking
    from fleetward.node.probes.job_steps import jobs_with_steps
    from fleetward.node.surroundings import Surroundings

    time.sleep(secrets.SystemRandom().uniform(0, splay))
    surroundings = Surroundings(root.resolve())
    try:
        has_step = jobs_with_steps(surroundings)
        done = run(folder, has_step, asking(surroundings, Deadline(ASK_SECONDS)), time.time())
    except OSError as error:
        raise FleetwardError(f"the job map {folder} cannot be mended: {error}. Run as root.") from error
    _tell(done, as_json)
    return ExitCode.OUT_OF_REACH if done.unknown else ExitCode.DONE


def _tell(done: "Reconciled", as_json: bool) -> None:
    for part in done.taken_out:
        note(f"job {part.job} is over and was still on GPU {part.gpu}: taken out of the job map")
    for gpu in done.mended:
        note(f"the job map's file of GPU {gpu} did not say what its lines say: put together again")
    for job, why in done.unknown:
        note(f"whether job {job} is over is not known: {why}")
    if as_json:
        taken = [{"gpu": part.gpu, "job": part.job} for part in done.taken_out]
        unknown = [{"job": job, "why": why} for job, why in done.unknown]
        echo_json({"taken_out": taken, "kept": done.kept, "mended": done.mended, "unknown": unknown})
    else:
        click.echo(f"{len(done.taken_out)} taken out, {done.kept} kept, {len(done.unknown)} jobs unknown")


def _words(line: "MapLine") -> tuple[str, ...]:
    job = line.job
    return (job.job, job.attempt, job.user, job.account, job.partition)


def _as_json(line: "MapLine", has_step: frozenset[str]) -> dict[str, object]:
    known = ("user", "account", "partition", "array_task", "attempt", "sluid", "uid")
    return {
        "gpu": str(line.device),
        "gpu_uuid": line.device.uuid,
        "job": line.job.job,
        **{name: getattr(line.job, name) for name in known},
        "step_here": line.job.job in has_step,
    }
