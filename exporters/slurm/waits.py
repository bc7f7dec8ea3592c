"""How long jobs waited until they started, by how many GPUs they have: a histogram for each size."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from fleetward.slurm.answers import Job
from fleetward.slurm.snapshot import Change, ChangeKind, JobChange

BOUNDS = (10, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 86400, 3 * 86400, 7 * 86400)
"""Upper bounds of the buckets, in seconds."""
_SIZES = ((0, "0"), (1, "1"), (8, "2-8"), (64, "9-64"), (512, "65-512"))
_LARGEST = "513+"
SIZES = (*(name for _, name in _SIZES), _LARGEST)
"""What a job is called by its GPUs."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts up to each of BOUNDS and of all, and the sum in seconds."""

    counts: tuple[int, ...]
    total: float


def size_of(job: Job) -> str:
    """Return one of SIZES."""
    gpus = sum(job.gpus.values())
    return next((name for most, name in _SIZES if gpus <= most), _LARGEST)


class Waits:
    """Counts every start once, since this program began."""

    def __init__(self) -> None:
        """Begin with none."""
        self._counts = {size: [0] * (len(BOUNDS) + 1) for size in SIZES}
        self._totals = dict.fromkeys(SIZES, 0.0)

    def look(self, changes: Iterable[Change]) -> None:
        """Take what happened; a start of which Slurm does not tell both times is left out."""
        for change in changes:
            if isinstance(change, JobChange) and change.kind is ChangeKind.STARTED:
                self._take(change.job)

    def histograms(self) -> Mapping[str, Histogram]:
        """Return the histogram of each size."""
        return {size: Histogram(tuple(accumulate(self._counts[size])), self._totals[size]) for size in SIZES}

    def _take(self, job: Job) -> None:
        if job.submitted_at is None or job.started_at is None:
            return
        waited = max(0.0, (job.started_at - job.submitted_at).total_seconds())
        size = size_of(job)
        self._counts[size][bisect_left(BOUNDS, waited)] += 1
        self._totals[size] += waited
