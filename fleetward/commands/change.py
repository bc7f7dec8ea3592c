"""`fleetward change`: a page of the runbooks carried out on many nodes, a batch at a time, without losing a job."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._daemon import change_number, daemon, document, json_option, moment, param_value, socket_option
from fleetward.commands._table import echo_json, note, table
from fleetward.commands.events import length_of_time
from fleetward.model.errors import UsageError
from fleetward.printable import printable

if TYPE_CHECKING:
    from fleetward.model.changes import Change, ChangeView
    from fleetward.server.client import DaemonClient

LEAST_DIGEST = 8
"""Characters of a digest that name it well enough."""

_number = click.argument("number", metavar="CHANGE", type=change_number)
_wait = click.option(
    "--wait",
    is_flag=True,
    help="Follow it until it has ended, or waits for a person. Exit code 1: nodes failed; 5: it waits for a person.",
)


@click.group()
def change() -> None:
    """Change many nodes, batch by batch: drained, emptied, changed, checked and given back.

    A change is written 3 or c3. Exit code 3: the daemon is out of reach.
    """


@change.command()
@click.argument("page")
@click.argument("nodes", metavar="NODES")
@click.option("--at-once", type=click.IntRange(1), default=1, show_default=True, help="Nodes of a batch at most.")
@click.option(
    "--budget", type=click.IntRange(0), default=0, show_default=True, help="Nodes in trouble until it stops by itself."
)
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="What the page asks for; may be repeated.")
@click.option(
    "--work",
    type=length_of_time,
    default="15m",
    show_default=True,
    metavar="TIME",
    help="How long one node takes once it is empty, for the forecast.",
)
@json_option
@socket_option
def plan(
    page: str,
    nodes: str,
    at_once: int,
    budget: int,
    params: Sequence[str],
    work: int,
    as_json: bool,
    socket: Path | None,
) -> None:
    """Plan to carry out PAGE on each of NODES, such as 'gpu[001-064]', and say what it will cost.

    Nothing is touched until it is approved. A batch stays under one leaf switch. Nodes that somebody has taken out of
    service are left as they are.
    """
    asked = {
        "page": page,
        "nodes": nodes,
        "at_once": at_once,
        "budget": budget,
        "params": dict(param_value(text) for text in params),
        "work_seconds": work,
    }
    with daemon(socket) as client:
        found = client.plan_change(asked)
    if as_json:
        echo_json(document(found))
        return
    from fleetward.commands._change_words import overview

    click.echo(overview(found.change))
    for one in found.left_out:
        note(f"{one.name} is left out: it {one.why}")
    note(f"`fleetward change approve {found.change.owner}` begins it")


@change.command(name="list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, newest first.")
@json_option
@socket_option
def list_changes(limit: int, as_json: bool, socket: Path | None) -> None:
    """List the newest changes."""
    with daemon(socket) as client:
        found = client.changes(limit)
    if as_json:
        echo_json({"changes": list(found)})
        return
    headers = ("CHANGE", "PAGE", "STATE", "BATCH", "NODES", "PLANNED", "BY", "APPROVED BY", "WHY")
    click.echo(table(headers, [_row(one) for one in found]))


@change.command()
@_number
@click.option("--follow", is_flag=True, help="Go on as with --wait, and tell what changes.")
@json_option
@socket_option
def status(number: int, follow: bool, as_json: bool, socket: Path | None) -> None:
    """Show a change: where it stands, each of its nodes, and what was said and done."""
    with daemon(socket) as client:
        _finish(client, client.change(number), follow, as_json)


@change.command()
@_number
@click.option("--digest", help="Digest of the plan that was looked at, or its beginning.")
@_wait
@json_option
@socket_option
def approve(number: int, digest: str | None, wait: bool, as_json: bool, socket: Path | None) -> None:
    """Let a planned change begin.

    On a terminal the plan is shown first and you are asked. Elsewhere --digest says what you have looked at.
    """
    with daemon(socket) as client:
        whole = _looked_at(client.change(number).change, digest)
        client.tell_change(number, "approve", {"digest": whole})
        _finish(client, client.change(number), wait, as_json)


@change.command()
@_number
@json_option
@socket_option
def pause(number: int, as_json: bool, socket: Path | None) -> None:
    """Begin no other node until it is resumed; what is under way goes on."""
    _say(number, "pause", {}, as_json, socket)


@change.command()
@_number
@click.option("--budget", type=click.IntRange(0), help="Nodes that may be in trouble from now on.")
@click.option("--retry", is_flag=True, help="Carry the page out once more on the nodes where it failed.")
@json_option
@socket_option
def resume(number: int, budget: int | None, retry: bool, as_json: bool, socket: Path | None) -> None:
    """Go on with a change that was paused, or that has stopped since too many nodes are in trouble."""
    _say(number, "resume", {"budget": budget, "retry": retry}, as_json, socket)


@change.command()
@_number
@json_option
@socket_option
def abort(number: int, as_json: bool, socket: Path | None) -> None:
    """End a change: no other node is begun, and nodes to which nothing was done yet are given back.

    A node in the middle stays out of service, with its step named; what is done is not undone.
    """
    _say(number, "abort", {}, as_json, socket)


@change.command(name="give-back")
@_number
@click.argument("node")
@click.option("--why", required=True, help="Why the node is fit again.")
@json_option
@socket_option
def give_back(number: int, node: str, why: str, as_json: bool, socket: Path | None) -> None:
    """Give back a node that failed or asks, once you have looked after it."""
    _say(number, "give-back", {"node": node, "why": why}, as_json, socket)


def _say(number: int, word: str, body: Mapping[str, object], as_json: bool, socket: Path | None) -> None:
    with daemon(socket) as client:
        client.tell_change(number, word, body)
        _finish(client, client.change(number), False, as_json)


def _looked_at(found: "Change", digest: str | None) -> str:
    """Return the whole digest of a change that a person has looked at: by the digest typed, or at the terminal now."""
    from fleetward.commands._change_words import overview
    from fleetward.commands._run_words import SHORT_DIGEST

    look = f"`fleetward change status {found.owner}` shows it"
    if digest is not None:
        if len(digest) < LEAST_DIGEST:
            raise UsageError(f"--digest {digest}: give at least {LEAST_DIGEST} characters of it; {look}")
        if not found.digest.startswith(digest):
            raise UsageError(f"the digest of {found.owner} is {found.digest[:SHORT_DIGEST]}, not {digest}: {look}")
        return found.digest
    if not sys.stdin.isatty():
        raise UsageError(f"what do you approve? There is no terminal to ask on: say it with --digest; {look}")
    click.echo(overview(found), err=True)
    click.confirm(f"\nApprove {found.owner}?", abort=True, err=True)
    return found.digest


def _finish(client: "DaemonClient", found: "ChangeView", wait: bool, as_json: bool) -> None:
    """Follow a change where that was asked for, and print it."""
    from fleetward.commands._change_words import check_ending, follow, history, overview

    if wait:
        found = follow(lambda: client.change(found.change.id), (lambda _: None) if as_json else click.echo, note)
    if as_json:
        echo_json(document(found))
    else:
        click.echo("\n".join([overview(found.change), *([] if wait else history(found))]))  # followed, it was told
    if wait:
        check_ending(found.change)


def _row(one: "Change") -> tuple[str, ...]:
    batch = f"{min(one.batch, one.batches)}/{one.batches}"
    ended = sum(node.state.ended for node in one.nodes)
    return (
        one.owner,
        printable(one.page),
        str(one.state),
        batch,
        f"{ended}/{len(one.nodes)}",
        moment(one.made_at),
        printable(one.made_by),
        printable(one.approved_by),
        printable(one.why),
    )
