"""Running Slurm's own programs: what is said to them is checked, what they complain about becomes a typed error."""

import os
import re
import secrets
from collections.abc import Callable, Mapping

from fleetward.model.errors import FleetwardError, UsageError
from fleetward.slurm.client import NoSuchJobError, SlurmOutOfReachError, SlurmRefusedError
from fleetward.slurm.process import Finished, Runner, run

LIMIT = 30.0
"""Seconds per call; Slurm's programs give up by themselves after 10 (MessageTimeout), where they can."""

_JOB_ID = re.compile(r"[1-9][0-9]{0,9}(_[0-9]{1,9})?")
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_WORD = re.compile(r"[A-Za-z0-9._:-]{1,255}", re.ASCII)
_UNREACHABLE = re.compile(
    r"unable to contact slurm controller|timed out|connection (refused|reset|failure)|connect failure"
    r"|zero bytes were transmitted|problem talking to the database|configuration source|communication failure"
    r"|no route to host|network is unreachable|unable to resolve|error opening munge|munge encode failed"
    r"|failed to open persistent connection|could not resolve|slurm backup controller in standby mode"
    r"|unable to process configuration file|unexpected message received|host is down",
    re.IGNORECASE,
)
_NO_SUCH_JOB = re.compile(r"invalid job id specified", re.IGNORECASE)
# These change what the programs print or which partition, account or time they take, behind the back of the caller. A
# job that is handed in from a restarted one would count its attempts on from there.
_SWAYING = (
    *("SQUEUE_", "SACCT_", "SCONTROL_", "SCANCEL_", "SBATCH_", "SPRIO_"),
    *("SLURM_BITSTR_LEN", "SLURM_TIME_FORMAT", "SLURM_RESTART_COUNT"),
)


def unreachable(message: str) -> bool:
    """Say whether an error of Slurm's library or programs means that no daemon answered."""
    return _UNREACHABLE.search(message) is not None


def checked_job_id(job_id: str) -> str:
    """Return the id; UsageError where it is not `12` or `12_3`, which Slurm's programs might take for an option."""
    if not _JOB_ID.fullmatch(job_id):
        raise UsageError(f"{job_id!r} is not a job's id; it looks like 12, or 12_3 for one task of an array")
    return job_id


def checked_node(name: str) -> str:
    """Return the name of one node; UsageError where Slurm might read several in it (`gpu[1-9]`, `a,b`, `ALL`)."""
    if not _NODE.fullmatch(name) or name.upper() == "ALL":
        raise UsageError(f"{name!r} is not the name of one node; it looks like gpu001")
    return name


def checked_reason(reason: str) -> str:
    """Return the reason of a drain; UsageError where it is none, or would not be one printable line."""
    if not reason.strip() or not reason.isprintable():
        raise UsageError(f"{reason!r} is no reason for a drain; it is one line of text without control characters")
    return reason


def checked_word(name: str, value: object) -> str:
    """Return one word of a job's description; UsageError for what Slurm would read as something else."""
    if not _WORD.fullmatch(str(value)):
        raise UsageError(f"{value!r} is no {name}: it is one word of letters, digits, `.`, `_`, `-` and `:`")
    return str(value)


def new_separator() -> str:
    """Make up the text that ends a field; nobody who names a job can know it."""
    return f"~{secrets.token_hex(6)}~"


class Programs:
    """Slurm's programs, each run with a time limit and an environment that changes none of their answers."""

    def __init__(
        self,
        runner: Runner = run,
        separator: Callable[[], str] = new_separator,
        environment: Mapping[str, str] | None = None,
        limit: float = LIMIT,
    ) -> None:
        self._runner = runner
        self.separator = separator
        given = os.environ if environment is None else environment
        self._environment = {key: value for key, value in given.items() if not key.startswith(_SWAYING)}
        self._limit = limit

    def ask(self, *argv: str) -> str:
        """Run a program and return what it printed; a typed error where it complains."""
        done = self.run(*argv)
        if done.exit_code:
            raise program_error(argv[0], done)
        return done.stdout

    def run(self, *argv: str, stdin: str = "", stamps: bool | None = None) -> Finished:
        """Run a program, which tells times as seconds of the epoch where `stamps` says so, or nobody does and can."""
        # sbatch hands its own environment on to the job, which shall not inherit our format.
        extra = {"SLURM_TIME_FORMAT": "%s"} if stamps or (stamps is None and argv[0] != "sbatch") else {}
        return self._runner(argv, stdin=stdin, environment=self._environment | extra, limit=self._limit)


def no_such_job(job_id: str) -> NoSuchJobError:
    """Return the error for a job that slurmctld does not know."""
    return NoSuchJobError(f"slurmctld knows no job {job_id}; `sacct -j {job_id}` may know one that ended earlier")


def is_array(job_id: str) -> UsageError:
    """Return the error for an id that is more than one job's."""
    return UsageError(f"{job_id} is an array of jobs; name one task of it, as in {job_id}_1")


def program_error(program: str, done: Finished) -> FleetwardError:
    """Return the error of this house for what a program of Slurm complained about."""
    message = done.stderr.strip() or done.stdout.strip() or f"exit status {done.exit_code}"
    if unreachable(message):
        return SlurmOutOfReachError(f"{program}: {message}")
    if _NO_SUCH_JOB.search(message):
        return NoSuchJobError(f"{program}: {message}")
    return SlurmRefusedError(f"{program}: {message}")
