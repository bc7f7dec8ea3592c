"""A client that hands every question on: what a backend cannot do, or another does better."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from fleetward.slurm.accounting import Association, Attempt, Priority, Qos, Step
from fleetward.slurm.answers import (
    Controller,
    Diagnostics,
    Estimate,
    Job,
    JobDetail,
    Listing,
    Node,
    Partition,
    Reservation,
    Share,
    Submitted,
)
from fleetward.slurm.client import JobUpdate, SlurmClient


class HandingOn:
    """Slurm through `other`; a backend overrides what it does by itself."""

    def __init__(self, other: SlurmClient) -> None:
        """Take over no rights: whoever made `other` ends it."""
        self._other = other

    @property
    def backend(self) -> str:
        """Name of the backend that answers."""
        return self._other.backend

    def nodes(self) -> Listing[Node]:
        """Return every node, by name."""
        return self._other.nodes()

    def jobs(self) -> Listing[Job]:
        """Return the jobs that slurmctld knows, those that ended a short while ago too."""
        return self._other.jobs()

    def partitions(self) -> Listing[Partition]:
        """Return every partition, the hidden ones too, by name."""
        return self._other.partitions()

    def reservations(self) -> Listing[Reservation]:
        """Return the reservations that have not ended, by name."""
        return self._other.reservations()

    def shares(self) -> Listing[Share]:
        """Return the fair shares of all accounts and users, in the order of the tree."""
        return self._other.shares()

    def diagnostics(self) -> Diagnostics:
        """Return what slurmctld says of itself."""
        return self._other.diagnostics()

    def job(self, job_id: str) -> JobDetail:
        """Return one job, the GPUs it holds, and what only its own page tells."""
        return self._other.job(job_id)

    def submit(self, script: str, working_directory: Path) -> Submitted:
        """Hand a batch script in; the directory is one of the nodes."""
        return self._other.submit(script, working_directory)

    def estimate(self, script: str, working_directory: Path) -> Estimate:
        """Return when a batch script would start, and hand nothing in; SlurmRefusedError says why it would not."""
        return self._other.estimate(script, working_directory)

    def attempts(self, job_id: str) -> tuple[Attempt, ...]:
        """Return all that slurmdbd recorded under a job's number, the oldest first; empty where it has nothing yet."""
        return self._other.attempts(job_id)

    def steps(self, job_id: str) -> tuple[Step, ...]:
        """Return the steps of a job's last attempt, in the order in which they began."""
        return self._other.steps(job_id)

    def attempts_between(self, since: datetime, until: datetime) -> Listing[Attempt]:
        """Return the attempts of everybody that ran in this time, those that still run too."""
        return self._other.attempts_between(since, until)

    def qos(self) -> Listing[Qos]:
        """Return every QOS, by name."""
        return self._other.qos()

    def associations(self) -> Listing[Association]:
        """Return what every account and every user in one may do, in the order of the tree."""
        return self._other.associations()

    def priorities(self) -> Listing[Priority]:
        """Return the parts of the priority of every job that waits for resources, by number."""
        return self._other.priorities()

    def cancel(self, job_id: str) -> None:
        """Cancel a job; nothing happens to one that has ended."""
        self._other.cancel(job_id)

    def requeue(self, job_id: str) -> None:
        """Put a running or ended batch job back into the queue."""
        self._other.requeue(job_id)

    def start_now(self, job_id: str) -> None:
        """Lift the delay of a waiting job: slurmctld holds one that was requeued back for two minutes."""
        self._other.start_now(job_id)

    def hold(self, job_id: str) -> None:
        """Keep a waiting job from starting until it is released."""
        self._other.hold(job_id)

    def release(self, job_id: str) -> None:
        """Let a held job start."""
        self._other.release(job_id)

    def update_job(self, job_id: str, changes: JobUpdate) -> None:
        """Change what a job has asked for; an ordinary user may only make it less."""
        self._other.update_job(job_id, changes)

    def drain(self, node: str, reason: str) -> None:
        """Take a node out of service once its jobs have ended; replaces the reason that it has."""
        self._other.drain(node, reason)

    def resume(self, node: str) -> None:
        """Put a drained or DOWN node back into service; SlurmRefusedError where it is neither."""
        self._other.resume(node)

    def reboot(self, node: str, reason: str) -> None:
        """Have Slurm reboot a node once its jobs have ended; it takes no new ones until it is back."""
        self._other.reboot(node, reason)

    def reserve(self, name: str, nodes: Sequence[str], user: str) -> None:
        """Keep exactly these nodes for a user from now on without an end; what runs there goes on to its end."""
        self._other.reserve(name, nodes, user)

    def unreserve(self, name: str) -> None:
        """Give a reservation's nodes back; SlurmRefusedError where there is none, or jobs of it still run."""
        self._other.unreserve(name)

    def ping(self) -> tuple[Controller, ...]:
        """Return the controllers, at least one of which answers."""
        return self._other.ping()
