"""The pages that take a node out and return it, run with the real actions on a played cluster."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest
from played_runs import FileJournal
from played_slurm import START, PlayedClock, PlayedWorld, job, node, world_of

from fleetward.model.claims import ClaimClass
from fleetward.model.errors import OutOfReachError
from fleetward.model.incidents import Incident, IncidentState, Severity
from fleetward.model.runs import Mode, RunState
from fleetward.runbooks.actions.node_run import NodeStep, NodeStepState
from fleetward.runbooks.actions.registry import World, all_actions
from fleetward.runbooks.engine import Engine
from fleetward.runbooks.library import library
from fleetward.runbooks.page import Page, parse
from fleetward.runbooks.plan import plan
from fleetward.runbooks.prometheus import Sample

MENDED_AT = 90.0
"""Seconds after which gpu001 is mended."""


@dataclass
class Schedule(PlayedClock):
    """Time that passes where somebody sleeps, and what happens meanwhile, by seconds since START."""

    events: dict[float, Callable[[], None]] = field(default_factory=dict)

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        for at in [at for at in sorted(self.events) if self.seconds >= at]:
            self.events.pop(at)()

    @property
    def seconds(self) -> float:
        return (self.time - START) / timedelta(seconds=1)


@dataclass
class Cluster:
    """A cluster of which gpu001 is broken, and a run of a page about it."""

    journal: FileJournal
    clock: Schedule
    played: PlayedWorld
    mended: bool = False
    reaches_node: bool = True
    writes: list[tuple[float, str, str]] = field(default_factory=list)

    def query(self, expression: str) -> tuple[Sample, ...]:
        """Answer as Prometheus does where everything of gpu001 holds once it is mended."""
        assert '"gpu001"' in expression
        return (Sample({}, 1, self.clock.now()),) if self.mended else ()

    def run(self, name: str, argv: Sequence[str], marker: str, seconds: float, up_for: float) -> NodeStep:
        assert name == "gpu001"
        if not self.reaches_node:
            raise OutOfReachError("gpu001 does not answer")
        self.writes.append((self.clock.seconds, "run", " ".join(argv)))
        status = 5 if argv[0] == "fleetward" and not self.mended else 0  # its checks find something
        return NodeStep(NodeStepState.ENDED, 1000, exit=status, output="active\n")

    def observe(self, name: str, marker: str) -> NodeStep:
        return NodeStep(NodeStepState.ABSENT, 1000)

    def advance(self, page: Page) -> RunState:
        incident = Incident(
            *(12, page.alerts[0], Severity.CRITICAL, IncidentState.OPEN, "", "gpu001", "3"),
            {"node": "gpu001", "gpu": "3", "xid": "48", "check": "mount_hung"},
            START,
        )
        self.journal.create(plan(page, {}, incident, Mode.AUTO, {}))
        world = World(self.played.slurm, self.played.keeper, self, self, self.clock)
        engine = Engine(self.journal, all_actions(world), self.clock, lambda: {page.id: page})
        return engine.advance(1, Event())

    def mend(self) -> None:
        self.mended = True

    def happened(self) -> list[str]:
        return [" ".join((what, *about.split()[:1])) for _, what, about in self.writes if what != "run"]

    def when(self, what: str) -> float:
        return next(at for at, one, _ in self.writes if one == what)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    played = world_of(
        *(node("gpu001"), node("gpu002"), node("gpu003", "IDLE", "DRAIN", reason="bob: fan", by="bob")),
        *(job(12, "gpu001", "gpu002", state="FAILED"), job(13, "gpu001"), job(14, "gpu002")),
    )
    cluster = Cluster(FileJournal(tmp_path / "run"), Schedule(), played)
    for clocked in (played.slurm, played.claims, played.keeper):
        setattr(clocked, "clock" if clocked is not played.keeper else "_clock", cluster.clock)
    played.slurm.on_write = lambda slurm: cluster.writes.append((cluster.clock.seconds, *slurm.calls[-1][:2]))
    cluster.clock.events[5] = lambda: played.slurm.leave_nodes("13")
    cluster.clock.events[MENDED_AT] = cluster.mend
    return cluster


def shortcomings(cluster: Cluster, page: Page) -> list[str]:
    """Run a page and return what of the loop did not come about."""
    state = cluster.advance(page)
    run = cluster.journal.run(1)
    nodes = cluster.played.slurm.nodes_now
    happened = cluster.happened()
    held = {
        f"the run is {state}: {run.why}": state is RunState.DONE,
        "a step was left out": {str(step.state) for step in run.steps} == {"done"},
        "jobs came back to a node in service": happened[:1] == ["drain gpu001"],
        "jobs were not put back": {"requeue 12", "requeue 13", "start_now 12", "start_now 13"} <= set(happened),
        "something was done twice": len(set(happened)) == len(happened),
        "the node did not return": (nodes["gpu001"].state, nodes["gpu001"].flags) == ("IDLE", ()),
        "it returned before it was mended": "resume gpu001" not in happened or cluster.when("resume") >= MENDED_AT,
        "a person's drain was touched": (nodes["gpu003"].flags, nodes["gpu003"].reason) == (("DRAIN",), "bob: fan"),
        "a claim was left": cluster.played.claims.open() == (),
        "a bystander was requeued": cluster.played.slurm.jobs_now["14"].restarts == 0,
    }
    return [sentence for sentence, well in held.items() if not well]


def without(page: Page, name: str) -> Page:
    """Return a page with one step removed."""
    fence = page.text.index(f"```step {name}\n")
    less = parse(page.text[:fence] + page.text[page.text.index("\n```\n", fence) + 5 :], "p.md")
    assert len(less.steps) == len(page.steps) - 1
    return less


def break_node(cluster: Cluster) -> None:
    """Let slurmd on gpu001 be gone until the node is mended."""
    slurm = cluster.played.slurm
    slurm.change("gpu001", state="DOWN", flags=("NOT_RESPONDING",), reason="Not responding", reason_by="slurm")
    flags = ("DRAIN",)
    cluster.clock.events[MENDED_AT + 1] = lambda: slurm.change("gpu001", flags=flags)


def test_a_lost_gpu(cluster: Cluster) -> None:
    assert shortcomings(cluster, library()["gpu-off-bus"]) == []
    (claim,) = cluster.played.claims.every
    assert claim.why == "GPU 3 fell off the bus"


def test_a_fatal_xid_waits_for_a_person_to_reset_the_gpu(cluster: Cluster) -> None:
    cluster.clock.events[95] = lambda: cluster.journal.approve_step(1, 3, "ada")
    assert shortcomings(cluster, library()["gpu-xid-fatal"]) == []
    assert cluster.journal.run(1).steps[3].outcome["approved_by"] == "ada"


def test_a_node_that_is_down(cluster: Cluster) -> None:
    break_node(cluster)
    assert shortcomings(cluster, library()["node-down"]) == []
    started = next(at for at, what, argv in cluster.writes if (what, argv) == ("run", "systemctl restart slurmd"))
    assert started >= 120, "before its host had answered for a while"


def test_an_unhealthy_node_is_out_until_its_checks_pass_and_its_jobs_go_on(cluster: Cluster) -> None:
    assert shortcomings(cluster, library()["node-unhealthy"]) == ["jobs were not put back"]
    assert cluster.happened() == ["drain gpu001", "resume gpu001"]
    assert cluster.when("resume") >= MENDED_AT + 300, "before the checks had passed in several runs"
    (claim,) = cluster.played.claims.every
    assert (claim.kind, claim.why) == (ClaimClass.NODE_PROBLEM, "unhealthy by check mount_hung")


def test_a_node_that_cannot_be_looked_at_is_drained_all_the_same(cluster: Cluster) -> None:
    cluster.reaches_node = False
    assert cluster.advance(library()["gpu-off-bus"]) is RunState.DONE
    assert str(cluster.journal.run(1).steps[0].state) == "skipped"
    assert cluster.when("drain") == 0


@pytest.mark.parametrize(
    ("name", "missed"),
    [
        ("drain", "jobs came back to a node in service"),
        ("requeue", "jobs were not put back"),
        ("resume", "the node did not return"),
    ],
)
@pytest.mark.parametrize("page_id", ["gpu-off-bus", "node-down"])
def test_without_one_of_its_steps_it_does_not_come_round(
    cluster: Cluster, page_id: str, name: str, missed: str
) -> None:
    if page_id == "node-down":
        break_node(cluster)
    page = without(library()[page_id], name)
    assert missed in shortcomings(cluster, page)


def test_without_its_verification_it_returns_too_early(cluster: Cluster) -> None:
    page = without(without(library()["gpu-off-bus"], "repaired"), "back")
    assert shortcomings(cluster, page) == ["it returned before it was mended"]


def test_a_gpu_that_never_comes_back_keeps_its_node_out(cluster: Cluster) -> None:
    del cluster.clock.events[MENDED_AT]
    assert cluster.advance(library()["gpu-off-bus"]) is RunState.FAILED
    assert "did not come to hold within 86400 s" in cluster.journal.run(1).why
    assert cluster.played.slurm.nodes_now["gpu001"].flags == ("DRAIN",)
    assert [claim.owner for claim in cluster.played.claims.open()] == ["r1"]
