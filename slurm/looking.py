"""Looking at Slurm again and again: the one picture that all who watch share, and less often where Slurm is slow."""

import time
from collections.abc import Callable
from dataclasses import replace
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
        self.snapshot = Snapshot()
        """The last picture; a part that Slurm did not tell stays as it was, with its age."""

    def look(self, *, jobs: bool = True) -> Snapshot:
        """Ask for what is due; after one that is out of reach the others are not asked, and say why.

        Without `jobs` they stay as they were.
        """
        before = self.snapshot
        nodes, away = asked_anew(before.nodes, self._client.nodes, self._clock)
        queue = before.jobs
        if jobs:
            queue, away = asked_anew(queue, self._client.jobs, self._clock, away)
        partitions = before.partitions
        if away is not None or partitions.problem or partitions.age(self._clock()) >= PARTITIONS_SECONDS:
            partitions, away = asked_anew(partitions, self._client.partitions, self._clock, away)
        self._failures = self._failures + 1 if away is not None else 0
        self.snapshot = Snapshot(nodes, queue, partitions)
        return self.snapshot

    def pause(self, interval: float) -> float:
        """Return the seconds until the next look: more where the last one took long, or Slurm was out of reach."""
        slow = self.snapshot.seconds / SHARE_OF_TIME
        return min(max(interval * 2.0 ** min(self._failures, 6), slow), max(LONGEST_PAUSE, interval))


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
