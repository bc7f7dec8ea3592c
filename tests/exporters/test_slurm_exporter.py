"""Slurm's exporter: states and owners by name, ends counted once, a picture that outlives a controller that is away."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from fleetward.exporters.slurm.metrics import FORGOTTEN_AFTER_SECONDS, render, told
from fleetward.exporters.slurm.picture import Picture
from fleetward.exporters.slurm.sampler import Sampler
from fleetward.exporters.slurm.states import STATES, JobEnds, drain_owner, node_state
from fleetward.slurm.answers import Diagnostics, Job, Listing, Node, Partition, Reservation, Share
from fleetward.slurm.client import SlurmOutOfReachError, SlurmRefusedError
from fleetward.slurm.recorded import RecordedClient

RECORDINGS = Path(__file__).parent.parent / "slurm" / "recordings"
AT = datetime(2026, 1, 1, tzinfo=UTC)


def node(name: str = "gpu001", state: str = "IDLE", *flags: str, reason: str = "", by: str = "") -> Node:
    return Node(name, state, flags, ("gpu",), {"h100": 8}, {}, 16, 0, 16000, 0, reason, by)


def job(number: int, state: str, restarts: int = 0) -> Job:
    whose = ("train", "ada", "research", "gpu", "normal")
    return Job(str(number), number, *whose, state, "", (), 1, 8, {"h100": 8}, 10, None, AT, None, restarts, "/home/ada")


class Played:
    """A Slurm that says what it is told to, and does not answer where that is nothing."""

    backend = "played"

    def __init__(self) -> None:
        self.answer: tuple[Sequence[Node], Sequence[Job]] | None = None

    def nodes(self) -> Listing[Node]:
        if self.answer is None:
            raise SlurmOutOfReachError("slurmctld does not answer")
        return Listing(tuple(self.answer[0]), self.backend)

    def jobs(self) -> Listing[Job]:
        assert self.answer is not None
        return Listing(tuple(self.answer[1]), self.backend)

    def partitions(self) -> Listing[Partition]:
        return Listing((), self.backend)

    def reservations(self) -> Listing[Reservation]:
        return Listing((), self.backend)

    def shares(self) -> Listing[Share]:
        raise SlurmRefusedError("sshare: there is no accounting here")

    def diagnostics(self) -> Diagnostics:
        raise SlurmRefusedError("sdiag: access denied")


def shown(picture: Picture, now: float) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return samples(render(picture, told(picture, AT), now))


def samples(metrics: Iterator[Metric]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in metrics
        for sample in metric.samples
    }


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (node("a", "IDLE"), "idle"),
        (node("a", "ALLOCATED"), "allocated"),
        (node("a", "MIXED", "DRAIN"), "draining"),
        (node("a", "IDLE", "DRAIN", "COMPLETING"), "draining"),
        (node("a", "IDLE", "DRAIN"), "drained"),
        (node("a", "IDLE", "NOT_RESPONDING"), "not_responding"),
        (node("a", "DOWN", "DRAIN", "NOT_RESPONDING"), "down"),
        (node("a", "DOWN", "REBOOT_ISSUED"), "rebooting"),
        (node("a", "IDLE", "POWERED_DOWN"), "powered_down"),
        (node("a", "IDLE", "COMPLETING"), "completing"),
        (node("a", "IDLE", "PLANNED"), "idle"),
        (node("a", "FUTURE"), "unknown"),
    ],
)
def test_a_node_has_one_state_and_the_worst_comes_first(found: Node, state: str) -> None:
    assert node_state(found) == state
    assert state in STATES


def test_who_drained_a_node() -> None:
    assert drain_owner(node()) is None
    assert drain_owner(node("a", "DOWN", reason="Not responding", by="slurm")) is None
    assert drain_owner(node("a", "IDLE", "DRAIN", reason="Kill task failed", by="slurm")) == "slurm"
    assert drain_owner(node("a", "IDLE", "DRAIN", reason="a fan is loud", by="root")) == "person"
    assert drain_owner(node("a", "IDLE", "DRAIN", reason="fleetward:i7 node_problem: GPU 3", by="root")) == "fleetward"
    assert drain_owner(node("a", "IDLE", "DRAIN", reason="fleetward:c12 maintenance: driver", by="root")) == "change"
    assert drain_owner(node("a", "IDLE", "DRAIN", reason="fleetward: not in the form of ours", by="ada")) == "person"


def test_ends_are_counted_once_and_those_from_before_not_at_all() -> None:
    ends = JobEnds()
    ends.look([job(1, "COMPLETED"), job(2, "RUNNING"), job(3, "RUNNING")])
    assert sum(ends.counts().values()) == 0
    for _ in range(3):
        ends.look([job(1, "COMPLETED"), job(2, "FAILED"), job(3, "NODE_FAIL")])
    assert {name: count for name, count in ends.counts().items() if count} == {"failed": 1, "node_fail": 1}


def test_an_attempt_that_is_put_back_into_the_queue_is_an_end_too() -> None:
    ends = JobEnds()
    ends.look([job(1, "RUNNING"), job(2, "RUNNING")])
    ends.look([job(1, "PENDING", restarts=1), job(2, "FAILED")])
    ends.look([job(1, "RUNNING", restarts=1), job(2, "PENDING", restarts=1)])
    ends.look([job(1, "COMPLETED", restarts=1), job(2, "COMPLETED", restarts=1)])
    found = {name: count for name, count in ends.counts().items() if count}
    assert found == {"requeued": 1, "failed": 1, "completed": 2}


def test_every_node_and_job_is_in_the_metrics() -> None:
    slurm = Played()
    slurm.answer = (
        [
            node("gpu001"),
            node("gpu002", "IDLE", "DRAIN", reason="fleetward:i7 node_problem: x"),
            node("gpu003", "DOWN"),
        ],
        [job(1, "RUNNING"), job(2, "PENDING"), job(3, "PENDING"), job(4, "FAILED")],
    )
    sampler = Sampler(slurm, 60, clock=lambda: 100.0)
    sampler.look()
    found = shown(sampler.picture(), 107.0)
    assert found["slurm_up", ()] == 1
    assert found["slurm_exporter_snapshot_age_seconds", ()] == 7
    assert {key: value for key, value in found.items() if key[0] == "slurm_nodes" and value} == {
        ("slurm_nodes", (("state", "idle"),)): 1,
        ("slurm_nodes", (("state", "drained"),)): 1,
        ("slurm_nodes", (("state", "down"),)): 1,
    }
    assert found["slurm_node_state", (("node", "gpu003"), ("state", "down"))] == 1
    assert [key[1] for key in found if key[0] == "slurm_node_drained"] == [(("node", "gpu002"), ("owner", "fleetward"))]
    assert found["slurm_node_gpus", (("node", "gpu001"),)] == 8
    assert found["slurm_jobs", (("state", "pending"),)] == 2
    assert ("slurm_jobs", (("state", "failed"),)) not in found


def test_a_controller_that_is_away_is_told_and_the_last_picture_is_kept_for_a_while() -> None:
    now = [100.0]
    notes: list[str] = []
    slurm = Played()
    sampler = Sampler(slurm, 60, notes.append, clock=lambda: now[0])
    sampler.look()
    assert shown(sampler.picture(), now[0])["slurm_up", ()] == 0
    assert ("slurm_exporter_snapshot_age_seconds", ()) not in shown(sampler.picture(), now[0])
    slurm.answer = ([node()], [])
    sampler.look()
    slurm.answer = None
    now[0] = 130.0
    sampler.look()
    sampler.look()
    found = shown(sampler.picture(), now[0])
    assert found["slurm_up", ()] == 0
    assert found["slurm_node_state", (("node", "gpu001"), ("state", "idle"))] == 1
    assert found["slurm_exporter_snapshot_age_seconds", ()] == 30
    assert len(notes) == 2, "it says so when it begins, not at every look"
    late = shown(sampler.picture(), 101 + FORGOTTEN_AFTER_SECONDS)
    assert ("slurm_node_state", (("node", "gpu001"), ("state", "idle"))) not in late
    assert late["slurm_up", ()] == 0


def test_it_looks_at_the_interval_and_stops() -> None:
    slurm = Played()
    sampler = Sampler(slurm, 0.02)
    sampler.start()
    slurm.answer = ([node()], [])
    until = time.monotonic() + 5
    while not sampler.picture().up:
        assert time.monotonic() < until
        time.sleep(0.01)
    sampler.stop()
    before = sampler.picture()
    time.sleep(0.1)
    assert sampler.picture() is before


@pytest.mark.parametrize("release", ["slurm-24.11", "slurm-26.05"])
def test_it_reads_what_a_real_slurm_said(release: str) -> None:
    sampler = Sampler(RecordedClient(RECORDINGS / release), 60)
    sampler.look()
    picture = sampler.picture()
    assert picture.up, picture.snapshot.nodes.problem
    found = shown(picture, time.monotonic())
    states = [key for key in found if key[0] == "slurm_node_state"]
    assert len(states) == len(picture.snapshot.nodes.items) > 0
    assert "unknown" not in {dict(labels)["state"] for _, labels in states}
    assert sum(value for key, value in found.items() if key[0] == "slurm_nodes") == len(states)


@pytest.mark.parametrize("release", ["24.11", "26.05"])
def test_promtool_has_nothing_to_say_of_the_page(release: str) -> None:
    class Whole(RecordedClient):
        """What two recordings of one release hold."""

        def __init__(self) -> None:
            super().__init__(RECORDINGS / f"slurm-{release}")
            more = RecordedClient(RECORDINGS / f"records-{release}")
            self.partitions, self.reservations = more.partitions, more.reservations
            self.shares, self.diagnostics = more.shares, more.diagnostics

    sampler = Sampler(Whole(), 60)
    sampler.look()
    assert {name for name, part in sampler.picture().parts.items() if part.problem} == set()

    class Page(Collector):
        def collect(self) -> Iterator[Metric]:
            return render(sampler.picture(), told(sampler.picture(), AT), time.monotonic())

    registry = CollectorRegistry()
    registry.register(Page())
    promtool = shutil.which("promtool") or str(Path(sys.executable).with_name("promtool"))
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=generate_latest(registry), capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_a_picture_without_an_answer_has_no_nodes() -> None:
    empty = replace(Picture(), ends={})
    assert {name for name, _ in shown(empty, 0.0)} == {
        "slurm_up",
        "slurm_exporter_snapshot_duration_seconds",
        "slurm_exporter_unread_entries",
        "slurm_exporter_collector_success",
        "slurm_exporter_collector_duration_seconds",
    }
