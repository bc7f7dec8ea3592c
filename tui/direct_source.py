"""The picture without a daemon: what Slurm says, and changes to nothing but this user's own jobs."""

import threading
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from fleetward.model.fleet_view import FleetView, GpuView, JobView, NodeView
from fleetward.slurm.backends import connect
from fleetward.slurm.client import Job, Node, SlurmClient


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
            nodes=node_views(nodes.items, jobs.items),
            jobs=tuple(map(job_view, jobs.items)),
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


def job_view(job: Job) -> JobView:
    """Return a job as a row of the screen."""
    return JobView(
        id=job.id,
        name=job.name,
        user=job.user,
        account=job.account,
        partition=job.partition,
        qos=job.qos,
        state=job.state,
        reason=job.reason,
        nodes=job.nodes,
        node_count=job.node_count,
        gpus=sum(job.gpus.values()),
        elapsed=job.elapsed,
        time_limit=job.time_limit,
        restarts=job.restarts,
        submitted_at=job.submitted_at,
        started_at=job.started_at,
    )


def node_views(nodes: Iterable[Node], jobs: Iterable[Job]) -> tuple[NodeView, ...]:
    """Return nodes with the jobs on them; of each GPU only that it is configured is known."""
    on_node: dict[str, list[str]] = {}
    for job in jobs:
        if not job.ended:
            for name in job.nodes:
                on_node.setdefault(name, []).append(job.id)
    return tuple(
        NodeView(
            name=node.name,
            state="+".join((node.state, *node.flags)).lower(),
            partitions=node.partitions,
            cpus=node.cpus,
            cpus_allocated=node.cpus_allocated,
            memory=node.memory,
            memory_allocated=node.memory_allocated,
            gpus=tuple(GpuView(index, None) for index in range(sum(node.gpus.values()))),
            jobs=tuple(on_node.get(node.name, ())),
            reason=node.reason,
            reason_by=node.reason_by,
        )
        for node in nodes
    )
