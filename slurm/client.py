"""What Slurm is asked: one Protocol for every backend.

Every call has a time limit and raises an error of this file; none waits for ever.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from fleetward.model.errors import FleetwardError, OutOfReachError, UsageError
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


class SlurmOutOfReachError(OutOfReachError):
    """slurmctld, slurmdbd or Slurm's programs did not answer."""


class SlurmRefusedError(FleetwardError):
    """Slurm answered and said no."""


class NoEstimateError(SlurmRefusedError):
    """Slurm would take the job, and does not say when it would start."""


class NoSuchJobError(UsageError):
    """Slurm knows no job of this id."""


@dataclass(frozen=True, slots=True)
class JobUpdate:
    """What is to be changed of a job; None stays as it is."""

    time_limit: int | None = None
    """Seconds, rounded up to whole minutes by Slurm."""
    partition: str | None = None
    qos: str | None = None
    account: str | None = None
    nice: int | None = None
    """How much lower its priority shall be."""
    excluded: tuple[str, ...] | None = None
    """Nodes that it must not run on, in place of those that it had; only of a job that waits."""


class SlurmClient(Protocol):
    """Slurm, however it is reached.

    Every method raises SlurmOutOfReachError where Slurm does not answer in time, and SlurmRefusedError where it
    says no. A job's id is `12` or, for one task of an array, `12_3`; NoSuchJobError where there is none.
    """

    @property
    def backend(self) -> str:
        """Name of the backend, as `--backend` takes it."""

    def nodes(self) -> Listing[Node]:
        """Return every node, by name."""

    def jobs(self) -> Listing[Job]:
        """Return the jobs that slurmctld knows, those that ended a short while ago too."""

    def partitions(self) -> Listing[Partition]:
        """Return every partition, the hidden ones too, by name."""

    def reservations(self) -> Listing[Reservation]:
        """Return the reservations that have not ended, by name."""

    def shares(self) -> Listing[Share]:
        """Return the fair shares of all accounts and users, in the order of the tree."""

    def diagnostics(self) -> Diagnostics:
        """Return what slurmctld says of itself."""

    def job(self, job_id: str) -> JobDetail:
        """Return one job, the GPUs it holds, and what only its own page tells."""

    def submit(self, script: str, working_directory: Path) -> Submitted:
        """Hand a batch script in; the directory is one of the nodes."""

    def estimate(self, script: str, working_directory: Path) -> Estimate:
        """Return when a batch script would start, and hand nothing in; SlurmRefusedError says why it would not.

        NoEstimateError where Slurm would take it and tells no time.
        """

    def attempts(self, job_id: str) -> tuple[Attempt, ...]:
        """Return all that slurmdbd recorded under a job's number, the oldest first; empty where it has nothing yet."""

    def steps(self, job_id: str) -> tuple[Step, ...]:
        """Return the steps of a job's last attempt, in the order in which they began."""

    def attempts_between(self, since: datetime, until: datetime) -> Listing[Attempt]:
        """Return the attempts of everybody that ran in this time, those that still run too."""

    def qos(self) -> Listing[Qos]:
        """Return every QOS, by name."""

    def associations(self) -> Listing[Association]:
        """Return what every account and every user in one may do, in the order of the tree."""

    def priorities(self) -> Listing[Priority]:
        """Return the parts of the priority of every job that waits for resources, by number."""

    def cancel(self, job_id: str) -> None:
        """Cancel a job; nothing happens to one that has ended."""

    def requeue(self, job_id: str) -> None:
        """Put a running or ended batch job back into the queue."""

    def start_now(self, job_id: str) -> None:
        """Lift the delay of a waiting job: slurmctld holds one that was requeued back for two minutes."""

    def hold(self, job_id: str) -> None:
        """Keep a waiting job from starting until it is released."""

    def release(self, job_id: str) -> None:
        """Let a held job start."""

    def update_job(self, job_id: str, changes: JobUpdate) -> None:
        """Change what a job has asked for; an ordinary user may only make it less."""

    def drain(self, node: str, reason: str) -> None:
        """Take a node out of service once its jobs have ended; replaces the reason that it has."""

    def resume(self, node: str) -> None:
        """Put a drained or DOWN node back into service; SlurmRefusedError where it is neither."""

    def reboot(self, node: str, reason: str) -> None:
        """Have Slurm reboot a node once its jobs have ended; it takes no new ones until it is back."""

    def reserve(self, name: str, nodes: Sequence[str], user: str) -> None:
        """Keep exactly these nodes for a user from now on without an end; what runs there goes on to its end."""

    def unreserve(self, name: str) -> None:
        """Give a reservation's nodes back; SlurmRefusedError where there is none, or jobs of it still run."""

    def ping(self) -> tuple[Controller, ...]:
        """Return the controllers, at least one of which answers."""
