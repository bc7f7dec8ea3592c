"""`slurm.requeue`: put back into the queue what ran on a node, or failed on it a short while ago.

Slurm counts a job's restarts up at the moment of its requeue (24.11.5, 26.05.5), so the count tells what was done, and
no job is requeued twice for one step. slurmctld then holds the job back for two minutes; that delay is lifted once the
job has left its nodes, since slurmctld sets it anew at that moment. That it has left them is first seen in a picture
that is taken for others too; whatever is then done to it follows a question of its own.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum

from fleetward.model.errors import UsageError
from fleetward.runbooks.actions.base import Call, Done, NotBegun, Observation, Report, Result, Waiting
from fleetward.runbooks.actions.declared import Declared, Kind, duration, node_name, node_of, seconds_of, since
from fleetward.runbooks.clock import Clock
from fleetward.slurm.answers import Job
from fleetward.slurm.client import NoSuchJobError, SlurmClient, SlurmRefusedError
from fleetward.slurm.snapshot import Part

PATIENCE = timedelta(minutes=3)
"""How long a job may take to leave its nodes; one whose node is dead takes until Slurm gives the node up."""
UNSEEN_SECONDS = 10.0
"""How long a picture may tell nothing new until Slurm is asked all the same."""

_FAILED = frozenset({"BOOT_FAIL", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY"})
"""Ends that a broken node can cause; one that a person or a limit caused is left alone."""
_ON_NODE = frozenset({"RUNNING", "SUSPENDED", "STOPPED", "CONFIGURING"})


class Next(Enum):
    """What is to be done about one job."""

    REQUEUE = "requeue"
    START = "start"
    WAIT = "wait"
    NOTHING = "nothing"


class Requeue(Declared):
    """Requeue the batch jobs of a node."""

    declared = Kind("slurm.requeue", changes=True, argument=node_name, options={"failed_within": duration})

    def __init__(
        self,
        slurm: SlurmClient,
        clock: Clock,
        seen_jobs: Callable[[], Part[Job]] = Part,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        """`seen_jobs` gives the jobs of the last picture, whose times are those of `tick`."""
        self._slurm = slurm
        self._clock = clock
        self._seen_jobs = seen_jobs
        self._tick = tick
        # When Slurm was last asked, and the jobs that were on their way then, per run and step. It is lost with the
        # daemon: the new one asks.
        self._left: dict[tuple[int, int], tuple[float, tuple[str, ...]]] = {}

    def prepare(self, call: Call) -> Mapping[str, object]:
        """Write down the jobs with their counts of restarts; those of an earlier attempt stay as they were."""
        node = node_of(call)
        failed_after = call.run.asked_at - timedelta(seconds=seconds_of(call, "failed_within", "10m"))
        found = [entry(job) for job in self._slurm.jobs().items if is_concerned(job, node, failed_after)]
        earlier = _entries(call.step.before)
        known = {each["id"] for each in earlier}
        return {"at": self._clock.now().isoformat(), "jobs": earlier + [job for job in found if job["id"] not in known]}

    def act(self, call: Call, before: Mapping[str, object], report: Report) -> Result:
        """Requeue what is to be requeued; wait until it may start."""
        key = (call.run.id, call.step.index)
        is_patient = since(before, self._clock) < PATIENCE
        asked_at, on_their_way = self._left.pop(key, (0.0, ()))
        if on_their_way and is_patient and self._nothing_new(asked_at, on_their_way, before):
            self._left[key] = asked_at, on_their_way
            return _waiting(on_their_way)
        outcome: dict[str, str] = {}
        waits: list[str] = []
        jobs = self._jobs()
        for known in _entries(before):
            name = str(known["id"])
            step, outcome[name] = verdict(known, jobs.get(known["number"]))
            if step is Next.REQUEUE:
                outcome[name], asked = self._requeue(name)
                if asked:
                    report(f"job {name} requeued\n")
                    waits.append(name)
            elif step is Next.START:
                self._start(name, report)
            elif step is Next.WAIT:
                waits.append(name)
        if waits and is_patient:
            self._left[key] = self._tick(), tuple(waits)
            return _waiting(waits)
        report("".join(f"job {name}: {what}\n" for name, what in outcome.items()) or "no job to requeue\n")
        return Done({"jobs": outcome})

    def observe(self, call: Call, before: Mapping[str, object]) -> Observation:
        """Look whether anything is left to do; `act` then does only that."""
        jobs = self._jobs()
        verdicts = {str(known["id"]): verdict(known, jobs.get(known["number"])) for known in _entries(before)}
        if all(step is Next.NOTHING for step, _ in verdicts.values()):
            return Done({"jobs": {name: what for name, (_, what) in verdicts.items()}})
        return NotBegun()

    def _nothing_new(self, asked_at: float, waits: Sequence[str], before: Mapping[str, object]) -> bool:
        """Say whether all that was on its way when Slurm was last asked still is, as far as the picture tells."""
        seen = self._seen_jobs()
        if seen.problem or self._tick() - max(asked_at, seen.at) > UNSEEN_SECONDS:
            return False
        if seen.at <= asked_at:  # the next picture is yet to come
            return True
        jobs: dict[object, Job] = {job.number: job for job in seen.items}
        known = [each for each in _entries(before) if each["id"] in waits]
        return all(verdict(each, jobs.get(each["number"]))[0] is Next.WAIT for each in known)

    def _jobs(self) -> dict[object, Job]:
        return {job.number: job for job in self._slurm.jobs().items}

    def _requeue(self, job_id: str) -> tuple[str, bool]:
        """Return what became of it, and whether Slurm took it."""
        try:
            self._slurm.requeue(job_id)
        except NoSuchJobError:
            return "gone from Slurm", False
        except (SlurmRefusedError, UsageError) as error:
            return f"not requeued: {error}", False
        return "requeued, and still leaving its nodes", True

    def _start(self, job_id: str, report: Report) -> None:
        try:
            self._slurm.start_now(job_id)
        except (SlurmRefusedError, NoSuchJobError) as error:
            report(f"job {job_id} will start some two minutes later: {error}\n")


def _waiting(jobs: Sequence[str]) -> Waiting:
    return Waiting(f"job {', '.join(jobs)} is on its way back to the queue", 1.0)


def is_concerned(job: Job, node: str, failed_after: datetime) -> bool:
    """Say whether a job runs on the node, is leaving it, or failed on it after this time."""
    if node not in job.nodes:
        return False
    if job.state in _ON_NODE or job.state == "COMPLETING":
        return True
    ended_at = job.started_at + timedelta(seconds=job.elapsed) if job.started_at else None
    return job.state in _FAILED and ended_at is not None and ended_at >= failed_after


def entry(job: Job) -> dict[str, object]:
    """Return what tells later whether this very job was requeued."""
    submitted = job.submitted_at.isoformat() if job.submitted_at else ""
    return {"id": job.id, "number": job.number, "restarts": job.restarts, "submitted_at": submitted, "state": job.state}


def verdict(known: Mapping[str, object], job: Job | None) -> tuple[Next, str]:
    """Return what is to be done about a job now, and how it stands in words."""
    before = int(str(known["restarts"]))
    if job is None:
        return Next.NOTHING, "gone from Slurm"
    if job.restarts < before or (job.restarts == before and not _is_same(known, job)):
        return Next.NOTHING, "left alone: another job has its number now"
    if job.state == "COMPLETING":
        return Next.WAIT, "still leaving its nodes"
    if job.state == "PENDING":
        return (Next.START if job.started_at else Next.NOTHING), "requeued"  # a start that is set is the delay
    if job.restarts > before:
        return Next.NOTHING, "requeued" + (f", and {job.state} again" if job.ended else "")
    takes = job.state in _ON_NODE | _FAILED
    return (Next.REQUEUE, "to be requeued") if takes else (Next.NOTHING, f"left alone: {job.state}")


def _is_same(known: Mapping[str, object], job: Job) -> bool:
    return known["submitted_at"] == (job.submitted_at.isoformat() if job.submitted_at else "")


def _entries(before: Mapping[str, object]) -> list[Mapping[str, object]]:
    jobs = before.get("jobs", ())
    return [each for each in jobs if isinstance(each, Mapping)] if isinstance(jobs, Sequence) else []
