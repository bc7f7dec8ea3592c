"""What Slurm says of one job: whether it is over on this node."""

import os
import re
from collections.abc import Callable

from fleetward.node.deadline import Deadline
from fleetward.node.results import ProbeError
from fleetward.node.surroundings import Surroundings

ENDED = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "TIMEOUT",
    }
)
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "REVOKED", "SPECIAL_EXIT"})
"""For a new attempt, which a Prolog will write down."""
UNKNOWN_JOB = "Invalid job id specified"
"""What squeue says of a job that slurmctld has forgotten, which it does MinJobAge after its end."""
FEWEST_SECONDS = 0.5
"""A question that has less time than this is not asked."""
_ROW = re.compile(r"([0-9]{1,10}) ([A-Z_]{1,40})", re.ASCII)


def asking(surroundings: Surroundings, deadline: Deadline) -> Callable[[str, str], bool]:
    """Return `is_over` for a node, with a deadline for all answers together."""

    def ask(job: str, node: str) -> bool:
        seconds = deadline.left()
        if seconds < FEWEST_SECONDS:
            raise ProbeError("no time was left to ask Slurm")
        return is_over(surroundings, job, node, seconds)

    return ask


def is_over(surroundings: Surroundings, job: str, node: str, seconds: float) -> bool:
    """Ask slurmctld for this one job, which costs it next to nothing; ProbeError where it does not answer.

    `node` is this node as Slurm calls it. Where it is empty, a job that runs anywhere is not over.
    """
    here = [f"--nodelist={node}"] if node else []
    argv = ["squeue", "--local", "--noheader", "--states=all", f"--jobs={job}", *here, "--format=%A %T"]
    where = {key: os.environ[key] for key in ("SLURM_CONF",) if key in os.environ}
    try:
        answer = surroundings.run(argv, seconds, where)
    except ProbeError as error:
        if UNKNOWN_JOB in str(error):
            return True
        raise
    return judged(answer, job, on_one_node=bool(node))


def judged(answer: str, job: str, *, on_one_node: bool) -> bool:
    """Say whether squeue's answer means that the job is over; ProbeError where the answer is not whole.

    A job that is not on the node that was asked for has no row. An array is answered with all its tasks, of which the
    one with the number itself counts.
    """
    rows = [_ROW.fullmatch(line) for line in answer.split("\n")[:-1]]
    if not answer.endswith("\n" if answer else "") or None in rows:
        raise ProbeError(f"squeue's answer about job {job} is not whole")
    states = {row[2] for row in rows if row is not None and row[1] == job}
    if not states and not on_one_node:
        raise ProbeError(f"squeue says nothing of job {job}")
    return states <= ENDED | WAITING
