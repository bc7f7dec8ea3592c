"""`fleetward events`: faults of GPUs and switches, as their nodes told of them."""

import re
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
_LENGTH = re.compile(r"([1-9][0-9]{0,3})([smhd])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def length_of_time(text: str) -> int:
    """Return a length of time such as 90s, 30m, 24h or 7d in seconds."""
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no length of time: write 90s, 30m, 24h or 7d")
    return int(match[1]) * _SECONDS[match[2]]


@click.command()
@click.option("--node", default="", metavar="NODE", help="Of this node alone.")
@click.option("--gpu", type=click.IntRange(0, 999), metavar="N", help="Of this GPU alone.")
@click.option("--severity", type=click.Choice(list(GLYPHS)), help="Of this severity and what is worse.")
@click.option(
    "--since",
    type=length_of_time,
    default="24h",
    show_default=True,
    metavar="TIME",
    help="How far to look into the past: 90s, 30m, 24h, 7d.",
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="At most so many.")
@json_option
@socket_option
def events(
    node: str, gpu: int | None, severity: str | None, since: int, limit: int, as_json: bool, socket: Path | None
) -> None:
    """List what nodes told of faults of their GPUs and switches, newest first.

    One that only tells more of an earlier fault stands behind a └. Exit code 3: the daemon is out of reach.
    """
    with daemon(socket) as client:
        found = client.events(node, "" if gpu is None else str(gpu), severity or "", since, limit)
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
