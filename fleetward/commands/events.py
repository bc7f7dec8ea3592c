"""`fleetward events`: faults of GPUs and switches, as their nodes told of them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._daemon import daemon, json_option, moment, socket_option
from fleetward.commands._table import echo_json, table

if TYPE_CHECKING:
    from fleetward.model.daemon_views import EventView

GLYPHS = {"fatal": "✗", "degraded": "▲", "warning": "△", "info": "·"}
CHILD = "└ "
"""Before the number of a fault that only tells more of an earlier one."""


@click.command()
@click.option("--node", default="", metavar="NODE", help="Of this node alone.")
@click.option("--gpu", type=click.IntRange(0, 999), metavar="N", help="Of this GPU alone.")
@click.option("--severity", type=click.Choice(list(GLYPHS)), help="Of this severity and what is worse.")
@click.option(
    "--hours", type=click.IntRange(1, 100_000), default=24, show_default=True, help="How far to look into the past."
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="At most so many.")
@json_option
@socket_option
def events(
    node: str, gpu: int | None, severity: str | None, hours: int, limit: int, as_json: bool, socket: Path | None
) -> None:
    """List what nodes told of faults of their GPUs and switches, newest first.

    One that only tells more of an earlier fault stands behind a └. Exit code 3: the daemon is out of reach.
    """
    with daemon(socket) as client:
        found = client.events(node, "" if gpu is None else str(gpu), severity or "", hours, limit)
    if as_json:
        echo_json({"events": list(found)})
        return
    headers = ("WHEN", "NODE", "GPU", "FAULT", "SEVERITY", "MEANING", "ACTION", "BLAME")
    click.echo(table(headers, [_row(one) for one in found]))


def _row(event: "EventView") -> tuple[str, ...]:
    return (
        moment(event.at),
        event.node,
        event.gpu or event.address,
        f"{CHILD if event.parent else ''}{event.kind.upper()} {event.code}",
        f"{GLYPHS.get(event.severity, '?')} {event.severity}",
        event.meaning,
        event.action.replace("_", " "),
        event.blame,
    )
