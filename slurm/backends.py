"""Which backend answers: what was asked for, or pyslurm where it is installed, or Slurm's own programs."""

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

BACKENDS = ("auto", "pyslurm", "command-line", "recorded")

BACKEND_VARIABLE = "FLEETWARD_SLURM_BACKEND"
PYTHON_VARIABLE = "FLEETWARD_PYSLURM_PYTHON"
RECORDING_VARIABLE = "FLEETWARD_SLURM_RECORDING"


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
