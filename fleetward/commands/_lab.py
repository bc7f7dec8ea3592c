"""What the lab's commands share: its options, and the lab that they are about."""

from typing import TYPE_CHECKING

import click

from fleetward.lab.spec import DEFAULT_NAME, LabSpec, LabState

if TYPE_CHECKING:
    from fleetward.lab.engine import Engine

name_option = click.option(
    "--name", default=DEFAULT_NAME, show_default=True, help="Which lab; several can live side by side."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def lab_of(name: str, *nodes: str) -> tuple["Engine", LabSpec]:
    """Return the engine and the lab, which must have these nodes."""
    from fleetward.lab import lifecycle

    spec = kept_spec(name)
    for node in nodes:
        known_host(spec, node)
    return lifecycle.open_engine(), spec


def kept_spec(name: str) -> LabSpec:
    """Return what a lab was made as; refuse where there is none."""
    kept = LabState.of(name).read()
    if kept is None:
        raise click.UsageError(f"there is no lab {name!r}: `fleetward lab up --name {name}` makes it")
    return kept[0]


def known_host(spec: LabSpec, node: str) -> str:
    """Return the node's name where the lab has it; refuse by naming those it has."""
    names = [host.name for host in spec.hosts]
    if node not in names:
        raise click.UsageError(f"{node!r} is not a host of the lab {spec.name!r}: it has {', '.join(names)}")
    return node
