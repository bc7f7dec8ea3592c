"""What `fleetward why` gathers: the attempts of a job with a verdict each, and why it waits where it does."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from fleetward.commands._daemon import daemon
from fleetward.model.daemon_views import EventView
from fleetward.model.errors import FleetwardError, OutOfReachError
from fleetward.slurm.accounting import Attempt
from fleetward.slurm.answers import JobDetail, Node
from fleetward.slurm.client import NoSuchJobError, SlurmClient
from fleetward.slurm.logs.paths import log_of_attempt, logs_of
from fleetward.slurm.logs.scanning import LogFinding, first_errors, scan
from fleetward.slurm.logs.tail import blocks, last_change
from fleetward.slurm.looking import Looker
from fleetward.slurm.verdicts.attempts import last_run
from fleetward.slurm.verdicts.causes import Evidence, Verdict
from fleetward.slurm.verdicts.judging import faults_of, judge
from fleetward.slurm.verdicts.waiting import Waiting, judge_waiting

Faults = Callable[[datetime], Sequence[EventView]]
"""Gives the faults of GPUs since a moment; OutOfReachError where the daemon does not answer."""

MOST_EVENTS = 10_000

T = TypeVar("T")


def faults_told(socket: Path | None) -> Faults:
    """Return what asks the daemon behind a socket for faults."""

    def faults(since: datetime) -> Sequence[EventView]:
        seconds = int((datetime.now(UTC) - since).total_seconds()) + 1
        with daemon(socket) as client:
            return client.events(seconds=max(1, seconds), limit=MOST_EVENTS)

    return faults


@dataclass(frozen=True, slots=True)
class Judged:
    """One attempt and why it ended."""

    number: int
    """From 1."""
    attempt: Attempt
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Explained:
    """All that is known of how a job fared."""

    job_id: str
    name: str
    user: str
    state: str
    attempts: tuple[Judged, ...]
    waiting: Waiting | None
    unknown: tuple[str, ...]
    """What could not be asked, and so is no part of the verdicts."""


class Gatherer:
    """Asks Slurm, the daemon and the job's log; what one of them does not tell is noted, and the others count."""

    def __init__(self, client: SlurmClient, faults: Faults) -> None:
        """Ask nothing yet."""
        self._client = client
        self._faults = faults
        self._unknown: list[str] = []

    def explain(self, job_id: str) -> Explained:
        """Return how a job fared; NoSuchJobError where neither slurmctld nor slurmdbd knows it."""
        detail: JobDetail | None = None
        with suppress(NoSuchJobError):
            detail = self._client.job(job_id)
        attempts = _with_present(last_run(self._asked(lambda: self._client.attempts(job_id))), detail)
        if not attempts:
            raise NoSuchJobError(f"neither slurmctld nor slurmdbd knows a job {job_id}")
        judged = self._judged(attempts, detail)
        last = attempts[-1]
        waits = detail is not None and detail.job.state == "PENDING"
        return Explained(
            job_id=job_id,
            name=last.name if detail is None else detail.job.name,
            user=last.user,
            state=last.state if detail is None else detail.job.state,
            attempts=tuple(one for one in judged if one.attempt.started_at is not None),
            waiting=self._waiting(detail) if waits and detail is not None else None,
            unknown=tuple(dict.fromkeys(self._unknown)),
        )

    def _judged(self, attempts: Sequence[Attempt], detail: JobDetail | None) -> tuple[Judged, ...]:
        failed = [one for one in attempts if one.ended and one.state != "COMPLETED"]
        begun = [one.started_at for one in failed if one.started_at is not None]
        faults = self._asked(lambda: self._faults(min(begun))) if begun else ()
        nodes = self._asked(lambda: self._client.nodes().items) if failed else ()
        return tuple(
            Judged(one.restarts + 1, one, judge(one, self._evidence(one, attempts[-1], detail, faults, nodes)))
            for one in attempts
        )

    def _evidence(
        self,
        attempt: Attempt,
        last: Attempt,
        detail: JobDetail | None,
        faults: Sequence[EventView],
        nodes: Sequence[Node],
    ) -> Evidence:
        if not attempt.ended or attempt.state == "COMPLETED":
            return Evidence()
        steps = self._asked(lambda: self._client.steps(attempt.job_id)) if attempt is last else ()
        own = tuple(node for node in nodes if node.name in attempt.nodes)
        return Evidence(steps, faults_of(attempt, faults), own, self._log(attempt, detail))

    def _log(self, attempt: Attempt, detail: JobDetail | None) -> tuple[LogFinding, ...]:
        paths = logs_of(detail) if detail is not None else (log_of_attempt(attempt),)
        number = attempt.restarts + 1
        scanned = []
        for path in paths:
            if path is None:
                self._unknown.append("its log: slurmctld, which knew where it is, has forgotten the job")
                continue
            try:
                scanned.append(scan(path, blocks(Path(path)), last_change(Path(path)), number))
            except FleetwardError as error:
                self._unknown.append(f"its log: {error}")
        return first_errors(scanned, number).findings

    def _waiting(self, detail: JobDetail) -> Waiting:
        picture = Looker(self._client).look()
        self._unknown += [part.problem for part in (picture.nodes, picture.jobs, picture.partitions) if part.problem]
        by_number = {one.number: one.total for one in self._asked(lambda: self._client.priorities().items)}
        return judge_waiting(detail, picture.jobs.items, picture.nodes.items, picture.partitions.items, by_number)

    def _asked(self, ask: Callable[[], Sequence[T]]) -> tuple[T, ...]:
        """Return what somebody tells; nothing, with a note, where he is out of reach."""
        try:
            return tuple(ask())
        except OutOfReachError as error:
            self._unknown.append(str(error))
            return ()


def _with_present(attempts: tuple[Attempt, ...], detail: JobDetail | None) -> tuple[Attempt, ...]:
    """Return the attempts with the one that slurmctld has, where slurmdbd has not heard of it, or of its end."""
    if detail is None:
        return attempts
    present = _attempt_of(detail)
    if not attempts or attempts[-1].restarts < present.restarts:
        return (*attempts, present)
    if attempts[-1].restarts > present.restarts or not _same(attempts[-1], present):
        return (present,)  # the number is another job's now
    if detail.job.ended and not attempts[-1].ended:
        return (*attempts[:-1], present)
    return attempts


def _same(recorded: Attempt, present: Attempt) -> bool:
    """Say whether slurmdbd's record is of the attempt that slurmctld has."""
    started = present.started_at is not None and recorded.started_at == present.started_at
    return started or recorded.submitted_at == present.submitted_at


def _attempt_of(detail: JobDetail) -> Attempt:
    job = detail.job
    gpus = sum(job.gpus.values())
    counted = {"gres/gpu": str(gpus)} if gpus else {}
    runs = job.state != "PENDING"
    started = job.started_at if runs else None
    attempt = Attempt(
        job_id=job.id,
        name=job.name,
        user=job.user,
        account=job.account,
        partition=job.partition,
        qos=job.qos,
        state=job.state,
        reason=job.reason,
        cancelled_by="",
        exit_code=detail.exit_code,
        exit_signal=detail.exit_signal,
        elapsed=job.elapsed,
        time_limit=job.time_limit,
        asked=counted,
        allocated=counted if runs else {},
        restarts=job.restarts,
        nodes=job.nodes,
        failed_node="",
        working_directory=job.working_directory,
        submitted_at=job.submitted_at,
        started_at=started,
        ended_at=None,
        output=detail.output,
    )
    return replace(attempt, state="RUNNING") if runs and not attempt.ended else attempt
