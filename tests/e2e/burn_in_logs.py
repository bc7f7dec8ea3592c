"""Burn-in jobs that are played: each ends with a log as its own script would have written it."""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from whole_daemon import Daemon

SAMPLES = Path(__file__).parents[1] / "operations/qualification/samples"
GOOD = (SAMPLES / "dcgm-4.6.0-long.json").read_text()
BAD = (SAMPLES / "dcgm-4.6.0-failed.json").read_text()
PARTS = json.dumps({"kernel": "6.12.48", "driver": "580.95.05", "hcas": [], "gpus": []})
OTHER_PARTS = json.dumps({"kernel": "6.12.49", "driver": "580.95.05", "hcas": [], "gpus": []})


def log_of(script: str, told: str, parts: str = PARTS) -> str:
    """Return what a job of this script would have written."""
    (mark,) = set(re.findall(r"^fleetward_mark=(\S+)$", script, re.MULTILINE))
    ids = [id for id in re.findall(r"fleetward_run (\w+) \d+", script) if id != "fingerprint"]
    lines = [f"{mark} begin fingerprint\n{parts}\n{mark} end fingerprint 0 1\n"]
    lines += [f"{mark} begin {id}\n{told}\n{mark} end {id} 0 60\n" for id in ids]
    return "".join(lines)


def run_jobs(daemon: Daemon, told: Callable[[str], str] = lambda _: GOOD, states: Iterable[str] = ()) -> None:
    """Let every job that waits run to its end; `told` says by its node what its workload printed."""
    ends = iter(states)
    for number, script in daemon.slurm.scripts.items():
        if daemon.slurm.jobs_now[number].state != "PENDING":
            continue
        name = re.findall(r"--nodelist=(\S+)", script)[0]
        path = re.findall(r"--output=(\S+)", script)[0]
        daemon.runner.logs[path] = log_of(script, told(name))
        daemon.slurm.end(number, next(ends, "COMPLETED"))
