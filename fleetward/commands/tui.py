"""`fleetward tui`: the screen."""

import os
import pwd
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._slurm import backend_option
from fleetward.model.errors import UsageError

if TYPE_CHECKING:
    from fleetward.model.fleet import HardwareProfile
    from fleetward.slurm.jobs.spec import JobSpec
    from fleetward.tui.daemon_source import DaemonSource


@click.command()
@click.option("--socket", type=click.Path(path_type=Path), help="Socket of the daemon; default: as the settings say.")
@click.option("--read-only", is_flag=True, help="Change nothing: no job, no incident, no run.")
@backend_option
def tui(socket: Path | None, read_only: bool, backend: str) -> None:
    """Open the screen: the fleet, its jobs and nodes, incidents and their runbooks; `?` tells the keys.

    Without a daemon it shows what Slurm says and changes nothing but your own jobs.
    """
    if not (sys.stdin.isatty() and sys.__stderr__ is not None and sys.__stderr__.isatty()):  # where Textual draws
        raise UsageError("the screen needs a terminal; for programs there is `--json` of nodes, jobs and incident")
    try:
        from fleetward.tui.app import FleetApp
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("fleetward"):
            raise
        raise UsageError(
            f"{error.name} is not installed here: open the screen on the head, or install `fleetward[head]`"
        ) from error

    def open_source() -> "DaemonSource":
        from fleetward.tui.open_source import open_source

        return open_source(socket, backend)

    def hardware(job: "JobSpec", note: Callable[[str], None]) -> "HardwareProfile | None":
        from fleetward.commands._hardware import hardware_of

        return hardware_of(job, None, note)

    FleetApp(open_source, user=_me(), folder=Path.cwd(), read_only=read_only, hardware=hardware).run()


def _me() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user known to no directory of this machine
        return str(os.getuid())
