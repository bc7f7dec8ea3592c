"""What the keeper of nodes and the actions on Slurm do to a real one, and what they see of it after a crash.

A crash is played by dropping what an action returned, or by an answer that gets lost right after Slurm took a write.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from played_slurm import PlayedClaims, PlayedClock
from small_clusters import Cluster, eventually, running, script, small_cluster

from fleetward.model.claims import ClaimClass
from fleetward.model.errors import RefusedError
from fleetward.model.guardrails import Guardrail
from fleetward.model.runs import Mode, Run, RunState, Step
from fleetward.runbooks.actions.base import Call, Done, NotBegun, Waiting
from fleetward.runbooks.actions.slurm_nodes import Drain, Resume
from fleetward.runbooks.actions.slurm_requeue import Requeue
from fleetward.runbooks.clock import SystemClock
from fleetward.runbooks.nodes import DriftKind, HoldResult, NodeKeeper, ReleaseResult
from fleetward.slurm.answers import Node
from fleetward.slurm.client import SlurmOutOfReachError
from fleetward.slurm.command_line import CommandLineClient

pytestmark = pytest.mark.slurm

PROBLEM = ClaimClass.NODE_PROBLEM
OURS = "fleetward:i12 node_problem: GPU 3 off the bus"


class LosesAnswers(CommandLineClient):
    """Slurm takes the write, and the answer does not come; once per write that is named."""

    def __init__(self, cluster: Cluster, *writes: str) -> None:
        super().__init__(environment=cluster.environment)
        self._lose = set(writes)

    def _answer(self, write: str) -> None:
        if write in self._lose:
            self._lose.remove(write)
            raise SlurmOutOfReachError(f"scontrol gave no answer to {write}")

    def drain(self, node: str, reason: str) -> None:
        super().drain(node, reason)
        self._answer("drain")

    def resume(self, node: str) -> None:
        super().resume(node)
        self._answer("resume")

    def requeue(self, job_id: str) -> None:
        super().requeue(job_id)
        self._answer("requeue")

    def start_now(self, job_id: str) -> None:
        super().start_now(job_id)
        self._answer("start_now")


@dataclass(frozen=True)
class Site:
    """A cluster with idle nodes, and what keeps them."""

    cluster: Cluster
    client: CommandLineClient
    claims: PlayedClaims
    keeper: NodeKeeper

    def node(self, name: str) -> Node:
        return next(node for node in self.client.nodes().items if node.name == name)

    def update(self, name: str, *changes: str) -> None:
        self.cluster.told("scontrol", "update", f"nodename={name}", *changes)


@pytest.fixture(scope="module")
def cluster(node_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with small_cluster(node_image, tmp_path_factory.mktemp("programs")) as started:
        yield started


@pytest.fixture
def site(cluster: Cluster) -> Site:
    cluster.told("scancel", "--user=root")
    back = "for n in gpu001 gpu002; do scontrol update nodename=$n state=resume 2>&1 || true; done"
    cluster.told("sh", "-c", back)
    nodes = ["sinfo", "--noheader", "--Node", "--partition=gpu", "--states=idle", "--format=%N"]
    eventually(lambda: cluster.told(*nodes).split() == ["gpu001", "gpu002"])
    client, claims = CommandLineClient(environment=cluster.environment), PlayedClaims(PlayedClock())
    return Site(cluster, client, claims, NodeKeeper(client, claims, Guardrail(), SystemClock()))


def call(node: str, **options: object) -> Call:
    run = Run(
        id=7,
        runbook="gpu-off-bus",
        title="A GPU fell off the bus",
        incident=12,
        params={},
        digest="",
        mode=Mode.AUTO,
        state=RunState.RUNNING,
        why="",
        asked_by="fleetward",
        asked_at=SystemClock().now(),
    )
    return Call(run, Step(0, "step", "Mitigation", "slurm", {"": node, **options}))


def nobody(_: str) -> None:
    return


def test_a_node_is_held_and_given_back(site: Site) -> None:
    held = site.keeper.hold("gpu001", "i12", PROBLEM, "GPU 3 off the bus", "fleetward")
    assert (held.result, held.reason) == (HoldResult.DRAINED, OURS)
    assert (site.node("gpu001").reason, "DRAIN" in site.node("gpu001").flags) == (OURS, True)
    with pytest.raises(RefusedError):
        site.keeper.hold("gpu002", "i13", PROBLEM, "x", "fleetward")
    assert "DRAIN" not in site.node("gpu002").flags
    assert site.keeper.release("gpu001", "i12", "fleetward").result is ReleaseResult.RESUMED
    assert (site.node("gpu001").reason, "DRAIN" in site.node("gpu001").flags) == ("", False)


def test_a_drain_by_hand_stays_word_for_word(site: Site) -> None:
    site.update("gpu001", "state=drain", "reason=ask Ada: fan | 3\n2nd line")
    before = site.node("gpu001")
    assert site.keeper.hold("gpu001", "i12", PROBLEM, "GPU off", "fleetward").result is HoldResult.THEIRS
    assert site.keeper.release("gpu001", "i12", "fleetward").result is ReleaseResult.THEIRS
    assert site.node("gpu001") == before
    assert before.reason == "ask Ada: fan | 3\n2nd line"


@pytest.mark.parametrize("why", ["state=idle nodename=gpu002", "\x1b[31mred\nline", "显卡", "x" * 500, "\"q' \\ [a@1]"])
def test_every_why_is_known_again_as_ours(site: Site, why: str) -> None:
    held = site.keeper.hold("gpu001", "i12", PROBLEM, why, "fleetward")
    assert held.result is HoldResult.DRAINED
    assert site.node("gpu002").flags == ()
    assert site.keeper.release("gpu001", "i12", "fleetward").result is ReleaseResult.RESUMED


def test_a_node_that_went_down_is_held_and_comes_back_whole(site: Site) -> None:
    site.update("gpu001", "state=down", "reason=Not responding")
    assert site.keeper.hold("gpu001", "i12", PROBLEM, "GPU 3 off the bus", "fleetward").result is HoldResult.DRAINED
    held = site.node("gpu001")  # no longer DOWN where its slurmd registered meanwhile
    assert ("DRAIN" in held.flags, held.reason) == (True, OURS)
    assert site.keeper.release("gpu001", "i12", "fleetward").result is ReleaseResult.RESUMED
    eventually(lambda: (site.node("gpu001").state, site.node("gpu001").flags) == ("IDLE", ()))


def test_a_node_that_slurm_never_heard_of_is_given_back_without_a_fuss(site: Site) -> None:
    assert site.node("gpu003").state == "UNKNOWN"
    site.keeper.hold("gpu003", "i12", PROBLEM, "GPU off", "fleetward")
    assert site.keeper.release("gpu003", "i12", "fleetward").result is ReleaseResult.RESUMED


def test_a_state_that_came_back_from_before_is_set_right(site: Site) -> None:
    site.keeper.hold("gpu001", "i12", PROBLEM, "GPU 3 off the bus", "fleetward")
    site.update("gpu001", "state=resume")
    drift = site.keeper.reconcile(site.client.nodes().items)
    assert [(each.node, each.kind) for each in drift] == [("gpu001", DriftKind.UNDRAINED)]
    assert site.node("gpu001").reason == OURS


@pytest.mark.parametrize("lost", ["", "drain"])
def test_a_drain_is_seen_after_a_crash(site: Site, lost: str) -> None:
    keeper = NodeKeeper(LosesAnswers(site.cluster, lost), site.claims, Guardrail(), SystemClock())
    step = call("gpu001", why="GPU 3 off the bus")
    before = Drain(keeper).prepare(step)
    assert Drain(keeper).observe(step, before) == NotBegun()
    if lost:
        with pytest.raises(SlurmOutOfReachError):
            Drain(keeper).act(step, before, nobody)
    else:
        Drain(keeper).act(step, before, nobody)
    seen = Drain(keeper).observe(step, before)
    assert isinstance(seen, Done)
    assert seen.outcome["reason"] == OURS


@pytest.mark.parametrize("lost", ["", "resume"])
def test_a_resume_is_seen_after_a_crash(site: Site, lost: str) -> None:
    keeper = NodeKeeper(LosesAnswers(site.cluster, lost), site.claims, Guardrail(), SystemClock())
    keeper.hold("gpu001", "i12", PROBLEM, "GPU off", "fleetward")
    step = call("gpu001")
    before = Resume(keeper).prepare(step)
    assert Resume(keeper).observe(step, before) == NotBegun()
    if lost:
        with pytest.raises(SlurmOutOfReachError):
            Resume(keeper).act(step, before, nobody)
    else:
        Resume(keeper).act(step, before, nobody)
    assert isinstance(Resume(keeper).observe(step, before), Done)


def brought_back(action: Requeue, step: Call, before: dict[str, object]) -> Done:
    """Act until it is done, as the engine does: a look comes after each answer that was lost."""
    found: list[Done] = []

    def once() -> bool:
        try:
            result = action.act(step, before, nobody)
        except SlurmOutOfReachError:
            seen = action.observe(step, before)
            assert isinstance(seen, NotBegun | Done)
            found.extend([seen] if isinstance(seen, Done) else [])
            return bool(found)
        assert isinstance(result, Waiting | Done)
        found.extend([result] if isinstance(result, Done) else [])
        return bool(found)

    eventually(once, limit=60)
    return found[0]


@pytest.mark.parametrize("lost", [(), ("requeue", "start_now")])
def test_jobs_of_a_node_run_again_at_once_and_none_twice(site: Site, lost: tuple[str, ...]) -> None:
    options = ("--gpus-per-node=h100:1", "--requeue", "--nodelist=gpu001")
    runs = site.client.submit(script(*options), Path("/tmp")).job_id
    fails = site.client.submit(script(*options, command="exit 1"), Path("/tmp")).job_id
    array = site.client.submit(script("--nodelist=gpu001", "--array=1-2", command="exit 1"), Path("/tmp")).job_id
    stays = site.client.submit(script("--no-requeue", "--nodelist=gpu001"), Path("/tmp")).job_id
    elsewhere = site.client.submit(script("--nodelist=gpu002"), Path("/tmp")).job_id
    for job_id in (runs, stays, elsewhere):
        running(site.client, job_id)
    failed = (fails, f"{array}_1", f"{array}_2")
    eventually(lambda: all(site.client.job(job_id).job.state == "FAILED" for job_id in failed))
    # Nothing starts again before it was looked at.
    site.update("gpu001", "state=drain", "reason=by hand")

    action, step = Requeue(LosesAnswers(site.cluster, *lost), SystemClock()), call("gpu001")
    known = action.prepare(step)
    assert isinstance(known["jobs"], list)
    mine = [each for each in known["jobs"] if each["id"] in {runs, *failed, stays}]  # not those of tests before
    before = {**known, "jobs": mine}
    assert len(mine) == 5
    done = brought_back(action, step, before)
    jobs = done.outcome["jobs"]
    assert isinstance(jobs, dict)
    assert jobs.pop(stays).startswith("not requeued")
    assert jobs == dict.fromkeys((runs, *failed), "requeued")
    found = {job_id: site.client.job(job_id).job for job_id in (runs, *failed, stays, elsewhere)}
    assert {job_id: job.restarts for job_id, job in found.items()} == {
        **dict.fromkeys((runs, *failed), 1),
        stays: 0,
        elsewhere: 0,
    }
    site.update("gpu001", "state=resume")
    assert running(site.client, runs).job.restarts == 1
    eventually(lambda: all(site.client.job(job_id).job.state == "FAILED" for job_id in failed))
    assert [site.client.job(job_id).job.restarts for job_id in failed] == [1, 1, 1]


def test_a_job_that_failed_long_ago_or_was_cancelled_stays_ended(site: Site) -> None:
    old = site.client.submit(script("--nodelist=gpu001", command="exit 1"), Path("/tmp")).job_id
    cancelled = site.client.submit(script("--nodelist=gpu001"), Path("/tmp")).job_id
    running(site.client, cancelled)
    site.client.cancel(cancelled)
    eventually(lambda: all(site.client.job(job_id).job.ended for job_id in (old, cancelled)))
    step = call("gpu001", failed_within="1m")
    later = Call(replace(step.run, asked_at=step.run.asked_at + timedelta(minutes=5)), step.step)
    action = Requeue(site.client, SystemClock())
    known = action.prepare(later)["jobs"]
    assert isinstance(known, list)
    assert not {old, cancelled} & {each["id"] for each in known}
