"""What commands that ask Slurm share: the option that picks the backend, and the way to a client."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fleetward.commands._table import note
from fleetward.model.errors import UsageError
from fleetward.printable import printable

if TYPE_CHECKING:
    from fleetward.slurm.client import SlurmClient

BACKENDS = ("auto", "pyslurm", "command-line", "rest", "recorded")

F = TypeVar("F", bound=Callable[..., Any])


def backend_option(command: F) -> F:
    """Add `--backend`."""
    return click.option(
        "--backend",
        type=click.Choice(BACKENDS),
        default="auto",
        envvar="FLEETWARD_SLURM_BACKEND",
        show_envvar=True,
        show_default=True,
        help="How to ask Slurm; auto takes pyslurm where it is installed.",
    )(command)


@contextmanager
def slurm(backend: str) -> "Iterator[SlurmClient]":
    """Yield a client; UsageError on a host that has none of what it takes."""
    try:
        from fleetward.slurm.backends import connect
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("fleetward"):
            raise
        raise UsageError(
            f"{error.name} is not installed here: ask Slurm on the head, or install `fleetward[head]`"
        ) from error
    with connect(backend, note) as client:
        yield client


def note_unread(unread: Sequence[str], what: str) -> None:
    """Say how many entries could not be read, and show the first."""
    if unread:
        note(f"{len(unread)} of Slurm's {what} could not be read, the first: {printable(unread[0])[:200]}")
