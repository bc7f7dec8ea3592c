"""Programs run with a time limit, behind a Protocol so that recorded answers can take their place."""

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fleetward.slurm.client import SlurmOutOfReachError


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program left behind."""

    exit_code: int
    stdout: str
    stderr: str


class Runner(Protocol):
    """Something that runs a program to its end."""

    def __call__(
        self, argv: Sequence[str], *, stdin: str = "", environment: Mapping[str, str], limit: float
    ) -> Finished:
        """Run it for at most `limit` seconds; SlurmOutOfReachError where it takes longer or is not there."""


def run(argv: Sequence[str], *, stdin: str = "", environment: Mapping[str, str], limit: float) -> Finished:
    """Run a program found on PATH; bytes that are not UTF-8 come back as surrogates."""
    try:
        # A file, since writing to a pipe that the program does not read would end this process by SIGPIPE.
        with tempfile.TemporaryFile() as file:
            file.write(stdin.encode("utf-8", "surrogateescape"))
            file.seek(0)
            done = subprocess.run(
                argv, stdin=file, capture_output=True, env=dict(environment), timeout=limit, check=False
            )
    except FileNotFoundError as error:
        raise SlurmOutOfReachError(
            f"{argv[0]}: not installed here; run this on a machine of the cluster that has Slurm's client programs"
        ) from error
    except PermissionError as error:
        raise SlurmOutOfReachError(f"{argv[0]}: cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise SlurmOutOfReachError(f"{argv[0]} gave no answer within {limit:g} s; is slurmctld well?") from error
    return Finished(
        done.returncode,
        done.stdout.decode("utf-8", "surrogateescape"),
        done.stderr.decode("utf-8", "surrogateescape"),
    )
