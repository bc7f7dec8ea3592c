"""`fleetward check`: how this node is."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._table import echo_json, table
from fleetward.model.errors import ExitCode

if TYPE_CHECKING:
    from fleetward.node.checking import AnyCheck
    from fleetward.node.results import Finding

CONTEXTS = ("hand", "periodic", "prolog", "epilog")
GLYPHS = {"unhealthy": "✗", "degraded": "▲", "unknown": "?", "healthy": "●"}
WIDEST = 100
"""Characters of a reason in the table; `--json` has all of it."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document, with the evidence of every finding.")
@click.option(
    "--context", type=click.Choice(CONTEXTS), default="hand", show_default=True, help="Run the checks of this moment."
)
@click.option("--only", multiple=True, metavar="ID", help="Run this check alone; may be given more than once.")
@click.option("--list", "as_list", is_flag=True, help="Print every check with what it reads, and run none.")
@click.option(
    "--profile",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML or JSON file that says what the node should be; what it does not say is not compared.",
)
@click.option(
    "--root", type=click.Path(path_type=Path, exists=True, file_okay=False), default="/", hidden=True, metavar="DIR"
)
def check(as_json: bool, context: str, only: tuple[str, ...], as_list: bool, profile: Path | None, root: Path) -> int:
    """Check the health of this GPU node.

    Nothing is changed, and neither Slurm nor the daemon is asked. Exit codes: 0 healthy, 5 something is degraded or
    unhealthy, 3 nothing could be read.
    """
    from fleetward.node.check_list import CHECKS, LIMITS
    from fleetward.node.profile import Profile, read_profile
    from fleetward.node.results import Context, Status
    from fleetward.node.run_checks import chosen, run_checks
    from fleetward.node.surroundings import Surroundings

    expected = read_profile(profile, LIMITS) if profile else Profile()
    if as_list:
        checks = chosen(Context(context), only) if only else CHECKS
        _print_list(checks, as_json)
        return ExitCode.DONE
    findings = run_checks(chosen(Context(context), only), expected, Surroundings(root.resolve()))
    _print_findings(findings, as_json)
    statuses = {one.status for one in findings}
    if statuses & {Status.UNHEALTHY, Status.DEGRADED}:
        return ExitCode.FINDINGS
    return ExitCode.DONE if Status.HEALTHY in statuses else ExitCode.OUT_OF_REACH


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
