"""Readers of whole answers of slurmctld: nodes, jobs, one job with what only its own page tells.

Jobs come as fields that each end in a separator made up for one call, so that no name, comment or
newline in them can end a field or a record. What cannot be read is handed back, never dropped.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from fleetward.slurm import parse
from fleetward.slurm.answers import Estimate, Job, JobDetail, Node, NodeGpus
from fleetward.slurm.client import NoEstimateError

JOB_FIELDS = (
    "JobArrayID",
    "JobID",
    "State",
    "Reason",
    "UserName",
    "Account",
    "Partition",
    "QOS",
    "NodeList",
    "NumNodes",
    "NumCPUs",
    "tres-alloc",
    "TimeUsed",
    "TimeLimit",
    "SubmitTime",
    "StartTime",
    "RestartCnt",
    "WorkDir",
    "Name",
)
"""Fields of `squeue -O`."""

DETAIL_FIELDS = (*JOB_FIELDS, "StdOut", "StdErr", "exit_code", "Dependency", "ExcNodes", "ReqNodes", "Reservation")
"""What is asked of one job."""

T = TypeVar("T")

# In `scontrol -o show nodes` everything from here on is free text or of no use.
_NODE_TAIL = re.compile(r" (?=(?:CurrentWatts|Reason|Comment|Extra)=)")
_NODE_FIELD = re.compile(r"(?:^|(?<= ))([A-Z][A-Za-z]*)=(\S*)")
_REASON = re.compile(r"(?:^| )Reason=(?P<why>.*?)(?= Comment=| Extra=|(?<=\]) ReservationName=|$)", re.DOTALL)
_STAMP = re.compile(r"(?P<why>.*)\[(?P<who>[^\s\[\]@]*)@(?P<when>\d+)\](?P<more>.*)", re.DOTALL)
_ESTIMATE = re.compile(
    r"Job \d+ to start at (?P<at>\d+)(?: \w+)? using (?P<cpus>\d+) processors on nodes (?P<nodes>\S+)"
    r" in partition (?P<partition>\S+)"
)
_GRES_LINE = re.compile(r"Nodes=(?P<nodes>\S+) .*?GRES=(?P<gres>\S*)")


def nodes(text: str) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """Read `scontrol -o -d show nodes`, times as seconds: the nodes by name, and the lines that are none.

    A newline in a node's comment begins a line that may look like a node: a name that comes twice is not believed.
    """
    found: dict[str, Node] = {}
    unread: list[str] = []
    for line in _node_lines(text):
        try:
            node = _node(line)
        except (KeyError, ValueError):
            unread.append(line)
            continue
        if node.name in found:
            unread.append(line)
        else:
            found[node.name] = node
    return tuple(found[name] for name in sorted(found)), tuple(unread)


def _node_lines(text: str) -> Iterator[str]:
    """Yield one text per node; a line that names no node goes on with the one before."""
    current: list[str] = []
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("NodeName=") and current:
            yield "\n".join(current)
            current = []
        if line.strip() or current:
            current.append(line)
    if current:
        yield "\n".join(current)


def _node(line: str) -> Node:
    split = _NODE_TAIL.search(line)
    head, tail = (line[: split.start()], line[split.start() :]) if split else (line, "")
    fields: dict[str, str] = {}
    for name, value in _NODE_FIELD.findall(head):
        fields.setdefault(name, value)
    state, flags = parse.node_state(fields["State"])
    why, who, when = _reason(tail)
    return Node(
        name=fields["NodeName"],
        state=state,
        flags=flags,
        partitions=tuple(fields["Partitions"].split(",")) if fields.get("Partitions") else (),
        gpus=parse.gpus_of_gres(fields["Gres"]),
        gpus_allocated={kind: count for kind, count in parse.gpus_of_gres(fields.get("GresUsed", "")).items() if count},
        cpus=int(fields["CPUTot"]),
        cpus_allocated=int(fields["CPUAlloc"]),
        memory=int(fields["RealMemory"]),
        memory_allocated=int(fields["AllocMem"]),
        reason=why,
        reason_by=who,
        reason_at=parse.moment(when),
    )


def _reason(tail: str) -> tuple[str, str, str]:
    """Return why, by whom and when of `Reason=why [who@when]`; Slurm puts the stamp after the first line."""
    match = _REASON.search(tail)
    if match is None:
        return "", "", ""
    stamped = _STAMP.fullmatch(match["why"])
    if stamped is None:
        return match["why"].strip(), "", ""
    lines = (stamped["why"].strip(), stamped["more"].strip())
    return "\n".join(line for line in lines if line), stamped["who"], stamped["when"]


def records(text: str, separator: str, fields: tuple[str, ...]) -> tuple[list[dict[str, str]], tuple[str, ...]]:
    """Cut the answer into records of these fields, each of which ends in the separator; the rest is unread."""
    parts = text.split(separator)
    rest = parts.pop().strip()
    width = len(fields)
    whole = len(parts) - len(parts) % width
    found = [
        dict(zip(fields, [parts[at].removeprefix("\n"), *parts[at + 1 : at + width]], strict=True))
        for at in range(0, whole, width)
    ]
    unread = [" ".join(parts[whole:]).strip(), rest]
    return found, tuple(text for text in unread if text)


def jobs(text: str, separator: str) -> tuple[tuple[Job, ...], tuple[str, ...]]:
    """Read squeue's answer, JOB_FIELDS in their order, times as seconds: the jobs by number, and what is unread."""
    found, unread = read_records(text, separator, JOB_FIELDS, _job)
    return tuple(sorted(found, key=lambda job: job.number)), unread


def job(text: str, separator: str) -> tuple[tuple[JobDetail, ...], tuple[str, ...]]:
    """Read squeue's answer, DETAIL_FIELDS in their order: one job, or all tasks of an array, without their GPUs."""
    return read_records(text, separator, DETAIL_FIELDS, _detail)


def read_records(
    text: str, separator: str, fields: tuple[str, ...], read: Callable[[Mapping[str, str]], T]
) -> tuple[tuple[T, ...], tuple[str, ...]]:
    """Read records of these fields, each of which ends in the separator; `read` raises ValueError for what is none."""
    found: list[T] = []
    split, rest = records(text, separator, fields)
    unread: list[str] = []
    for record in split:
        try:
            found.append(read(record))
        except ValueError:
            unread.append(" ".join(record.values()))
    return tuple(found), (*unread, *rest)


def _detail(record: Mapping[str, str]) -> JobDetail:
    code, _, signal = record["exit_code"].partition(":")
    return JobDetail(
        job=_job(record),
        gpus=(),
        exit_code=int(code),
        exit_signal=int(signal or 0),
        dependency=_value(record["Dependency"]),
        excluded=parse.hosts(record["ExcNodes"]),
        wanted=parse.hosts(record["ReqNodes"]),
        reservation=_value(record["Reservation"]),
        output=_value(record["StdOut"]),
        error=_value(record["StdErr"]),
    )


def _job(record: Mapping[str, str]) -> Job:
    return Job(
        id=record["JobArrayID"].strip(),
        number=int(record["JobID"]),
        name=record["Name"],
        user=record["UserName"],
        account=_value(record["Account"]),
        partition=record["Partition"],
        qos=_value(record["QOS"]),
        state=parse.job_state(record["State"]),
        reason=_value(record["Reason"]),
        nodes=parse.hosts(record["NodeList"]),
        node_count=int(record["NumNodes"].partition("-")[0]),
        cpus=int(record["NumCPUs"].partition("-")[0]),
        gpus=parse.gpus_of_tres(record["tres-alloc"]),
        elapsed=parse.length(record["TimeUsed"]) or 0,
        time_limit=parse.length(record["TimeLimit"]),
        submitted_at=parse.moment(record["SubmitTime"]),
        started_at=parse.moment(record["StartTime"]),
        restarts=int(record["RestartCnt"]),
        working_directory=_value(record["WorkDir"]),
    )


def estimate(text: str) -> Estimate:
    """Read what `sbatch --test-only` says on stderr, time as seconds; NoEstimateError where it is something else.

    A job for which several partitions were named may be told of in several lines; the last one holds.
    """
    matches = list(_ESTIMATE.finditer(text))
    moment = parse.moment(matches[-1]["at"]) if matches else None
    if moment is None:
        raise NoEstimateError(f"sbatch: not an estimate: {text.strip()[-300:]}")
    found = matches[-1]
    return Estimate(moment, int(found["cpus"]), parse.hosts(found["nodes"]), found["partition"])


def job_gpus(text: str, name: str) -> tuple[NodeGpus, ...]:
    """Read the GPUs per node out of `scontrol -d show job`.

    The job's name comes before them and may hold anything, a false list of GPUs included: it is cut out first.
    Command, comment and submit line come after them and after MinCPUsNode, where the reading ends.
    """
    text = text.replace(f"JobName={name}", "JobName=", 1).partition("MinCPUsNode=")[0]
    found: list[NodeGpus] = []
    for line in text.split("\n"):
        match = _GRES_LINE.fullmatch(line.strip())
        if match is None:
            continue
        by_type = parse.gpu_indices_of_gres(match["gres"])
        found += [
            NodeGpus(node, kind, indices) for node in parse.hosts(match["nodes"]) for kind, indices in by_type.items()
        ]
    return tuple(found)


def _value(text: str) -> str:
    return "" if parse.is_none(text) else text
