"""Waiting for the end of a job: polls with back-off, outlives a controller's restart, and knows a reused number."""

from collections.abc import Callable
from dataclasses import dataclass

from fleetward.model.errors import FleetwardError
from fleetward.slurm.accounting import Attempt
from fleetward.slurm.answers import Job
from fleetward.slurm.client import NoSuchJobError, SlurmClient, SlurmOutOfReachError

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
PATIENCE = 300.0
"""Seconds that slurmctld may stay silent; killed and started again, it was back after 8."""

ACCOUNTING_LAG = 30.0
"""Seconds that slurmdbd's record may come after the end of the job; it comes within one or two."""

# Slurm may put such a job back into the queue a moment later.
_MAY_RETURN = frozenset({"NODE_FAIL", "PREEMPTED"})


def is_another(before: Job, now: Job) -> bool:
    """Say whether a job only has the number of the one that was seen before; a requeue counts restarts up."""
    if now.restarts > before.restarts:
        return False
    return now.restarts < before.restarts or now.submitted_at != before.submitted_at


def has_ended(before: Job | None, now: Job) -> bool:
    """Say whether a job has ended for good; where Slurm may bring it back, a second look must see the same end."""
    return now.ended and (now.state not in _MAY_RETURN or (before is not None and before.state == now.state))


@dataclass(frozen=True, slots=True)
class Clock:
    """Time as the waiting sees it, in seconds."""

    now: Callable[[], float]
    sleep: Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ended; `record` is None where slurmdbd had no final record in time."""

    state: str
    record: Attempt | None


def wait_for_end(client: SlurmClient, job_id: str, clock: Clock, note: Callable[[str], None]) -> Ending:
    """Return once the job has ended, telling `note` of every change of its state.

    Raises SlurmOutOfReachError after PATIENCE without an answer, FleetwardError where the job is lost.
    """
    seen: Job | None = None
    heard = clock.now()
    pause = FIRST_PAUSE
    while True:
        try:
            job: Job | None = client.job(job_id).job
            heard = clock.now()
        except NoSuchJobError:
            return _gone(client, job_id, clock)
        except SlurmOutOfReachError as error:
            if clock.now() - heard > PATIENCE:
                raise
            note(f"{error}; waiting on")
            job = None
        if job is not None:
            if seen is not None and is_another(seen, job):
                raise FleetwardError(
                    f"job {job.id} is another one now ({job.name!r}): slurmctld lost the first and gave its number out"
                    " again; submit once more"
                )
            if seen is None or job.state != seen.state:
                note(f"job {job_id} is {job.state}" + (f" ({job.reason})" if job.reason else ""))
            if has_ended(seen, job):
                return Ending(job.state, _final_record(client, job_id, clock))
            seen = job
        clock.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


def _gone(client: SlurmClient, job_id: str, clock: Clock) -> Ending:
    record = _final_record(client, job_id, clock)
    if record is None:
        raise FleetwardError(f"job {job_id} vanished from slurmctld and has no final record; submit once more")
    return Ending(record.state, record)


def _final_record(client: SlurmClient, job_id: str, clock: Clock) -> Attempt | None:
    """Return slurmdbd's record once it is final; None where it is not within ACCOUNTING_LAG."""
    until = clock.now() + ACCOUNTING_LAG
    while True:
        try:
            records = client.attempts(job_id)
        except SlurmOutOfReachError:
            records = ()
        if records and records[-1].ended:
            return records[-1]
        if clock.now() >= until:
            return None
        clock.sleep(1.0)
