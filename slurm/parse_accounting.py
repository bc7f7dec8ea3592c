"""Readers of what slurmdbd keeps: attempts and steps by sacct, QOS and associations by sacctmgr; and of sprio.

sacct's fields each end in a separator made up for one call, as squeue's do. sacctmgr and sprio have no option for
another one than `|`, which no name in their answers may hold. What cannot be read is handed back, never dropped.
"""

import re
from collections.abc import Mapping

from fleetward.slurm import parse
from fleetward.slurm.accounting import Association, Attempt, Limits, Priority, Qos, Step
from fleetward.slurm.parse_listings import read_records

ATTEMPT_FIELDS = (
    "JobID",
    "State",
    "Reason",
    "ExitCode",
    "ElapsedRaw",
    "TimelimitRaw",
    "ReqTRES",
    "AllocTRES",
    "Restarts",
    "NodeList",
    "FailedNode",
    "User",
    "Account",
    "Partition",
    "QOS",
    "Submit",
    "Start",
    "End",
    "WorkDir",
    "StdOut",
    "JobName",
)
"""Fields of `sacct -o` for a job."""

STEP_FIELDS = ("JobID", "State", "ExitCode", "ElapsedRaw", "NodeList", "Start", "End", "JobName")
"""Fields of `sacct -o` for its steps."""

QOS_FIELDS = (
    "Name",
    "Priority",
    "Flags",
    "Preempt",
    "MaxTRESPU",
    "MaxWall",
    "MaxTRES",
    "MaxJobsPU",
    "MaxSubmitPU",
    "GrpTRES",
    "GrpJobs",
)
"""Fields of `sacctmgr show qos`."""
ASSOCIATION_FIELDS = (
    "Account",
    "User",
    "Partition",
    "QOS",
    "DefaultQOS",
    "MaxWall",
    "MaxTRES",
    "MaxJobs",
    "MaxSubmit",
    "GrpTRES",
    "GrpJobs",
)
"""Fields of `sacctmgr show associations`."""
PRIORITY_FIELDS = {
    "%i": "number",
    "%r": "partition",
    "%u": "user",
    "%Y": "total",
    "%A": "age",
    "%F": "fair_share",
    "%J": "job_size",
    "%P": "partition_part",
    "%Q": "qos",
    "%N": "nice",
}
"""Fields of `sprio -o`, and what they are here."""
DELIMITER = "|"

_STEP = re.compile(r"(?P<job>[^.]+)\.(?P<step>.+)")
_BY = re.compile(r"\S+ by (\S+)")
Record = Mapping[str, str]


def attempts(text: str, separator: str) -> tuple[tuple[Attempt, ...], tuple[str, ...]]:
    """Read sacct's answer, ATTEMPT_FIELDS in their order, times as seconds of the epoch."""
    return read_records(text, separator, ATTEMPT_FIELDS, _attempt)


def steps(text: str, separator: str) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """Read sacct's answer, STEP_FIELDS in their order, times as seconds; the job's own line is left out."""
    found, unread = read_records(text, separator, STEP_FIELDS, _step)
    return tuple(step for step in found if step.step), unread


def qos(text: str) -> tuple[tuple[Qos, ...], tuple[str, ...]]:
    """Read `sacctmgr -P show qos`, QOS_FIELDS in their order."""
    return read_records(_ended(text), DELIMITER, QOS_FIELDS, _qos)


def associations(text: str) -> tuple[tuple[Association, ...], tuple[str, ...]]:
    """Read `sacctmgr -P show associations`, ASSOCIATION_FIELDS in their order; an account comes before its users."""
    return read_records(_ended(text), DELIMITER, ASSOCIATION_FIELDS, _association)


def priorities(text: str) -> tuple[tuple[Priority, ...], tuple[str, ...]]:
    """Read sprio's answer, PRIORITY_FIELDS in their order, each of which ends in a bar."""
    return read_records(text, DELIMITER, tuple(PRIORITY_FIELDS.values()), _priority)


def _ended(text: str) -> str:
    """Return a table whose lines lack the last bar with it."""
    return "".join(f"{line}{DELIMITER}\n" for line in text.split("\n") if line)


def _attempt(record: Record) -> Attempt:
    code, signal = _exit(record["ExitCode"])
    by = _BY.fullmatch(record["State"])
    limit = record["TimelimitRaw"]
    return Attempt(
        job_id=record["JobID"],
        name=record["JobName"],
        user=record["User"],
        account=record["Account"],
        partition=record["Partition"],
        qos=record["QOS"],
        state=parse.job_state(record["State"]),
        reason=_value(record["Reason"]),
        cancelled_by=by[1] if by else "",
        exit_code=code,
        exit_signal=signal,
        elapsed=int(record["ElapsedRaw"] or 0),
        time_limit=int(limit) * 60 if limit.isdigit() else None,
        asked=parse.tres(record["ReqTRES"]),
        allocated=parse.tres(record["AllocTRES"]),
        restarts=int(record["Restarts"] or 0),
        nodes=parse.hosts(record["NodeList"]),
        failed_node=_value(record["FailedNode"]),
        working_directory=record["WorkDir"],
        submitted_at=parse.moment(record["Submit"]),
        started_at=parse.moment(record["Start"]),
        ended_at=parse.moment(record["End"]),
        output=record["StdOut"],
    )


def _step(record: Record) -> Step:
    code, signal = _exit(record["ExitCode"])
    match = _STEP.fullmatch(record["JobID"])
    return Step(
        job_id=match["job"] if match else record["JobID"],
        step=match["step"] if match else "",
        name=record["JobName"],
        state=parse.job_state(record["State"]),
        exit_code=code,
        exit_signal=signal,
        elapsed=int(record["ElapsedRaw"] or 0),
        nodes=parse.hosts(record["NodeList"]),
        started_at=parse.moment(record["Start"]),
        ended_at=parse.moment(record["End"]),
    )


def _qos(record: Record) -> Qos:
    return Qos(
        name=record["Name"],
        priority=int(record["Priority"] or 0),
        flags=_names(record["Flags"]),
        limits=_limits(record, "MaxJobsPU", "MaxSubmitPU"),
        tres_per_user=parse.tres(record["MaxTRESPU"]),
        preempts=_names(record["Preempt"]),
    )


def _association(record: Record) -> Association:
    return Association(
        account=record["Account"],
        user=record["User"],
        partition=record["Partition"],
        qos=_names(record["QOS"]),
        default_qos=record["DefaultQOS"],
        limits=_limits(record, "MaxJobs", "MaxSubmit"),
    )


def _limits(record: Record, jobs: str, submitted: str) -> Limits:
    return Limits(
        time=parse.length(record["MaxWall"]),
        tres_per_job=parse.tres(record["MaxTRES"]),
        jobs=_count(record[jobs]),
        submitted=_count(record[submitted]),
        group_tres=parse.tres(record["GrpTRES"]),
        group_jobs=_count(record["GrpJobs"]),
    )


def _priority(record: Record) -> Priority:
    words = {name: value.strip() for name, value in record.items()}
    numbers = {
        name: int(float(words[name]))
        for name in ("total", "age", "fair_share", "job_size", "partition_part", "qos", "nice")
    }
    return Priority(number=int(words["number"]), partition=words["partition"], user=words["user"], **numbers)


def _exit(text: str) -> tuple[int, int]:
    code, _, signal = text.partition(":")
    return int(code), int(signal or 0)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _count(text: str) -> int | None:
    return int(text) if text else None


def _value(text: str) -> str:
    return "" if parse.is_none(text) else text
