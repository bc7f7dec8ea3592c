"""The backend that asks pyslurm in a child process, and goes on without it.

What must not happen twice, or crashes in pyslurm (the GPUs of a job per node), goes to Slurm's programs at once:
nobody knows what a child that died in the middle had already done.
"""

from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self, TypeVar

from fleetward.slurm import parse
from fleetward.slurm.answers import Controller, Job, Listing, Node
from fleetward.slurm.client import SlurmClient, SlurmOutOfReachError
from fleetward.slurm.handing_on import HandingOn
from fleetward.slurm.worker import Answer, WorkerError

T = TypeVar("T")


class Source(Protocol):
    """Something that answers one kind of question after the other."""

    def call(self, name: str) -> Answer:
        """Return the answer; WorkerError where there is none."""

    def close(self) -> None:
        """Let go of the process."""


class PyslurmClient(HandingOn):
    """Slurm through pyslurm; at the first trouble, and for all that pyslurm is not fit for, through `other`."""

    def __init__(self, source: Source, other: SlurmClient, note: Callable[[str], None]) -> None:
        self._source: Source | None = source
        super().__init__(other)
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
