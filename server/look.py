"""What the daemon looks at: Slurm's picture, of which it takes no more than somebody wants, and Prometheus' GPUs."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf

from fleetward.model.errors import FleetwardError, UsageError
from fleetward.runbooks.prometheus import Prometheus, Sample
from fleetward.server.views import GPU_QUESTIONS, slurm_problems
from fleetward.server.watch import LONGEST_PAUSE, Interest, Reading, Source
from fleetward.slurm.answers import Job, JobDetail, Node
from fleetward.slurm.client import SlurmClient
from fleetward.slurm.looking import Looker
from fleetward.slurm.snapshot import Part, Snapshot

SLURM_SECONDS = 2.0
PROMETHEUS_SECONDS = 5.0
QUEUE_INTEREST = 5.0
"""Seconds after a run asked for the queue in which it goes on being looked at."""
MOST_NEW_JOBS = 50
"""Jobs a look asks Slurm for one by one; which GPUs an attempt holds never changes, so each is asked for once."""


@dataclass(frozen=True, slots=True)
class SlurmLook:
    """Slurm's picture, and which GPUs the jobs in it hold."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    details: tuple[JobDetail, ...] = ()
    problem: str = ""
    """Why Slurm does not tell which GPUs a job holds; empty where it does."""

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Return the nodes as they were when Slurm last told them."""
        return self.snapshot.nodes.items


class SlurmLooker:
    """Takes Slurm's picture: nodes always, jobs and partitions where somebody is interested.

    There is a reading of it once Slurm has told its nodes; its age and its problem are theirs, and the other parts
    have their own.
    """

    def __init__(
        self,
        slurm: SlurmClient,
        interest: Interest,
        queue_interest: Interest,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`interest` is in all that is shown, `queue_interest` in what became of jobs."""
        self._slurm = slurm
        self._interest = interest
        self._queue_interest = queue_interest
        self._now = now
        self._looker = Looker(slurm, now)
        self._known: dict[tuple[str, int, tuple[str, ...]], JobDetail] = {}
        self._problem = ""

    def __call__(self, before: Reading[SlurmLook]) -> tuple[Reading[SlurmLook], float]:
        """Look once."""
        is_shown = self._interest.there
        snapshot = self._looker.look(jobs=is_shown or self._queue_interest.there, partitions=is_shown)
        began = self._now()
        if is_shown and not snapshot.jobs.problem:
            self._ask_for_details(snapshot.jobs.items)
        pause = self._looker.pause(SLURM_SECONDS, LONGEST_PAUSE, besides=self._now() - began)
        nodes = snapshot.nodes
        look = SlurmLook(snapshot, tuple(self._known.values()), self._problem) if nodes.at > -inf else None
        since = (before.since or datetime.now(UTC)) if nodes.problem else None
        return Reading(look, nodes.at, nodes.problem, since), pause

    def _ask_for_details(self, jobs: tuple[Job, ...]) -> None:
        holding = {(job.id, job.restarts, job.nodes): job for job in jobs if job.nodes and job.gpus and not job.ended}
        self._problem = ""
        for key in [key for key in holding if key not in self._known][:MOST_NEW_JOBS]:
            try:
                self._known[key] = self._slurm.job(key[0])
            except UsageError:
                continue  # it ended between two questions, or is more than one job
            except FleetwardError as error:
                self._problem = str(error)
                break
        self._known = {key: detail for key, detail in self._known.items() if key in holding}


def slurm_trouble(reading: Reading[SlurmLook]) -> Iterator[str]:
    """Yield a sentence for each reason why something of Slurm's picture is not told anew."""
    look = reading.value
    if look is None:
        yield f"Slurm does not answer, {reading.reach}"
        return
    yield from slurm_problems(look.snapshot, reading.since)
    if look.problem:
        yield f"Slurm does not answer about the GPUs of jobs: {look.problem}"


class SeenQueue:
    """The jobs as the last picture has them, for runs that wait for one: several of them cost no more than one."""

    def __init__(self, slurm: Source[SlurmLook], interest: Interest) -> None:
        """`interest` has jobs looked at for as long as somebody asks here."""
        self._slurm = slurm
        self._interest = interest

    def __call__(self) -> Part[Job]:
        """Return them; never asks Slurm."""
        self._interest.show()
        look = self._slurm.reading.value
        return Part() if look is None else look.snapshot.jobs


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
