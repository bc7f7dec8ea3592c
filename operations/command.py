"""Running other programs: argument lists only, output kept, failures in one sentence."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleetward.model.errors import FleetwardError, OutOfReachError


class CommandError(FleetwardError):
    """A program ended with another status than 0."""

    def __init__(self, argv: Sequence[str], status: int, output: str) -> None:
        """Keep the program's own last words: they say more than a status."""
        self.output = output
        last = [line for line in output.strip().splitlines() if line.strip()][-3:]
        words = " / ".join(line.strip() for line in last) or "it said nothing"
        super().__init__(f"`{' '.join(argv[:4])}` ended with status {status}: {words}")


@dataclass(frozen=True)
class Output:
    """What a program printed."""

    text: str
    errors: str


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    seconds: float = 120,
    environment: Mapping[str, str] | None = None,
) -> Output:
    """Run one program to its end, out of reach of the terminal's Ctrl-C: a half-made container is worse than a wait.

    Raises CommandError where it fails, OutOfReachError where it does not end within `seconds` or is not there.
    """
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env=environment,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OutOfReachError(f"`{' '.join(argv[:4])}` did not end within {seconds:.0f} s") from None
    except FileNotFoundError:
        raise OutOfReachError(f"{argv[0]} is not installed") from None
    if done.returncode:
        raise CommandError(argv, done.returncode, done.stderr + done.stdout)
    return Output(done.stdout, done.stderr)
