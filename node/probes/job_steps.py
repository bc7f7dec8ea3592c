"""Which of Slurm's jobs have a step on this node: each step has a slurmstepd, which says in its title whose it is."""

import re
from collections.abc import Iterator

from fleetward.exporters.gpu.owners import job_of
from fleetward.node.surroundings import Surroundings

_NAME = "slurmstepd"
_TITLE = re.compile(r"slurmstepd: \[(\d{1,10})\.")
"""Such as `slurmstepd: [4711.extern]` (Slurm 24.11 to 26.05)."""
_USER = re.compile(r"^Uid:\s*(\d+)", re.MULTILINE)


def jobs_with_steps(surroundings: Surroundings) -> frozenset[str]:
    """Return the jobs by number, and by SLUID too where control groups have it.

    A process of a user that calls itself so does not count. With PrologFlags=Contain in slurm.conf each job has a step
    as long as it is on the node; without, one that was allocated and has started nothing has none.
    """
    return frozenset(
        job for name in surroundings.names("proc") if name.isdecimal() for job in _jobs(surroundings, name) if job
    )


def _jobs(surroundings: Surroundings, pid: str) -> Iterator[str]:
    if surroundings.text(f"proc/{pid}/comm") != _NAME:
        return
    title = _TITLE.match(surroundings.text(f"proc/{pid}/cmdline") or "")
    user = _USER.search(surroundings.text(f"proc/{pid}/status") or "")
    if title and user and user[1] == "0":
        yield title[1]
        yield from job_of(surroundings.text(f"proc/{pid}/cgroup") or "")
