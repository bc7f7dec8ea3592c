"""What the exporter calls a node's state, who drained it, and how jobs ended: pure functions of what Slurm says."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from fleetward.model.claims import owned_reason
from fleetward.slurm.answers import ENDED, Job, Node

STATES = (
    *("idle", "mixed", "allocated", "completing", "draining", "drained", "reserved", "maintenance"),
    *("down", "not_responding", "rebooting", "powered_down", "unknown"),
)
"""One of these is each node's state; there are no others."""

OWNERS = ("change", "fleetward", "person", "slurm")
"""Who drained a node: a claim of ours, a person by hand, or Slurm by itself."""

_FIRST = (
    (frozenset({"POWERED_DOWN", "POWERING_DOWN", "POWERING_UP", "POWER_DOWN", "POWER_UP"}), "powered_down"),
    (frozenset({"REBOOT_ISSUED"}), "rebooting"),
    (frozenset({"DOWN", "ERROR"}), "down"),
    (frozenset({"NOT_RESPONDING"}), "not_responding"),
    (frozenset({"MAINTENANCE", "MAINT"}), "maintenance"),
)
"""What comes before a drain: a state that any of these words of Slurm's means."""
_BUSY = frozenset({"ALLOCATED", "MIXED", "COMPLETING"})
_REST = {"COMPLETING": "completing", "RESERVED": "reserved"}
_BASES = {"IDLE": "idle", "MIXED": "mixed", "ALLOCATED": "allocated"}


def node_state(node: Node) -> str:
    """Return one of STATES: of several that hold, the one that a person has to know first."""
    words = {node.state, *node.flags}
    for any_of, state in _FIRST:
        if words & any_of:
            return state
    if "DRAIN" in words:
        return "draining" if words & _BUSY else "drained"
    flagged = (state for word, state in _REST.items() if word in words)
    return next(flagged, _BASES.get(node.state, "unknown"))


def drain_owner(node: Node) -> str | None:
    """Return one of OWNERS; None for a node that is not drained."""
    if "DRAIN" not in node.flags:
        return None
    own = owned_reason(node.reason)
    if own is not None:
        return "change" if own.of_change else "fleetward"
    return "slurm" if node.reason_by == "slurm" else "person"


def drain_class(node: Node) -> str:
    """Return what a node was drained for, as our reasons say it; `other` where somebody else wrote the reason."""
    owned = owned_reason(node.reason)
    return str(owned.kind) if owned else "other"


OUTCOMES = (*sorted(state.lower() for state in ENDED), "requeued")
"""How an attempt of a job can end; `requeued` where Slurm put it back into the queue before anybody saw its end."""

_Attempt = tuple[int, datetime | None, int]


class JobEnds:
    """Counts attempts that ended since this program began; each is counted once, however long Slurm lists it.

    What had ended before the first look is not counted. An end that comes and is forgotten by slurmctld (MinJobAge,
    300 s) between two looks is missed.
    """

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._counts: Counter[str] = Counter()
        self._ended: set[_Attempt] | None = None
        self._restarts: dict[int, int] = {}

    def look(self, jobs: Iterable[Job]) -> None:
        """Take all jobs that Slurm lists now."""
        jobs = tuple(jobs)
        ended = {(job.number, job.submitted_at, job.restarts): job.state.lower() for job in jobs if job.ended}
        if self._ended is not None:
            self._counts.update(state for attempt, state in ended.items() if attempt not in self._ended)
            for job in jobs:
                self._count_requeues(job)
        self._ended = set(ended)
        self._restarts = {job.number: job.restarts for job in jobs}

    def counts(self) -> Mapping[str, int]:
        """Return how many attempts ended, by each of OUTCOMES."""
        return {outcome: self._counts[outcome] for outcome in OUTCOMES}

    def _count_requeues(self, job: Job) -> None:
        before = self._restarts.get(job.number)
        if before is None or job.restarts <= before:
            return
        seen = sum(1 for number, _, restarts in self._ended or () if number == job.number and restarts >= before)
        self._counts["requeued"] += max(0, job.restarts - before - seen)
