"""The errors that a person is meant to read, each with the exit code it ends a command with.

Exit codes: 0 done, 1 failed, 2 usage, 3 something is out of reach, 4 a guardrail refused, 5 findings present,
130 interrupted. The message says what is wrong, where, and what to do; no traceback is shown for these.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit status means."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    OUT_OF_REACH = 3
    REFUSED = 4
    FINDINGS = 5
    INTERRUPTED = 130


class FleetwardError(Exception):
    """Something failed that the person at the keyboard can act on."""

    exit_code = ExitCode.FAILED


class UsageError(FleetwardError):
    """What was asked for cannot be: a wrong option, a file that does not parse, a name that is not there."""

    exit_code = ExitCode.USAGE


class OutOfReachError(FleetwardError):
    """Slurm, a host, a mirror or another service did not answer."""

    exit_code = ExitCode.OUT_OF_REACH


class RefusedError(FleetwardError):
    """A guardrail refused the action."""

    exit_code = ExitCode.REFUSED


class ConflictError(FleetwardError):
    """Somebody else was first: what is asked for no longer fits where the thing stands; look again."""
