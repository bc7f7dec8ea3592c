"""What the daemon asks Slurm, and when; what it keeps of the last picture, and what runs learn from it."""

from collections import Counter
from dataclasses import dataclass, replace

import pytest
from played_slurm import CountingSlurm, PlayedClock, job, node

from fleetward.server.look import QUEUE_INTEREST, SLURM_SECONDS, SeenQueue, SlurmLook, SlurmLooker, slurm_trouble
from fleetward.server.watch import LONGEST_PAUSE, Interest, Reading, Source
from fleetward.slurm.answers import JobDetail, NodeGpus
from fleetward.slurm.client import NoSuchJobError, SlurmOutOfReachError, SlurmRefusedError
from fleetward.slurm.looking import PARTITIONS_SECONDS


@dataclass
class HoldingSlurm(CountingSlurm):
    """Every job holds one GPU."""

    def job(self, job_id: str) -> JobDetail:
        self.ask(f"job {job_id}")
        return replace(super().job(job_id), gpus=(NodeGpus("gpu001", "h100", (0,)),))


class Watched:
    """A played Slurm with its source, two interests, and one clock for all."""

    def __init__(self) -> None:
        self.slurm = HoldingSlurm(PlayedClock())
        self.slurm.add(node("gpu001"), job(7, "gpu001"))
        self.interest, self.queue_interest = Interest(self.clock), Interest(self.clock, QUEUE_INTEREST)
        self.source = Source(
            "slurm", SlurmLooker(self.slurm, self.interest, self.queue_interest, self.clock), self.clock
        )

    def clock(self) -> float:
        return self.slurm.now

    def look(self) -> SlurmLook:
        self.source.look()
        found = self.source.reading.value
        assert found is not None
        return found

    def asked(self) -> Counter[str]:
        """Return what was asked since the last call."""
        counted = Counter(self.slurm.asked)
        self.slurm.asked.clear()
        return counted


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_only_nodes_are_asked_for_while_nobody_is_interested(watched: Watched) -> None:
    for _ in range(100):
        look = watched.look()
        watched.slurm.now += SLURM_SECONDS
    assert watched.asked() == {"nodes": 100}
    assert [one.name for one in look.nodes] == ["gpu001"]
    assert look.snapshot.jobs.problem == "it was not asked yet"


def test_jobs_are_asked_for_once_a_look_and_partitions_once_a_minute_while_somebody_is(watched: Watched) -> None:
    for _ in range(30):
        watched.interest.show()
        look = watched.look()
        watched.slurm.now += SLURM_SECONDS
    assert watched.asked() == {"nodes": 30, "jobs": 30, "partitions": 1, "job 7": 1}
    assert [one.id for one in look.snapshot.jobs.items] == ["7"]
    assert look.snapshot.partitions.age(watched.clock()) == PARTITIONS_SECONDS


def test_jobs_stay_as_they_were_once_nobody_is_interested(watched: Watched) -> None:
    watched.interest.show()
    watched.look()
    watched.slurm.now += 100
    watched.slurm.add(job(8, "gpu001"))
    snapshot = watched.look().snapshot
    assert [one.id for one in snapshot.jobs.items] == ["7"]
    assert snapshot.ages(watched.clock()) == {"nodes": 0.0, "jobs": 100.0, "partitions": 100.0}


def test_each_attempt_of_a_job_is_asked_for_once(watched: Watched) -> None:
    watched.slurm.add(job(8, "gpu001", state="COMPLETED"))
    watched.interest.show()
    for _ in range(3):
        watched.look()
    asked = watched.asked()
    assert (asked["job 7"], asked["job 8"]) == (1, 0)
    watched.slurm.add(job(7, "gpu001", restarts=1))
    assert [detail.job.restarts for detail in watched.look().details] == [1]
    assert watched.asked()["job 7"] == 1


def test_a_job_that_ended_between_two_questions_costs_the_others_nothing(watched: Watched) -> None:
    watched.slurm.add(job(8, "gpu001"))
    watched.slurm.errors["job 7"] = NoSuchJobError("there is none")
    watched.interest.show()
    look = watched.look()
    assert ([detail.job.id for detail in look.details], look.problem) == (["8"], "")


def test_gpus_of_jobs_that_slurm_does_not_tell_are_a_problem_of_their_own(watched: Watched) -> None:
    watched.slurm.add(job(8, "gpu001"), job(9, "gpu001"))
    watched.slurm.errors["job 8"] = SlurmRefusedError("no")
    watched.interest.show()
    look = watched.look()
    assert [detail.job.id for detail in look.details] == ["7"]
    assert watched.asked()["job 9"] == 0, "one that says no is not asked for the rest"
    assert list(slurm_trouble(watched.source.reading)) == ["Slurm does not answer about the GPUs of jobs: no"]
    watched.slurm.errors.clear()
    assert [detail.job.id for detail in watched.look().details] == ["7", "8", "9"]
    assert list(slurm_trouble(watched.source.reading)) == []


def test_while_slurm_is_away_the_picture_grows_old_and_little_is_asked(watched: Watched) -> None:
    watched.interest.show()
    watched.look()
    watched.asked()
    watched.slurm.errors["nodes"] = SlurmOutOfReachError("no answer")
    watched.slurm.takes = 30.0
    pauses = [watched.source.look() for _ in range(4)]
    assert pauses == [LONGEST_PAUSE] * 4
    assert watched.asked() == {"nodes": 4}
    reading = watched.source.reading
    assert reading.value is not None
    assert [one.id for one in reading.value.snapshot.jobs.items] == ["7"]
    assert watched.source.age == 120.0
    assert reading.reach.endswith("no answer")
    [told] = slurm_trouble(reading)
    assert told.startswith("Slurm does not answer about nodes, jobs, partitions, since ")


def test_who_is_away_is_asked_less_and_less_often_and_at_once_when_it_is_back(watched: Watched) -> None:
    watched.slurm.errors["nodes"] = SlurmOutOfReachError("no answer")
    assert [watched.source.look() for _ in range(4)] == [4.0, 8.0, LONGEST_PAUSE, LONGEST_PAUSE]
    since = watched.source.reading.since
    assert since is not None
    watched.source.look()
    assert watched.source.reading.since == since, "since the first failure, not the last"
    assert watched.source.reading.value is None, "no picture without nodes"
    watched.slurm.errors.clear()
    assert watched.source.look() == SLURM_SECONDS
    assert watched.source.reading.reach == ""


def test_questions_take_no_more_than_a_fifth_of_the_time(watched: Watched) -> None:
    watched.slurm.takes = 1.0
    assert watched.source.look() == 5.0
    watched.interest.show()
    assert watched.source.look() == 20.0, "nodes, jobs, partitions, and one job"
    assert watched.source.look() == 10.0, "nodes and jobs"


def test_what_jobs_once_cost_holds_nodes_up_no_longer(watched: Watched) -> None:
    watched.slurm.takes = 4.0
    watched.interest.show()
    watched.source.look()
    watched.slurm.takes = 0.1
    watched.slurm.now += 100
    assert watched.source.look() == SLURM_SECONDS


def test_runs_learn_of_jobs_without_a_question_of_their_own(watched: Watched) -> None:
    seen = SeenQueue(watched.source, watched.queue_interest)
    assert seen().problem == "it was not asked yet"
    watched.look()
    assert watched.asked() == {"nodes": 1, "jobs": 1}
    for _ in range(10):
        assert [one.id for one in seen().items] == ["7"]
    assert watched.asked() == {}
    watched.slurm.now += QUEUE_INTEREST
    watched.look()
    assert watched.asked() == {"nodes": 1}


def test_before_the_first_look_it_says_that_nothing_was_asked() -> None:
    told = list(slurm_trouble(Reading(problem="it was not asked yet")))
    assert told == ["Slurm does not answer, it was not asked yet"]
