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

    def look(self) -> Snapshot:
        """Ask for all parts; after one that is out of reach the others are not asked, and say why."""
        before = self.snapshot
        nodes, away = self._part(before.nodes, self._client.nodes, None)
        jobs, away = self._part(before.jobs, self._client.jobs, away)
        partitions, away = self._part(before.partitions, self._client.partitions, away)
        self._failures = self._failures + 1 if away is not None else 0
        self.snapshot = Snapshot(nodes, jobs, partitions)
        return self.snapshot

    def pause(self, interval: float) -> float:
        """Return the seconds until the next look: more where the last one took long, or Slurm was out of reach."""
        slow = self.snapshot.seconds / SHARE_OF_TIME
        return min(max(interval * 2.0 ** min(self._failures, 6), slow), max(LONGEST_PAUSE, interval))

    def _part(
        self, before: Part[T], ask: Callable[[], Listing[T]], away: SlurmOutOfReachError | None
    ) -> tuple[Part[T], SlurmOutOfReachError | None]:
        if away is not None:
            return replace(before, seconds=0.0, problem=str(away)), away
        began = self._clock()
        try:
            told = ask()
        except FleetwardError as error:
            away = error if isinstance(error, SlurmOutOfReachError) else None
            return replace(before, seconds=self._clock() - began, problem=str(error)), away
        return Part(told.items, began, self._clock() - began, told.unread, ""), None
