"""Following logs of a job, on a clock that jumps and a slurmctld that is played."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleetward.slurm.answers import Job
from fleetward.slurm.client import NoSuchJobError, SlurmOutOfReachError, SlurmRefusedError
from fleetward.slurm.logs.follow import LONGEST_PAUSE, LOOK_SECONDS, SHARE_OF_TIME, Watch, follow
from fleetward.slurm.logs.tail import Tail
from fleetward.slurm.wait import Clock

SUBMITTED = datetime(2026, 11, 28, tzinfo=UTC)
JOB = Job(
    id="12",
    number=12,
    name="digits",
    user="ada",
    account="research",
    partition="gpu",
    qos="normal",
    state="RUNNING",
    reason="None",
    nodes=("gpu001",),
    node_count=1,
    cpus=8,
    gpus={"h100": 8},
    elapsed=0,
    time_limit=600,
    submitted_at=SUBMITTED,
    started_at=SUBMITTED,
    restarts=0,
    working_directory="/data",
)
AWAY = SlurmOutOfReachError("slurmctld does not answer")


@dataclass
class Played:
    """A job, its log and a clock; the answer to each question is the last whose time has come."""

    log: Path
    answers: list[tuple[float, Job | Exception]]
    events: list[tuple[float, Callable[[], object]]] = field(default_factory=list)
    takes: float = 0.0
    """Seconds that each question takes."""
    now: float = 0.0
    asked: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def ask(self) -> Job:
        self.asked.append(self.now)
        answer = [answer for at, answer in self.answers if at <= self.now][-1]
        self.pass_time(self.takes)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        while self.events and self.events[0][0] <= self.now:
            self.events.pop(0)[1]()

    def follow(self) -> bytes:
        watch = Watch(self.ask, Clock(lambda: self.now, self.pass_time), self.notes.append)
        tail = Tail(self.log)
        try:
            return b"".join(data for _, data in follow([tail], watch))
        finally:
            tail.close()

    def writes(self, text: bytes) -> Callable[[], object]:
        def write() -> None:
            with self.log.open("ab") as file:
                file.write(text)

        return write


def state(name: str, **changes: object) -> Job:
    return replace(JOB, state=name, **changes)  # type: ignore[arg-type]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "job.log"
    path.write_bytes(b"begun\n")
    return path


def test_it_follows_to_the_end_and_reads_what_came_last(log: Path) -> None:
    played = Played(log, [(0, JOB), (20, state("COMPLETED"))])
    played.events = [
        (1, played.writes(b"one\ntw")),
        (5, played.writes(b"o\n")),
        (20, played.writes(b"last, no newline")),
    ]
    assert played.follow() == b"begun\none\ntwo\nlast, no newline\n"
    assert played.notes == ["job 12 is RUNNING", "job 12 is COMPLETED"]
    assert 20 <= played.now <= 20 + LONGEST_PAUSE + LOOK_SECONDS


def test_what_is_written_between_the_last_look_and_the_end_is_read(log: Path) -> None:
    played = Played(log, [(0, JOB), (3, state("FAILED"))], takes=1.0)
    played.events = [(now / 4, played.writes(b"%d\n" % now)) for now in range(4, 100)]
    assert played.follow().splitlines()[1:] == [b"%d" % now for now in range(4, int(played.now * 4) + 1)]


def test_the_file_is_looked_at_often_and_slurm_seldom(log: Path) -> None:
    played = Played(log, [(0, JOB), (100, state("COMPLETED"))])
    played.follow()
    pauses = [b - a for a, b in zip(played.asked, played.asked[1:], strict=False)]
    assert pauses[0] == 2
    assert pauses == sorted(pauses)
    assert pauses[-1] <= LONGEST_PAUSE + LOOK_SECONDS


def test_a_slow_slurm_is_asked_more_seldom(log: Path) -> None:
    played = Played(log, [(0, JOB), (1000, state("COMPLETED"))], takes=30.0)
    played.follow()
    assert len(played.asked) * 30.0 <= played.now * SHARE_OF_TIME + 2 * 30.0


def test_a_job_that_has_ended_is_read_once(log: Path) -> None:
    played = Played(log, [(0, state("COMPLETED"))])
    assert played.follow() == b"begun\n"
    assert played.now == 0


def test_a_job_that_waits_is_waited_for(log: Path) -> None:
    log.unlink()
    played = Played(log, [(0, state("PENDING", reason="Resources")), (10, JOB), (30, state("COMPLETED"))])
    played.events = [(12, played.writes(b"hello\n"))]
    assert played.follow() == b"hello\n"
    assert played.notes == [
        f"{log} is not there yet; waiting for it",
        "job 12 is PENDING (Resources)",
        "job 12 is RUNNING",
        "job 12 is COMPLETED",
    ]


def test_a_requeue_is_followed_and_told(log: Path) -> None:
    again = {"restarts": 1, "submitted_at": SUBMITTED + timedelta(minutes=2)}
    played = Played(
        log,
        [
            (0, JOB),
            (20, state("PENDING", reason="BeginTime", **again)),
            (140, state("RUNNING", **again)),
            (200, state("COMPLETED", **again)),
        ],
    )
    played.events = [(150, played.writes(b"fleetward: attempt 2\n"))]
    assert played.follow() == b"begun\nfleetward: attempt 2\n"
    assert played.notes == [
        "job 12 is RUNNING",
        "job 12 waits again (BeginTime), after 1 restarts; its log goes on when it does",
        "job 12 is RUNNING",
        "job 12 is COMPLETED",
    ]


def test_a_lost_node_is_the_end_only_where_the_job_stays_ended(log: Path) -> None:
    ended = Played(log, [(0, JOB), (10, state("NODE_FAIL"))])
    ended.follow()
    assert ended.notes[-1] == "job 12 is NODE_FAIL"
    back = Played(log, [(0, JOB), (10, state("NODE_FAIL")), (21, state("COMPLETED", restarts=1))])
    back.follow()
    assert back.notes[-1] == "job 12 is COMPLETED"


def test_a_slurmctld_that_is_away_ends_nothing_and_is_told_once(log: Path) -> None:
    played = Played(log, [(0, JOB), (10, AWAY), (5000, JOB), (5050, state("COMPLETED"))])
    played.events = [(3000, played.writes(b"meanwhile\n"))]
    assert played.follow() == b"begun\nmeanwhile\n"
    assert played.notes == [
        "job 12 is RUNNING",
        "slurmctld does not answer; the log is followed on",
        "Slurm answers again",
        "job 12 is COMPLETED",
    ]


def test_a_job_that_slurmctld_has_forgotten_has_ended(log: Path) -> None:
    assert Played(log, [(0, JOB), (10, NoSuchJobError("gone"))]).follow() == b"begun\n"


@pytest.mark.parametrize("other", [{"submitted_at": SUBMITTED + timedelta(seconds=1)}, {"restarts": 0}])
def test_another_job_of_the_same_number_is_not_followed(other: dict[str, object], log: Path) -> None:
    first = replace(JOB, restarts=0 if "submitted_at" in other else 1)
    played = Played(log, [(0, first), (10, state("RUNNING", **other))])
    played.follow()
    assert "is another one now" in played.notes[-1]


def test_what_slurm_refuses_is_an_error(log: Path) -> None:
    with pytest.raises(SlurmRefusedError):
        Played(log, [(0, SlurmRefusedError("no"))]).follow()


def test_several_logs_are_followed_at_once(tmp_path: Path) -> None:
    logs = [tmp_path / "out", tmp_path / "err"]
    played = Played(logs[0], [(0, JOB), (10, state("COMPLETED"))])
    played.events = [(1, lambda: logs[1].write_bytes(b"error\n")), (2, lambda: logs[0].write_bytes(b"output\n"))]
    watch = Watch(played.ask, Clock(lambda: played.now, played.pass_time), played.notes.append)
    assert list(follow([Tail(log) for log in logs], watch)) == [(logs[1], b"error\n"), (logs[0], b"output\n")]
