"""Readers of what slurmrestd answers, data_parser v0.0.42 and later ones that kept its shapes.

An entry that is not as expected is handed back as text, never dropped. Numbers come as `{"set": ..., "infinite": ...,
"number": ...}`, times as seconds of the epoch where 0 is none.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from fleetward.slurm import parse
from fleetward.slurm.accounting import REQUEUED, Attempt
from fleetward.slurm.answers import (
    ENDED,
    Calls,
    Controller,
    Diagnostics,
    Job,
    JobDetail,
    Node,
    NodeGpus,
    Reservation,
    Share,
)

Entry = Mapping[str, Any]
T = TypeVar("T")

_MICROSECONDS = 1e6
_MEMORY = "mem"
_LONGEST_UNREAD = 2000


def entries(found: object, read: Callable[[Entry], T]) -> tuple[tuple[T, ...], tuple[str, ...]]:
    """Read each entry of a list; ValueError where it is no list."""
    if not isinstance(found, list):
        raise ValueError(f"not a list: {str(found)[:200]}")
    items: list[T] = []
    unread: list[str] = []
    for one in found:
        try:
            items.append(read(one))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            unread.append(json.dumps(one)[:_LONGEST_UNREAD])
    return tuple(items), tuple(unread)


def node(entry: Entry) -> Node:
    """Read one node."""
    state, flags = parse.node_state("+".join(entry["state"]))
    reason = entry["reason"].strip()
    return Node(
        name=entry["name"],
        state=state,
        flags=flags,
        partitions=tuple(entry["partitions"]),
        gpus=parse.gpus_of_gres(entry["gres"]),
        gpus_allocated={kind: count for kind, count in parse.gpus_of_gres(entry["gres_used"]).items() if count},
        cpus=int(entry["cpus"]),
        cpus_allocated=int(entry["alloc_cpus"]),
        memory=int(entry["real_memory"]),
        memory_allocated=int(entry["alloc_memory"]),
        reason=reason,
        reason_by=entry["reason_set_by_user"] if reason else "",
        reason_at=_moment(entry["reason_changed_at"]) if reason else None,
    )


def job_at(now: float) -> Callable[[Entry], Job]:
    """Return the reader of a job; slurmrestd does not tell for how long one has run, so `now` decides."""
    return lambda entry: _job(entry, now)


def detail(entry: Entry, read: Callable[[Entry], Job]) -> JobDetail:
    """Read a job with what only its own page tells; its GPUs stand in the order of its nodes."""
    job, code = read(entry), entry["exit_code"]
    return JobDetail(
        job=job,
        gpus=tuple(
            NodeGpus(name, kind, indices)
            for name, gres in zip(job.nodes, entry["gres_detail"], strict=False)
            for kind, indices in parse.gpu_indices_of_gres(gres).items()
        ),
        exit_code=_whole(code["return_code"]) or 0,
        exit_signal=_whole(code["signal"]["id"]) or 0,
        dependency=_value(entry["dependency"]),
        excluded=parse.hosts(entry["excluded_nodes"]),
        wanted=parse.hosts(entry["required_nodes"]),
        reservation=_value(entry["resv_name"]),
        output=entry["standard_output"],
        error=entry["standard_error"],
    )


def reservation_at(now: float) -> Callable[[Entry], Reservation]:
    """Return the reader of a reservation, which is active while its time is."""
    return lambda entry: _reservation(entry, now)


def share(entry: Entry) -> Share:
    """Read the share of an account, or of a user in one."""
    is_user = "USER" in entry["type"]
    return Share(
        account=entry["parent"] if is_user else entry["name"],
        user=entry["name"] if is_user else "",
        shares=_whole(entry["shares"]),
        normalized_shares=round(_number(entry["shares_normalized"]) or 0.0, 6),
        usage=int(entry["usage"]),
        effective_usage=_number(entry["effective_usage"]) or 0.0,
        fair_share=_number(entry["fairshare"]["factor"]) if is_user else None,
    )


def diagnostics(entry: Entry) -> Diagnostics:
    """Read slurmctld's statistics; KeyError, TypeError or ValueError where they are something else."""
    at, since = _moment(entry["req_time"]), _moment(entry["req_time_start"])
    if at is None or since is None:
        raise ValueError("it does not say of which time it is")
    return Diagnostics(
        at=at,
        since=since,
        threads=entry["server_thread_count"],
        agent_queue=entry["agent_queue_size"],
        database_queue=entry["dbd_agent_queue_size"],
        scheduler_cycle=entry["schedule_cycle_last"] / _MICROSECONDS,
        scheduler_cycles=entry["schedule_cycle_total"],
        backfill_cycle=entry["bf_cycle_last"] / _MICROSECONDS,
        backfill_cycles=entry["bf_cycle_counter"],
        backfilled_jobs=entry["bf_backfilled_jobs"],
        jobs_submitted=entry["jobs_submitted"],
        jobs_started=entry["jobs_started"],
        calls_by_type=_calls(entry["rpcs_by_message_type"], "message_type"),
        calls_by_user=_calls(entry["rpcs_by_user"], "user"),
    )


def controller(entry: Entry) -> Controller:
    """Read one slurmctld."""
    return Controller(entry["hostname"], bool(entry["responding"]))


def attempt(entry: Entry) -> Attempt:
    """Read slurmdbd's record of one attempt of a job."""
    times, code, states = entry["time"], entry["exit_code"], entry["state"]["current"]
    limit = _whole(times["limit"])
    return Attempt(
        job_id=_job_id(entry["job_id"], entry["array"]["job_id"], entry["array"]["task_id"], entry["array"]["task"]),
        name=entry["name"],
        user=entry["user"],
        account=entry["account"],
        partition=entry["partition"],
        qos=entry["qos"],
        state=REQUEUED if REQUEUED in states else parse.job_state(states[0]),
        reason=_value(entry["state"]["reason"]),
        cancelled_by=entry["kill_request_user"] or "",
        exit_code=_whole(code["return_code"]) or 0,
        exit_signal=_whole(code["signal"]["id"]) or 0,
        elapsed=int(times["elapsed"]),
        time_limit=None if limit is None else limit * 60,
        asked=_tres(entry["tres"]["requested"]),
        allocated=_tres(entry["tres"]["allocated"]),
        restarts=int(entry["restart_cnt"]),
        nodes=parse.hosts(entry["nodes"]),
        failed_node=_value(entry["failed_node"]),
        working_directory=entry["working_directory"],
        submitted_at=_moment(times["submission"]),
        started_at=_moment(times["start"]),
        ended_at=_moment(times["end"]),
        output=entry["stdout"],
    )


def _job(entry: Entry, now: float) -> Job:
    state = parse.job_state(entry["job_state"][0])
    started, limit = _moment(entry["start_time"]), _whole(entry["time_limit"])
    until = _number(entry["end_time"]) if state in ENDED else now
    ran = started is not None and state not in {"PENDING", "REQUEUED", "REQUEUE_HOLD"}
    array = _whole(entry["array_job_id"]) or 0
    return Job(
        id=_job_id(entry["job_id"], array, entry["array_task_id"], entry["array_task_string"]),
        number=int(entry["job_id"]),
        name=entry["name"],
        user=entry["user_name"],
        account=entry["account"],
        partition=entry["partition"],
        qos=entry["qos"],
        state="COMPLETING" if "COMPLETING" in entry["job_state"] else state,
        reason=_value(entry["state_reason"]),
        nodes=parse.hosts(entry["nodes"]),
        node_count=_whole(entry["node_count"]) or 0,
        cpus=_whole(entry["cpus"]) or 0,
        gpus=parse.gpus_of_tres(entry["tres_alloc_str"] or entry["tres_req_str"]),
        elapsed=max(0, int((until or now) - started.timestamp())) if ran and started is not None else 0,
        time_limit=None if limit is None else limit * 60,
        submitted_at=_moment(entry["submit_time"]),
        started_at=started,
        restarts=int(entry["restart_cnt"]),
        working_directory=entry["current_working_directory"],
    )


def _job_id(number: int, array: int, task: object, tasks: str) -> str:
    """Return the id as squeue shows it: `12`, `12_3`, or `12_[4-9%2]` for tasks that wait."""
    if array and tasks:
        return f"{array}_[{tasks}]"
    index = _whole(task)
    return f"{array}_{index}" if array and index is not None else str(int(number))


def _reservation(entry: Entry, now: float) -> Reservation:
    starts, ends = _moment(entry["start_time"]), _moment(entry["end_time"])
    return Reservation(
        name=entry["name"],
        active=starts is not None and starts.timestamp() <= now and (ends is None or now < ends.timestamp()),
        starts_at=starts,
        ends_at=ends,
        nodes=parse.hosts(entry["node_list"]),
        flags=tuple(entry["flags"]),
        users=_names(entry["users"]),
        accounts=_names(entry["accounts"]),
        partition=entry["partition"],
    )


def _calls(found: Iterable[Entry], name: str) -> tuple[Calls, ...]:
    return tuple(Calls(one[name], one["count"], one["total_time"] / _MICROSECONDS) for one in found)


def _tres(found: Sequence[Entry]) -> Mapping[str, str]:
    """Return resources as `sacct` writes them; slurmdbd tells what it does not know as a number below 0."""
    counts = {one["type"] + (f"/{one['name']}" if one["name"] else ""): one["count"] for one in found}
    return {name: f"{count}{'M' if name == _MEMORY else ''}" for name, count in counts.items() if count >= 0}


def _value(text: str) -> str:
    return "" if parse.is_none(text) else text


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _number(found: object) -> float | None:
    if isinstance(found, Mapping):
        return float(found["number"]) if found["set"] and not found["infinite"] else None
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise TypeError(f"not a number: {found!r}")
    return float(found)


def _whole(found: object) -> int | None:
    number = _number(found)
    return None if number is None else int(number)


def _moment(found: object) -> datetime | None:
    seconds = _number(found)
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
