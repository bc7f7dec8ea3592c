"""`fleetward why` on recorded answers, and what it gathers where somebody does not answer."""

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from played_answers import ATTEMPT, GPU, SUBMITTED
from played_slurm import PlayedClock, PlayedSlurm, job, node

from fleetward.commands._why import Gatherer
from fleetward.model.daemon_views import EventView
from fleetward.model.errors import OutOfReachError
from fleetward.slurm.accounting import Attempt, Priority, Step
from fleetward.slurm.answers import Job, JobDetail, Listing, Partition
from fleetward.slurm.client import NoSuchJobError
from fleetward.slurm.verdicts.causes import Cause

Fleetward = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def why(fleetward: Fleetward, recording: Path) -> Fleetward:
    """Run the command on recorded answers; there is no daemon."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return fleetward("why", *arguments, "--backend", "recorded", FLEETWARD_SLURM_RECORDING=str(recording))

    return run


def test_a_failed_job_is_explained_and_what_is_not_known_is_named(why: Fleetward) -> None:
    done = why("1")
    assert done.returncode == 0
    assert done.stdout.startswith("job 1 (trained) of root: FAILED\nattempt 1: the program failed with exit code 7\n")
    assert "  → a requeue would end the same way\n" in done.stdout
    assert "\x1b" not in done.stdout
    assert "not known: " in done.stderr
    assert "no such socket" in done.stderr
    assert "its log: /dev/null" in done.stderr


def test_each_attempt_of_a_requeued_job_has_its_cause(why: Fleetward) -> None:
    document = json.loads(why("2", "--json").stdout)
    assert [(one["number"], one["verdict"]["cause"]) for one in document["attempts"]] == [
        (1, "requeued"),
        (2, "cancelled"),
    ]
    assert (document["state"], document["waiting"]) == ("CANCELLED", None)


def test_a_waiting_job_is_told_where_it_would_fit(why: Fleetward) -> None:
    done = why("6")
    assert done.returncode == 0
    assert "they are down" not in done.stdout
    assert "2 of the 3 nodes that it could use are out of service" in done.stdout
    assert "  → would start now with 1 node\n" in done.stdout
    document = json.loads(why("5", "--json").stdout)
    assert (document["waiting"]["who"], document["waiting"]["needs"]["gpus"]) == ("owner", {"h100": 2})
    assert document["attempts"] == []


def test_a_hostile_name_draws_nothing(why: Fleetward) -> None:
    shown = why("3").stdout
    assert "\x1b" not in shown
    assert len(shown.strip().split("\n")) == 3


def test_a_job_that_nobody_knows_is_exit_code_2(why: Fleetward) -> None:
    done = why("4000")
    assert (done.returncode, done.stdout) == (2, "")
    assert "neither slurmctld nor slurmdbd knows a job 4000" in done.stderr
    assert why("12; rm -rf").returncode == 2


class Slurm(PlayedSlurm):
    """A Slurm that has one job, its attempts, and perhaps no slurmdbd."""

    present: JobDetail | None = None
    recorded: tuple[Attempt, ...] = ()
    database = True

    def job(self, job_id: str) -> JobDetail:
        if self.present is None:
            raise NoSuchJobError(f"no job {job_id}")
        return self.present

    def attempts(self, job_id: str) -> tuple[Attempt, ...]:
        if not self.database:
            raise OutOfReachError("slurmdbd is away")
        return self.recorded

    def steps(self, job_id: str) -> tuple[Step, ...]:
        return ()

    def partitions(self) -> Listing[Partition]:
        return Listing((GPU,), "played")

    def priorities(self) -> Listing[Priority]:
        raise OutOfReachError("no priorities")


def played(present: JobDetail | None, *recorded: Attempt) -> Slurm:
    slurm = Slurm(PlayedClock(), {"gpu001": node("gpu001"), "gpu002": node("gpu002")})
    slurm.present, slurm.recorded = present, recorded
    return slurm


def nothing(_: datetime) -> Sequence[EventView]:
    return ()


RUNNING: Job = replace(job("12"), restarts=0, submitted_at=ATTEMPT.submitted_at, started_at=ATTEMPT.started_at)


def test_without_slurmdbd_slurmctld_tells_of_the_present_attempt() -> None:
    slurm = played(JobDetail(replace(RUNNING, state="TIMEOUT", time_limit=600), ()))
    slurm.database = False
    found = Gatherer(slurm, nothing).explain("12")
    assert [(one.number, one.verdict.cause) for one in found.attempts] == [(1, Cause.TIME_LIMIT)]
    assert "slurmdbd is away" in found.unknown


def test_slurmctld_knows_an_end_before_slurmdbd() -> None:
    record = replace(ATTEMPT, state="RUNNING", ended_at=None)
    found = Gatherer(played(JobDetail(replace(RUNNING, state="NODE_FAIL"), ()), record), nothing).explain("12")
    assert [one.verdict.cause for one in found.attempts] == [Cause.NODE_FAILURE]


def test_a_number_that_was_given_out_again_tells_nothing_of_the_earlier_job() -> None:
    anew = replace(RUNNING, state="PENDING", submitted_at=SUBMITTED + timedelta(days=1), started_at=None)
    found = Gatherer(played(JobDetail(anew, ()), replace(ATTEMPT, state="FAILED", exit_code=1)), nothing).explain("12")
    assert found.attempts == ()
    assert found.waiting is not None
    assert "no priorities" in found.unknown


def test_faults_are_asked_for_since_the_first_attempt_that_failed() -> None:
    assert ATTEMPT.started_at is not None
    later = ATTEMPT.started_at + timedelta(hours=2)
    first = replace(ATTEMPT, state="NODE_FAIL")
    second = replace(ATTEMPT, state="TIMEOUT", restarts=1, started_at=later, ended_at=later)
    asked: list[datetime] = []

    def faults(since: datetime) -> Sequence[EventView]:
        asked.append(since)
        raise OutOfReachError("no daemon")

    found = Gatherer(played(None, first, second), faults).explain("12")
    assert asked == [ATTEMPT.started_at]
    assert [one.verdict.cause for one in found.attempts] == [Cause.NODE_FAILURE, Cause.TIME_LIMIT]
    assert "no daemon" in found.unknown


def test_the_log_of_its_attempt_is_read(tmp_path: Path) -> None:
    log = tmp_path / "train-12.log"
    log.write_text('3: Traceback (most recent call last):\n3:   File "x.py", line 1\n3: ValueError: bad shape\n')
    record = replace(ATTEMPT, state="FAILED", exit_code=1, output=f"{tmp_path}/train-%j.log")
    found = Gatherer(played(None, record), nothing).explain("12")
    (judged,) = found.attempts
    assert "ValueError: bad shape" in judged.verdict.sentence
    assert found.unknown == ()
