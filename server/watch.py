"""One look per interval at what others tell, kept with its age; a source that does not answer is asked less often."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from fleetward.model.errors import FleetwardError
from fleetward.runbooks.prometheus import Prometheus, Sample
from fleetward.server.views import GPU_QUESTIONS
from fleetward.slurm.answers import Job, JobDetail, Node
from fleetward.slurm.client import NoSuchJobError, SlurmClient

LONGEST_PAUSE = 10.0
PATIENCE = 3.0
"""Seconds that a request waits for a look that it asked for; then it gets the last one, with its age."""
INTEREST = 60.0
"""Seconds after a request for the fleet in which jobs and GPUs go on being looked at."""
MOST_NEW_JOBS = 50
"""Jobs a look asks Slurm for one by one; which GPUs an attempt holds never changes, so each is asked for once."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """What a source said last."""

    value: T | None = None
    at: float = 0.0
    """When, by the clock of the source."""
    problem: str = ""
    """Why it does not answer now; empty where it does."""
    since: datetime | None = None
    """Since when it does not."""

    @property
    def reach(self) -> str:
        """Say since when and why it does not answer; empty where it does."""
        return f"since {self.since:%H:%M:%S} UTC: {self.problem}" if self.since else self.problem


class Source(Generic[T]):
    """Something that is looked at again and again by a thread of its own."""

    def __init__(
        self, name: str, ask: Callable[[], T], seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Ask every so many seconds; an answer that takes long is asked for less often."""
        self.name = name
        self._ask = ask
        self._seconds = seconds
        self._now = now
        self._reading: Reading[T] = Reading(problem="it was not asked yet")
        self._changed = threading.Condition()
        self._hurry = threading.Event()
        self._failures = 0
        self._looked_at = float("-inf")

    @property
    def reading(self) -> Reading[T]:
        """The last one."""
        return self._reading

    @property
    def age(self) -> float:
        """Seconds since it answered; infinite where it never did."""
        return self._now() - self._reading.at if self._reading.value is not None else float("inf")

    def look(self) -> float:
        """Look once and return the seconds until the next look."""
        began = self._now()
        try:
            value = self._ask()
        except FleetwardError as error:
            before = self._reading
            reading = Reading(before.value, before.at, str(error), before.since or datetime.now(UTC))
            self._failures += 1
            pause = min(self._seconds * 2.0 ** min(self._failures, 8), LONGEST_PAUSE)
        else:
            reading = Reading(value, began)
            self._failures = 0
            pause = max(self._seconds, 5 * (self._now() - began))
        with self._changed:
            self._reading = reading
            self._looked_at = began
            self._changed.notify_all()
        return pause

    def run(self, stopping: threading.Event) -> None:
        """Look until `stopping` is set and `hurry` is called once more."""
        while not stopping.is_set():
            self._hurry.clear()
            pause = self.look()
            self._hurry.wait(pause)

    def hurry(self) -> None:
        """Have the next look now."""
        self._hurry.set()

    def fresh(self, seconds: float = PATIENCE) -> Reading[T]:
        """Return a reading from a look that began after this call; after `seconds` without one, the last there is."""
        asked = self._now()
        with self._changed:
            self._hurry.set()
            self._changed.wait_for(lambda: self._looked_at >= asked, seconds)
            return self._reading


@dataclass(frozen=True, slots=True)
class SlurmLook:
    """Slurm at one moment; jobs only while somebody is interested in them."""

    nodes: tuple[Node, ...]
    jobs: tuple[Job, ...] | None = None
    details: tuple[JobDetail, ...] = ()
    unread: tuple[str, ...] = ()


class Interest:
    """Whether anybody has asked for the fleet lately."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._until = float("-inf")

    def show(self) -> bool:
        """Note that somebody asks; return whether somebody did lately."""
        was = self.there
        self._until = self._now() + INTEREST
        return was

    @property
    def there(self) -> bool:
        """Whether somebody did lately."""
        return self._now() < self._until


class SlurmLooker:
    """Asks Slurm for nodes, and for jobs where there is interest."""

    def __init__(self, slurm: SlurmClient, interest: Interest) -> None:
        self._slurm = slurm
        self._interest = interest
        self._known: dict[tuple[str, int, tuple[str, ...]], JobDetail] = {}

    def __call__(self) -> SlurmLook:
        """Look once."""
        nodes = self._slurm.nodes()
        if not self._interest.there:
            return SlurmLook(nodes.items, unread=nodes.unread)
        jobs = self._slurm.jobs()
        details = self._details(jobs.items)
        return SlurmLook(nodes.items, jobs.items, details, (*nodes.unread, *jobs.unread))

    def _details(self, jobs: tuple[Job, ...]) -> tuple[JobDetail, ...]:
        holding = {(job.id, job.restarts, job.nodes): job for job in jobs if job.nodes and job.gpus and not job.ended}
        for key in [key for key in holding if key not in self._known][:MOST_NEW_JOBS]:
            try:
                self._known[key] = self._slurm.job(key[0])
            except NoSuchJobError:
                continue  # it ended between two questions
        self._known = {key: detail for key, detail in self._known.items() if key in holding}
        return tuple(self._known.values())


class PrometheusLooker:
    """Asks Prometheus for the GPUs where there is interest, else whether it answers."""

    def __init__(self, prometheus: Prometheus, interest: Interest) -> None:
        self._prometheus = prometheus
        self._interest = interest

    def __call__(self) -> Mapping[str, tuple[Sample, ...]]:
        """Look once."""
        if not self._interest.there:
            self._prometheus.query("vector(1)")
            return {}
        return {name: self._prometheus.query(question) for name, question in GPU_QUESTIONS.items()}
