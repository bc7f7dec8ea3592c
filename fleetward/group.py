"""The click group that imports a noun's file only when that noun is used, and the one place that ends the process."""

import importlib
import signal
import sys
from typing import NoReturn

import click

from fleetward import __version__
from fleetward.model.errors import ExitCode, FleetwardError
from fleetward.nouns import HELP_OPTIONS, NOUNS, help_page
from fleetward.printable import printable


class LazyGroup(click.Group):
    """A group whose commands are the files of `commands/`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the nouns in alphabetical order."""
        return sorted(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the file of one noun; None where there is no such noun."""
        if cmd_name not in NOUNS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"fleetward.commands.{name}"), name)
        return command

    def get_help(self, ctx: click.Context) -> str:
        """Return the page that needs none of the commands."""
        return help_page().rstrip("\n")


@click.command(cls=LazyGroup, context_settings={"help_option_names": list(HELP_OPTIONS)})
@click.version_option(__version__, prog_name="fleetward")
def cli() -> None:
    """Provision a GPU fleet, watch every GPU and job, and bring the fleet back when it breaks."""


def run() -> NoReturn:
    """Run the command that was typed and end the process with its exit code."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `fleetward nodes | head` ends quietly
    try:
        status = cli(standalone_mode=False)
    except FleetwardError as error:
        lines = "\n".join(printable(line) for line in str(error).splitlines())  # it may quote other programs
        click.echo(f"fleetward: {lines}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("fleetward: interrupted", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    sys.exit(status if isinstance(status, int) else ExitCode.DONE)
