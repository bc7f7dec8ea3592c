"""Waiting for a node's jobs as a step: none is touched, and a node counts as empty once Slurm itself says so."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from played_slurm import CountingSlurm, PlayedClock, PlayedWorld, job

from fleetward.model.errors import UsageError
from fleetward.runbooks.actions.base import Call, Done, Failed, NotBegun, Waiting
from fleetward.runbooks.actions.slurm_wait import UNSEEN_SECONDS, WaitForJobs
from fleetward.slurm.answers import Job
from fleetward.slurm.client import SlurmOutOfReachError
from fleetward.slurm.snapshot import Part

MakeCall = Callable[..., Call]


@pytest.fixture
def action(world: PlayedWorld) -> WaitForJobs:
    return WaitForJobs(world.slurm, world.clock)


def test_an_empty_node_is_not_waited_for(world: PlayedWorld, call: MakeCall, action: WaitForJobs) -> None:
    world.slurm.add(job(7, "gpu002"))
    assert action.act(call("gpu001"), action.prepare(call("gpu001")), world.report) == Done({"jobs": []})


def test_a_node_with_jobs_is_waited_for_until_the_last_has_left_it(
    world: PlayedWorld, call: MakeCall, action: WaitForJobs
) -> None:
    world.slurm.add(job(7, "gpu001"), job(8, "gpu001", "gpu002"))
    before = action.prepare(call("gpu001"))
    assert action.act(call("gpu001"), before, world.report) == Waiting("job 7, 8 still runs on gpu001", 5.0)
    world.slurm.add(job(7, "gpu001", state="COMPLETED"), job(8, "gpu001", state="COMPLETING"))
    assert action.act(call("gpu001"), before, world.report) == Waiting("job 8 still runs on gpu001", 5.0)
    world.slurm.add(job(8, "gpu001", state="FAILED"))
    assert action.act(call("gpu001"), before, world.report) == Done({"jobs": []})
    assert world.slurm.calls == []


@pytest.mark.parametrize(
    ("state", "waits"),
    [
        ("RUNNING", True),
        ("SUSPENDED", True),
        ("CONFIGURING", True),
        ("COMPLETING", True),
        ("STAGE_OUT", True),
        ("SIGNALING", True),
        ("A_STATE_OF_A_LATER_RELEASE", True),
        ("PENDING", False),
        ("COMPLETED", False),
        ("CANCELLED", False),
        ("TIMEOUT", False),
        ("NODE_FAIL", False),
    ],
)
def test_what_may_still_have_a_process_there_is_waited_for(
    world: PlayedWorld, call: MakeCall, action: WaitForJobs, state: str, waits: bool
) -> None:
    world.slurm.add(job(7, "gpu001", state=state))
    found = action.act(call("gpu001"), action.prepare(call("gpu001")), world.report)
    assert isinstance(found, Waiting if waits else Done)


def test_of_many_jobs_five_are_named(world: PlayedWorld, call: MakeCall, action: WaitForJobs) -> None:
    world.slurm.add(*(job(number, "gpu001") for number in range(11, 18)))
    found = action.act(call("gpu001"), action.prepare(call("gpu001")), world.report)
    assert isinstance(found, Waiting)
    assert found.why == "job 11, 12, 13, 14, 15 and 2 more still runs on gpu001"


def test_too_late_it_fails_and_names_the_jobs(world: PlayedWorld, call: MakeCall, action: WaitForJobs) -> None:
    world.slurm.add(job(7, "gpu001"))
    step = call("gpu001", within="1h")
    before = action.prepare(step)
    world.clock.sleep(3598)
    assert action.act(step, before, world.report) == Waiting("job 7 still runs on gpu001", 2.0)
    world.clock.sleep(2)
    assert action.act(step, before, world.report) == Failed("job 7 still runs on gpu001 after 3600 s", {"jobs": ["7"]})
    assert world.slurm.calls == []


def test_where_the_page_says_so_it_goes_on_all_the_same(
    world: PlayedWorld, call: MakeCall, action: WaitForJobs
) -> None:
    world.slurm.add(job(7, "gpu001"))
    step = call("gpu001", within="1h", late="go_on")
    before = action.prepare(step)
    world.clock.sleep(3600)
    assert action.act(step, before, world.report) == Done({"jobs": ["7"]})
    assert world.said == ["job 7 still runs on gpu001 after 3600 s\n"]


def test_a_day_is_waited_where_no_time_is_named(world: PlayedWorld, call: MakeCall, action: WaitForJobs) -> None:
    world.slurm.add(job(7, "gpu001"))
    before = action.prepare(call("gpu001"))
    world.clock.sleep(86_399)
    assert isinstance(action.act(call("gpu001"), before, world.report), Waiting)
    world.clock.sleep(1)
    assert isinstance(action.act(call("gpu001"), before, world.report), Failed)


def test_an_empty_node_is_well_however_late_it_is_looked_at(
    world: PlayedWorld, call: MakeCall, action: WaitForJobs
) -> None:
    step = call("gpu001", within="1h")
    before = action.prepare(step)
    world.clock.sleep(1e6)
    assert action.act(step, before, world.report) == Done({"jobs": []})


def test_a_slurm_that_does_not_answer_is_no_empty_node(world: PlayedWorld, call: MakeCall, action: WaitForJobs) -> None:
    step = call("gpu001", within="1h")
    before = action.prepare(step)
    world.slurm.raises = SlurmOutOfReachError("squeue: Unable to contact slurm controller")
    for _ in range(2):
        with pytest.raises(SlurmOutOfReachError):
            action.act(step, before, world.report)
        world.clock.sleep(7200)


def test_after_a_crash_it_looks_again_and_its_time_goes_on(
    world: PlayedWorld, call: MakeCall, action: WaitForJobs
) -> None:
    world.slurm.add(job(7, "gpu001"))
    step = call("gpu001", within="1h")
    before = action.prepare(step)
    assert action.observe(step, before) == NotBegun()
    world.clock.sleep(3600)
    assert isinstance(WaitForJobs(world.slurm, world.clock).act(step, before, world.report), Failed)


@pytest.mark.parametrize("node", ["", "ALL", "gpu[001-002]", None])
def test_what_is_not_one_node_is_not_waited_for(
    world: PlayedWorld, call: MakeCall, action: WaitForJobs, node: object
) -> None:
    with pytest.raises(UsageError):
        action.act(call(node), action.prepare(call(node)), world.report)


@dataclass
class Watched:
    """A picture of the jobs that somebody takes anyway, and a Slurm that counts what it is asked beside it."""

    clock: PlayedClock = field(default_factory=PlayedClock)
    slurm: CountingSlurm = field(init=False)
    seen: Part[Job] = field(default_factory=Part)
    tick: float = 1000.0

    def __post_init__(self) -> None:
        self.slurm = CountingSlurm(self.clock)

    @property
    def action(self) -> WaitForJobs:
        return WaitForJobs(self.slurm, self.clock, lambda: self.seen, lambda: self.tick)

    def look(self, age: float = 1.0, problem: str = "") -> None:
        """Take a picture of the jobs as they are now; `age` seconds have passed since."""
        self.seen = Part(tuple(self.slurm.jobs_now.values()), at=self.tick - age, problem=problem)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_while_a_picture_shows_jobs_slurm_is_not_asked(watched: Watched, call: MakeCall) -> None:
    watched.slurm.add(job(7, "gpu001"))
    before = watched.action.prepare(call("gpu001"))
    for _ in range(20):
        watched.tick += 5
        watched.look()
        assert isinstance(watched.action.act(call("gpu001"), before, lambda _: None), Waiting)
    assert watched.slurm.asked == []


def test_a_picture_that_shows_none_is_not_taken_for_an_empty_node(watched: Watched, call: MakeCall) -> None:
    """A job that began after the picture was taken, on a node that was drained a moment later."""
    watched.look()
    watched.slurm.add(job(7, "gpu001"))
    before = watched.action.prepare(call("gpu001"))
    assert watched.action.act(call("gpu001"), before, lambda _: None) == Waiting("job 7 still runs on gpu001", 5.0)
    assert watched.slurm.asked == ["jobs"]
    watched.slurm.jobs_now.clear()
    assert watched.action.act(call("gpu001"), before, lambda _: None) == Done({"jobs": []})


@pytest.mark.parametrize(
    ("age", "problem", "asked"),
    [
        (UNSEEN_SECONDS, "", []),
        (UNSEEN_SECONDS + 1, "", ["jobs"]),
        (1.0, "slurmctld does not answer", ["jobs"]),
    ],
)
def test_slurm_is_asked_where_the_picture_is_old_or_has_a_problem(
    watched: Watched, call: MakeCall, age: float, problem: str, asked: list[str]
) -> None:
    watched.slurm.add(job(7, "gpu001"))
    watched.look(age, problem)
    watched.slurm.jobs_now.clear()
    found = watched.action.act(call("gpu001"), watched.action.prepare(call("gpu001")), lambda _: None)
    assert isinstance(found, Done if asked else Waiting)
    assert watched.slurm.asked == asked
