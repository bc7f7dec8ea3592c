"""Where the log of a job is: Slurm's patterns in the name that `--output` gave, filled in.

squeue and sacct tell the name as it was written; it is the batch script's log, whose task is 0.
"""

import posixpath
import re
from dataclasses import dataclass

from fleetward.slurm.accounting import Attempt
from fleetward.slurm.answers import JobDetail

DEFAULT = "slurm-%j.out"
DEFAULT_OF_ARRAY = "slurm-%A_%a.out"
_PATTERN = re.compile(r"%(?P<width>[0-9]*)(?P<letter>[A-Za-z%])")
_OWN_NUMBER = re.compile(r"%[0-9]*[jJ]")
_WIDEST = 10
"""Slurm fills numbers up to no more digits."""


@dataclass(frozen=True, slots=True)
class JobWords:
    """What the patterns stand for."""

    job_id: str
    """`12`, or `12_3` for one task of an array."""
    number: int
    """Slurm's own number of it."""
    name: str
    user: str
    working_directory: str
    first_node: str = ""


def log_path(pattern: str, words: JobWords) -> str:
    """Return the absolute path of a job's log; a letter that Slurm does not know stays as it is."""
    array, _, task = words.job_id.partition("_")
    known = {
        "A": array,
        "a": task or "4294967294",
        "j": str(words.number),
        "J": str(words.number),
        "x": words.name,
        "u": words.user,
        "N": words.first_node.partition(".")[0],
        "n": "0",
        "t": "0",
        "s": "batch",
        "%": "%",
    }

    def fill(match: re.Match[str]) -> str:
        value = known.get(match["letter"])
        if value is None:
            return match[0]
        return value.zfill(min(int(match["width"] or 0), _WIDEST)) if value.isdigit() else value

    chosen = pattern or (DEFAULT_OF_ARRAY if task else DEFAULT)
    # A name with a backslash is taken as it stands.
    filled = chosen.replace("\\", "") if "\\" in chosen else _PATTERN.sub(fill, chosen)
    return posixpath.normpath(posixpath.join(words.working_directory or "/", filled))


def logs_of(detail: JobDetail) -> tuple[str, ...]:
    """Return the paths of a job's logs: what it prints, and its errors where they go elsewhere."""
    job = detail.job
    words = JobWords(job.id, job.number, job.name, job.user, job.working_directory, job.nodes[0] if job.nodes else "")
    paths = [log_path(detail.output, words)]
    if detail.error:
        paths.append(log_path(detail.error, words))
    return tuple(dict.fromkeys(paths))


def log_of_attempt(attempt: Attempt) -> str | None:
    """Return the path of an attempt's log; None where only slurmctld knew it. slurmdbd does not say where errors go."""
    if not attempt.job_id.isdigit() and _OWN_NUMBER.search(attempt.output):
        return None  # a task's own number, by which slurmdbd is not asked here
    first, number = attempt.nodes[0] if attempt.nodes else "", int(attempt.job_id.partition("_")[0])
    words = JobWords(attempt.job_id, number, attempt.name, attempt.user, attempt.working_directory, first)
    return log_path(attempt.output, words)
