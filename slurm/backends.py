"""Which backend answers: what was asked for, or pyslurm where it is installed, or Slurm's own programs."""

import getpass
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fleetward.model.errors import UsageError
from fleetward.slurm.client import SlurmClient
from fleetward.slurm.command_line import CommandLineClient
from fleetward.slurm.pyslurm_backend import PyslurmClient
from fleetward.slurm.recorded import RecordedClient
from fleetward.slurm.worker import DEFAULT_PYTHON, Worker

BACKENDS = ("auto", "pyslurm", "command-line", "rest", "recorded")

BACKEND_VARIABLE = "FLEETWARD_SLURM_BACKEND"
PYTHON_VARIABLE = "FLEETWARD_PYSLURM_PYTHON"
RECORDING_VARIABLE = "FLEETWARD_SLURM_RECORDING"
REST_URL_VARIABLE = "FLEETWARD_SLURM_REST_URL"
REST_USER_VARIABLE = "FLEETWARD_SLURM_REST_USER"
"""Whose the token is; without it whoever runs this."""
TOKEN_FILE_VARIABLE = "FLEETWARD_SLURM_REST_TOKEN_FILE"  # noqa: S105  a variable's name
TOKEN_VARIABLE = "SLURM_JWT"  # noqa: S105  a variable's name
"""Slurm's own variable; the file comes first, since a process' environment can be read by others of its user."""


@contextmanager
def connect(
    choice: str, note: Callable[[str], None], environment: Mapping[str, str] = os.environ
) -> Iterator[SlurmClient]:
    """Yield a client of one of BACKENDS, and end what it started.

    `auto` is pyslurm where its interpreter is there, and Slurm's programs where it is not. With `auto` and with
    `pyslurm` alike, a pyslurm that fails is told to `note` and Slurm's programs answer.
    """
    python = Path(environment.get(PYTHON_VARIABLE) or DEFAULT_PYTHON)
    if choice == "recorded":
        folder = environment.get(RECORDING_VARIABLE)
        if not folder:
            raise UsageError(f"the backend `recorded` plays a folder: name one in {RECORDING_VARIABLE}")
        yield RecordedClient(Path(folder))
    elif choice == "rest":
        from fleetward.slurm.rest import RestAddress, RestClient  # httpx, which nobody else waits for

        address = RestAddress(*_rest_address(environment))
        with RestClient(address, CommandLineClient(environment=environment)) as rest:
            yield rest
    elif choice == "command-line" or (choice == "auto" and not os.access(python, os.X_OK)):
        yield CommandLineClient(environment=environment)
    elif choice in ("auto", "pyslurm"):
        if not os.access(python, os.X_OK):
            raise UsageError(
                f"{python}: no interpreter with pyslurm there; install it, name another in {PYTHON_VARIABLE},"
                " or use --backend command-line"
            )
        with PyslurmClient(Worker(python), CommandLineClient(environment=environment), note) as client:
            yield client
    else:
        raise UsageError(f"{choice!r} is not a backend; there are {', '.join(BACKENDS)}")


def _rest_address(environment: Mapping[str, str]) -> tuple[str, str, Callable[[], str]]:
    """Return where slurmrestd is, who asks, and what gives the token; UsageError where that is not said."""
    url, file = environment.get(REST_URL_VARIABLE, ""), environment.get(TOKEN_FILE_VARIABLE, "")
    if not url.startswith(("http://", "https://")):
        raise UsageError(
            f"the backend `rest` asks slurmrestd: give its address, http://HOST:PORT, in {REST_URL_VARIABLE}"
        )
    if not file and not environment.get(TOKEN_VARIABLE):
        raise UsageError(
            f"slurmrestd wants a token (`scontrol token`): name a file with it in {TOKEN_FILE_VARIABLE}, or give it in"
            f" {TOKEN_VARIABLE}"
        )
    user = environment.get(REST_USER_VARIABLE) or getpass.getuser()
    return url.rstrip("/"), user, lambda: _token(file) if file else environment[TOKEN_VARIABLE]


def _token(file: str) -> str:
    """Read a token, alone or as `scontrol token` prints it."""
    try:
        text = Path(file).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no token"
        raise UsageError(f"{file}: {why}; {TOKEN_FILE_VARIABLE} names a file with a token for slurmrestd") from error
    token = text.removeprefix(f"{TOKEN_VARIABLE}=")
    if not token or not token.isprintable() or " " in token:
        raise UsageError(f"{file}: it holds no token; `scontrol token` makes one")
    return token
