"""`fleetward runbook`: the pages, and their runs."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._daemon import (
    daemon,
    document,
    incident_number,
    json_option,
    moment,
    param_value,
    run_number,
    socket_option,
)
from fleetward.commands._table import echo_json, note, table
from fleetward.model.errors import ExitCode, UsageError
from fleetward.printable import printable

if TYPE_CHECKING:
    from fleetward.model.daemon_views import RunbookView
    from fleetward.model.runs import Run
    from fleetward.server.client import DaemonClient

LEAST_DIGEST = 8
"""Characters of a digest that name it well enough."""

wait_option = click.option(
    "--wait", is_flag=True, help="Follow the run until it ends or asks. Exit code 1: it failed; 5: it asks a person."
)
digest_option = click.option("--digest", help="Digest of the plan that was looked at, or its beginning.")


@click.group()
def runbook() -> None:
    """Read and check runbook pages; plan, approve and watch their runs.

    A run is written 7 or r7. Pages can be listed, read and checked without a daemon; else exit code 3: it is out of
    reach.
    """


@runbook.command(name="list")
@json_option
@socket_option
def list_pages(as_json: bool, socket: Path | None) -> None:
    """List the pages, with the alerts that lead to them and the mode of each."""
    from fleetward.commands._library import pages, view
    from fleetward.server.client import DaemonOutOfReachError

    try:
        with daemon(socket) as client:
            found = client.runbooks()
    except DaemonOutOfReachError as error:
        note(f"{error}; the pages as they lie in files, each with its own mode")
        found = tuple(view(page) for page in pages().values())
    if as_json:
        echo_json({"runbooks": list(found)})
        return
    headers = ("RUNBOOK", "SEVERITY", "MODE", "STEPS", "ALERTS", "TITLE")
    click.echo(table(headers, [_page_row(page) for page in found]))
    for page in found:
        for problem in page.problems:
            note(f"{page.id}: {problem}")


@runbook.command()
@click.argument("page_id", metavar="RUNBOOK")
@json_option
@socket_option
def show(page_id: str, as_json: bool, socket: Path | None) -> None:
    """Show one page as it is written."""
    from fleetward.commands._library import pages, view
    from fleetward.server.client import DaemonOutOfReachError

    try:
        with daemon(socket) as client:
            page = client.runbook(page_id)
    except DaemonOutOfReachError as error:
        note(f"{error}; the page as it lies in its file")
        page = view(pages().page(page_id))
    if as_json:
        echo_json(document(page))
    else:
        click.echo("\n".join(map(printable, page.text.rstrip("\n").split("\n"))))


@runbook.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def lint(files: tuple[Path, ...], as_json: bool) -> None:
    """Say what is wrong with pages: these FILES, or all that are installed and the alerts that lead to them.

    Exit code 5: something is.
    """
    from fleetward.commands._library import check_files, check_library

    count, findings = check_files(files) if files else check_library()
    if as_json:
        echo_json({"pages": count, "findings": [document(finding) for finding in findings]})
    else:
        for finding in findings:
            click.echo(printable(str(finding)))
        note(f"{count} pages, {len(findings)} findings")
    if findings:
        raise SystemExit(ExitCode.FINDINGS)


@runbook.command(name="run")
@click.argument("page_id", metavar="RUNBOOK")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="What the page asks for; may be repeated.")
@click.option(
    "--incident", "incident_id", type=incident_number, help="The incident that it is for; its labels fill parameters."
)
@click.option("--approve", is_flag=True, help="Look at the plan and approve it at once, on a terminal.")
@wait_option
@json_option
@socket_option
def plan_run(
    page_id: str,
    params: Sequence[str],
    incident_id: int | None,
    approve: bool,
    wait: bool,
    as_json: bool,
    socket: Path | None,
) -> None:
    """Plan a run of a page. Nothing is done until it is approved."""
    values = dict(param_value(text) for text in params)
    with daemon(socket) as client:
        found = client.propose(page_id, values, incident_id)
        if approve:
            found = _approved(client, found, None)
        _finish(client, found, wait, as_json)


@runbook.command(name="approve")
@click.argument("number", metavar="RUN", type=run_number)
@digest_option
@wait_option
@json_option
@socket_option
def approve_run(number: int, digest: str | None, wait: bool, as_json: bool, socket: Path | None) -> None:
    """Approve a run that waits for it, or the question that it asks at a step.

    On a terminal the plan is shown first and you are asked. Elsewhere --digest says what you have looked at; the run is
    refused where it has become another.
    """
    with daemon(socket) as client:
        _finish(client, _approved(client, client.run(number), digest), wait, as_json)


@runbook.command()
@click.argument("number", metavar="RUN", type=run_number)
@click.argument("decision", type=click.Choice(("done", "again", "abort")))
@click.option("--step", type=int, help="Number of the step.  [default: the one at which it stopped]")
@wait_option
@json_option
@socket_option
def resume(number: int, decision: str, step: int | None, wait: bool, as_json: bool, socket: Path | None) -> None:
    """Tell a stopped run how to go on: its step is done, is to be done again, or the run ends here."""
    from fleetward.commands._run_words import undecided

    with daemon(socket) as client:
        if step is None:
            stopped = undecided(client.run(number))
            if stopped is None:
                raise UsageError(f"r{number} has no step left to decide about")
            step = stopped.index
        _finish(client, client.decide(number, step, decision), wait, as_json)


@runbook.command()
@click.argument("number", metavar="RUN", type=run_number)
@json_option
@socket_option
def abort(number: int, as_json: bool, socket: Path | None) -> None:
    """End a run where it stands. What it has done is not undone."""
    with daemon(socket) as client:
        _finish(client, client.abort(number), False, as_json)


@runbook.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, newest first.")
@json_option
@socket_option
def runs(limit: int, as_json: bool, socket: Path | None) -> None:
    """List the newest runs."""
    with daemon(socket) as client:
        found = client.runs(limit)
    if as_json:
        echo_json({"runs": list(found)})
        return
    headers = ("RUN", "RUNBOOK", "INCIDENT", "STATE", "STEP", "ASKED", "BY", "APPROVED BY", "WHY")
    click.echo(table(headers, [_run_row(one) for one in found]))


@runbook.command()
@click.argument("number", metavar="RUN", type=run_number)
@click.option("--follow", is_flag=True, help="Go on as with --wait, and tell what changes.")
@json_option
@socket_option
def status(number: int, follow: bool, as_json: bool, socket: Path | None) -> None:
    """Show a run with its steps and their output."""
    from fleetward.commands._run_words import overview

    with daemon(socket) as client:
        found = client.run(number)
        if not follow and not as_json:
            click.echo(overview(found))
            return
        _finish(client, found, follow, as_json)


def _approved(client: "DaemonClient", found: "Run", digest: str | None) -> "Run":
    """Approve a run as it was looked at: by the digest that was typed, or by a person at the terminal now."""
    from fleetward.commands._run_words import SHORT_DIGEST, asks, overview

    look = f"`fleetward runbook status r{found.id}` shows it"
    if digest is not None:
        if len(digest) < LEAST_DIGEST:
            raise UsageError(f"--digest {digest}: give at least {LEAST_DIGEST} characters of it; {look}")
        if not found.digest.startswith(digest):
            raise UsageError(f"the digest of r{found.id} is {found.digest[:SHORT_DIGEST]}, not {digest}: {look}")
    else:
        if not sys.stdin.isatty():
            raise UsageError(f"what do you approve? There is no terminal to ask on: say it with --digest; {look}")
        click.echo(overview(found), err=True)
        question = asks(found).partition("`")[0].strip()
        click.echo(f"\n{question}", err=True)
        click.confirm(f"Approve r{found.id}?", abort=True, err=True)
    return client.approve(found.id, found.digest)


def _finish(client: "DaemonClient", found: "Run", wait: bool, as_json: bool) -> None:
    """Follow a run where that was asked for, and print it."""
    from fleetward.commands._run_words import asks, check_ending, overview

    if wait:
        from fleetward.commands._follow import follow_run

        say = _nothing if as_json else click.echo
        found = follow_run(lambda: client.run(found.id), say, note)
    if as_json:
        echo_json(document(found))
    elif not wait:
        click.echo(overview(found))
        if question := asks(found):
            note(question)
    if wait:
        check_ending(found)


def _nothing(_: str) -> None:
    return


def _page_row(page: "RunbookView") -> tuple[str, ...]:
    return page.id, page.severity, page.mode, str(len(page.steps)), ",".join(page.alerts), page.title


def _run_row(one: "Run") -> tuple[str, ...]:
    from fleetward.commands._run_words import undecided

    step = undecided(one)
    return (
        f"r{one.id}",
        one.runbook,
        f"i{one.incident}" if one.incident is not None else "",
        one.state,
        step.name if step and not one.state.ended else "",
        moment(one.asked_at),
        one.asked_by,
        one.approved_by,
        one.why,
    )
