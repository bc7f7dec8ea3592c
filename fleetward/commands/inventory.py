"""`fleetward inventory`: check what is declared, list it, and render what follows from it."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

import fleetward
from fleetward.model.compatibility import Incompatibility
from fleetward.model.compatibility_files import incompatibilities
from fleetward.model.errors import ExitCode, FleetwardError, UsageError
from fleetward.model.fleet import Fleet
from fleetward.model.host_ranges import fold
from fleetward.model.inventory import InventoryError, read_fleet
from fleetward.model.inventory_variables import UnknownVariable, unknown_variables
from fleetward.printable import printable
from fleetward.slurm.configuration import render, render_node
from fleetward.slurm.configuration_cache import RenderedInventory

_path_option = click.option(
    "-i",
    "--inventory",
    "path",
    type=click.Path(path_type=Path),
    envvar="FLEETWARD_INVENTORY",
    default=Path(fleetward.__file__).parent / "inventories" / "lab",
    help="A file or folder in Ansible's YAML format; the lab's, where none is given.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def inventory() -> None:
    """Check the inventory and render what follows from it.

    An inventory that does not add up ends every command with exit code 2 and all its problems by name. One whose
    software does not go together, or that sets variables which nothing knows, ends `check` with 5, and is rendered all
    the same.
    """


@inventory.command()
@_path_option
@_json_option
def check(path: Path, as_json: bool) -> None:
    """Say what is wrong with an inventory, each problem by name.

    Told as well: software that does not go together, and variables that no role, fact or template knows.
    """
    try:
        fleet = read_fleet(path)
    except InventoryError as error:
        if as_json:
            click.echo(_checked(path, error.problems, (), ()))
            raise SystemExit(ExitCode.USAGE) from error
        raise
    found, unknown = incompatibilities(fleet), unknown_variables(path)
    if as_json:
        click.echo(_checked(path, (), found, unknown))
    else:
        counts = [_counted(len(found), "incompatibility", "incompatibilities")] if found else []
        counts += [_counted(len(unknown), "unknown variable", "unknown variables")] if unknown else []
        said = ", ".join(counts) or "no problems"
        click.echo(f"{path}: {len(fleet.nodes)} hosts, {len(fleet.partitions)} partitions, {said}")
        if unknown:
            click.echo("\n" + "\n".join(printable(str(one)) for one in unknown))
        for one in found:
            click.echo(f"\n{fold(one.hosts)}: {one.sentence}")
            click.echo(f"  rule: {one.rule}\n  from: {one.source}\n  do:   {one.remedy}")
    if found or unknown:
        raise SystemExit(ExitCode.FINDINGS)


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _checked(
    path: Path, problems: Sequence[str], found: Sequence[Incompatibility], unknown: Sequence[UnknownVariable]
) -> str:
    told = {
        "inventory": str(path),
        "problems": list(problems),
        "incompatibilities": [asdict(one) for one in found],
        "unknown_variables": [asdict(one) for one in unknown],
    }
    return json.dumps(told, indent=2)


@inventory.command(name="list")
@_path_option
@_json_option
def list_nodes(path: Path, as_json: bool) -> None:
    """List the groups, and with --json every host too."""
    fleet = read_fleet(path)
    if as_json:
        click.echo(json.dumps(_description(fleet), indent=2))
        return
    width = max(len(group) for group in fleet.groups)
    for group, names in sorted(fleet.groups.items()):
        if names:
            click.echo(f"{group:<{width}}  {len(names):>6}  {fold(names)}")


@inventory.command(name="render")
@click.argument("name", required=False)
@_path_option
@_json_option
@click.option("--host", help="The host whose node.json is wanted.")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Write all files below this folder.")
def render_files(name: str | None, path: Path, as_json: bool, host: str | None, output: Path | None) -> None:
    """Print the file NAME, such as slurm.conf; without NAME list the files, or write them all with --output."""
    if name is not None and output is not None:
        raise UsageError("NAME prints one file and --output writes them all: give one of the two")
    fleet = read_fleet(path)
    nodes = {node.name: render_node(fleet, node) for node in fleet.nodes.values()}
    files = RenderedInventory(render(fleet), nodes, ())
    if name is not None:
        text = files.text(name, host)
        click.echo(json.dumps({name: text}, indent=2) if as_json else text, nl=as_json)
        return
    everything = {**files.shared, **{f"nodes/{node}.json": text for node, text in nodes.items()}}
    if output is not None:
        _write(everything, output)
    if as_json:
        click.echo(json.dumps(everything if output is None else sorted(everything), indent=2))
    elif output is None:
        click.echo("\n".join([*sorted(files.shared), "node.json  (one for each --host)"]))
    else:
        click.echo(f"{output}: {len(everything)} files")


def _description(fleet: Fleet) -> dict[str, Any]:
    return {
        "cluster": fleet.cluster,
        "groups": {group: list(names) for group, names in sorted(fleet.groups.items())},
        "hosts": {node.name: json.loads(render_node(fleet, node)) for node in fleet.nodes.values()},
        "partitions": {partition.name: list(partition.nodes) for partition in fleet.partitions},
    }


def _write(files: Mapping[str, str], folder: Path) -> None:
    """Write files, each whole or not at all."""
    for name, text in files.items():
        target = folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _replace(target, text)
        except OSError as error:
            raise FleetwardError(f"{target}: cannot be written: {error.strerror}") from error


def _replace(target: Path, text: str) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".render-") as scratch:
        file = Path(scratch) / target.name
        file.write_text(text, encoding="utf-8", newline="\n")
        file.replace(target)
