"""`fleetward lab`: a whole cluster on this machine."""

import json
import sys

import click

from fleetward.commands._lab import json_option, kept_spec, known_host, name_option
from fleetward.commands._lab_fault import fault
from fleetward.commands._lab_fault_gpu import COMMANDS
from fleetward.lab.spec import HEAD, SUITES, LabState

TERMINAL_VARIABLES = ("TERM", "COLORTERM", "NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_ANIMATIONS")
"""What a terminal says of itself, and its person of how it is drawn on."""


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


@lab.command()
@name_option
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def tui(name: str, options: tuple[str, ...]) -> None:
    """Open the screen on the lab's head, as the user of its sample job; after -- come options of `fleetward tui`."""
    from fleetward.lab import lifecycle, sample_job

    spec = kept_spec(name)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(
            "the screen needs a terminal; `fleetward lab shell head -- fleetward nodes --json` tells programs"
        )
    engine = lifecycle.open_engine()
    engine.become(
        spec.container(HEAD),
        ("fleetward", "tui", *options),
        terminal=True,
        user=sample_job.USER,
        folder=sample_job.folder_on(LabState.of(name)),
        environment=TERMINAL_VARIABLES,
    )


for command in COMMANDS:
    fault.add_command(command)
lab.add_command(fault)
