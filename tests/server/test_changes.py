"""A change from its plan to its end, carried out by a whole daemon."""

import threading
from dataclasses import replace

import pytest
from played_slurm import PlayedSlurm, job
from whole_daemon import CHANGE_PAGE, Daemon, Document, eventually

from fleetward.model.claims import ClaimClass


def plan(daemon: Daemon, nodes: str = "gpu[001-004]", at_once: int = 2, budget: int = 0, **params: str) -> Document:
    asked = {"page": "test-change", "nodes": nodes, "at_once": at_once, "budget": budget, "params": params}
    return daemon.ask("/v1/changes", **asked, work_seconds=60)


def begun(daemon: Daemon, **asked: object) -> Document:
    planned = plan(daemon, **asked)["change"]
    return daemon.ask(f"/v1/changes/{planned['id']}/approve", digest=planned["digest"])


def change(daemon: Daemon, number: int = 1) -> Document:
    return daemon.get(f"/v1/changes/{number}")["change"]


def states(daemon: Daemon, number: int = 1) -> dict[str, str]:
    return {node["name"]: node["state"] for node in change(daemon, number)["nodes"]}


def comes_to(daemon: Daemon, state: str, number: int = 1) -> Document:
    eventually(lambda: change(daemon, number)["state"] == state)
    return change(daemon, number)


def drained(slurm: PlayedSlurm) -> list[str]:
    return [name for name, node in slurm.nodes_now.items() if "DRAIN" in node.flags]


def occupy(slurm: PlayedSlurm) -> None:
    """Have a job without a time limit run on each node: 7 on gpu001, 8 on gpu002 and so on."""
    slurm.add(*(job(6 + number, f"gpu{number:03}") for number in range(1, 5)))


def end(slurm: PlayedSlurm, node: str) -> None:
    number = next(number for number, one in slurm.jobs_now.items() if node in one.nodes)
    slurm.jobs_now[number] = replace(slurm.jobs_now[number], state="COMPLETED")


def test_nothing_is_touched_before_it_is_approved(daemon: Daemon) -> None:
    planned = plan(daemon)
    assert planned["left_out"] == []
    assert (planned["change"]["state"], planned["change"]["forecast"]["seconds"]) == ("planned", 120)
    assert [(node["name"], node["batch"]) for node in planned["change"]["nodes"]] == [
        ("gpu001", 1),
        ("gpu002", 1),
        ("gpu003", 2),
        ("gpu004", 2),
    ]
    daemon.made.autopilot.round()
    assert (daemon.slurm.calls, daemon.player.played) == ([], [])
    answer = daemon.local.post("/v1/changes/1/approve", json={"digest": "0" * 64})
    assert (answer.status_code, "is not what was approved" in answer.text) == (400, True)


def test_every_node_is_drained_played_and_given_back_a_batch_at_a_time(daemon: Daemon) -> None:
    held: list[list[str]] = []
    daemon.player.on_play = lambda _: held.append(drained(daemon.slurm))
    begun(daemon)
    ended = comes_to(daemon, "done")
    assert (ended["why"], set(states(daemon).values())) == ("4 done", {"done"})
    assert sorted(daemon.player.played) == ["gpu001", "gpu002", "gpu003", "gpu004"]
    assert all(set(one) <= {"gpu001", "gpu002"} or set(one) <= {"gpu003", "gpu004"} for one in held)
    assert drained(daemon.slurm) == []
    reasons = [call[2] for call in daemon.slurm.calls if call[0] == "drain"]
    assert reasons == ["fleetward:c1 maintenance: to be played"] * 4
    assert {node["run"] for node in ended["nodes"]} == {1, 2, 3, 4}
    assert daemon.run(1)["change"] == 1


def test_more_nodes_than_the_guardrail_allows_may_be_held_since_a_person_approved_it(daemon: Daemon) -> None:
    assert daemon.get("/v1/status")["drained_allowed"] == 1
    begun(daemon, at_once=4)
    comes_to(daemon, "done")


def test_a_node_waits_for_its_job_and_the_other_batch_for_the_node(daemon: Daemon, slurm: PlayedSlurm) -> None:
    occupy(slurm)
    begun(daemon)
    end(slurm, "gpu002")
    eventually(lambda: states(daemon)["gpu002"] == "done")
    waiting = eventually(lambda: [one for one in change(daemon)["nodes"] if "job 7" in one["why"]])[0]
    assert (waiting["name"], waiting["state"]) == ("gpu001", "under_way")
    assert daemon.player.played == ["gpu002"]
    assert states(daemon)["gpu003"] == "waiting"
    slurm.jobs_now.clear()
    comes_to(daemon, "done")


def test_a_failed_node_stays_drained_with_its_reason_and_the_change_stops(daemon: Daemon) -> None:
    daemon.player.fails["gpu001"] = "gpu001: Install the driver: no space left"
    begun(daemon, at_once=1)
    stopped = comes_to(daemon, "stopped")
    assert stopped["why"] == "1 nodes are in trouble (gpu001), and its budget allows none"
    assert stopped["nodes"][0]["why"] == "step play: gpu001: Install the driver: no space left"
    assert list(states(daemon).values()) == ["failed", "waiting", "waiting", "waiting"]
    assert drained(daemon.slurm) == ["gpu001"]
    refused = daemon.local.post("/v1/changes/1/resume", json={})
    assert (refused.status_code, "--budget 1" in refused.json()["error"]) == (409, True)
    daemon.player.fails.clear()
    daemon.ask("/v1/changes/1/resume", retry=True)
    comes_to(daemon, "done")
    assert drained(daemon.slurm) == []


def test_within_its_budget_it_goes_on_and_the_node_is_given_back_by_a_person(daemon: Daemon) -> None:
    daemon.player.fails["gpu001"] = "gpu001: broken"
    begun(daemon, budget=1)
    ended = comes_to(daemon, "done")
    assert ended["why"] == "3 done, 1 failed"
    assert drained(daemon.slurm) == ["gpu001"]
    answer = daemon.local.post("/v1/changes/1/give-back", json={"node": "gpu002", "why": "fine"})
    assert answer.status_code == 409
    daemon.ask("/v1/changes/1/give-back", node="gpu001", why="the disk was emptied")
    assert drained(daemon.slurm) == []
    assert states(daemon)["gpu001"] == "given_back"


def test_one_that_is_done_goes_on_for_the_sake_of_its_failed_nodes(daemon: Daemon) -> None:
    daemon.player.fails["gpu001"] = "gpu001: broken"
    begun(daemon, budget=1)
    comes_to(daemon, "done")
    daemon.player.fails.clear()
    assert daemon.ask("/v1/changes/1/resume", retry=True)["ended_at"] is None
    eventually(lambda: change(daemon)["why"] == "4 done")
    assert (change(daemon)["state"], drained(daemon.slurm)) == ("done", [])
    refused = daemon.local.post("/v1/changes/1/resume", json={"retry": True})
    assert (refused.status_code, "is done and cannot be resumed" in refused.text) == (409, True)


def test_what_a_person_drained_before_or_meanwhile_stays_word_for_word(daemon: Daemon, slurm: PlayedSlurm) -> None:
    slurm.change("gpu002", flags=("DRAIN",), reason="riser of ada", reason_by="ada")
    planned = plan(daemon, at_once=1)
    assert planned["left_out"] == [{"name": "gpu002", "why": "was taken out of service by ada: riser of ada"}]
    slurm.change("gpu004", flags=("DRAIN",), reason="noise", reason_by="bob")
    daemon.ask("/v1/changes/1/approve", digest=planned["change"]["digest"])
    ended = comes_to(daemon, "done")
    assert ended["why"] == "2 done, 1 left out"
    assert sorted(daemon.player.played) == ["gpu001", "gpu003"]
    assert {name: node.reason for name, node in slurm.nodes_now.items() if node.reason} == {
        "gpu002": "riser of ada",
        "gpu004": "noise",
    }


def test_a_person_who_takes_a_node_while_it_is_changed_keeps_it(daemon: Daemon, slurm: PlayedSlurm) -> None:
    daemon.player.on_play = lambda name: slurm.change(name, reason="mine now", reason_by="ada")
    begun(daemon, nodes="gpu001", at_once=1)
    comes_to(daemon, "done")
    assert (drained(slurm), slurm.nodes_now["gpu001"].reason) == (["gpu001"], "mine now")


def test_paused_it_begins_no_other_node_until_it_is_resumed(daemon: Daemon, slurm: PlayedSlurm) -> None:
    occupy(slurm)
    begun(daemon)
    eventually(lambda: list(states(daemon).values()).count("under_way") == 2)
    assert daemon.ask("/v1/changes/1/pause")["state"] == "paused"
    slurm.jobs_now.clear()
    eventually(lambda: list(states(daemon).values()).count("done") == 2)
    daemon.made.autopilot.round()
    assert list(states(daemon).values()).count("waiting") == 2
    daemon.ask("/v1/changes/1/resume")
    comes_to(daemon, "done")


def test_aborted_it_gives_back_what_is_as_it_was_and_keeps_what_is_not(daemon: Daemon, slurm: PlayedSlurm) -> None:
    occupy(slurm)
    release = threading.Event()
    playing = threading.Event()

    def hold(_: str) -> None:
        playing.set()
        release.wait(15)

    daemon.player.on_play = hold
    begun(daemon)
    end(slurm, "gpu002")
    try:
        assert playing.wait(15)
        eventually(lambda: "job 7" in str(change(daemon)["nodes"]))
        daemon.ask("/v1/changes/1/abort")
        eventually(lambda: set(states(daemon).values()) <= {"failed", "given_back", "left_out"})
    finally:
        release.set()
    found = {node["name"]: (node["state"], node["why"]) for node in change(daemon)["nodes"]}
    assert found["gpu001"] == ("given_back", "aborted before anything was done to it")
    assert found["gpu002"][0] == "failed"
    assert found["gpu002"][1].startswith("aborted in the middle: play was begun or done; look at the node")
    assert {found[name][0] for name in ("gpu003", "gpu004")} == {"left_out"}
    assert drained(slurm) == ["gpu002"]


def test_two_changes_never_have_the_same_node(daemon: Daemon, slurm: PlayedSlurm) -> None:
    slurm.add(job(7, "gpu001"))
    second = plan(daemon, nodes="gpu[001-002]")["change"]
    first = begun(daemon, nodes="gpu[001-004]", at_once=4)
    answer = daemon.local.post(f"/v1/changes/{second['id']}/approve", json={"digest": second["digest"]})
    assert (answer.status_code, f"gpu001 is in c{first['id']}" in answer.text) == (409, True)
    slurm.jobs_now.clear()
    comes_to(daemon, "done", first["id"])


def test_a_page_that_was_changed_since_is_not_carried_out(daemon: Daemon) -> None:
    planned = plan(daemon)["change"]
    (daemon.folder / "test-change.md").write_text(CHANGE_PAGE.replace("None.", "Much.", 1))
    answer = daemon.local.post("/v1/changes/1/approve", json={"digest": planned["digest"]})
    assert (answer.status_code, "was changed since this change was planned" in answer.text) == (409, True)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"page": "test-change", "nodes": "gpu[001-"}, "gpu[001-"),
        ({"page": "test-change", "nodes": "gpu099"}, "Slurm knows no node gpu099"),
        ({"page": "nope", "nodes": "gpu001"}, "no runbook has the id"),
        ({"page": "watchdog", "nodes": "gpu001"}, "this one has none"),
        ({"page": "test-change", "nodes": "gpu001", "at_once": 0}, "0 nodes at once is no batch"),
        ({"page": "test-change", "nodes": "gpu001", "budget": -1}, "a budget of -1 is none"),
        ({"page": "test-change", "nodes": "gpu001", "params": {"patience": "$(x)"}}, "does not match"),
        ({"page": "test-change", "nodes": "gpu001", "params": {"nope": "1"}}, "nope is no parameter"),
        ({"page": "test-change", "nodes": "gpu001", "nonsense": 1}, "nonsense"),
    ],
)
def test_what_cannot_be_planned_is_refused_and_leaves_nothing(
    at_rest: Daemon, asked: dict[str, object], why: str
) -> None:
    answer = at_rest.local.post("/v1/changes", json={"work_seconds": 60, **asked})
    assert answer.status_code == 400
    assert why in answer.json()["error"]
    assert at_rest.get("/v1/changes") == []


def test_claims_of_a_change_are_not_counted_against_what_may_fail_by_itself(daemon: Daemon, slurm: PlayedSlurm) -> None:
    slurm.add(job(7, "gpu001"))
    begun(daemon, nodes="gpu001", at_once=1)
    eventually(lambda: drained(slurm) == ["gpu001"])
    assert daemon.get("/v1/status")["drained"] == 0
    daemon.ask("/v1/nodes/gpu002/drain", why="x", **{"class": ClaimClass.MAINTENANCE})
    slurm.jobs_now.clear()
    comes_to(daemon, "done")
