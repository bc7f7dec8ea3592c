"""`fleetward lab fault NODE ...`: break a node of a lab, or mend it; the faults of GPUs are in `_lab_fault_gpu.py`."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from fleetward.commands._lab import json_option, lab_of
from fleetward.lab.spec import DEFAULT_NAME

if TYPE_CHECKING:
    from fleetward.lab.engine import Engine
    from fleetward.lab.spec import LabSpec

name_option = click.option("--name", help=f"Which lab.  [default: {DEFAULT_NAME}]")
ALL_NODES = ""


@dataclass(frozen=True)
class About:
    """The node that comes before the fault, and the lab where it was named there."""

    node: str
    name: str | None


class NodeFirst(click.Group):
    """A group whose first argument is a node; where a command stands in its place, it is about all nodes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the node that was left out in front of a command."""
        first = 2 if args[:1] == ["--name"] else 1 if args and args[0].startswith("--name=") else 0
        if args[first : first + 1] and args[first] in self.commands:
            args = [*args[:first], ALL_NODES, *args[first:]]
        return super().parse_args(ctx, args)


@click.group(cls=NodeFirst, subcommand_metavar="FAULT [OPTIONS]")
@name_option
@click.argument("node")
@click.pass_context
def fault(ctx: click.Context, name: str | None, node: str) -> None:
    """Break a NODE of the lab the way hardware breaks, or mend it: `fleetward lab fault gpu002 slurmd-down`.

    `fleetward lab fault clear`, without a NODE, mends all of them.
    """
    ctx.obj = About(node, name)


@fault.command("slurmd-down")
@name_option
@json_option
@click.pass_obj
def slurmd_down(about: About, name: str | None, as_json: bool) -> None:
    """Kill slurmd and keep it down."""
    from fleetward.lab import faults

    node = one_node(about, "slurmd-down")
    faults.stop_slurmd(*engine_and_lab(about, name, node), node)
    tell(as_json, f"slurmd is down on {node}", node=node, fault="slurmd-down")


@fault.command()
@name_option
@json_option
@click.pass_obj
def clear(about: About, name: str | None, as_json: bool) -> None:
    """Undo every fault of the node, or of all nodes where none is named."""
    from fleetward.lab import faults

    if about.node == ALL_NODES:
        engine, spec = engine_and_lab(about, name)
        nodes = [host.name for host in spec.gpu_hosts]
    else:
        engine, spec = engine_and_lab(about, name, about.node)
        nodes = [about.node]
    for node in nodes:
        faults.clear(engine, spec, node)
    tell(as_json, f"{', '.join(nodes)}: as before", nodes=nodes, fault=None)


def one_node(about: About, example: str) -> str:
    """Return the node that a fault is about; it must have been named."""
    if about.node == ALL_NODES:
        raise click.UsageError(f"name the node before the fault: `fleetward lab fault gpu002 {example}`")
    return about.node


def engine_and_lab(about: About, name: str | None, *nodes: str) -> tuple["Engine", "LabSpec"]:
    """Return the lab that was named, before the fault or after it, and the engine that runs it."""
    return lab_of(name or about.name or DEFAULT_NAME, *nodes)


def tell(as_json: bool, words: str, **facts: object) -> None:
    """Say what was done, in words or as JSON."""
    click.echo(json.dumps(facts) if as_json else words)
