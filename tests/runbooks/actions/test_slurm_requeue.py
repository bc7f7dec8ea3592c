"""Requeuing a node's jobs as a step: which jobs, each once, also when the record of it was lost."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from played_slurm import PlayedSlurm, PlayedWorld, job

from fleetward.model.runs import Step
from fleetward.runbooks.actions.base import Call, Done, NotBegun, Waiting
from fleetward.runbooks.actions.slurm_requeue import UNSEEN_SECONDS, Requeue
from fleetward.slurm.answers import Job, Listing
from fleetward.slurm.client import SlurmOutOfReachError
from fleetward.slurm.snapshot import Part

MakeCall = Callable[..., Call]


@pytest.fixture
def action(world: PlayedWorld) -> Requeue:
    return Requeue(world.slurm, world.clock)


def requeues(world: PlayedWorld) -> list[tuple[str, ...]]:
    return [each for each in world.slurm.calls if each[0] == "requeue"]


def test_a_failed_job_is_requeued_and_may_start_at_once(world: PlayedWorld, call: MakeCall, action: Requeue) -> None:
    world.slurm.add(job(12, "gpu001", "gpu002", state="FAILED"))
    before = action.prepare(call("gpu001"))
    assert isinstance(action.act(call("gpu001"), before, world.report), Waiting)
    assert action.act(call("gpu001"), before, world.report) == Done({"jobs": {"12": "requeued"}})
    assert world.slurm.calls == [("requeue", "12"), ("start_now", "12")]
    assert world.slurm.jobs_now["12"].started_at is None


def test_a_running_job_is_started_only_after_it_has_left_its_nodes(
    world: PlayedWorld, call: MakeCall, action: Requeue
) -> None:
    world.slurm.add(job(12, "gpu001"))
    before = action.prepare(call("gpu001"))
    for _ in range(3):
        waiting = action.act(call("gpu001"), before, world.report)
        assert waiting == Waiting("job 12 is on its way back to the queue", 1.0)
    assert world.slurm.calls == [("requeue", "12")]
    world.slurm.leave_nodes("12")
    assert action.act(call("gpu001"), before, world.report) == Done({"jobs": {"12": "requeued"}})
    assert world.slurm.calls == [("requeue", "12"), ("start_now", "12")]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (job(12, "gpu002"), "on another node"),
        (job(12, "gpu001", state="CANCELLED"), "a person ended it"),
        (job(12, "gpu001", state="COMPLETED"), "it is done"),
        (job(12, "gpu001", state="TIMEOUT"), "its limit ended it"),
        (job(12, "gpu001", state="FAILED", began=3600), "long before the incident"),
        (job(12, state="PENDING"), "waits"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_jobs_are_left_alone(world: PlayedWorld, call: MakeCall, action: Requeue, other: Job, why: str) -> None:
    world.slurm.add(other)
    assert action.act(call("gpu001"), action.prepare(call("gpu001")), world.report) == Done({"jobs": {}}), why
    assert world.slurm.calls == []
    assert world.said == ["no job to requeue\n"]


@pytest.mark.parametrize(("within", "count"), [("10m", 0), ("2h", 1)])
def test_how_long_ago_a_job_may_have_failed_is_the_pages(
    world: PlayedWorld, call: MakeCall, action: Requeue, within: str, count: int
) -> None:
    world.slurm.add(job(12, "gpu001", state="FAILED", began=3700, elapsed=100))
    assert len(action.prepare(call("gpu001", failed_within=within))["jobs"]) == count


def test_a_job_that_ended_meanwhile_by_a_persons_hand_is_not_brought_back(
    world: PlayedWorld, call: MakeCall, action: Requeue
) -> None:
    world.slurm.add(job(12, "gpu001"))
    before = action.prepare(call("gpu001"))
    world.slurm.add(job(12, "gpu001", state="CANCELLED"))
    assert action.act(call("gpu001"), before, world.report) == Done({"jobs": {"12": "left alone: CANCELLED"}})
    assert world.slurm.calls == []


def test_a_job_that_was_on_its_way_out_is_judged_by_its_end(
    world: PlayedWorld, call: MakeCall, action: Requeue
) -> None:
    world.slurm.add(job(12, "gpu001", state="COMPLETING"), job(13, "gpu001", state="COMPLETING"))
    before = action.prepare(call("gpu001"))
    assert isinstance(action.act(call("gpu001"), before, world.report), Waiting)
    assert world.slurm.calls == []
    world.slurm.add(job(12, "gpu001", state="FAILED"), job(13, "gpu001", state="COMPLETED"))
    action.act(call("gpu001"), before, world.report)
    done = action.act(call("gpu001"), before, world.report)
    assert done == Done({"jobs": {"12": "requeued", "13": "left alone: COMPLETED"}})
    assert requeues(world) == [("requeue", "12")]


def test_what_slurm_refuses_is_told_and_stops_nothing(world: PlayedWorld, call: MakeCall, action: Requeue) -> None:
    world.slurm.add(job(12, "gpu001"), job(13, "gpu001", state="FAILED"))
    world.slurm.refuses["12"] = "scontrol: Requested operation is presently disabled for job 12"
    before = action.prepare(call("gpu001"))
    action.act(call("gpu001"), before, world.report)
    done = action.act(call("gpu001"), before, world.report)
    assert isinstance(done, Done)
    assert done.outcome["jobs"] == {
        "12": "not requeued: scontrol: Requested operation is presently disabled for job 12",
        "13": "requeued",
    }


def test_the_number_of_a_lost_job_given_to_another_is_left_alone(
    world: PlayedWorld, call: MakeCall, action: Requeue
) -> None:
    world.slurm.add(job(12, "gpu001", restarts=2))
    before = action.prepare(call("gpu001"))
    world.slurm.add(job(12, "gpu003"))
    done = action.act(call("gpu001"), before, world.report)
    assert done == Done({"jobs": {"12": "left alone: another job has its number now"}})
    world.slurm.add(job(12, "gpu003", restarts=2, began=5))
    assert action.act(call("gpu001"), before, world.report) == done
    assert world.slurm.calls == []


def test_a_job_that_is_gone_is_told(world: PlayedWorld, call: MakeCall, action: Requeue) -> None:
    world.slurm.add(job(12, "gpu001"))
    before = action.prepare(call("gpu001"))
    world.slurm.jobs_now.clear()
    assert action.act(call("gpu001"), before, world.report) == Done({"jobs": {"12": "gone from Slurm"}})


def test_a_job_on_a_dead_node_is_not_waited_for_for_ever(world: PlayedWorld, call: MakeCall, action: Requeue) -> None:
    world.slurm.add(job(12, "gpu001"))
    before = action.prepare(call("gpu001"))
    action.act(call("gpu001"), before, world.report)
    world.clock.sleep(179)
    assert isinstance(action.act(call("gpu001"), before, world.report), Waiting)
    world.clock.sleep(2)
    assert action.act(call("gpu001"), before, world.report) == Done({"jobs": {"12": "still leaving its nodes"}})


def test_nothing_is_done_twice_whatever_was_lost(world: PlayedWorld, call: MakeCall, action: Requeue) -> None:
    """The daemon dies right after each write, once; a new one looks and goes on."""
    world.slurm.add(job(12, "gpu001"), job(13, "gpu001", state="FAILED"), job(14, "gpu001", state="FAILED"))
    before = action.prepare(call("gpu001"))
    assert action.observe(call("gpu001"), before) == NotBegun()
    died_after: set[tuple[str, ...]] = set()

    def die(slurm: PlayedSlurm) -> None:
        if slurm.calls[-1] not in died_after:
            died_after.add(slurm.calls[-1])
            raise SlurmOutOfReachError("the daemon died here")

    world.slurm.on_write = die
    for _ in range(20):
        try:
            if isinstance(Requeue(world.slurm, world.clock).act(call("gpu001"), before, world.report), Done):
                break
        except SlurmOutOfReachError:
            assert isinstance(action.observe(call("gpu001"), before), NotBegun | Done)
        if world.slurm.jobs_now["12"].state == "COMPLETING":
            world.slurm.leave_nodes("12")
    assert len(died_after) == 6
    assert sorted(requeues(world)) == [("requeue", "12"), ("requeue", "13"), ("requeue", "14")]
    assert {each.restarts for each in world.slurm.jobs_now.values()} == {1}
    assert {each.started_at for each in world.slurm.jobs_now.values()} == {None}
    assert action.observe(call("gpu001"), before) == Done({"jobs": dict.fromkeys(("12", "13", "14"), "requeued")})


def test_a_job_that_ran_again_before_anyone_looked_is_done(world: PlayedWorld, call: MakeCall, action: Requeue) -> None:
    world.slurm.add(job(12, "gpu001"))
    before = action.prepare(call("gpu001"))
    for state, said in (("RUNNING", "requeued"), ("FAILED", "requeued, and FAILED again")):
        world.slurm.add(job(12, "gpu002", state=state, restarts=1, began=1))
        assert action.observe(call("gpu001"), before) == Done({"jobs": {"12": said}})
        assert action.act(call("gpu001"), before, world.report) == Done({"jobs": {"12": said}})
    assert world.slurm.calls == []


def test_a_second_attempt_keeps_what_the_first_had_written_down(
    world: PlayedWorld, call: MakeCall, action: Requeue
) -> None:
    world.slurm.add(job(12, "gpu001", state="FAILED"))
    before = action.prepare(call("gpu001"))
    action.act(call("gpu001"), before, world.report)
    world.slurm.add(job(13, "gpu001", state="FAILED"))
    step = replace(call("gpu001").step, before=before)
    again = action.prepare(call("gpu001", step=step))
    assert [(each["id"], each["restarts"]) for each in again["jobs"]] == [("12", 0), ("13", 0)]


def test_an_array_s_task_is_requeued_by_its_own_name(world: PlayedWorld, call: MakeCall, action: Requeue) -> None:
    task = replace(job(20, "gpu001", state="FAILED"), id="18_2")
    world.slurm.add(task)
    before = action.prepare(call("gpu001"))
    action.act(call("gpu001"), before, world.report)
    assert world.slurm.calls == [("requeue", "18_2")]


def test_what_is_kept_is_json(world: PlayedWorld, call: MakeCall, action: Requeue) -> None:
    import json

    world.slurm.add(job(12, "gpu001"))
    before = json.loads(json.dumps(action.prepare(call("gpu001"))))
    assert isinstance(action.act(call("gpu001"), before, world.report), Waiting)
    step = Step(3, "s", "", "slurm.requeue", {"": "gpu001"}, before=before)
    assert len(action.prepare(call("gpu001", step=step))["jobs"]) == 1


@dataclass
class Seen:
    """A picture of a played queue, taken when a test says so, and how often the queue itself was asked for."""

    slurm: PlayedSlurm
    now: float = 500.0
    part: Part[Job] = field(default_factory=Part)
    asked: int = 0

    def look(self) -> None:
        self.now += 1
        self.part = Part(tuple(self.slurm.jobs_now.values()), self.now, problem="")

    def jobs(self) -> Listing[Job]:
        self.asked += 1
        return PlayedSlurm.jobs(self.slurm)


@pytest.fixture
def seen(world: PlayedWorld, monkeypatch: pytest.MonkeyPatch) -> Seen:
    watched = Seen(world.slurm)
    monkeypatch.setattr(world.slurm, "jobs", watched.jobs)
    return watched


@pytest.fixture
def watching(world: PlayedWorld, seen: Seen) -> Requeue:
    return Requeue(world.slurm, world.clock, lambda: seen.part, lambda: seen.now)


def test_a_job_that_leaves_its_nodes_is_waited_for_without_a_question(
    world: PlayedWorld, call: MakeCall, watching: Requeue, seen: Seen
) -> None:
    world.slurm.add(job(12, "gpu001"), job(13, "gpu001", state="FAILED"))
    seen.look()
    before = watching.prepare(call("gpu001"))
    waiting = watching.act(call("gpu001"), before, world.report)
    assert waiting == Waiting("job 12, 13 is on its way back to the queue", 1.0)
    assert seen.asked == 2
    for _ in range(3):  # the picture is of before the requeue: it says nothing yet
        assert watching.act(call("gpu001"), before, world.report) == waiting
    assert seen.asked == 2
    seen.look()  # 13 is in the queue
    assert watching.act(call("gpu001"), before, world.report) == replace(
        waiting, why="job 12 is on its way back to the queue"
    )
    assert (seen.asked, world.slurm.calls[2:]) == (3, [("start_now", "13")])
    for _ in range(5):
        seen.look()
        assert isinstance(watching.act(call("gpu001"), before, world.report), Waiting)
    assert seen.asked == 3
    world.slurm.leave_nodes("12")
    assert isinstance(watching.act(call("gpu001"), before, world.report), Waiting), "nobody has seen it yet"
    seen.look()
    assert watching.act(call("gpu001"), before, world.report) == Done({"jobs": {"12": "requeued", "13": "requeued"}})
    assert (seen.asked, world.slurm.calls[3:]) == (4, [("start_now", "12")])


def test_what_is_done_follows_what_slurm_says_and_not_the_picture(
    world: PlayedWorld, call: MakeCall, watching: Requeue, seen: Seen
) -> None:
    world.slurm.add(job(12, "gpu001"))
    before = watching.prepare(call("gpu001"))
    watching.act(call("gpu001"), before, world.report)
    world.slurm.leave_nodes("12")
    seen.look()
    world.slurm.add(job(12, "gpu002", restarts=1, began=1))
    assert watching.act(call("gpu001"), before, world.report) == Done({"jobs": {"12": "requeued"}})
    assert world.slurm.calls == [("requeue", "12")]


@pytest.mark.parametrize("problem", ["", "no answer"])
def test_a_picture_that_is_not_taken_any_more_is_not_waited_for(
    world: PlayedWorld, call: MakeCall, watching: Requeue, seen: Seen, problem: str
) -> None:
    world.slurm.add(job(12, "gpu001"))
    before = watching.prepare(call("gpu001"))
    watching.act(call("gpu001"), before, world.report)
    seen.look()
    watching.act(call("gpu001"), before, world.report)
    assert seen.asked == 2
    seen.part = replace(seen.part, problem=problem)
    seen.now += 0 if problem else UNSEEN_SECONDS + 0.1
    world.slurm.leave_nodes("12")
    assert watching.act(call("gpu001"), before, world.report) == Done({"jobs": {"12": "requeued"}})
    assert seen.asked == 3


def test_a_job_that_never_leaves_ends_the_wait_with_a_picture_too(
    world: PlayedWorld, call: MakeCall, watching: Requeue, seen: Seen
) -> None:
    world.slurm.add(job(12, "gpu001"))
    before = watching.prepare(call("gpu001"))
    watching.act(call("gpu001"), before, world.report)
    world.clock.sleep(181)
    seen.look()
    assert watching.act(call("gpu001"), before, world.report) == Done({"jobs": {"12": "still leaving its nodes"}})
