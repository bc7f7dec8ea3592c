"""What `fleetward drain` and `fleetward resume` share: several nodes one after the other, each with its answer."""

from collections.abc import Callable

import click

from fleetward.commands._daemon import not_installed
from fleetward.commands._table import echo_json, note, table
from fleetward.model.daemon_views import NodeAnswer
from fleetward.model.errors import FleetwardError, UsageError


def names(patterns: tuple[str, ...]) -> list[str]:
    """Return the nodes that were typed, ranges such as gpu[001-003] expanded."""
    try:
        from fleetward.model.host_ranges import expand
    except ModuleNotFoundError as error:
        raise not_installed(error) from error
    try:
        found = [name for pattern in patterns for name in expand(pattern)]
    except ValueError as error:
        raise UsageError(f"{error}: write gpu001 or gpu[001-003]") from error
    return list(dict.fromkeys(found))


def each(nodes: list[str], ask: Callable[[str], NodeAnswer], as_json: bool) -> None:
    """Ask for one node after the other and print the answers; the first error ends it, after what was done."""
    answers: list[NodeAnswer] = []
    try:
        for node in nodes:
            answers.append(ask(node))
    except FleetwardError:
        failed, *left = nodes[len(answers) :]
        note(f"failed: {failed}; not asked for: {', '.join(left) or 'none'}")
        raise
    finally:
        _print(answers, as_json)


def _print(answers: list[NodeAnswer], as_json: bool) -> None:
    if as_json:
        echo_json({"nodes": answers})
    elif answers:
        click.echo(table(("NODE", "RESULT", "HELD BY"), [_row(answer) for answer in answers]))


def _row(answer: NodeAnswer) -> tuple[str, ...]:
    return (
        answer.node,
        answer.result,
        ", ".join(f"{claim.owner} ({claim.kind}: {claim.why})" for claim in answer.claims),
    )
