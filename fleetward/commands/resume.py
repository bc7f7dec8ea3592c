"""`fleetward resume`: give nodes back."""

from pathlib import Path

import click

from fleetward.commands._daemon import daemon, json_option, socket_option


@click.command()
@click.argument("nodes", nargs=-1, required=True)
@json_option
@socket_option
def resume(nodes: tuple[str, ...], as_json: bool, socket: Path | None) -> None:
    """Release your claim on NODES; each returns to service where nobody else claims it.

    A node that was drained with scontrol stays as it is. Exit code 3: daemon or Slurm is out of reach.
    """
    from fleetward.commands._hold import each, names

    asked = names(nodes)
    with daemon(socket) as client:
        each(asked, client.resume, as_json)
