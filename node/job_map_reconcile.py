"""Takes jobs out of the job map whose Epilog never came, as where slurmd was killed or the script timed out.

A job that has a step on this node is not over; that is seen in the process table and costs nobody anything. Only for a
job without one Slurm is asked, for each by itself: with PrologFlags=Contain these are the ones that are over and
nothing else, without it also those that were allocated and have started nothing. A line that has just been written is
left alone, and so is one of which nothing is known.

What a Prolog that never came would have written is not added: which GPUs a job has on a node says only a text that also
holds what users wrote, and gpu_leftover_processes shows who uses a GPU without being on the map.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fleetward.node.job_map_parts import Part, mend, read_parts, take_out
from fleetward.node.results import ProbeError

GRACE_SECONDS = 120.0
"""After a line was written: the first step of its job may not be there yet."""
MOST_ASKED = 64
"""Jobs of one run; the oldest first."""

IsOver = Callable[[str, str], bool]
"""Says whether a job is over on a node, by the number of the one and the name of the other; may raise ProbeError."""


@dataclass(frozen=True)
class Reconciled:
    """What one run did."""

    taken_out: tuple[Part, ...]
    kept: int
    """Lines that stay."""
    unknown: tuple[tuple[str, str], ...]
    """Jobs of which it is not known whether they are over, each with the reason."""
    mended: tuple[str, ...]
    """GPUs whose file did not say what its lines say."""


def reconcile(folder: Path, has_step: frozenset[str], is_over: IsOver, now: float) -> Reconciled:
    """Do one run; `now` in Unix time. Raises OSError where the folder cannot be read or written."""
    parts = read_parts(folder)
    unknown: list[tuple[str, str]] = []
    over: set[tuple[str, str]] = set()
    for asked, (job, node) in enumerate(doubtful(parts, has_step, now)):
        try:
            if asked >= MOST_ASKED:
                raise ProbeError(f"not asked for: one run asks for {MOST_ASKED} jobs at most")
            if is_over(job, node):
                over.add((job, node))
        except ProbeError as error:
            unknown.append((job, str(error)))
    gone = [part for part in parts if (part.job, part.node) in over and not is_young(part, now)]
    taken_out = tuple(part for part in gone if take_out(folder, part))
    return Reconciled(taken_out, len(parts) - len(gone), tuple(unknown), mend(folder))


def doubtful(parts: Iterable[Part], has_step: frozenset[str], now: float) -> list[tuple[str, str]]:
    """Return jobs that may be over, each with the name of this node, those written down first in front."""
    found = [part for part in parts if part.job not in has_step and not is_young(part, now)]
    return list(dict.fromkeys((part.job, part.node) for part in sorted(found, key=lambda part: part.written_at)))


def is_young(part: Part, now: float) -> bool:
    """Return whether a line may be of a job that begins now; the clock may have been set back since it was written."""
    return abs(now - part.written_at) < GRACE_SECONDS
