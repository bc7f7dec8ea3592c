"""The `fleetward` command: a group that imports a noun's file only when that noun is used."""

import importlib
import signal
import sys
from typing import NoReturn

import click

from fleetward import __version__
from fleetward.model.errors import ExitCode, FleetwardError

NOUNS: dict[str, str] = {
    "exporter": "Serve metrics to Prometheus.",
    "gpus": "Show the GPUs of this node.",
    "inventory": "Check the inventory and render what follows from it.",
    "jobs": "Show the jobs in the queue.",
    "lab": "Run a whole cluster on this machine.",
    "nodes": "Show the nodes and their GPUs.",
    "provision": "Bring hosts to what the inventory declares.",
    "submit": "Submit a training job from its specification.",
}
"""Every command with its one line of help; the file of the same name in `commands/` defines it."""


class LazyGroup(click.Group):
    """A group whose `--help` needs no import of the commands it lists."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the nouns in alphabetical order."""
        return sorted(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the file of one noun; None where there is no such noun."""
        if cmd_name not in NOUNS:
            return None
        command = getattr(importlib.import_module(f"fleetward.commands.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101  narrows the type; the table above is ours
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(NOUNS.items()))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fleetward")
def cli() -> None:
    """Provision a GPU fleet, watch every GPU and job, and bring the fleet back when it breaks.

    Data goes to stdout, talk to stderr. Exit codes: 0 done, 1 failed, 2 usage, 3 out of reach, 4 refused by a
    guardrail, 5 findings present, 130 interrupted.
    """


def main() -> NoReturn:
    """Run the command and end the process with its exit code."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `fleetward nodes | head` ends quietly
    try:
        cli(standalone_mode=False)
    except FleetwardError as error:
        click.echo(f"fleetward: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("fleetward: interrupted", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    sys.exit(ExitCode.DONE)
