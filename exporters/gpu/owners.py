"""Whose the processes on the GPUs are: of which user, and in the control group of which of Slurm's jobs.

Slurm calls a job's control group by the job's number (`job_4711`), and from 26.05 on, on cgroup v2, by the SLUID of the
attempt (src/plugins/cgroup of SchedMD/slurm, 24.11 to 26.05):

    cgroup v1   /slurm/uid_1000/job_4711/step_0/task_0
    cgroup v2   /system.slice/slurmstepd.scope/job_4711/step_0/user/task_0
                /system.slice/gpu001_slurmstepd.scope/sEKNKTV3WPV500/step_0/user/task_0

In a container the path begins elsewhere. A user may name groups of their own as they please, below `user.slice`.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from fleetward.exporters.gpu.readings import ProcessOwner

PROC = Path("/proc")
MOST_PROCESSES = 1024
"""So many are looked up at most; of the others nothing is known."""
MOST_BYTES = 16 * 1024
"""Of one file in /proc."""

_GROUP = re.compile(
    r"/(?:[\w.+-]{1,255}_)?slurmstepd\.scope/(?:job_(?P<v2>\d{1,10})|(?P<sluid>s[0-9A-HJKMNP-TV-Z]{13}))(?=/|$)"
    r"|/slurm[\w.+-]{0,255}/uid_\d{1,10}/job_(?P<v1>\d{1,10})(?=/|$)",
    re.ASCII,
)
_USERS_OWN = "/user.slice/"
_UID = re.compile(r"^Uid:\s*(\d{1,10})\b", re.MULTILINE | re.ASCII)
_STATE = re.compile(r"^State:\s*(\w)", re.MULTILINE | re.ASCII)


def owners(pids: Iterable[int], proc: Path = PROC) -> Mapping[int, ProcessOwner] | None:
    """Return the owner of each process that is still there; None where other users' processes are hidden from us."""
    if not (proc / "1" / "cgroup").exists():
        return None
    wanted = sorted(set(pids))[:MOST_PROCESSES]
    return {pid: owner for pid in wanted if (owner := _owner(f"{proc}/{pid}")) is not None}


def job_of(cgroup: str) -> tuple[str, str]:
    """Return number and SLUID of the job that a /proc/PID/cgroup names, one of them at most; empty for none."""
    for line in cgroup.splitlines():
        path = line.partition(":")[2].partition(":")[2]
        match = _GROUP.search(path)
        if match and _USERS_OWN not in path[: match.start() + 1]:
            return match["v2"] or match["v1"] or "", match["sluid"] or ""
    return "", ""


def _owner(process: str) -> ProcessOwner | None:
    cgroup, status = (_text(f"{process}/{name}") for name in ("cgroup", "status"))
    uid, state = _UID.search(status), _STATE.search(status)
    return ProcessOwner(int(uid[1]), *job_of(cgroup), state[1] if state else "") if cgroup and uid else None


def _text(file: str) -> str:
    """Return nothing where it has ended meanwhile."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
