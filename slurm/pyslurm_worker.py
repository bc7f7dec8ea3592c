# SPDX-License-Identifier: MIT
# This program loads pyslurm, which is GPL-2.0-only. It is a program of its own: it imports nothing of fleetward,
# fleetward imports nothing of it, and they speak in lines of JSON over a pipe. Run together with pyslurm, the
# whole falls under pyslurm's licence; MIT allows that.
"""Answers for Slurm through pyslurm, one line of JSON per request, until its input ends.

First line out: {"pyslurm": VERSION}. Then {"id": N, "call": NAME} comes in, and {"id": N, "result": ...} or
{"id": N, "error": TEXT} goes out. Nothing here is caught that the library does to the process: import without a
usable slurm.conf ends it, and some calls crash it. The parent expects that.
"""

import json
import os
import sys
from typing import Any

import pyslurm
from pyslurm import slurmctld


def gpus(resources: dict[str, int]) -> dict[str, int]:
    """Return GPUs by type of pyslurm's {"gpu": 2, "gpu:h100": 2}; the bare entry counts the typed ones too."""
    typed = {name.removeprefix("gpu:"): count for name, count in resources.items() if name.startswith("gpu:")}
    rest = resources.get("gpu", 0) - sum(typed.values())
    return {**typed, "gpu": rest} if rest > 0 else typed


def nodes() -> list[dict[str, Any]]:
    """Return every node; memory in MiB, times in seconds of the epoch."""
    return [
        {
            "name": name,
            "state": node.state,
            "partitions": node.partitions,
            "gpus": gpus(node.configured_gres),
            "gpus_allocated": gpus(node.allocated_gres),
            "cpus": node.total_cpus,
            "cpus_allocated": node.allocated_cpus,
            "memory": node.real_memory,
            "memory_allocated": node.allocated_memory,
            "reason": node.reason or "",
            "reason_by": (node.reason_user or "") if node.reason else "",
            "reason_at": node.reason_time if node.reason else None,
        }
        for name, node in pyslurm.Nodes.load().items()
    ]


def job_id(job: pyslurm.Job) -> str:
    """Return the id as squeue shows it: `12`, `12_3`, or `12_[4-9%2]` for tasks that wait."""
    if job.array_tasks_waiting is not None:
        limit = f"%{job.array_tasks_parallel}" if job.array_tasks_parallel else ""
        return f"{job.array_id}_[{job.array_tasks_waiting}{limit}]"
    if job.array_task_id is not None:
        return f"{job.array_id}_{job.array_task_id}"
    return str(job.id)


def jobs() -> list[dict[str, Any]]:
    """Return every job; lengths of time and times in seconds, no limit as null, nodes as a folded list."""
    return [
        {
            "id": job_id(job),
            "number": job.id,
            "name": job.name or "",
            "user": job.user_name or "",
            "account": job.account or "",
            "partition": job.partition or "",
            "qos": job.qos or "",
            "state": job.state,
            "reason": job.state_reason or "",
            "nodes": job.allocated_nodes or "",
            "node_count": job.num_nodes or 0,
            "cpus": job.cpus or 0,
            "gpus": gpus({name: gpu.count for name, gpu in (job.gpus or {}).items()}),
            "elapsed": job.run_time or 0,
            "time_limit": job.time_limit * 60 if isinstance(job.time_limit, int) else None,
            "submitted_at": job.submit_time,
            "started_at": job.start_time,
            "restarts": job.requeue_count or 0,
            "working_directory": job.working_directory or "",
        }
        for job in pyslurm.Jobs.load().values()
    ]


def ping() -> list[dict[str, Any]]:
    """Return the controllers and whether each answers."""
    return [{"host": found.hostname, "answers": found.is_responding} for found in slurmctld.ping_all()]


CALLS = {"jobs": jobs, "nodes": nodes, "ping": ping}


def main() -> None:
    """Answer until the input ends."""
    # What the library prints goes to stderr; only our lines leave through the pipe.
    out = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    print(json.dumps({"pyslurm": pyslurm.__version__}), file=out, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer: dict[str, Any] = {"result": CALLS[request["call"]]()}
        except (pyslurm.PyslurmError, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"id": request["id"], **answer}), file=out, flush=True)


if __name__ == "__main__":
    main()
