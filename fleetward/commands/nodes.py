"""`fleetward nodes`: the nodes as Slurm sees them, with their GPUs."""

from typing import TYPE_CHECKING

import click

from fleetward.commands._slurm import backend_option, note_unread, slurm
from fleetward.commands._table import echo_json, mebibytes, table

if TYPE_CHECKING:
    from fleetward.slurm.answers import Node


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document; memory in MiB.")
@backend_option
def nodes(as_json: bool, backend: str) -> None:
    """Show the nodes and their GPUs, allocated of total.

    Exit code 3: slurmctld does not answer.
    """
    with slurm(backend) as client:
        found = client.nodes()
    note_unread(found.unread, "nodes")
    if as_json:
        echo_json(
            {
                "backend": found.backend,
                "nodes": [_document(node) for node in found.items],
                "unread": list(found.unread),
            }
        )
    else:
        headers = ("NODE", "STATE", "PARTITIONS", "GPUS", "CPUS", "MEMORY", "REASON")
        click.echo(table(headers, [_row(node) for node in found.items]))


def _state(node: "Node") -> str:
    return "+".join((node.state, *node.flags))


def _row(node: "Node") -> tuple[str, ...]:
    gpus = (f"{kind} {node.gpus_allocated.get(kind, 0)}/{count}" for kind, count in node.gpus.items())
    reason = f"{node.reason} [{node.reason_by}]" if node.reason_by else node.reason
    return (
        node.name,
        _state(node),
        ",".join(node.partitions),
        " ".join(gpus),
        f"{node.cpus_allocated}/{node.cpus}",
        f"{mebibytes(node.memory_allocated)}/{mebibytes(node.memory)}",
        reason,
    )


def _document(node: "Node") -> dict[str, object]:
    return {
        "name": node.name,
        "state": _state(node),
        "partitions": node.partitions,
        "gres": ",".join(
            f"gpu:{kind}:{count}" if kind != "gpu" else f"gpu:{count}" for kind, count in node.gpus.items()
        ),
        "gpus": {
            kind: {"total": count, "allocated": node.gpus_allocated.get(kind, 0)} for kind, count in node.gpus.items()
        },
        "cpus": {"total": node.cpus, "allocated": node.cpus_allocated},
        "memory_mib": {"total": node.memory, "allocated": node.memory_allocated},
        "reason": node.reason,
        "reason_by": node.reason_by,
        "reason_at": node.reason_at,
    }
