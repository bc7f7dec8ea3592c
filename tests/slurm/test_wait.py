"""Waiting for a job's end, on a clock that jumps."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from played_answers import ATTEMPT

from fleetward.model.errors import FleetwardError
from fleetward.slurm.accounting import Attempt
from fleetward.slurm.answers import Job, JobDetail
from fleetward.slurm.client import NoSuchJobError, SlurmClient, SlurmOutOfReachError
from fleetward.slurm.wait import ACCOUNTING_LAG, LONGEST_PAUSE, PATIENCE, Clock, wait_for_end

SUBMITTED = datetime(2026, 11, 21, tzinfo=UTC)
JOB = Job(
    id="12",
    number=12,
    name="digits",
    user="ada",
    account="research",
    partition="gpu",
    qos="normal",
    state="PENDING",
    reason="Resources",
    nodes=(),
    node_count=2,
    cpus=16,
    gpus={"h100": 16},
    elapsed=0,
    time_limit=600,
    submitted_at=SUBMITTED,
    started_at=None,
    restarts=0,
    working_directory="/data",
)
RECORD = ATTEMPT

Answer = Job | Exception


@dataclass
class Played:
    """A client that plays a list of looks at one job; the last stays."""

    looks: list[Answer]
    record: Attempt | Exception | None = RECORD
    now: float = 0.0
    pauses: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    backend = "played"

    def job(self, job_id: str) -> JobDetail:
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, Exception):
            raise look
        return JobDetail(look, ())

    def attempts(self, job_id: str) -> tuple[Attempt, ...]:
        if isinstance(self.record, Exception):
            raise self.record
        return () if self.record is None else (replace(RECORD, state="REQUEUED"), self.record)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def wait(self) -> tuple[str, Attempt | None]:
        client: SlurmClient = self  # type: ignore[assignment]  # what is not played must not be asked
        ending = wait_for_end(client, "12", Clock(lambda: self.now, self.sleep), self.notes.append)
        return ending.state, ending.record


def seen(*states: str, **changes: object) -> list[Answer]:
    return [replace(JOB, state=state, reason="", **changes) for state in states]  # type: ignore[arg-type]


def test_the_end_comes_with_its_record_and_each_change_is_told() -> None:
    played = Played([JOB, *seen("PENDING", "RUNNING", "RUNNING", "COMPLETING", "COMPLETED")])
    assert played.wait() == ("COMPLETED", RECORD)
    assert played.notes == [
        "job 12 is PENDING (Resources)",
        "job 12 is RUNNING",
        "job 12 is COMPLETING",
        "job 12 is COMPLETED",
    ]


def test_the_pauses_grow_to_a_limit() -> None:
    played = Played([*seen(*["RUNNING"] * 20, "COMPLETED")])
    played.wait()
    assert played.pauses[0] < 1
    assert played.pauses == sorted(played.pauses)
    assert played.pauses[-1] == LONGEST_PAUSE


def test_a_silent_controller_is_waited_for() -> None:
    silent = SlurmOutOfReachError("slurmctld does not answer")
    played = Played([*seen("RUNNING"), *[silent] * 5, *seen("COMPLETED")])
    assert played.wait()[0] == "COMPLETED"
    assert "slurmctld does not answer; waiting on" in played.notes


def test_a_controller_that_stays_silent_is_given_up() -> None:
    played = Played([*seen("RUNNING"), SlurmOutOfReachError("slurmctld does not answer")])
    with pytest.raises(SlurmOutOfReachError):
        played.wait()
    assert PATIENCE <= played.now <= PATIENCE + 2 * LONGEST_PAUSE


def test_a_requeue_goes_on_waiting() -> None:
    again = {"restarts": 1, "submitted_at": SUBMITTED + timedelta(minutes=3)}
    played = Played([*seen("RUNNING", "COMPLETING"), *seen("PENDING", "RUNNING", "COMPLETED", **again)])
    assert played.wait()[0] == "COMPLETED"


def test_a_lost_node_is_the_end_only_where_the_job_stays_ended() -> None:
    back = Played([*seen("RUNNING", "NODE_FAIL"), *seen("PENDING", "COMPLETED", restarts=1)])
    assert back.wait()[0] == "COMPLETED"
    ended = Played([*seen("RUNNING", "NODE_FAIL")], record=replace(RECORD, state="NODE_FAIL"))
    assert ended.wait()[0] == "NODE_FAIL"


@pytest.mark.parametrize("change", [{"submitted_at": SUBMITTED + timedelta(seconds=1)}, {"restarts": 0}])
def test_another_job_of_the_same_number_is_not_taken_for_ours(change: dict[str, object]) -> None:
    first = seen("RUNNING", restarts=0 if "submitted_at" in change else 1)
    played = Played([*first, *seen("COMPLETED", **change)])
    with pytest.raises(FleetwardError, match="is another one now"):
        played.wait()


def test_a_job_that_slurmctld_has_forgotten_is_told_by_its_record() -> None:
    played = Played([*seen("RUNNING"), NoSuchJobError("gone")], record=replace(RECORD, state="FAILED", exit_code=3))
    assert played.wait()[0] == "FAILED"


def test_a_job_without_a_trace_is_an_error() -> None:
    with pytest.raises(FleetwardError, match="vanished"):
        Played([*seen("RUNNING"), NoSuchJobError("gone")], record=None).wait()


@pytest.mark.parametrize("record", [None, replace(RECORD, state="RUNNING"), SlurmOutOfReachError("no slurmdbd")])
def test_without_a_final_record_the_state_still_counts(record: Attempt | Exception | None) -> None:
    played = Played([*seen("COMPLETED")], record=record)
    assert played.wait() == ("COMPLETED", None)
    assert ACCOUNTING_LAG <= played.now <= ACCOUNTING_LAG + 2
