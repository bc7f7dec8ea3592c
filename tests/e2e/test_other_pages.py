"""Faults of other kinds than a lost GPU: their pages come to their end too, with a person's word by command."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from labs import Lab
from loops import (
    CHANCE,
    Gpu,
    break_gpu,
    detail,
    incident_of,
    is_the_only_one,
    long_job,
    mend,
    newest,
    node,
    put_right,
    run_of,
    wait_for,
)

pytestmark = [pytest.mark.lab, pytest.mark.verify]

ENDED = {"done", "failed", "aborted", "stopped"}
FATAL_XID = 95


@pytest.fixture
def whole(lab: Lab) -> Iterator[Lab]:
    put_right(lab)
    yield lab
    lab.on("head", "scancel", "--user=researcher")
    for host in lab.up["hosts"][1:]:
        mend(lab, host["name"])
    put_right(lab)


def any_node(lab: Lab) -> str:
    return str(CHANCE.choice([host["name"] for host in lab.up["hosts"][1:]]))


def approve(lab: Lab, run: dict[str, Any]) -> None:
    lab.told("head", "fleetward", "runbook", "approve", f"r{run['id']}", "--digest", str(run["digest"]))


def proposed(lab: Lab, incident: int) -> dict[str, Any]:
    """Return the run that the daemon has planned for an incident."""
    run: dict[str, Any] = wait_for(lambda: run_of(lab, incident), 20, "a run")
    assert run["state"] == "proposed"
    return run


def at_rest(lab: Lab, incident: int, seconds: float) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        run = run_of(lab, incident)
        return run if run and run["state"] in ENDED else None

    run: dict[str, Any] = wait_for(look, seconds, "the run's end")
    return run


def restarts(lab: Lab, job: str) -> int:
    shown = json.loads(lab.told("head", "scontrol", "show", "job", job, "--json"))["jobs"][0]
    return int(shown["restart_cnt"])


@pytest.mark.timeout(900)
def test_a_node_whose_slurmd_died_comes_back(whole: Lab) -> None:
    name = any_node(whole)
    job = long_job(whole, name)
    since = newest(whole)
    done = whole.fleetward("lab", "fault", name, "slurmd-down")
    assert done.returncode == 0, done.stderr
    incident = wait_for(lambda: incident_of(whole, "NodeDown", name), 240, "an incident")
    approve(whole, proposed(whole, incident["id"]))
    run = at_rest(whole, incident["id"], 300)
    assert {step["name"]: step["state"] for step in run["steps"]} == dict.fromkeys(
        ("drain", "requeue", "host", "slurmd", "settle", "back", "resume"), "done"
    ), run["why"]
    wait_for(lambda: set(node(whole, name)["state"]) & {"IDLE", "ALLOCATED", "MIXED"}, 60, "the node in service")
    assert "DRAIN" not in node(whole, name)["state"]
    assert restarts(whole, job) == 1
    wait_for(lambda: detail(whole, incident["id"])["incident"]["state"] == "closed", 180, "a closed incident")
    is_the_only_one(whole, incident, since)


@pytest.mark.timeout(900)
def test_a_gpu_with_a_fatal_xid_waits_for_its_reset(whole: Lab) -> None:
    gpu = Gpu(any_node(whole), str(CHANCE.randrange(8)))
    job = long_job(whole, gpu.node)
    since = newest(whole)
    break_gpu(whole, gpu, FATAL_XID)
    incident = wait_for(lambda: incident_of(whole, "GpuXidFatal", gpu.node), 30, "an incident")
    assert incident["labels"]["xid"] == str(FATAL_XID)
    approve(whole, proposed(whole, incident["id"]))

    def waits_for_a_person() -> bool:
        run = run_of(whole, incident["id"])
        return bool(run) and any((step["name"], step["state"]) == ("reset", "waiting") for step in run["steps"])

    wait_for(waits_for_a_person, 120, "the question whether the GPU was reset")
    drained = node(whole, gpu.node)
    assert "DRAIN" in drained["state"]
    assert drained["reason"] == f"fleetward:i{incident['id']} node_problem: XID {FATAL_XID} on GPU {gpu.index}"
    assert restarts(whole, job) == 1
    look = ("fleetward", "check", "--only", "xid_memory")
    assert whole.on(gpu.node, *look).returncode == 5
    asking = run_of(whole, incident["id"])
    assert asking is not None
    approve(whole, asking)
    wait_for(lambda: whole.on(gpu.node, *look).returncode == 0, 60, "a kernel's log that is history")
    # `healthy` looks at the last five minutes, so that an XID that comes again is seen.
    run = at_rest(whole, incident["id"], 480)
    assert run["state"] == "done", run["why"]
    wait_for(lambda: detail(whole, incident["id"])["incident"]["state"] == "closed", 300, "a closed incident")
    is_the_only_one(whole, incident, since)
    who = {entry["who"] for entry in detail(whole, incident["id"])["timeline"] if entry["kind"] == "alert"}
    assert {"alertmanager", gpu.node} <= who
    assert "DRAIN" not in node(whole, gpu.node)["state"]
