"""Looking at Slurm again and again: the one picture that all who watch share, and less often where Slurm is slow."""

import time
from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import TypeVar

from fleetward.model.errors import FleetwardError
from fleetward.slurm.answers import Listing
from fleetward.slurm.client import SlurmClient, SlurmOutOfReachError
from fleetward.slurm.snapshot import Part, Snapshot

SHARE_OF_TIME = 0.2
"""At most so much of the time goes into questions: one that took 2 s is not put again for 10 s."""
LONGEST_PAUSE = 300.0
PARTITIONS_SECONDS = 60.0
"""How often partitions are asked for, at most: a person changes them, now and then."""

T = TypeVar("T")


class Looker:
    """Takes pictures; not for several threads at once."""

    def __init__(self, client: SlurmClient, clock: Callable[[], float] = time.monotonic) -> None:
        """Ask for nothing yet."""
        self._client = client
        self._clock = clock
        self._failures = 0
        self._took = 0.0
        self._partitions_due = -inf
        self.snapshot = Snapshot()
        """The last picture; a part that Slurm did not tell stays as it was, with its age."""

    def look(self, *, jobs: bool = True, partitions: bool = True) -> Snapshot:
        """Ask for what is due; after one that is out of reach the others are not asked, and say why.

        Without `jobs`, or `partitions`, those stay as they were. Partitions are due once a minute.
        """
        before, began = self.snapshot, self._clock()
        nodes, away = asked_anew(before.nodes, self._client.nodes, self._clock)
        queue, groups = before.jobs, before.partitions
        if jobs:
            queue, away = asked_anew(queue, self._client.jobs, self._clock, away)
        if partitions and (away is not None or self._clock() >= self._partitions_due):
            due = self._clock() + PARTITIONS_SECONDS
            groups, away = asked_anew(groups, self._client.partitions, self._clock, away)
            self._partitions_due = due if away is None else -inf
        self._failures = self._failures + 1 if away is not None or nodes.problem else 0
        self._took = self._clock() - began
        self.snapshot = Snapshot(nodes, queue, groups)
        return self.snapshot

    def pause(self, interval: float, longest: float = LONGEST_PAUSE, besides: float = 0.0) -> float:
        """Return the seconds until the next look: more where the last one took long, or Slurm did not answer.

        `longest` bounds it while Slurm does not answer, for those who wait to see it back. `besides` seconds went into
        further questions.
        """
        slow = (self._took + besides) / SHARE_OF_TIME
        wanted = max(interval * 2.0 ** min(self._failures, 6), slow)
        return min(wanted, max(longest if self._failures else LONGEST_PAUSE, interval))


def asked_anew(
    before: Part[T],
    ask: Callable[[], Listing[T]],
    clock: Callable[[], float],
    away: SlurmOutOfReachError | None = None,
) -> tuple[Part[T], SlurmOutOfReachError | None]:
    """Return a part as Slurm tells it now, or as it was and why it does not; and the error where it is out of reach.

    Where it is `away` already it is not asked.
    """
    if away is not None:
        return replace(before, seconds=0.0, problem=str(away)), away
    began = clock()
    try:
        told = ask()
    except FleetwardError as error:
        reach = error if isinstance(error, SlurmOutOfReachError) else None
        return replace(before, seconds=clock() - began, problem=str(error) or type(error).__name__), reach
    return Part(told.items, began, clock() - began, told.unread, ""), None
