"""`fleetward autopilot`: how far the daemon goes by itself, and what it does now."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._daemon import daemon, document, json_option, moment, socket_option
from fleetward.commands._table import echo_json, table
from fleetward.model.runs import Mode
from fleetward.printable import printable

if TYPE_CHECKING:
    from fleetward.model.fleet_view import DaemonStatus


@click.group()
def autopilot() -> None:
    """See and set how far the daemon goes by itself with each page.

    observe: it writes down what it would do. propose: a person approves. auto: it acts, inside the guardrails.
    Exit code 3: the daemon is out of reach.
    """


@autopilot.command()
@json_option
@socket_option
def status(as_json: bool, socket: Path | None) -> None:
    """Show the mode of each page, the nodes held, the runs, and what the daemon reaches."""
    with daemon(socket) as client:
        found = client.status()
    if as_json:
        echo_json(document(found))
    else:
        click.echo(_overview(found))


@autopilot.command()
@click.argument("page", metavar="RUNBOOK|all")
@click.argument("mode", type=click.Choice([str(mode) for mode in Mode]))
@json_option
@socket_option
def mode(page: str, mode: str, as_json: bool, socket: Path | None) -> None:
    """Set the mode of one page, or of all. Runs that began go on as they are."""
    with daemon(socket) as client:
        modes = client.set_mode(page, Mode(mode))
    if as_json:
        echo_json({"modes": dict(modes)})
    else:
        changed = [(name, str(now)) for name, now in sorted(modes.items()) if page in {"all", name}]
        click.echo(table(("RUNBOOK", "MODE"), changed))


def _overview(found: "DaemonStatus") -> str:
    runs = ", ".join(f"{count} {state}" for state, count in sorted(found.runs.items()) if count) or "none"
    lines = [f"fleetward {printable(found.version)}, up since {moment(found.started_at)}"]
    lines.append(f"nodes held: {found.drained} of {found.drained_allowed} allowed; runs: {printable(runs)}")
    lines += [f"{printable(name)}: {printable(why) or 'ok'}" for name, why in sorted(found.reaches.items())]
    return "\n".join([*lines, "", table(("RUNBOOK", "MODE"), sorted(found.modes.items()))])
