"""Alerts in, runs out: what the daemon does by itself, and what it leaves to people."""

from typing import Any

import pytest
from played_slurm import node
from whole_daemon import Daemon, alert, eventually

from fleetward.model.claims import ClaimClass
from fleetward.slurm.client import SlurmOutOfReachError
from fleetward.store.claims import Claims
from fleetward.store.incidents import Incidents


def run_of(daemon: Daemon, number: int = 1) -> dict[str, Any]:
    run: dict[str, Any] = eventually(lambda: daemon.incident(number)["runs"])[0]
    return run


def texts(daemon: Daemon, number: int = 1) -> list[str]:
    return [entry["text"] for entry in daemon.incident(number)["timeline"]]


def drained(daemon: Daemon, name: str = "gpu002") -> bool:
    return "DRAIN" in daemon.slurm.nodes_now[name].flags


def test_from_the_alert_to_the_closed_incident(daemon: Daemon) -> None:
    assert daemon.post(alert()).json() == {"incidents": [1]}
    proposed = run_of(daemon)
    assert (proposed["state"], proposed["params"]) == ("proposed", {"node": "gpu002"})
    assert not drained(daemon)

    daemon.ask("/v1/runs/1/approve", digest=proposed["digest"])
    eventually(lambda: daemon.run()["state"] == "waiting")
    assert daemon.slurm.nodes_now["gpu002"].reason == "fleetward:i1 node_problem: it is broken"
    assert daemon.run()["approved_by"] == "ada"
    assert daemon.get("/v1/status")["drained"] == 1

    daemon.post(alert(status="resolved"))
    eventually(lambda: daemon.incident()["incident"]["firing"] == 0)
    assert daemon.incident()["incident"]["state"] == "open", "its run is under way and it holds a node"

    daemon.ask("/v1/runs/1/approve", digest=proposed["digest"])
    eventually(lambda: daemon.run()["state"] == "done")
    assert not drained(daemon)
    closed = eventually(lambda: daemon.incident()["incident"]["state"] == "closed") and daemon.incident()
    assert {"alert", "run", "step", "claim", "close"} <= {entry["kind"] for entry in closed["timeline"]}


def test_in_auto_mode_it_begins_by_itself(daemon: Daemon) -> None:
    daemon.ask("/v1/modes", runbook="test-node-broken", mode="auto")
    daemon.post(alert())
    eventually(lambda: drained(daemon))
    assert daemon.run()["approved_by"] == "fleetward"


def test_in_observe_mode_it_only_writes_down(daemon: Daemon) -> None:
    daemon.page("observe")
    daemon.post(alert())
    assert run_of(daemon)["state"] == "planned"
    daemon.post(alert(status="resolved"))
    eventually(lambda: daemon.incident()["incident"]["state"] == "closed")
    assert not drained(daemon)


def test_the_same_alert_again_changes_nothing(daemon: Daemon) -> None:
    daemon.post(alert())
    run_of(daemon)
    before = daemon.incident()
    for _ in range(3):
        assert daemon.post(alert()).json() == {"incidents": [1]}
    daemon.made.autopilot.round()
    assert daemon.incident() == before
    assert len(daemon.get("/v1/incidents")) == 1


def test_the_page_of_a_worse_alert_takes_the_place_of_what_was_proposed(daemon: Daemon) -> None:
    daemon.post(alert("NodeUnhealthy", gpu="3", check="gpu_lost"))
    assert run_of(daemon)["runbook"] == "node-unhealthy"
    assert daemon.post(alert("GpuOffBus", gpu="3")).json() == {"incidents": [1]}
    eventually(lambda: len(daemon.incident()["runs"]) > 1)
    runs = [(run["runbook"], run["state"]) for run in daemon.incident()["runs"]]
    assert runs == [("node-unhealthy", "aborted"), ("gpu-off-bus", "proposed")]


def test_the_guardrail_makes_auto_ask(daemon: Daemon) -> None:
    Claims(daemon.database).add("gpu001", "r99", ClaimClass.NODE_PROBLEM, "held", "fleetward")
    daemon.ask("/v1/modes", runbook="all", mode="auto")
    daemon.post(alert())
    run = run_of(daemon)
    assert eventually(lambda: daemon.run()["why"])
    assert run["state"] == "proposed"
    daemon.made.autopilot.round()
    assert daemon.run()["state"] == "proposed"
    assert not drained(daemon)
    assert any("was not begun" in text and "gpu001" in text for text in texts(daemon))


def test_an_alert_for_a_node_that_nobody_knows_is_an_incident_without_a_run(daemon: Daemon) -> None:
    daemon.ask("/v1/modes", runbook="all", mode="auto")
    daemon.post(alert(node="gpu999"))
    said = "no run of test-node-broken: neither Slurm nor the inventory knows a node 'gpu999'"
    assert eventually(lambda: [text for text in texts(daemon) if "no run" in text]) == [said]
    daemon.made.autopilot.round()
    assert texts(daemon).count(said) == 1
    assert daemon.incident()["runs"] == []


@pytest.mark.parametrize("name", ["", "-gpu002", "gpu002;reboot", "$(reboot)", "gpu[001-004]", "ALL"])
def test_a_label_that_is_no_nodes_name_never_gets_into_a_step(daemon: Daemon, name: str) -> None:
    daemon.ask("/v1/modes", runbook="all", mode="auto")
    daemon.post(alert(node=name, fingerprint="f1"))
    eventually(lambda: [text for text in texts(daemon) if text.startswith("no run of test-node-broken: ")])
    assert daemon.incident()["runs"] == []
    assert daemon.slurm.calls == []


def test_an_alert_without_a_page_is_an_incident_all_the_same(daemon: Daemon) -> None:
    daemon.post(alert("Unheard"))
    assert daemon.incident()["incident"]["runbook"] == ""
    assert daemon.incident()["page_url"] == ""


def test_a_page_with_problems_is_never_run(daemon: Daemon) -> None:
    page = daemon.folder / "test-node-broken.md"
    page.write_text(page.read_text().replace("slurm.drain:", "slurm.explode:"))
    daemon.post(alert())
    eventually(lambda: any("slurm.explode is no action" in text for text in texts(daemon)))
    assert daemon.incident()["runs"] == []


def test_a_page_edited_after_it_was_planned_is_not_approved(daemon: Daemon) -> None:
    daemon.post(alert())
    run = run_of(daemon)
    page = daemon.folder / "test-node-broken.md"
    page.write_text(page.read_text().replace("it is broken", "no reason"))
    answer = daemon.local.post("/v1/runs/1/approve", json={"digest": run["digest"]})
    assert answer.status_code == 409
    assert "was changed" in answer.json()["error"]
    assert not drained(daemon)


def test_a_run_is_approved_only_by_what_was_seen(daemon: Daemon) -> None:
    daemon.post(alert())
    run_of(daemon)
    answer = daemon.local.post("/v1/runs/1/approve", json={"digest": "0" * 64})
    assert (answer.status_code, answer.json()["exit_code"]) == (400, 2)
    assert daemon.run()["state"] == "proposed"


def test_while_slurm_is_away_a_run_waits_and_says_so(daemon: Daemon) -> None:
    daemon.post(alert())
    run = run_of(daemon)
    daemon.slurm.raises = SlurmOutOfReachError("slurmctld does not answer")
    daemon.ask("/v1/runs/1/approve", digest=run["digest"])
    eventually(lambda: daemon.run()["state"] == "waiting" and "slurmctld does not answer" in daemon.run()["why"])
    assert "slurmctld does not answer" in eventually(lambda: daemon.get("/v1/status")["reaches"]["slurm"])
    daemon.slurm.raises = None
    eventually(lambda: drained(daemon))
    assert [call[0] for call in daemon.slurm.calls] == ["drain"]


def test_a_person_closes_it_and_what_it_held_returns(daemon: Daemon) -> None:
    daemon.post(alert())
    daemon.ask("/v1/runs/1/approve", digest=run_of(daemon)["digest"])
    eventually(lambda: drained(daemon))
    closed = daemon.ask("/v1/incidents/1/close", why="a false alarm")
    assert (closed["state"], closed["closed_by"]) == ("closed", "ada")
    assert daemon.run()["state"] == "aborted"
    assert not drained(daemon)
    again = daemon.local.post("/v1/incidents/1/close", json={"why": "again"})
    assert again.status_code == 409


def test_what_a_close_that_was_cut_off_still_held_returns(daemon: Daemon) -> None:
    daemon.post(alert())
    daemon.ask("/v1/runs/1/approve", digest=run_of(daemon)["digest"])
    eventually(lambda: drained(daemon))
    daemon.ask("/v1/runs/1/abort")
    Incidents(daemon.database).close(1, "ada", "and then the daemon died")
    eventually(lambda: not drained(daemon))
    assert Claims(daemon.database).open() == ()


def test_an_alert_after_the_close_opens_another(daemon: Daemon) -> None:
    daemon.post(alert())
    daemon.ask("/v1/incidents/1/close", why="done")
    later = alert() | {"startsAt": "2026-11-21T13:00:00Z"}
    assert daemon.post(later).json() == {"incidents": [2]}


def test_what_a_person_drained_by_hand_stays_word_for_word(daemon: Daemon) -> None:
    daemon.slurm.add(node("gpu002", "IDLE", "DRAIN", reason="broken fan, ask Bob", by="root"))
    daemon.post(alert())
    daemon.ask("/v1/runs/1/approve", digest=run_of(daemon)["digest"])
    eventually(lambda: daemon.run()["state"] == "waiting")
    daemon.ask("/v1/runs/1/approve", digest=daemon.run()["digest"])
    eventually(lambda: daemon.run()["state"] == "done")
    assert daemon.slurm.nodes_now["gpu002"].reason == "broken fan, ask Bob"
    assert daemon.slurm.calls == []


def test_a_node_that_came_back_by_a_crash_of_slurmctld_is_drained_again(daemon: Daemon) -> None:
    daemon.ask("/v1/nodes/gpu003/drain", why="a new fan", **{"class": "maintenance"})
    daemon.slurm.change("gpu003", flags=(), reason="", reason_by="")
    daemon.made.service._hands.slurm.fresh()
    daemon.made.autopilot.reconcile()
    assert drained(daemon, "gpu003")
    assert daemon.slurm.nodes_now["gpu003"].reason == "fleetward:p-ada maintenance: a new fan"


def test_a_person_drains_and_resumes(daemon: Daemon) -> None:
    answer = daemon.ask("/v1/nodes/gpu003/drain", why="a new fan", **{"class": "maintenance"})
    assert [claim["owner"] for claim in answer["claims"]] == ["p-ada"]
    assert drained(daemon, "gpu003")
    assert daemon.get("/v1/status")["drained"] == 0, "people's drains are not counted"
    assert daemon.ask("/v1/nodes/gpu003/resume") == {"node": "gpu003", "result": "resumed", "claims": []}
    assert not drained(daemon, "gpu003")
