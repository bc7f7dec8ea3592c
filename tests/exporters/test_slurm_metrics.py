"""What the Slurm exporter tells beyond states: GPUs, drains, waits, owners within a budget, and slurmctld itself."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import Metric

from fleetward.exporters.slurm import job_metrics, node_metrics, slow_metrics
from fleetward.exporters.slurm.bounded import OTHER, folded, largest
from fleetward.exporters.slurm.picture import OwnCalls
from fleetward.exporters.slurm.sampler import SLOW_SECONDS, Sampler
from fleetward.exporters.slurm.waits import BOUNDS, SIZES, Waits, size_of
from fleetward.slurm.answers import Calls, Diagnostics, Job, Listing, Node, Partition, Reservation, Share
from fleetward.slurm.client import SlurmOutOfReachError
from fleetward.slurm.snapshot import ChangeKind, JobChange, NodeChange

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
Series = dict[tuple[str, ...], float]


def node(name: str, state: str = "IDLE", *flags: str, held: int = 0, reason: str = "", by: str = "root") -> Node:
    return Node(
        name, state, flags, ("gpu", "debug"), {"h100": 8}, {"h100": held} if held else {}, 64, 0, 1000, 0, reason, by
    )


def job(number: int = 1, state: str = "PENDING", **changes: object) -> Job:
    whose = ("train", "ada", "research", "gpu", "normal")
    size = ((), 1, 8, {"h100": 8})
    made = Job(str(number), number, *whose, state, "Priority", *size, 0, 3600, NOW, None, 0, "/home/ada")
    return replace(made, **changes)


def series(metrics: Iterable[Metric], name: str) -> Series:
    """Return the values of one metric by its labels, in their order."""
    return {
        tuple(sample.labels.values()): sample.value
        for metric in metrics
        for sample in metric.samples
        if sample.name == name
    }


def test_a_gpu_is_what_slurm_can_do_with_it() -> None:
    nodes = [
        node("a", "MIXED", held=3),
        node("b", "IDLE", "DRAIN"),
        node("c", "MIXED", "DRAIN", held=8),
        node("d", "DOWN"),
        node("e", "IDLE", "NOT_RESPONDING"),
    ]
    expected = {"allocated": 11, "idle": 5, "drained": 8, "down": 16}
    found = tuple(node_metrics.render(nodes, ()))
    assert series(found, "slurm_gpus") == {("h100", state): count for state, count in expected.items()}
    assert series(found, "slurm_partition_gpus") == {
        (partition, "h100", state): count for partition in ("gpu", "debug") for state, count in expected.items()
    }
    assert sum(series(found, "slurm_gpus").values()) == sum(series(found, "slurm_node_gpus").values()) == 40


def test_drains_are_told_by_whose_they_are_and_what_for() -> None:
    nodes = [
        node("a", "IDLE", "DRAIN", reason="fleetward:i7 node_problem: GPU 3"),
        node("b", "IDLE", "DRAIN", reason="fleetward:c2 maintenance: new driver"),
        node("c", "IDLE", "DRAIN", reason="fleetward:i8 node_problem: GPU 1"),
        node("d", "IDLE", "DRAIN", reason="a fan is loud"),
        node("e", "IDLE", "DRAIN", reason="Kill task failed", by="slurm"),
        node("f", "DOWN", reason="Not responding", by="slurm"),
    ]
    assert series(node_metrics.render(nodes, ()), "slurm_nodes_drained") == {
        ("fleetward", "node_problem"): 2,
        ("change", "maintenance"): 1,
        ("person", "other"): 1,
        ("slurm", "other"): 1,
    }


def test_a_partition_that_starts_nothing_is_not_up() -> None:
    gpu = Partition("gpu", "UP", True, (), {}, None, None, 0, None, (), (), (), (), "", 1, "OFF")
    partitions = [gpu, *(replace(gpu, name=state.lower(), state=state) for state in ("DOWN", "DRAIN", "INACTIVE"))]
    found = series(node_metrics.render((), partitions), "slurm_partition_up")
    assert found == {("gpu",): 1, ("down",): 0, ("drain",): 0, ("inactive",): 0}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Priority", "Priority"),
        ("QOSMaxGRESPerUser", "QOSMaxGRESPerUser"),
        (
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority",
            "ReqNodeNotAvail",
        ),
        ("ReqNodeNotAvail, UnavailableNodes:gpu[001-900]", "ReqNodeNotAvail"),
        ("Job's account not permitted to use this partition (a allows b)", "Job"),
        ("", "None"),
        ("\x1b[31m", "None"),
    ],
)
def test_why_a_job_waits_is_one_word(said: str, reason: str) -> None:
    assert job_metrics.reason_of(job(reason=said)) == reason


def test_waiting_jobs_are_told_by_reason_age_and_what_they_ask_for() -> None:
    jobs = [
        job(1, submitted_at=NOW - timedelta(hours=2)),
        job(2, gpus={"h100": 16}, time_limit=7200, reason="Resources"),
        job(3, partition="debug", time_limit=None),
        job(4, "RUNNING"),
        job(5, "FAILED"),
    ]
    found = tuple(job_metrics.render(jobs, {}, NOW))
    assert series(found, "slurm_jobs_pending") == {("Priority",): 2, ("Resources",): 1}
    assert series(found, "slurm_pending_oldest_seconds") == {("gpu",): 7200, ("debug",): 0}
    assert series(found, "slurm_pending_gpu_seconds") == {("gpu",): 8 * 3600 + 16 * 7200, ("debug",): 0}
    assert series(found, "slurm_jobs")["pending",] == 3
    assert series(found, "slurm_account_gpus") == {("research", "pending"): 32, ("research", "running"): 8}
    assert series(found, "slurm_user_jobs") == {("ada", "pending"): 3, ("ada", "running"): 1}


def test_users_are_shown_within_a_budget_and_none_is_lost() -> None:
    many = [job(number, user=f"u{number}") for number in range(job_metrics.MOST_USERS + 50)]
    big = [job(9000 + number, "RUNNING", user="big", gpus={"h100": 64}) for number in range(3)]
    found = tuple(job_metrics.render(many + big, {}, NOW))
    users = series(found, "slurm_user_jobs")
    assert users["big", "running"] == 3, "who has most is never in the rest"
    assert users[OTHER, "pending"] == 51
    assert len({user for user, _ in users}) == job_metrics.MOST_USERS + 1
    assert sum(users.values()) == len(many) + len(big)
    assert sum(series(found, "slurm_user_gpus").values()) == 8 * len(many) + 192


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 100), max_size=30), st.integers(0, 10))
def test_folding_loses_nothing(values: dict[str, int], most: int) -> None:
    kept = largest(values, most)
    found = folded(values, kept, OTHER)
    assert sum(found.values()) == sum(values.values())
    assert len(found) <= most + 1
    assert all(values[name] >= values[other] for name in kept for other in values.keys() - kept)


@pytest.mark.parametrize(
    ("gpus", "size"),
    [({}, "0"), ({"h100": 1}, "1"), ({"h100": 4, "a100": 4}, "2-8"), ({"h100": 9}, "9-64"), ({"h100": 4096}, "513+")],
)
def test_sizes(gpus: dict[str, int], size: str) -> None:
    assert size_of(job(gpus=gpus)) == size
    assert size in SIZES


def test_a_wait_is_counted_once_in_the_buckets_that_hold_it() -> None:
    waits = Waits()
    started = job(1, "RUNNING", started_at=NOW + timedelta(seconds=60))
    long = job(2, "RUNNING", started_at=NOW + timedelta(days=30))
    unknown = job(3, "RUNNING", submitted_at=None)
    waits.look([JobChange(ChangeKind.STARTED, one) for one in (started, long, unknown)])
    waits.look([JobChange(ChangeKind.ENDED, started), NodeChange(ChangeKind.DOWN, node("a"))])
    found = tuple(job_metrics.render((), waits.histograms(), NOW))
    buckets = series(found, "slurm_job_wait_seconds_bucket")
    assert {bound: count for (size, bound), count in buckets.items() if size == "2-8"} == {
        "10.0": 0,
        **{str(float(bound)): 1 for bound in BOUNDS[1:]},
        "+Inf": 2,
    }
    assert series(found, "slurm_job_wait_seconds_sum")["2-8",] == 60 + 30 * 86400
    assert series(found, "slurm_job_wait_seconds_count")["1",] == 0


def test_reservations_and_fair_shares_are_told() -> None:
    upkeep = Reservation("upkeep", False, NOW, NOW + timedelta(hours=1), ("a", "b"), (), ("root",), (), "")
    found = tuple(slow_metrics.of_reservations([upkeep, replace(upkeep, name="now", active=True, ends_at=None)]))
    assert series(found, "slurm_reservation_nodes") == {("upkeep", "inactive"): 2, ("now", "active"): 2}
    assert series(found, "slurm_reservation_end_timestamp_seconds") == {("upkeep",): NOW.timestamp() + 3600}
    account = Share("research", "", 10, 0.5, 900, 0.9, None)
    shares = [account, replace(account, user="ada", fair_share=0.25), replace(account, user="bob", fair_share=None)]
    found = tuple(slow_metrics.of_shares(shares))
    assert series(found, "slurm_account_shares_ratio") == {("research",): 0.5}
    assert series(found, "slurm_account_usage_ratio") == {("research",): 0.9}
    assert series(found, "slurm_user_fair_share_ratio") == {("research", "ada"): 0.25}


def test_no_series_comes_twice() -> None:
    """Prometheus would refuse the page: a user has an association for each partition, and a type may have no name."""
    user = Share("research", "ada", 1, 0.5, 10, 0.1, 0.25)
    twice = [replace(user, usage=90, fair_share=0.75), user, replace(user, user="bob")]
    fair = [family for family in slow_metrics.of_shares(twice) if family.name == "slurm_user_fair_share_ratio"]
    values = sorted((sample.labels["user"], sample.value) for sample in fair[0].samples)
    assert values == [("ada", 0.75), ("bob", 0.25)]
    calls = (Calls("UNKNOWN", 1, 0.5), Calls("REQUEST_JOB_INFO", 2, 1.0), Calls("UNKNOWN", 3, 0.5))
    found = slow_metrics.of_controller(replace(told(NOW), calls_by_type=calls), None)
    counted = next(family for family in found if family.name == "slurm_rpc_calls")
    assert [(sample.labels["type"], sample.value) for sample in counted.samples] == [
        ("UNKNOWN", 4),
        ("REQUEST_JOB_INFO", 2),
    ]


def told(at: datetime, seconds: float = 1.0, since: datetime = NOW - timedelta(days=1)) -> Diagnostics:
    by_user = (Calls("fleetward", int(10 * seconds), seconds), Calls("ada", 5, 9.0))
    return Diagnostics(at, since, 2, 3, 4, 0.5, 100, 1.5, 50, 7, 1, 1, (Calls("REQUEST_JOB_INFO", 10, 2.5),), by_user)


def test_slurmctld_is_told_with_what_its_calls_cost() -> None:
    found = tuple(slow_metrics.of_controller(told(NOW), OwnCalls(10, 1.0, 0.004)))
    assert series(found, "slurm_database_queue") == {(): 4}
    assert series(found, "slurm_backfill_cycle_seconds") == {(): 1.5}
    assert series(found, "slurm_rpc_seconds_total") == {("REQUEST_JOB_INFO",): 2.5}
    assert series(found, "slurm_exporter_rpc_time_ratio") == {(): 0.004}
    assert series(slow_metrics.of_controller(told(NOW), None), "slurm_exporter_rpc_calls_total") == {}


class Played:
    """A Slurm without nodes and jobs, and with a clock."""

    backend = "played"

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked: list[str] = []
        self.diagnosed: Iterator[Diagnostics] = iter(())
        self.away = ""

    def clock(self) -> float:
        return self.now

    def _told(self, name: str) -> Listing[object]:
        self.asked.append(name)
        if name == self.away:
            raise SlurmOutOfReachError("no answer")
        return Listing((), self.backend)

    def nodes(self) -> Listing[object]:
        return self._told("nodes")

    def jobs(self) -> Listing[object]:
        return self._told("jobs")

    def partitions(self) -> Listing[object]:
        return self._told("partitions")

    def reservations(self) -> Listing[object]:
        return self._told("reservations")

    def shares(self) -> Listing[object]:
        return self._told("shares")

    def diagnostics(self) -> Diagnostics:
        self._told("diagnostics")
        return next(self.diagnosed)


def test_what_changes_slowly_is_asked_for_slowly() -> None:
    slurm = Played()
    slurm.diagnosed = iter([told(NOW), told(NOW)])
    sampler = Sampler(slurm, 10, clock=slurm.clock)
    for _ in range(7):
        sampler.look()
        slurm.now += SLOW_SECONDS / 6
    assert (slurm.asked.count("nodes"), slurm.asked.count("shares"), slurm.asked.count("diagnostics")) == (7, 2, 2)


def test_each_fact_fails_by_itself_and_one_that_is_out_of_reach_ends_the_look() -> None:
    slurm = Played()
    slurm.away = "reservations"
    sampler = Sampler(slurm, 10, clock=slurm.clock)
    sampler.look()
    parts = sampler.picture().parts
    assert {name: part.problem for name, part in parts.items()} == {
        "nodes": "",
        "jobs": "",
        "partitions": "",
        **dict.fromkeys(("reservations", "shares", "diagnostics"), "no answer"),
    }
    assert slurm.asked == ["nodes", "jobs", "partitions", "reservations"]


def test_the_exporter_knows_what_share_of_slurmctlds_time_it_takes() -> None:
    slurm = Played()
    later = NOW + timedelta(seconds=100)
    anew = told(later + timedelta(seconds=60), 0.1, later)
    slurm.diagnosed = iter([told(NOW, 1.0), told(later, 1.5), anew])
    sampler = Sampler(slurm, 10, clock=slurm.clock, user="fleetward")
    found = []
    for _ in range(3):
        sampler.look()
        found.append(sampler.picture().own_calls)
        slurm.now += SLOW_SECONDS
    assert found == [OwnCalls(10, 1.0, None), OwnCalls(15, 1.5, 0.005), OwnCalls(1, 0.1, None)]
