"""What commands that ask the daemon share: how it is found, how incidents and runs are named, how a moment is shown."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fleetward.model.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from fleetward.model.settings import Settings
    from fleetward.server.client import DaemonClient

F = TypeVar("F", bound=Callable[..., Any])


def socket_option(command: F) -> F:
    """Add `--socket`."""
    return click.option(
        "--socket",
        type=click.Path(path_type=Path),
        help="The daemon's unix socket.  [env var: FLEETWARD_DAEMON_SOCKET; default: /run/fleetward/daemon/socket]",
    )(command)


def json_option(command: F) -> F:
    """Add `--json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print a JSON document: every value, times in ISO 8601 and UTC."
    )(command)


def incident_number(text: str) -> int:
    """Return an incident's number: 12 is also `i12`."""
    return _number(text, "i", "incident")


def run_number(text: str) -> int:
    """Return a run's number: 7 is also `r7`."""
    return _number(text, "r", "run")


def change_number(text: str) -> int:
    """Return a change's number: 3 is also `c3`."""
    return _number(text, "c", "change")


def burn_in_number(text: str) -> int:
    """Return a burn-in's number: 3 is also `q3`."""
    return _number(text, "q", "burn-in")


def param_value(text: str) -> tuple[str, str]:
    """Return the name and the value of a `--param`."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"--param {text}: write it as NAME=VALUE")
    return name, value


def _number(text: str, letter: str, what: str) -> int:
    digits = text.removeprefix(letter)
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
        raise click.BadParameter(f"{text!r} names no {what}: write 12 or {letter}12")
    return int(digits)


@contextmanager
def daemon(socket: Path | None) -> "Iterator[DaemonClient]":
    """Yield a client of the daemon that the settings name; UsageError on a host without what it takes."""
    try:
        from fleetward.server.client import DaemonClient

        found = settings(socket).daemon.socket
        client = DaemonClient(Path(found))
    except ModuleNotFoundError as error:
        raise not_installed(error) from error
    with client:
        yield client


def settings(socket: Path | None = None) -> "Settings":
    """Return the settings that hold; `socket` is what was typed."""
    try:
        from fleetward.model.settings import read_settings
    except ModuleNotFoundError as error:
        raise not_installed(error) from error
    return read_settings({} if socket is None else {"daemon.socket": str(socket)})


def not_installed(error: ModuleNotFoundError) -> UsageError:
    """Return what to say where a package is missing; raises the error itself where it is one of ours."""
    if error.name is None or error.name.startswith("fleetward"):
        raise error
    return UsageError(f"{error.name} is not installed here: ask on the head, or install `fleetward[head]`")


def moment(at: datetime | None) -> str:
    """Return a time as this machine's clock shows it, empty where there is none."""
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def clock(at: datetime) -> str:
    """Return the time of the day as this machine's clock shows it."""
    return at.astimezone().strftime("%H:%M:%S")


def document(value: "DataclassInstance") -> dict[str, object]:
    """Return a read model as the daemon's JSON has it."""
    return {field.name: getattr(value, field.name) for field in fields(value)}
