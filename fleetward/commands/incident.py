"""`fleetward incident`: what is wrong, what was done about it, and by whom."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._daemon import daemon, document, incident_number, json_option, moment, socket_option
from fleetward.commands._table import echo_json, note, table
from fleetward.model.errors import UsageError
from fleetward.model.incidents import Incident, IncidentState
from fleetward.printable import printable

if TYPE_CHECKING:
    from fleetward.model.daemon_views import IncidentView
    from fleetward.server.client import DaemonClient

STATES = ("open", "acknowledged", "closed", "all")


@click.group()
def incident() -> None:
    """Show incidents, look after them, close them.

    An incident is written 12 or i12. Exit code 3: the daemon is out of reach.
    """


@incident.command(name="list")
@click.option("--state", type=click.Choice(STATES), help="Show only these.  [default: those that are not closed]")
@json_option
@socket_option
def list_incidents(state: str | None, as_json: bool, socket: Path | None) -> None:
    """List the incidents, newest first."""
    with daemon(socket) as client:
        found = client.incidents(state or "")
    if as_json:
        echo_json({"incidents": list(found)})
        return
    headers = ("INCIDENT", "ALERT", "SEVERITY", "STATE", "NODE", "GPU", "OPENED", "FIRING", "SUMMARY")
    click.echo(table(headers, [_row(one) for one in found]))


@incident.command()
@click.argument("number", metavar="[INCIDENT]", type=incident_number, required=False)
@click.option("--follow", is_flag=True, help="Go on until it is closed or a person is needed, and tell what changes.")
@json_option
@socket_option
def show(number: int | None, follow: bool, as_json: bool, socket: Path | None) -> None:
    """Show one incident with its timeline and runs; without INCIDENT the newest that is not closed.

    With --follow, exit code 0: it is closed; 1: its run failed or was aborted; 5: its run asks a person.
    """
    from fleetward.commands._follow import follow_incident, unfinished
    from fleetward.commands._run_words import check_ending

    with daemon(socket) as client:
        known = _newest(client) if number is None else number
        view = client.incident(known)
        if follow:
            say = _nothing if as_json else click.echo
            say(_headline(view))
            view = follow_incident(lambda: client.incident(known), say, note)
    if as_json:
        echo_json(document(view))
    elif not follow:
        click.echo(_overview(view))
    if follow and view.incident.state is not IncidentState.CLOSED and (run := unfinished(view)) is not None:
        check_ending(run)


@incident.command()
@click.argument("number", metavar="INCIDENT", type=incident_number)
@click.option("--note", "text", default="", help="What you know already.")
@json_option
@socket_option
def ack(number: int, text: str, as_json: bool, socket: Path | None) -> None:
    """Say that you look after an incident."""
    with daemon(socket) as client:
        found = client.acknowledge(number, text)
    _tell(found, f"{found.owner} is acknowledged by {found.acknowledged_by}", as_json)


@incident.command()
@click.argument("number", metavar="INCIDENT", type=incident_number)
@click.option("--why", required=True, help="Why it is over.")
@json_option
@socket_option
def close(number: int, why: str, as_json: bool, socket: Path | None) -> None:
    """Close an incident that does not close by itself."""
    with daemon(socket) as client:
        found = client.close_incident(number, why)
    _tell(found, f"{found.owner} is closed by {found.closed_by}", as_json)


def _tell(found: Incident, words: str, as_json: bool) -> None:
    if as_json:
        echo_json(document(found))
    else:
        click.echo(printable(words))


def _nothing(_: str) -> None:
    return


def _newest(client: "DaemonClient") -> int:
    found = client.incidents()
    if not found:
        raise UsageError(
            "there is no incident that is not closed; `fleetward incident list --state all` shows the others"
        )
    return max(one.id for one in found)


def _row(one: Incident) -> tuple[str, ...]:
    return (
        one.owner,
        one.alert_name,
        one.severity,
        f"{one.state} by {one.acknowledged_by}" if one.state is IncidentState.ACKNOWLEDGED else one.state,
        one.node,
        one.gpu,
        moment(one.opened_at),
        str(one.firing),
        one.summary,
    )


def _headline(view: "IncidentView") -> str:
    one = view.incident
    where = " ".join(part for part in (one.node, f"GPU {one.gpu}" if one.gpu else "") if part)
    at = f" on {where}" if where else ""
    return printable(f"{one.owner}  {one.alert_name}{at}  {one.severity}  {one.state}: {one.summary}")


def _overview(view: "IncidentView") -> str:
    from fleetward.commands._follow import entry_line
    from fleetward.commands._run_words import asks, overview

    one = view.incident
    lines = [_headline(view), ""]
    lines.append(f"  opened       {moment(one.opened_at)}; {one.firing} of its alerts firing now")
    if one.acknowledged_at:
        lines.append(f"  acknowledged {moment(one.acknowledged_at)} by {printable(one.acknowledged_by)}")
    if one.closed_at:
        lines.append(f"  closed       {moment(one.closed_at)} by {printable(one.closed_by)}")
    if view.page_url:
        lines.append(f"  page         {printable(view.page_url)}")
    days = {moment(entry.at)[:10] for entry in view.timeline}
    lines += ["", *(entry_line(entry, dated=len(days) > 1) for entry in view.timeline)]
    for run in view.runs:
        lines += ["", overview(run)]
        if question := asks(run):
            lines += ["", question]
    return "\n".join(lines)
