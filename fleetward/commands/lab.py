"""`fleetward lab`: a whole cluster on this machine."""

import json
import sys
from typing import TYPE_CHECKING

import click

from fleetward.lab.spec import DEFAULT_NAME, SUITES, LabSpec, LabState

if TYPE_CHECKING:
    from fleetward.lab.engine import Engine

name_option = click.option(
    "--name", default=DEFAULT_NAME, show_default=True, help="Which lab; several can live side by side."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.group()
def lab() -> None:
    """Run a whole Slurm cluster with GPU nodes on this machine, in containers.

    Everything in it is real but the GPUs. Needs root, podman (or docker) and mmdebstrap.
    """


@lab.command()
@name_option
@json_option
@click.option("--suite", type=click.Choice(SUITES), help="Debian suite of the nodes.  [default: trixie]")
@click.option("--nodes", type=int, help="How many GPU nodes.  [default: 3]")
@click.option("--subnet", help="Private IPv4 network for the lab.  [default: the first free 10.213.N.0/24]")
@click.option("--bare", is_flag=True, help="Use an image without packages baked in: the roles install all.")
@click.option("--no-provision", is_flag=True, help="Stop once the hosts can be reached by SSH.")
@click.option("--no-job", is_flag=True, help="Do not run the sample training job.")
def up(
    name: str,
    as_json: bool,
    suite: str | None,
    nodes: int | None,
    subnet: str | None,
    bare: bool,
    no_provision: bool,
    no_job: bool,
) -> None:
    """Bring a lab up: image, containers, provisioning, a training job. On a running lab it changes nothing."""
    from fleetward.lab import bring_up, summary
    from fleetward.lab.progress import for_stderr

    asked = bring_up.Asked(name, suite, nodes, subnet, bare, provision=not no_provision, job=not no_job)
    result = bring_up.bring_up(asked, for_stderr())
    click.echo(json.dumps(result, indent=2) if as_json else summary.text(result))


@lab.command()
@name_option
@json_option
def down(name: str, as_json: bool) -> None:
    """Remove a lab with everything that belongs to it."""
    from fleetward.lab import lifecycle
    from fleetward.lab.progress import for_stderr

    found = lifecycle.down(lifecycle.open_engine(), name, for_stderr())
    if as_json:
        click.echo(json.dumps({"name": name, "removed": found}))
    else:
        click.echo(f"Lab {name!r} is gone." if found else f"There was no lab {name!r}.")


@lab.command()
@name_option
@json_option
def status(name: str, as_json: bool) -> None:
    """Show a lab's hosts and what Slurm says of them."""
    from fleetward.lab import summary

    found = summary.status(name)
    click.echo(json.dumps(found, indent=2) if as_json else summary.status_text(found))


@lab.command()
@name_option
@json_option
def job(name: str, as_json: bool) -> None:
    """Run the sample training job once more and wait for it."""
    from fleetward.lab import bring_up, summary
    from fleetward.lab.progress import for_stderr

    result = bring_up.train(kept_spec(name), for_stderr())
    click.echo(json.dumps(result, indent=2) if as_json else summary.job_text(result))


@lab.command(context_settings={"ignore_unknown_options": True})
@name_option
@click.argument("node", default="head")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def shell(name: str, node: str, command: tuple[str, ...]) -> None:
    """Open a shell on a NODE of the lab, or run one COMMAND there (its exit code is passed on)."""
    from fleetward.lab import lifecycle

    spec = kept_spec(name)
    engine = lifecycle.open_engine()
    container = spec.container(known_host(spec, node))
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    sys.stdout.flush()
    engine.become(container, command or ("/bin/bash", "--login"), terminal=terminal)


@lab.group()
def fault() -> None:
    """Break a NODE of the lab the way hardware breaks, or mend it."""


@fault.command()
@name_option
@json_option
@click.argument("node")
@click.option("--gpu", type=int, required=True, help="Index of the GPU.")
@click.option("--code", type=int, required=True, help="XID; 79 also takes the GPU off the bus.")
def xid(name: str, as_json: bool, node: str, gpu: int, code: int) -> None:
    """Raise an XID on one GPU of NODE."""
    from fleetward.lab import faults

    faults.raise_xid(*lab_of(name, node), node, gpu, code)
    _tell(as_json, f"XID {code} on GPU {gpu} of {node}", node=node, fault="xid", gpu=gpu, code=code)


@fault.command("slurmd-down")
@name_option
@json_option
@click.argument("node")
def slurmd_down(name: str, as_json: bool, node: str) -> None:
    """Kill slurmd on NODE and keep it down."""
    from fleetward.lab import faults

    faults.stop_slurmd(*lab_of(name, node), node)
    _tell(as_json, f"slurmd is down on {node}", node=node, fault="slurmd-down")


@fault.command()
@name_option
@json_option
@click.argument("node")
def clear(name: str, as_json: bool, node: str) -> None:
    """Undo every fault of NODE."""
    from fleetward.lab import faults

    faults.clear(*lab_of(name, node), node)
    _tell(as_json, f"{node} is as it was", node=node, fault=None)


def _tell(as_json: bool, words: str, **facts: object) -> None:
    click.echo(json.dumps(facts) if as_json else words)


def lab_of(name: str, node: str) -> tuple["Engine", LabSpec]:
    """Return the engine and the lab that has this node."""
    from fleetward.lab import lifecycle

    spec = kept_spec(name)
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
