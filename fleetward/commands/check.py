"""`fleetward check`: how this node is."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._table import echo_json, note, table
from fleetward.model.errors import ExitCode, FleetwardError, UsageError

if TYPE_CHECKING:
    from fleetward.node.checking import AnyCheck
    from fleetward.node.results import Finding

CONTEXTS = ("hand", "periodic", "prolog", "epilog")
GLYPHS = {"unhealthy": "✗", "degraded": "▲", "unknown": "?", "healthy": "●"}
WIDEST = 100
"""Characters of a reason in the table; `--json` has all of it."""
MOST_DIGITS = 10
"""Of a job's number."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document, with the evidence of every finding.")
@click.option(
    "--context", type=click.Choice(CONTEXTS), default="hand", show_default=True, help="Run the checks of this moment."
)
@click.option("--only", multiple=True, metavar="ID", help="Run this check alone; may be given more than once.")
@click.option("--list", "as_list", is_flag=True, help="Print every check with what it reads, and run none.")
@click.option(
    "--settings",
    type=click.Path(path_type=Path),
    default="/etc/fleetward/node.toml",
    show_default=True,
    metavar="FILE",
    help="How this node is set up; the usual file need not be there.",
)
@click.option(
    "--profile",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML or JSON file that says what the node should be, in place of the settings' one; what it does not say is "
    "not compared.",
)
@click.option(
    "--catalogue",
    "catalogues",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="The site's own word on faults, in place of the settings' files; may be given more than once.",
)
@click.option(
    "--report",
    is_flag=True,
    help="Tell the daemon, write metrics, and where no daemon answers do what the settings allow. It ends with "
    "0 whatever happens: Slurm drains a node whose prolog ends otherwise.",
)
@click.option(
    "--metrics",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where a periodic run that reports writes its metrics, for node_exporter's textfile collector.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default="/var/lib/fleetward-health",
    show_default=True,
    metavar="DIR",
    help="Where periodic runs that report keep streaks, and what the node drained itself for.",
)
@click.option(
    "--within",
    type=click.FloatRange(min=1, max=600),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="The time for all of it; half of it, at most, goes into reading.",
)
@click.option(
    "--root", type=click.Path(path_type=Path, exists=True, file_okay=False), default="/", hidden=True, metavar="DIR"
)
def check(
    as_json: bool,
    context: str,
    only: tuple[str, ...],
    as_list: bool,
    settings: Path,
    profile: Path | None,
    catalogues: tuple[Path, ...],
    report: bool,
    metrics: Path | None,
    state: Path,
    within: float,
    root: Path,
) -> int:
    """Check the health of this GPU node.

    Without --report nothing is changed, and neither Slurm nor the daemon is asked. Exit codes: 0 healthy, 5 something
    is degraded or unhealthy, 3 nothing could be read.
    """
    from fleetward.node.check_list import CHECKS
    from fleetward.node.deadline import Deadline
    from fleetward.node.results import Context
    from fleetward.node.run_checks import chosen, run_checks
    from fleetward.node.site import SiteFiles, read_site
    from fleetward.node.surroundings import Surroundings

    deadline, moment = Deadline(within), Context(context)
    if report and moment is Context.HAND:
        raise UsageError("--report needs --context periodic, prolog or epilog: a run by hand tells you alone")
    if as_list:
        _print_list(chosen(moment, only) if only else CHECKS, as_json)
        return ExitCode.DONE
    wrong: list[str] = []
    site = read_site(SiteFiles(settings, profile, catalogues), partial(_told, wrong if report else None))
    checks = chosen(moment, only, site.settings.checks_left_out)
    surroundings = Surroundings(root.resolve(), site.settings.kernel_log, site.settings.slurm_gpu_numbers)

    def run() -> "tuple[Finding, ...]":
        return run_checks(checks, site.profile, surroundings, site.catalogue, deadline.left() / 2)

    if not report:
        findings = run()
        _print_findings(findings, as_json)
        return _exit_code(findings)
    from fleetward.node.local_state import StateFolder
    from fleetward.node.report_run import reach_of, run_and_report

    reach = reach_of(site, surroundings, StateFolder(state), metrics, deadline)
    try:
        done = run_and_report(run, moment, site, reach, deadline, job=_job(), wrong=wrong)
    except (FleetwardError, OSError, MemoryError) as error:  # as where the system has no process left
        note(f"the checks failed: {error}")
        return ExitCode.DONE
    for words in done.notes:
        note(words)
    if as_json:
        _print_findings(done.findings, as_json)
    return ExitCode.DONE


def _told(wrong: list[str] | None, error: UsageError) -> None:
    """Keep an error for later; by hand it ends the run."""
    if wrong is None:
        raise error
    wrong.append(str(error))


def _job() -> str:
    """Return the job that begins or has ended, where Slurm says."""
    job = os.environ.get("SLURM_JOB_ID", "")
    return job if job.isascii() and job.isdigit() and len(job) <= MOST_DIGITS else ""


def _exit_code(findings: "Sequence[Finding]") -> ExitCode:
    statuses = {one.status for one in findings}
    if statuses & {"unhealthy", "degraded"}:
        return ExitCode.FINDINGS
    return ExitCode.DONE if "healthy" in statuses else ExitCode.OUT_OF_REACH


def _print_findings(findings: "Sequence[Finding]", as_json: bool) -> None:
    if as_json:
        echo_json({"findings": findings, "counts": _counts(findings)})
        return
    rows = [
        (
            f"{GLYPHS[ones[0].status]} {ones[0].status}",
            ones[0].check + (f" and {len(ones) - 1} more" if len(ones) > 1 else ""),
            ones[0].entity,
            _short(ones[0].why),
            ones[0].action.replace("_", " ") if ones[0].action else "",
        )
        for ones in _together(findings)
    ]
    if rows:
        click.echo(table(("STATUS", "CHECK", "WHERE", "WHY", "ACTION"), rows))
    click.echo(", ".join(f"{count} {status}" for status, count in _counts(findings).items()))


def _together(findings: "Sequence[Finding]") -> "list[list[Finding]]":
    """Return what is not healthy, in order; what is unknown for the same reason is one line."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for one in findings:
        if one.status != "healthy":
            key = (one.status, one.entity, one.why)
            groups.setdefault(key if one.status == "unknown" else (*key, one.check), []).append(one)
    return list(groups.values())


def _counts(findings: "Sequence[Finding]") -> dict[str, int]:
    return {status: sum(one.status == status for one in findings) for status in GLYPHS}


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _print_list(checks: "Sequence[AnyCheck]", as_json: bool) -> None:
    entries = [
        {
            "id": one.id,
            "meaning": one.meaning,
            "reads": one.reads.name,
            "limits": dict(one.limits),
            "severity": one.severity,
            "action": one.action,
            "problem": one.problem,
            "contexts": sorted(one.contexts),
            "source": one.source,
        }
        for one in checks
    ]
    if as_json:
        echo_json({"checks": entries})
        return
    rows = [
        (
            one.id,
            one.reads.name,
            ", ".join(f"{name} {value:g}" for name, value in one.limits.items()),
            one.severity,
            one.action.replace("_", " "),
            one.source,
            one.meaning,
        )
        for one in checks
    ]
    click.echo(table(("CHECK", "READS", "LIMITS", "SEVERITY", "ACTION", "SOURCE", "MEANING"), rows))
