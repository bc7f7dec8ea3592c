"""`fleetward qualify`: burn nodes in as Slurm jobs, and say which nodes are qualified to work."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._daemon import burn_in_number, daemon, document, json_option, moment, socket_option
from fleetward.commands._table import echo_json, note, table
from fleetward.commands.events import length_of_time
from fleetward.printable import printable

if TYPE_CHECKING:
    from fleetward.model.burn_ins import BurnIn, NodeStanding
    from fleetward.server.client import DaemonClient

_number = click.argument("number", metavar="BURN-IN", type=burn_in_number)


@click.group()
def qualify() -> None:
    """Burn nodes in as Slurm jobs in a reservation, and say which nodes are qualified.

    A burn-in is written 3 or q3. Exit code 3: the daemon is out of reach.
    """


@qualify.command()
@click.argument("nodes", metavar="NODES")
@click.option(
    "--workload", "workloads", multiple=True, metavar="NAME", help="Run this one in place of what nodes must pass."
)
@click.option("--within", type=length_of_time, metavar="TIME", help="Cancel what has not ended by then, such as 12h.")
@click.option("--wait", is_flag=True, help="Follow it to its end. Exit code 1: a node failed; 5: not all have passed.")
@json_option
@socket_option
def start(
    nodes: str, workloads: Sequence[str], within: int | None, wait: bool, as_json: bool, socket: Path | None
) -> None:
    """Burn NODES in, such as 'gpu[001-008]': each by itself, then in pairs, then as a group where that is asked for.

    They take no other job meanwhile; what runs there goes on to its end first. A node that passes everything required
    gets a certificate, one that fails is taken out of service.
    """
    with daemon(socket) as client:
        found = client.start_burn_in(nodes, workloads, within)
        for name, why in found.left_out.items():
            note(f"{printable(name)} is left out: {printable(why)}")
        _finish(client, found.burn_in, wait, as_json)


@qualify.command(name="list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, newest first.")
@json_option
@socket_option
def list_burn_ins(limit: int, as_json: bool, socket: Path | None) -> None:
    """List the newest burn-ins."""
    with daemon(socket) as client:
        found = client.burn_ins(limit)
    if as_json:
        echo_json({"burn_ins": list(found)})
        return
    from fleetward.commands._burn_in_words import row

    click.echo(table(("BURN-IN", "STATE", "NODES", "BEGAN", "ENDED", "BY", "RESULT"), [row(one) for one in found]))


@qualify.command()
@_number
@click.option("--follow", is_flag=True, help="Go on as with --wait, and tell what changes.")
@json_option
@socket_option
def status(number: int, follow: bool, as_json: bool, socket: Path | None) -> None:
    """Show a burn-in: each of its nodes with its result, and its jobs."""
    with daemon(socket) as client:
        _finish(client, client.burn_in(number), follow, as_json)


@qualify.command()
@_number
@json_option
@socket_option
def abort(number: int, as_json: bool, socket: Path | None) -> None:
    """End a burn-in: its jobs are cancelled, and its nodes have no result."""
    with daemon(socket) as client:
        _finish(client, client.abort_burn_in(number), False, as_json)


@qualify.command()
@_number
@click.argument("job", type=click.IntRange(1))
@socket_option
def log(number: int, job: int, socket: Path | None) -> None:
    """Print what the workloads of one job of a burn-in said; `status` lists its jobs."""
    with daemon(socket) as client:
        found = client.burn_in_job(number, job)
    if found.why:
        note(printable(found.why))
    click.echo("\n".join(printable(line) for line in found.log.splitlines()))


@qualify.command()
@click.argument("node", required=False)
@json_option
@socket_option
def nodes(node: str | None, as_json: bool, socket: Path | None) -> None:
    """Say which nodes are qualified, until when, and why others are not; of one NODE all that its burn-in found."""
    with daemon(socket) as client:
        found = [one for one in client.standings() if node in {None, one.node}]
    if node is not None and not found:
        raise click.BadParameter(f"the inventory has no node {node!r} that runs jobs")
    if as_json:
        echo_json({"nodes": found})
        return
    from fleetward.commands._burn_in_words import certificate

    click.echo(table(("NODE", "STANDING", "UNTIL", "BURN-IN", "KEPT OUT", "WHY"), [_row(one) for one in found]))
    if node is not None:
        click.echo("\n".join(certificate(found[0])))


@qualify.command()
@click.argument("node")
@click.option("--why", required=True, help="Why the node is fit again.")
@json_option
@socket_option
def clear(node: str, why: str, as_json: bool, socket: Path | None) -> None:
    """Let go of NODE, which failed a burn-in, once you have looked after it; it has no certificate by that."""
    with daemon(socket) as client:
        found = client.clear(node, why)
    if as_json:
        echo_json({"released": list(found)})
        return
    click.echo("\n".join(f"{printable(one.node)}: {one.owner} holds it no longer" for one in found))


@qualify.command()
@json_option
def workloads(as_json: bool) -> None:
    """List the workloads that there are, what each uses, and where to look where it fails."""
    from fleetward.operations.qualification.workload_list import WORKLOADS

    if as_json:
        echo_json({"workloads": [{"id": one.id, "title": one.title, "scope": str(one.scope)} for one in WORKLOADS]})
        return
    rows = [(one.id, str(one.scope), ", ".join(sorted(one.uses)), one.title) for one in WORKLOADS]
    click.echo(table(("WORKLOAD", "ON", "USES", "WHAT IT IS"), rows))


def _finish(client: "DaemonClient", found: "BurnIn", wait: bool, as_json: bool) -> None:
    """Follow a burn-in where that was asked for, and print it."""
    from fleetward.commands._burn_in_words import check_ending, follow, overview

    if wait:
        found = follow(lambda: client.burn_in(found.id), (lambda _: None) if as_json else click.echo, note)
    if as_json:
        echo_json(document(found))
    else:
        click.echo(overview(found))
    if wait:
        check_ending(found)


def _row(one: "NodeStanding") -> tuple[str, ...]:
    row = one.certificate
    return (
        printable(one.node),
        one.standing,
        moment(row.expires_at) if row else "",
        f"q{row.burn_in}" if row else "",
        "yes" if one.kept_out else "",
        printable("; ".join((*one.why, *one.told))),
    )
