"""The loop: a GPU fails under a training job, and in the end the job is done and the fleet is whole.

Four GPU nodes: one that a person has drained, two for the job, and one to go to. Which node, GPU and drain it is
differs at each run.
"""

import pytest
from labs import FLEETWARD, Lab
from loops import (
    FOLDER,
    Gpu,
    HandDrain,
    accounted,
    any_gpu_of,
    break_gpu,
    detail,
    incident_of,
    is_the_only_one,
    mend,
    newest,
    node,
    result,
    run_of,
    running_job,
    timeline_rows,
    wait_for,
)
from terminals import terminal

pytestmark = pytest.mark.lab

ALERT = "GpuOffBus"
PAGE = "gpu-off-bus"
STEPS = ("look", "drain", "requeue", "repaired", "back", "resume")


def mode(lab: Lab, which: str) -> None:
    lab.told("head", "fleetward", "autopilot", "mode", PAGE, which)


def goes_on_elsewhere(lab: Lab, job: str, gpu: Gpu, hand: HandDrain) -> None:
    """Check that the rank died, the node is drained with an owned reason, and the job completes on other nodes."""
    log = lab.told("head", "cat", f"{FOLDER}/digits-{job}.log")
    assert f"on {gpu.node}: ends: GPU {gpu.index} is lost" in log
    incident = incident_of(lab, ALERT, gpu.node)
    assert incident is not None
    drained = wait_for(lambda: "DRAIN" in node(lab, gpu.node)["state"] and node(lab, gpu.node), 40, "a drained node")
    assert drained["reason"].startswith(f"fleetward:i{incident['id']} node_problem: ")
    wait_for(lambda: accounted(lab, job)[0] == "COMPLETED", 240, "the requeued job completed")
    _, nodes, restarts = accounted(lab, job)
    assert restarts == 1
    assert {gpu.node, hand.node}.isdisjoint(lab.told("head", "scontrol", "show", "hostnames", nodes).split())
    ended = result(lab)
    assert ended["resumed_from_step"] > 0
    assert ended["accuracy"] > 0.95


def comes_back(lab: Lab, gpu: Gpu, hand: HandDrain, since: int) -> None:
    """Clear the fault: the page's verification passes, the node returns, and the incident closes by itself.

    It was the only one about the node since there were `since` incidents, and what told of it is all in its timeline.
    """
    incident = incident_of(lab, ALERT, gpu.node)
    assert incident is not None
    assert "DRAIN" in node(lab, gpu.node)["state"], "it came back with its GPU still lost"
    mend(lab, gpu.node)
    wait_for(lambda: node(lab, gpu.node)["state"] == ["IDLE"], 120, "the node back in service")
    wait_for(lambda: detail(lab, incident["id"])["incident"]["state"] == "closed", 60, "a closed incident")
    whole = detail(lab, incident["id"])
    kinds = [entry["kind"] for entry in whole["timeline"]]
    assert {"alert", "run", "step", "claim", "close"} <= set(kinds)
    assert {"alertmanager", gpu.node} <= {entry["who"] for entry in whole["timeline"] if entry["kind"] == "alert"}
    is_the_only_one(lab, incident, since)
    steps = {step["name"]: step["state"] for step in whole["runs"][-1]["steps"]}
    assert steps == dict.fromkeys(STEPS, "done")
    assert "GPU has fallen off the bus" in whole["runs"][-1]["steps"][0]["output"], "the look shows the kernel's log"
    assert timeline_rows(lab, incident["id"]) == len(kinds)
    assert node(lab, hand.node) == {"state": ["IDLE", "DRAIN"], "reason": hand.reason}


@pytest.mark.timeout(900)
def test_a_person_heals_it_from_the_screen(four_nodes: Lab, hand: HandDrain) -> None:
    lab = four_nodes
    mode(lab, "propose")
    with terminal(FLEETWARD, "lab", "tui", "--name", lab.name) as screen:
        screen.shows("gpu001", "gpu004")
        screen.keys("s")
        screen.shows("loaded job.yaml")
        screen.type("slow.yaml")
        screen.keys("Enter")
        screen.shows("loaded slow.yaml")
        screen.keys("C-s")
        screen.shows("submitted")
        job = running_job(lab)
        gpu = any_gpu_of(lab, job)
        since = newest(lab)
        break_gpu(lab, gpu)
        incident = wait_for(lambda: incident_of(lab, ALERT, gpu.node), 30, "an incident")
        screen.keys("Escape", "i")
        picture = screen.shows(ALERT, gpu.node).splitlines()
        heading = next(number for number, line in enumerate(picture) if "SEVERITY" in line)
        assert picture[heading + 1].split()[:1] == [f"i{incident['id']}"], "the first row"
        screen.keys("Enter")
        screen.shows("look", "drain", "requeue")
        screen.keys("p")
        screen.shows("approve", "[y]")
        screen.keys("y")
        goes_on_elsewhere(lab, job, gpu, hand)
        screen.shows("done")
        comes_back(lab, gpu, hand, since)
        screen.shows("resume")


@pytest.mark.timeout(900)
def test_it_heals_by_itself_in_auto_mode(four_nodes: Lab, hand: HandDrain) -> None:
    heals_by_itself(four_nodes, hand)


def heals_by_itself(lab: Lab, hand: HandDrain) -> None:
    """Break a GPU under a job in auto mode, and see the job done and the fleet whole without a person."""
    mode(lab, "auto")
    gpu = None
    try:
        submitted = lab.told("head", "sh", "-c", f"cd {FOLDER} && fleetward submit slow.yaml", user="researcher")
        job = running_job(lab)
        assert job == submitted.strip()
        gpu = any_gpu_of(lab, job)
        since = newest(lab)
        break_gpu(lab, gpu)
        incident = wait_for(lambda: incident_of(lab, ALERT, gpu.node), 30, "an incident")
        goes_on_elsewhere(lab, job, gpu, hand)
        run = run_of(lab, incident["id"])
        assert run is not None
        assert run["approved_by"] == "fleetward"
        comes_back(lab, gpu, hand, since)
    finally:
        mode(lab, "propose")
        lab.on("head", "scancel", "--user=researcher")
        if gpu is not None:
            mend(lab, gpu.node)
