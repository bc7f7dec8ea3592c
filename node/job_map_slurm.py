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
_ROW = re.compile(r"([0-9]{1,10}) ([A-Z_]{1,40}) ?(\S*)", re.ASCII)
_NAMES = re.compile(r"(?:[^,\[\]]|\[[^\[\]]*\])+")
"""One part of a host list: `gpu[001-003,007]`, or a name."""
_RANGES = re.compile(r"\[([0-9,-]+)\]")


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

    `node` is this node as Slurm calls it. Where it is empty, a job that runs anywhere is not over. With --nodelist
    squeue would load all nodes of the cluster first.
    """
    argv = ["squeue", "--local", "--noheader", "--states=all", f"--jobs={job}", "--format=%A %T %N"]
    where = {key: os.environ[key] for key in ("SLURM_CONF",) if key in os.environ}
    try:
        answer = surroundings.run(argv, seconds, where)
    except ProbeError as error:
        if UNKNOWN_JOB in str(error):
            return True
        raise
    return judged(answer, job, node)


def judged(answer: str, job: str, node: str) -> bool:
    """Say whether squeue's answer means that the job is over on a node; ProbeError where the answer is not whole.

    An array is answered with all its tasks, of which the one with the number itself counts.
    """
    *lines, rest = answer.split("\n")
    rows = [_ROW.fullmatch(line) for line in lines]
    if not rows or rest or None in rows:
        raise ProbeError(f"squeue's answer about job {job} is not whole")
    return all(
        row[2] in ENDED | WAITING or bool(node and row[3] and not may_be_among(node, row[3]))
        for row in rows
        if row is not None and row[1] == job
    )


def may_be_among(node: str, names: str) -> bool:
    """Return whether a node is in a host list as Slurm folds it; also where that is not clear."""
    parts = _NAMES.findall(names)
    return ",".join(parts) != names or any(_may_be(node, part) for part in parts)


def _may_be(node: str, part: str) -> bool:
    texts = _RANGES.split(part)
    pattern = "([0-9]+)".join(re.escape(text) for text in texts[::2])
    found = re.fullmatch(pattern, node, re.ASCII)
    if "[" in "".join(texts[::2]) or (found and len(texts) > 3):
        return True  # what are no ranges of numbers, or several of them, which may be read in more than one way
    return found is not None and (len(texts) == 1 or any(_is_in(found[1], one) for one in texts[1].split(",")))


def _is_in(number: str, numbers: str) -> bool:
    low, dash, high = numbers.partition("-")
    if not low.isdigit() or (dash and not high.isdigit()):
        return True
    return int(low) <= int(number) <= int(high or low) and number == str(int(number)).zfill(len(low))
