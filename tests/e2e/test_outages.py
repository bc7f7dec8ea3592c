"""What a run needs is stopped in its middle: it waits, says what it waits for, and goes on; nothing is done twice."""

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
    long_job,
    mend,
    node,
    put_right,
    run_of,
    times_logged,
    wait_for,
)
from test_loop import ALERT, STEPS, mode

pytestmark = [pytest.mark.lab, pytest.mark.verify]


@pytest.fixture
def whole(lab: Lab) -> Iterator[Lab]:
    put_right(lab)
    mode(lab, "auto")
    yield lab
    mode(lab, "propose")
    lab.on("head", "scancel", "--user=researcher")
    put_right(lab)


def fault(lab: Lab) -> tuple[Gpu, str]:
    """Break a GPU of a node with a job; return it and the job."""
    gpu = Gpu(CHANCE.choice(["gpu001", "gpu002", "gpu003"]), str(CHANCE.randrange(8)))
    job = long_job(lab, gpu.node)
    break_gpu(lab, gpu)
    return gpu, job


FORGOTTEN_SECONDS = 330.0
"""An alert that Prometheus did not see end, Alertmanager takes for ended four minutes after it last heard of it."""


def ends_well(lab: Lab, gpu: Gpu, job: str, incident: int, seconds: float = 90) -> None:
    """Check that every step was done once, the node is back, and the incident is closed after at most so long."""

    def ended() -> dict[str, Any] | None:
        run = run_of(lab, incident)
        return run if run and run["state"] in {"done", "failed", "stopped"} else None

    run = wait_for(ended, 180, "the run's end")
    assert {step["name"]: step["state"] for step in run["steps"]} == dict.fromkeys(STEPS, "done"), run["why"]
    wait_for(lambda: "DRAIN" not in node(lab, gpu.node)["state"], 10, "the node back in service")
    assert times_logged(lab, f"fleetward:i{incident} node_problem") == 1
    shown = json.loads(lab.told("head", "scontrol", "show", "job", job, "--json"))["jobs"][0]
    assert shown["restart_cnt"] == 1
    wait_for(lambda: detail(lab, incident)["incident"]["state"] == "closed", seconds, "a closed incident")


@pytest.mark.timeout(600)
def test_a_run_outlasts_a_stop_of_postgresql(whole: Lab) -> None:
    gpu, job = fault(whole)
    incident = wait_for(lambda: incident_of(whole, ALERT, gpu.node), 30, "an incident")["id"]
    whole.told("head", "systemctl", "stop", "postgresql.service", "postgresql@*.service")
    try:
        told = wait_for(lambda: _refusal(whole, incident), 30, "a command that says what is out of reach")
        assert "PostgreSQL" in told
    finally:
        whole.told("head", "systemctl", "start", "postgresql.service")
    wait_for(lambda: "DRAIN" in node(whole, gpu.node)["state"], 60, "a drained node")
    mend(whole, gpu.node)
    ends_well(whole, gpu, job, incident)


def _refusal(lab: Lab, incident: int) -> str:
    asked = lab.on("head", "fleetward", "incident", "show", str(incident))
    return asked.stderr if asked.returncode else ""


@pytest.mark.timeout(900)
def test_a_verification_outlasts_a_stop_of_prometheus(whole: Lab) -> None:
    gpu, job = fault(whole)
    incident = wait_for(lambda: incident_of(whole, ALERT, gpu.node), 30, "an incident")["id"]
    wait_for(lambda: _at(whole, incident, "repaired"), 90, "the verification")
    whole.told("head", "systemctl", "stop", "prometheus.service")
    try:
        mend(whole, gpu.node)
        wait_for(lambda: "Prometheus" in (_at(whole, incident, "repaired") or ""), 60, "a run that says why it waits")
        assert "DRAIN" in node(whole, gpu.node)["state"]
    finally:
        whole.told("head", "systemctl", "start", "prometheus.service")
    ends_well(whole, gpu, job, incident, FORGOTTEN_SECONDS)


def _at(lab: Lab, incident: int, step: str) -> str:
    """Return why a run waits while it stands at a step."""
    run = run_of(lab, incident)
    standing = run and next((one for one in run["steps"] if one["state"] not in {"done", "skipped"}), None)
    return f"{run['why']} " if run and standing and standing["name"] == step else ""
