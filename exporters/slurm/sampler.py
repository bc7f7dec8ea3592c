"""Asking Slurm at an interval, apart from whoever scrapes, and the picture that a scrape gets."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fleetward.exporters.slurm.states import JobEnds
from fleetward.model.errors import FleetwardError
from fleetward.slurm.answers import Node
from fleetward.slurm.client import SlurmClient


@dataclass(frozen=True, slots=True)
class Picture:
    """What Slurm said when it last answered, and whether it answered when it was last asked."""

    up: bool = False
    failure: str = ""
    """Why it did not answer."""
    nodes: tuple[Node, ...] = ()
    jobs: Mapping[str, int] = field(default_factory=dict)
    """Jobs that have not ended, by Slurm's state."""
    ends: Mapping[str, int] = field(default_factory=dict)
    taken_at: float | None = None
    """Seconds of the monotonic clock; None where Slurm has not answered yet."""
    duration_seconds: float = 0.0
    unread: int = 0
    """Entries of the last answer that could not be read."""


class Sampler:
    """Keeps the newest picture; a controller that does not answer makes it old."""

    def __init__(
        self,
        client: SlurmClient,
        interval_seconds: float,
        note: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask for nothing yet: a controller that hangs must not keep the exporter from serving that it does."""
        self._client = client
        self._interval = interval_seconds
        self._note = note
        self._clock = clock
        self._ends = JobEnds()
        self._picture = Picture(ends=self._ends.counts())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_until_stopped, name="slurm", daemon=True)

    def start(self) -> None:
        """Start asking."""
        self._thread.start()

    def stop(self, seconds: float = 2.0) -> None:
        """Stop asking; a question that hangs is left behind."""
        self._stop.set()
        self._thread.join(seconds)

    def picture(self) -> Picture:
        """Return the newest picture."""
        return self._picture

    def look(self) -> None:
        """Ask once and keep the answer."""
        began = self._clock()
        try:
            nodes, jobs = self._client.nodes(), self._client.jobs()
        except FleetwardError as error:
            if self._picture.up or not self._picture.failure:
                self._note(f"Slurm does not answer: {error}")
            self._picture = Picture(
                up=False,
                failure=str(error),
                nodes=self._picture.nodes,
                jobs=self._picture.jobs,
                ends=self._picture.ends,
                taken_at=self._picture.taken_at,
                duration_seconds=self._clock() - began,
            )
            return
        self._ends.look(jobs.items)
        ended = self._clock()
        self._picture = Picture(
            up=True,
            nodes=nodes.items,
            jobs=Counter(job.state for job in jobs.items if not job.ended),
            ends=self._ends.counts(),
            taken_at=ended,
            duration_seconds=ended - began,
            unread=len(nodes.unread) + len(jobs.unread),
        )

    def _look_until_stopped(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(self._interval)
