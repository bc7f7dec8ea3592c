"""`fleetward drain`: take nodes out of service, on record."""

from pathlib import Path

import click

from fleetward.commands._daemon import daemon, json_option, socket_option
from fleetward.model.claims import ClaimClass


@click.command()
@click.argument("nodes", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why; it stands in Slurm's reason and in the record.")
@click.option(
    "--class",
    "kind",
    type=click.Choice([str(kind) for kind in ClaimClass]),
    default=str(ClaimClass.MAINTENANCE),
    show_default=True,
    help="Whose fault it is.",
)
@json_option
@socket_option
def drain(nodes: tuple[str, ...], reason: str, kind: str, as_json: bool, socket: Path | None) -> None:
    """Claim NODES for yourself and drain them: running jobs go on, no new one starts.

    A node is a name or a range, gpu[001-003]. It stays out until you resume it and nobody else claims it.
    Exit code 3: daemon or Slurm is out of reach; 4: refused by a guardrail.
    """
    from fleetward.commands._hold import each, names

    asked = names(nodes)
    with daemon(socket) as client:
        each(asked, lambda node: client.drain(node, reason, ClaimClass(kind)), as_json)
