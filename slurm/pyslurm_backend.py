"""The backend that asks pyslurm in a child process, and goes on without it.

What must not happen twice, or crashes in pyslurm (the GPUs of a job per node), goes to Slurm's programs at once:
nobody knows what a child that died in the middle had already done.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from fleetward.slurm import parse
from fleetward.slurm.answers import (
    Accounting,
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
from fleetward.slurm.client import JobUpdate, SlurmClient, SlurmOutOfReachError
from fleetward.slurm.worker import Answer, WorkerError

T = TypeVar("T")


class Source(Protocol):
    """Something that answers one kind of question after the other."""

    def call(self, name: str) -> Answer:
        """Return the answer; WorkerError where there is none."""

    def close(self) -> None:
        """Let go of the process."""


class PyslurmClient:
    """Slurm through pyslurm; at the first trouble, and for all that pyslurm is not fit for, through `other`."""

    def __init__(self, source: Source, other: SlurmClient, note: Callable[[str], None]) -> None:
        self._source: Source | None = source
        self._other = other
        self._note = note

    def __enter__(self) -> Self:
        """Give the client out; the child is started by the first question."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the child."""
        self.close()

    @property
    def backend(self) -> str:
        """Name of the backend that would answer now."""
        return "pyslurm" if self._source is not None else self._other.backend

    def close(self) -> None:
        """End the child; questions that follow go to the other backend."""
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def nodes(self) -> Listing[Node]:
        """Return every node, by name."""
        return self._ask("nodes", _nodes, self._other.nodes)

    def jobs(self) -> Listing[Job]:
        """Return the jobs that slurmctld knows, those that ended a short while ago too."""
        return self._ask("jobs", _jobs, self._other.jobs)

    def ping(self) -> tuple[Controller, ...]:
        """Return the controllers, at least one of which answers."""
        return self._ask("ping", _controllers, self._other.ping)

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
        """Return one job and the GPUs it holds."""
        return self._other.job(job_id)

    def submit(self, script: str, working_directory: Path) -> Submitted:
        """Hand a batch script in; the directory is one of the nodes."""
        return self._other.submit(script, working_directory)

    def estimate(self, script: str, working_directory: Path) -> Estimate:
        """Return when a batch script would start if it were handed in, which it is not."""
        return self._other.estimate(script, working_directory)

    def accounting(self, job_id: str) -> Accounting | None:
        """Return the record of a job, None where slurmdbd has none yet."""
        return self._other.accounting(job_id)

    def cancel(self, job_id: str) -> None:
        """Cancel a job; nothing happens to one that has ended."""
        self._other.cancel(job_id)

    def requeue(self, job_id: str) -> None:
        """Put a running or ended batch job back into the queue."""
        self._other.requeue(job_id)

    def start_now(self, job_id: str) -> None:
        """Lift the delay of a waiting job."""
        self._other.start_now(job_id)

    def hold(self, job_id: str) -> None:
        """Keep a waiting job from starting until it is released."""
        self._other.hold(job_id)

    def release(self, job_id: str) -> None:
        """Let a held job start."""
        self._other.release(job_id)

    def update_job(self, job_id: str, changes: JobUpdate) -> None:
        """Change what a job has asked for."""
        self._other.update_job(job_id, changes)

    def reboot(self, node: str, reason: str) -> None:
        """Have Slurm reboot a node once its jobs have ended."""
        self._other.reboot(node, reason)

    def drain(self, node: str, reason: str) -> None:
        """Take a node out of service once its jobs have ended."""
        self._other.drain(node, reason)

    def resume(self, node: str) -> None:
        """Put a drained or DOWN node back into service."""
        self._other.resume(node)

    def _ask(self, name: str, read: Callable[[Answer], T], otherwise: Callable[[], T]) -> T:
        if self._source is None:
            return otherwise()
        try:
            return read(self._source.call(name))
        except WorkerError as error:
            why = str(error)
        except (KeyError, TypeError, ValueError) as error:
            why = f"the pyslurm worker's answer cannot be read: {error!r}"
        self.close()
        self._note(f"{why}; Slurm's own commands answer instead")
        return otherwise()


def _nodes(answer: Answer) -> Listing[Node]:
    found: list[Node] = []
    for entry in answer:
        state, flags = parse.node_state(entry.pop("state"))
        at = _moment(entry.pop("reason_at"))
        partitions = tuple(entry.pop("partitions"))
        found.append(Node(state=state, flags=flags, partitions=partitions, reason_at=at, **entry))
    return Listing(tuple(sorted(found, key=lambda node: node.name)), "pyslurm")


def _jobs(answer: Answer) -> Listing[Job]:
    return Listing(
        tuple(
            Job(
                **entry
                | {
                    "state": parse.job_state(entry["state"]),
                    "reason": "" if parse.is_none(entry["reason"]) else entry["reason"],
                    "nodes": parse.hosts(entry["nodes"]),
                    "submitted_at": _moment(entry["submitted_at"]),
                    "started_at": _moment(entry["started_at"]),
                }
            )
            for entry in sorted(answer, key=lambda entry: int(entry["number"]))
        ),
        "pyslurm",
    )


def _controllers(answer: Answer) -> tuple[Controller, ...]:
    found = tuple(Controller(**entry) for entry in answer)
    if not any(controller.answers for controller in found):
        raise SlurmOutOfReachError("slurmctld does not answer; is it running, is its host reachable?")
    return found


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else parse.moment(str(seconds))
