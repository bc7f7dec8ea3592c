"""Pictures of a cluster: how they are taken, how old their parts are, and what happened between two of them."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.errors import FleetwardError
from fleetward.slurm.answers import Job, Listing, Node, Partition
from fleetward.slurm.client import SlurmOutOfReachError, SlurmRefusedError
from fleetward.slurm.looking import LONGEST_PAUSE, Looker
from fleetward.slurm.snapshot import ChangeKind, Part, Snapshot, differences

THEN = datetime(2026, 11, 28, 9, tzinfo=UTC)
STATES = ("PENDING", "RUNNING", "COMPLETING", "SUSPENDED", "CONFIGURING", "COMPLETED", "FAILED", "NODE_FAIL", "TIMEOUT")


def job(number: int = 1, state: str = "PENDING", restarts: int = 0, submitted: datetime | None = THEN) -> Job:
    return Job(
        id=str(number),
        number=number,
        name="digits",
        user="researcher",
        account="research",
        partition="gpu",
        qos="normal",
        state=state,
        reason="",
        nodes=(),
        node_count=1,
        cpus=8,
        gpus={"h100": 8},
        elapsed=0,
        time_limit=600,
        submitted_at=submitted,
        started_at=None,
        restarts=restarts,
        working_directory="/home/researcher",
    )


def node(name: str = "gpu001", state: str = "IDLE", *flags: str) -> Node:
    return Node(name, state, flags, ("gpu",), {"h100": 8}, {}, 64, 0, 1000, 0)


def snapshot(jobs: Iterable[Job] = (), nodes: Iterable[Node] = (), at: float = 1.0) -> Snapshot:
    return Snapshot(Part(tuple(nodes), at, problem=""), Part(tuple(jobs), at, problem=""), Part((), at, problem=""))


def told(before: Iterable[Job], after: Iterable[Job]) -> list[tuple[str, int]]:
    found = differences(snapshot(before), snapshot(after, at=2.0))
    return [(str(one.kind), one.job.number) for one in found]


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        (None, job(), ["submitted"]),
        (None, job(1, "RUNNING"), ["started"]),
        (None, job(1, "FAILED"), ["ended"]),
        (job(), job(), []),
        (job(), job(1, "CONFIGURING"), ["started"]),
        (job(1, "CONFIGURING"), job(1, "RUNNING"), []),
        (job(1, "RUNNING"), job(1, "COMPLETING"), []),
        (job(1, "RUNNING"), job(1, "SUSPENDED"), []),
        (job(1, "COMPLETING"), job(1, "COMPLETED"), ["ended"]),
        (job(1, "COMPLETED"), job(1, "COMPLETED"), []),
        (job(1, "COMPLETED"), None, []),
        (job(1, "RUNNING"), None, ["gone"]),
        (job(1, "RUNNING"), job(1, "PENDING", 1), ["requeued"]),
        (job(1, "RUNNING"), job(1, "PENDING", 1, THEN + timedelta(seconds=9)), ["requeued"]),
        (job(1, "RUNNING", 1), job(1, "RUNNING", 0, THEN + timedelta(1)), ["gone", "started"]),
        (job(1, "RUNNING"), job(1, "RUNNING", 1), ["requeued", "started"]),
        (job(1, "FAILED"), job(1, "COMPLETED", 2), ["requeued", "ended"]),
        (job(1, "RUNNING"), job(1, "COMPLETING", 1), ["requeued"]),
        (job(1, "COMPLETING", 1), job(1, "PENDING", 1, THEN + timedelta(seconds=9)), []),
        (job(1, "COMPLETING", 1), job(1, "RUNNING", 1, THEN + timedelta(seconds=9)), ["started"]),
        (job(1, "COMPLETING", 1), job(1, "CANCELLED", 1, THEN + timedelta(seconds=9)), ["ended"]),
        (job(1, "COMPLETING", 1), job(1, "PENDING", 2, THEN + timedelta(seconds=9)), ["requeued"]),
        (job(1, "RUNNING", 1), job(1, "COMPLETING", 1), []),
        (job(1, "COMPLETING"), job(1, "PENDING", 0, THEN + timedelta(1)), ["gone", "submitted"]),
        (job(1, "RUNNING", 1), job(1, "RUNNING", 1, THEN + timedelta(1)), ["gone", "started"]),
        (job(1, "COMPLETED"), job(1, "RUNNING", 0, THEN + timedelta(1)), ["started"]),
        (job(1, "RUNNING"), job(1, "PENDING", 0, THEN + timedelta(1)), ["gone", "submitted"]),
    ],
)
def test_what_happened_to_a_job(before: Job | None, after: Job | None, kinds: list[str]) -> None:
    assert [kind for kind, _ in told([before] if before else [], [after] if after else [])] == kinds


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        (node(), node(), []),
        (None, node(), ["added"]),
        (node(), None, ["gone"]),
        (node(), node("gpu001", "IDLE", "DRAIN"), ["drained"]),
        (node("gpu001", "IDLE", "DRAIN"), node("gpu001", "MIXED"), ["resumed"]),
        (node(), node("gpu001", "DOWN", "NOT_RESPONDING"), ["down"]),
        (node("gpu001", "IDLE", "NOT_RESPONDING"), node("gpu001", "DOWN"), []),
        (node("gpu001", "DOWN"), node(), ["up"]),
        (node("gpu001", "DOWN"), node("gpu001", "IDLE", "DRAIN"), ["drained", "up"]),
        (node("gpu001", "MIXED"), node("gpu001", "ALLOCATED"), []),
    ],
)
def test_what_happened_to_a_node(before: Node | None, after: Node | None, kinds: list[str]) -> None:
    pictures = snapshot(nodes=[before] if before else []), snapshot(nodes=[after] if after else [], at=2.0)
    assert [str(one.kind) for one in differences(*pictures)] == kinds


def test_a_requeue_starts_a_job_once_however_many_pictures_are_taken() -> None:
    """Slurm counts restarts up at the requeue, and changes the time of submission once the job has left its nodes."""
    later = THEN + timedelta(minutes=2)
    history = [
        job(1, "RUNNING"),
        job(1, "COMPLETING", 1),
        job(1, "COMPLETING", 1),
        job(1, "PENDING", 1, later),
        job(1, "RUNNING", 1, later),
        job(1, "COMPLETING", 1, later),
        job(1, "COMPLETED", 1, later),
    ]
    found = [kind for before, after in pairwise(history) for kind, _ in told([before], [after])]
    assert found == ["requeued", "started", "ended"]


def test_a_part_that_was_not_told_anew_says_nothing() -> None:
    before, after = snapshot([job()], [node()]), snapshot([job(1, "RUNNING")], [node("gpu001", "DOWN")], at=2.0)
    away = replace(after, jobs=replace(before.jobs, problem="no answer"))
    assert [str(one.kind) for one in differences(before, away)] == ["down"]
    assert differences(Snapshot(), after) == ()
    assert differences(after, after) == ()


histories = st.lists(
    st.dictionaries(st.integers(1, 4), st.tuples(st.sampled_from(STATES), st.integers(0, 3)), max_size=4), max_size=8
)


@given(histories)
def test_no_attempt_ends_twice_and_none_ends_untold(history: list[dict[int, tuple[str, int]]]) -> None:
    """As long as restarts only grow and an attempt that has ended stays so, which is how Slurm tells them."""
    pictures, latest, ended = [snapshot()], dict[int, tuple[str, int]](), set[tuple[int, int]]()
    for at, jobs in enumerate(history, 2):
        for number, (state, restarts) in jobs.items():
            before = latest.get(number, (state, 0))
            kept = before if restarts <= before[1] and job(1, before[0]).ended else (state, max(restarts, before[1]))
            latest[number] = kept
        pictures.append(snapshot([job(number, *one) for number, one in latest.items()], at=float(at)))
        ended |= {(number, restarts) for number, (state, restarts) in latest.items() if job(1, state).ended}
    found = [one for two in pairwise(pictures) for one in differences(*two)]
    ends = [(one.job.number, one.job.restarts) for one in found if one.kind is ChangeKind.ENDED]
    assert sorted(ends) == sorted(ended)


class Slurm:
    """Answers after a while, or not at all."""

    def __init__(self) -> None:
        self.now = 100.0
        self.takes = 1.0
        self.errors: dict[str, FleetwardError] = {}
        self.asked: list[str] = []

    def clock(self) -> float:
        return self.now

    def _tell(self, name: str, *items: object) -> Listing[object]:
        self.asked.append(name)
        self.now += self.takes
        if name in self.errors:
            raise self.errors[name]
        return Listing(items, "played", ("half",) if name == "jobs" else ())

    def nodes(self) -> Listing[object]:
        return self._tell("nodes", node())

    def jobs(self) -> Listing[object]:
        return self._tell("jobs", job())

    def partitions(self) -> Listing[object]:
        gpu = Partition("gpu", "UP", True, (), {}, None, None, 0, None, (), (), (), (), "", 1, "OFF")
        return self._tell("partitions", gpu)


@pytest.fixture
def slurm() -> Slurm:
    return Slurm()


@pytest.fixture
def looker(slurm: Slurm) -> Looker:
    return Looker(slurm, slurm.clock)


def test_nothing_is_known_before_the_first_look(looker: Looker) -> None:
    assert looker.snapshot.nodes.age(100.0) == inf
    assert looker.snapshot.nodes.problem == "it was not asked yet"


def test_each_part_has_its_age_and_what_it_cost(looker: Looker, slurm: Slurm) -> None:
    found = looker.look()
    assert slurm.asked == ["nodes", "jobs", "partitions"]
    assert [part.age(slurm.now) for part in (found.nodes, found.jobs, found.partitions)] == [3, 2, 1]
    assert (found.seconds, found.jobs.unread, found.jobs.problem) == (3.0, ("half",), "")


def test_partitions_are_asked_for_slowly(looker: Looker, slurm: Slurm) -> None:
    for _ in range(9):
        looker.look()
        slurm.now += 10
    assert (slurm.asked.count("nodes"), slurm.asked.count("partitions")) == (9, 2)
    assert looker.snapshot.partitions.age(slurm.now) > 12


def test_partitions_that_slurm_refuses_are_asked_for_as_slowly(looker: Looker, slurm: Slurm) -> None:
    slurm.errors["partitions"] = SlurmRefusedError("no")
    for _ in range(9):
        assert looker.look().partitions.problem == "no"
        slurm.now += 10
    assert slurm.asked.count("partitions") == 2
    slurm.errors.clear()
    slurm.now += 60
    assert looker.look().partitions.problem == ""


def test_partitions_are_asked_for_at_once_when_slurm_is_back(looker: Looker, slurm: Slurm) -> None:
    looker.look()
    slurm.errors["nodes"] = SlurmOutOfReachError("no answer")
    assert looker.look().partitions.problem == "no answer"
    slurm.errors.clear()
    assert looker.look().partitions.problem == ""
    assert slurm.asked == ["nodes", "jobs", "partitions", "nodes", "nodes", "jobs", "partitions"]


def test_parts_that_nobody_wants_stay_as_they_were(looker: Looker, slurm: Slurm) -> None:
    assert looker.look(jobs=False, partitions=False).ages(slurm.now) == {"nodes": 1.0}
    whole = looker.look()
    slurm.asked.clear()
    slurm.now += 100
    found = looker.look(jobs=False, partitions=False)
    assert slurm.asked == ["nodes"]
    assert (found.jobs, found.partitions) == (whole.jobs, whole.partitions)
    assert found.ages(slurm.now) == {"nodes": 1.0, "jobs": 103.0, "partitions": 102.0}
    assert looker.look(jobs=False).partitions.age(slurm.now) == 1.0


def test_a_controller_that_is_away_is_asked_once_and_less_and_less_often(looker: Looker, slurm: Slurm) -> None:
    known = looker.look()
    slurm.errors["nodes"] = SlurmOutOfReachError("no answer")
    slurm.takes = 0.1
    pauses = []
    for _ in range(9):
        found = looker.look()
        pauses.append(looker.pause(10))
    assert slurm.asked[3:] == ["nodes"] * 9
    assert (found.nodes.items, found.nodes.at, found.jobs.at) == (known.nodes.items, known.nodes.at, known.jobs.at)
    assert {found.nodes.problem, found.jobs.problem, found.partitions.problem} == {"no answer"}
    assert pauses == [20, 40, 80, 160, *[LONGEST_PAUSE] * 5]
    slurm.errors.clear()
    looker.look()
    assert looker.pause(10) == 10


def test_a_controller_that_is_slow_is_asked_less_often(looker: Looker, slurm: Slurm) -> None:
    slurm.takes = 4.0
    looker.look()
    assert looker.pause(10) == 60
    assert looker.pause(10, besides=2.0) == 70, "what else was asked counts"
    assert looker.pause(10, longest=20) == 60, "a controller that answers is not asked more often for that"
    looker.look(jobs=False)
    assert looker.pause(10) == 20, "only what was asked counts"
    slurm.takes = 400.0
    looker.look()
    assert looker.pause(10) == LONGEST_PAUSE
    assert looker.pause(600) == 600


def test_who_waits_to_see_it_back_bounds_how_seldom_a_controller_that_is_away_is_asked(
    looker: Looker, slurm: Slurm
) -> None:
    slurm.errors["nodes"] = SlurmOutOfReachError("no answer")
    slurm.takes = 0.1
    pauses = []
    for _ in range(4):
        looker.look()
        pauses.append(looker.pause(2, longest=10))
    assert pauses == [4, 8, 10, 10]
    slurm.takes = 30.0
    looker.look()
    assert looker.pause(2, longest=10) == 10
    assert looker.pause(2) == 150


def test_a_picture_without_nodes_is_none(looker: Looker, slurm: Slurm) -> None:
    slurm.errors["nodes"] = SlurmRefusedError("no")
    assert looker.look().jobs.problem == ""
    assert looker.pause(20) == 40


def test_what_slurm_refuses_costs_only_its_own_part(looker: Looker, slurm: Slurm) -> None:
    slurm.errors["jobs"] = SlurmRefusedError("you may not see them")
    found = looker.look()
    assert (found.jobs.problem, found.nodes.problem, found.partitions.problem) == ("you may not see them", "", "")
    assert looker.pause(20) == 20
