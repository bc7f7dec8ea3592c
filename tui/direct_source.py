"""The picture without a daemon: what Slurm says, and changes to nothing but this user's own jobs."""

import threading
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from fleetward.model.fleet_view import FleetView
from fleetward.server.views import Parts, job_views, node_views
from fleetward.slurm.backends import connect
from fleetward.slurm.client import SlurmClient


class DirectSource:
    """Slurm alone, through one of its backends; calls from several threads come one after another."""

    def __init__(self, backend: str) -> None:
        """Connect at the first call, not before."""
        self._backend = backend
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._client: SlurmClient | None = None
        self._notes: list[str] = []

    def fleet(self) -> FleetView:
        """Return nodes and jobs as Slurm tells them now; it knows no GPU's load."""
        with self._lock:
            client = self._slurm()
            nodes, jobs = client.nodes(), client.jobs()
        unread = [f"Slurm's answer could not be read in part: {text[:200]}" for text in (*nodes.unread, *jobs.unread)]
        return FleetView(
            cluster="",
            taken_at=datetime.now(UTC),
            nodes=node_views(Parts(nodes=nodes.items, jobs=jobs.items)),
            jobs=job_views(jobs.items),
            ages={"slurm": 0.0},
            problems=(*unread[:1], *self._notes[-1:]),
        )

    def submit(self, script: str, working_directory: Path) -> str:
        """Hand a batch script in; returns the job's id."""
        with self._lock:
            return self._slurm().submit(script, working_directory).job_id

    def cancel(self, job: str) -> None:
        """Cancel a job; Slurm refuses it for other users' jobs."""
        with self._lock:
            self._slurm().cancel(job)

    def close(self) -> None:
        """End the backend's worker, if there is one."""
        self._stack.close()

    def _slurm(self) -> SlurmClient:
        if self._client is None:
            self._client = self._stack.enter_context(connect(self._backend, self._notes.append))
        return self._client
