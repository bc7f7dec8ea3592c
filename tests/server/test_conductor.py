"""Carrying changes on, a round at a time: what an abort finds at each node, and a node whose second turn comes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from played_slurm import PlayedSlurm, job, node
from whole_daemon import Daemon, alert, eventually

from fleetward.model.runs import Mode, Run, RunState, Step, StepState
from fleetward.server.conductor import MOST_RUNS, changed_by
from fleetward.server.executor import MOST_AT_ONCE
from fleetward.slurm.client import SlurmOutOfReachError


def asked(nodes: str, **others: object) -> dict[str, Any]:
    return {"page": "test-change", "nodes": nodes, "at_once": 4, "work_seconds": 60, **others}


def begun(daemon: Daemon, nodes: str, **others: object) -> None:
    planned = daemon.ask("/v1/changes", **asked(nodes, **others))["change"]
    daemon.ask(f"/v1/changes/{planned['id']}/approve", digest=planned["digest"])
    daemon.made.autopilot.round()


def found(daemon: Daemon) -> dict[str, tuple[str, str]]:
    nodes = daemon.get("/v1/changes/1")["change"]["nodes"]
    return {node["name"]: (node["state"], node["why"]) for node in nodes}


def drained(slurm: PlayedSlurm) -> list[str]:
    return [name for name, node in slurm.nodes_now.items() if "DRAIN" in node.flags]


def runs_come_to(daemon: Daemon, state: str, number: int = 1) -> None:
    eventually(lambda: daemon.run(number)["state"] == state)


class TestAbort:
    def test_a_node_that_was_done_a_moment_before_is_done(self, at_rest: Daemon, slurm: PlayedSlurm) -> None:
        begun(at_rest, "gpu001")
        runs_come_to(at_rest, "done")
        at_rest.ask("/v1/changes/1/abort")
        at_rest.made.autopilot.round()
        assert found(at_rest) == {"gpu001": ("done", "")}
        assert drained(slurm) == []

    def test_one_that_had_failed_a_moment_before_says_why(self, at_rest: Daemon, slurm: PlayedSlurm) -> None:
        at_rest.player.fails["gpu001"] = "gpu001: Install the driver: no space left"
        begun(at_rest, "gpu001")
        runs_come_to(at_rest, "failed")
        at_rest.ask("/v1/changes/1/abort")
        at_rest.made.autopilot.round()
        state, why = found(at_rest)["gpu001"]
        assert (state, drained(slurm)) == ("failed", ["gpu001"])
        assert why.startswith("step play: gpu001: Install the driver: no space left; look at the node")

    def test_one_that_only_waits_for_its_jobs_is_given_back(self, at_rest: Daemon, slurm: PlayedSlurm) -> None:
        slurm.add(job(7, "gpu001"))
        begun(at_rest, "gpu001")
        eventually(lambda: "job 7" in at_rest.run()["why"])
        assert drained(slurm) == ["gpu001"]
        at_rest.ask("/v1/changes/1/abort")
        at_rest.made.autopilot.round()
        assert found(at_rest)["gpu001"][0] == "given_back"
        assert (drained(slurm), at_rest.run()["state"]) == ([], "aborted")

    def test_one_whose_second_turn_had_not_come_is_held_until_it_is_given_back(
        self, at_rest: Daemon, slurm: PlayedSlurm
    ) -> None:
        at_rest.player.fails["gpu001"] = "gpu001: broken"
        begun(at_rest, "gpu001,gpu002", at_once=1)
        runs_come_to(at_rest, "failed")
        at_rest.made.autopilot.round()
        at_rest.ask("/v1/changes/1/resume", retry=True)
        at_rest.ask("/v1/changes/1/abort")
        at_rest.made.autopilot.round()
        assert {name: state for name, (state, _) in found(at_rest).items()} == {
            "gpu001": "failed",
            "gpu002": "left_out",
        }
        assert drained(slurm) == ["gpu001"]
        at_rest.ask("/v1/changes/1/give-back", node="gpu001", why="mended")
        assert drained(slurm) == []


class TestSecondTurn:
    def test_a_node_that_a_person_took_meanwhile_has_failed_and_is_not_touched(
        self, at_rest: Daemon, slurm: PlayedSlurm
    ) -> None:
        """It was changed half way, so it is not one that was left as it is."""
        at_rest.player.fails["gpu001"] = "gpu001: broken"
        begun(at_rest, "gpu001,gpu002", at_once=1)
        runs_come_to(at_rest, "failed")
        at_rest.made.autopilot.round()
        slurm.change("gpu001", reason="mine now", reason_by="ada")
        calls = [*slurm.calls]
        at_rest.ask("/v1/changes/1/resume", retry=True)
        at_rest.made.autopilot.round()
        assert found(at_rest)["gpu001"] == ("failed", "was taken out of service by ada: mine now")
        assert (slurm.calls, slurm.nodes_now["gpu001"].reason) == (calls, "mine now")


class TestPlan:
    @pytest.mark.parametrize(
        ("others", "why"),
        [
            ({"nodes": "gpu[1-200000]"}, "too many nodes"),
            ({"nodes": "gpu[1-499]x[1-499]"}, "too many nodes"),
            ({"nodes": "," * 199_000}, "too many nodes"),
            ({"nodes": "gpu[1-" + "9" * 5000 + "]"}, "4300"),
            ({"nodes": "gpu[001-004],gpu_5"}, "node='gpu_5' does not match"),
            ({"nodes": "gpu001", "budget": 2**31}, f"a budget of {2**31} is none"),
            ({"nodes": "gpu001", "budget": 10**30}, "budget"),
            ({"nodes": "gpu001\0"}, "Slurm knows no node"),
            ({"nodes": ""}, "no node is left"),
        ],
    )
    def test_what_would_break_it_is_refused(
        self, at_rest: Daemon, slurm: PlayedSlurm, others: Mapping[str, Any], why: str
    ) -> None:
        slurm.add(node("gpu_5"))
        answer = at_rest.local.post("/v1/changes", json=asked(**others))
        assert (answer.status_code, why in answer.json()["error"]) == (400, True), answer.text
        assert at_rest.get("/v1/changes") == []

    def test_many_items_of_a_long_list_are_taken(self, at_rest: Daemon, slurm: PlayedSlurm) -> None:
        slurm.add(*(node(f"gpu{number:03}") for number in range(1, 400)))
        names = ",".join(f"gpu{number:03}" for number in range(1, 400))
        planned = at_rest.ask("/v1/changes", **asked(names))["change"]
        assert len(planned["nodes"]) == 399

    def test_a_budget_beyond_reason_is_not_resumed_with(self, at_rest: Daemon) -> None:
        begun(at_rest, "gpu001")
        answer = at_rest.local.post("/v1/changes/1/resume", json={"budget": 2**31})
        assert (answer.status_code, "is none" in answer.json()["error"]) == (400, True)


def test_a_change_of_very_many_at_once_leaves_room_for_incidents(daemon: Daemon, slurm: PlayedSlurm) -> None:
    """Each of its runs waits a day for a job where it must; the one for a broken node begins at once."""
    names = [f"n{number:03}" for number in range(MOST_AT_ONCE + 6)]
    slurm.add(*map(node, names), *(job(1000 + number, name) for number, name in enumerate(names)))
    planned = daemon.ask("/v1/changes", **asked(f"n[000-{len(names) - 1:03}]", at_once=len(names)))["change"]
    daemon.ask("/v1/changes/1/approve", digest=planned["digest"])
    eventually(lambda: len(drained(slurm)) >= MOST_RUNS, 60)
    daemon.page("auto")
    daemon.ask("/v1/modes", runbook="test-node-broken", mode="auto")
    daemon.post(alert())
    eventually(lambda: "gpu002" in drained(slurm))
    assert len(drained(slurm)) == MOST_RUNS + 1
    slurm.jobs_now.clear()
    eventually(lambda: daemon.get("/v1/changes/1")["change"]["state"] == "done", 120)
    assert drained(slurm) == ["gpu002"]


def run_of(*steps: tuple[str, StepState]) -> Run:
    made = tuple(
        Step(index, f"{index}-{action}", "Mitigation", action, {}, state) for index, (action, state) in enumerate(steps)
    )
    at = datetime(2026, 12, 1, tzinfo=UTC)
    return Run(1, "p", "P", None, {}, "", Mode.AUTO, RunState.ABORTED, "", "ada", at, steps=made, change=1)


@pytest.mark.parametrize(
    ("steps", "changed"),
    [
        ([("slurm.drain", StepState.DONE), ("slurm.wait_for_jobs", StepState.WAITING)], ()),
        ([("slurm.drain", StepState.RESERVED), ("ansible.play", StepState.SKIPPED)], ()),
        ([("slurm.drain", StepState.DONE), ("ansible.play", StepState.RESERVED)], ("1-ansible.play",)),
        ([("slurm.drain", StepState.DONE), ("node.run", StepState.DONE)], ("1-node.run",)),
        ([("slurm.drain", StepState.DONE), ("node.run", StepState.UNKNOWN)], ("1-node.run",)),
        ([("slurm.drain", StepState.DONE), ("node.reboot", StepState.FAILED)], ("1-node.reboot",)),
        ([("node.run", StepState.DONE), ("slurm.drain", StepState.DONE), ("ansible.play", StepState.SKIPPED)], ()),
        ([("node.run", StepState.DONE), ("slurm.drain", StepState.PENDING)], ()),
        ([("node.run", StepState.DONE), ("ansible.play", StepState.DONE)], ("0-node.run", "1-ansible.play")),
    ],
)
def test_what_was_begun_on_a_drained_node_may_have_changed_it(
    steps: list[tuple[str, StepState]], changed: tuple[str, ...]
) -> None:
    assert changed_by(run_of(*steps)) == changed


def test_a_round_that_slurm_does_not_answer_in_is_made_up_for(at_rest: Daemon, slurm: PlayedSlurm) -> None:
    planned = at_rest.ask("/v1/changes", **asked("gpu[001-002]"))["change"]
    at_rest.ask("/v1/changes/1/approve", digest=planned["digest"])
    slurm.raises = SlurmOutOfReachError("slurmctld does not answer")
    at_rest.made.autopilot.round()
    assert {state for state, _ in found(at_rest).values()} == {"waiting"}
    slurm.raises = None
    at_rest.made.autopilot.round()
    eventually(lambda: {at_rest.run(1)["state"], at_rest.run(2)["state"]} == {"done"})
    at_rest.made.autopilot.round()
    assert at_rest.get("/v1/changes/1")["change"]["why"] == "2 done"


def test_a_node_that_failed_its_burn_in_in_the_change_has_a_second_turn(at_rest: Daemon, slurm: PlayedSlurm) -> None:
    at_rest.player.fails["gpu001"] = "no driver"
    begun(at_rest, "gpu001")
    runs_come_to(at_rest, "failed")
    at_rest.made.autopilot.round()
    assert found(at_rest)["gpu001"][0] == "failed"
    slurm.drain("gpu001", "fleetward:q7 node_problem: dcgm_medium failed")  # its claim is there beside the change's
    at_rest.player.fails.clear()
    at_rest.ask("/v1/changes/1/resume", retry=True)
    at_rest.made.autopilot.round()
    runs_come_to(at_rest, "done", 2)


def test_one_that_another_burn_in_holds_is_left_as_it_is(at_rest: Daemon, slurm: PlayedSlurm) -> None:
    planned = at_rest.ask("/v1/changes", **asked("gpu[001-002]"))["change"]
    slurm.drain("gpu001", "fleetward:q7 node_problem: dcgm_medium failed")
    at_rest.ask("/v1/changes/1/approve", digest=planned["digest"])
    at_rest.made.autopilot.round()
    assert found(at_rest)["gpu001"][0] == "left_out"
