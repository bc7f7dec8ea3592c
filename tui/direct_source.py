"""The picture without a daemon: what Slurm says, and changes to nothing but this user's own jobs."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from fleetward.model.fleet_view import FleetView
from fleetward.server.views import Parts, job_views, node_views, slurm_problems
from fleetward.slurm.backends import connect
from fleetward.slurm.client import SlurmClient, SlurmOutOfReachError
from fleetward.slurm.looking import Looker
from fleetward.slurm.snapshot import Snapshot

if TYPE_CHECKING:
    from fleetward.slurm.jobs.spec import JobSpec

LEAST_SECONDS = 1.0
"""Between two looks; doubled with each that Slurm did not answer."""
LONGEST_PAUSE = 10.0
"""Between two looks while Slurm does not answer, at most: a person waits to see it back."""

Connect = Callable[[str, Callable[[str], None]], AbstractContextManager[SlurmClient]]


class DirectSource:
    """Slurm alone, through one of its backends; calls from several threads come one after another."""

    def __init__(
        self, backend: str, open_client: Connect = connect, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Connect at the first call, not before."""
        self._backend = backend
        self._open = open_client
        self._clock = clock
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._client: SlurmClient | None = None
        self._looker: Looker | None = None
        self._due = -inf
        self._notes: list[str] = []

    def fleet(self) -> FleetView:
        """Return nodes and jobs as Slurm told them last, with their ages; it knows no GPU's load.

        Slurm is asked anew unless that was done just now, took long or was in vain. SlurmOutOfReachError where it
        never told anything.
        """
        with self._lock:
            snapshot = self._looked()
            ages = snapshot.ages(self._clock())
        if not {"nodes", "jobs"} & ages.keys():
            raise SlurmOutOfReachError(snapshot.nodes.problem)
        jobs = snapshot.jobs.items
        return FleetView(
            cluster="",
            taken_at=datetime.now(UTC),
            nodes=node_views(Parts(nodes=snapshot.nodes.items, jobs=jobs)),
            jobs=job_views(jobs),
            ages={name: round(age, 3) for name, age in ages.items()},
            problems=(*slurm_problems(snapshot), *self._notes[-1:]),
        )

    def check(self, job: "JobSpec", script: str, working_directory: Path) -> tuple[str, ...]:
        """Hold a job against the cluster; returns what to tell of it, what could not be checked among it."""
        from fleetward.slurm.jobs.asking import checked, told

        notes: list[str] = []
        with self._lock:
            found, estimate = checked(self._slurm(), job, script, working_directory, notes.append)
        return (*told(found, estimate), *notes)

    def submit(self, script: str, working_directory: Path) -> str:
        """Hand a batch script in; returns the job's id."""
        with self._lock:
            job = self._slurm().submit(script, working_directory).job_id
            self._due = -inf
        return job

    def cancel(self, job: str) -> None:
        """Cancel a job; Slurm refuses it for other users' jobs."""
        with self._lock:
            self._slurm().cancel(job)
            self._due = -inf

    def close(self) -> None:
        """End the backend's worker, if there is one."""
        self._stack.close()

    def _looked(self) -> Snapshot:
        """Return the last picture, a new one where it is time for one."""
        if self._looker is None:
            self._looker = Looker(self._slurm(), self._clock)
        if self._clock() >= self._due:
            self._looker.look()
            self._due = self._clock() + self._looker.pause(LEAST_SECONDS, LONGEST_PAUSE)
        return self._looker.snapshot

    def _slurm(self) -> SlurmClient:
        if self._client is None:
            self._client = self._stack.enter_context(self._open(self._backend, self._notes.append))
        return self._client
