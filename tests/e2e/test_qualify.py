"""Nodes burned in by real Slurm jobs in a reservation, through the daemon; only DCGM's program is played."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from labs import Lab, brought_up
from loops import wait_for

pytestmark = [pytest.mark.lab, pytest.mark.verify, pytest.mark.timeout(1800)]

NODES = ("gpu001", "gpu002", "gpu003")
PATIENCE = 300.0
SAMPLES = Path(__file__).parents[1] / "operations/qualification/samples"
SICK = "/var/lib/fleetward-sick"
"""Where this file lies, the diagnostic fails."""
DCGMI = f"""\
#!/bin/sh
case $1 in
--version) echo 'dcgmi  version: 4.6.0' ;;
diag) if [ -e {SICK} ]; then cat /opt/dcgm/failed.json; else cat /opt/dcgm/long.json; fi ;;
esac
"""
PAGES = "/etc/fleetward/pages"
PAGE = """\
---
id: test-qualified
title: Qualify a node
alerts: []
severity: info
params: {node: {}}
blast: node
mode: propose
---
# Qualify a node

## Meaning
A change that leaves the node as it is.

## Impact
None.

## Diagnosis
None.

## Mitigation
```step drain
slurm.drain: "{{ node }}"
why: "a change"
class: maintenance
```
```step empty
slurm.wait_for_jobs: "{{ node }}"
within: 10m
```

## Verification
```step qualify
node.qualify: "{{ node }}"
within: 10m
```
```step resume
slurm.resume: "{{ node }}"
```

## Escalation
None.

## History
None.
"""


def put(lab: Lab, host: str, path: str, text: str, mode: str = "0644") -> None:
    lab.told(
        host,
        "sh",
        "-c",
        'mkdir -p "$(dirname "$1")" && printf %s "$2" > "$1" && chmod "$3" "$1"',
        "sh",
        path,
        text,
        mode,
    )


@pytest.fixture(scope="module")
def fleet(suite: str) -> Iterator[Lab]:
    """Return a lab whose gate is closed from the beginning: none of its nodes has ever passed."""
    with brought_up(f"qualify-{suite}-{os.getpid()}", suite, "--nodes", str(len(NODES)), "--no-job") as lab:
        for node in NODES:
            put(lab, node, "/opt/dcgm/long.json", (SAMPLES / "dcgm-4.6.0-long.json").read_text())
            put(lab, node, "/opt/dcgm/failed.json", (SAMPLES / "dcgm-4.6.0-failed.json").read_text())
            put(lab, node, "/usr/local/bin/dcgmi", DCGMI, "0755")
        put(lab, "head", f"{PAGES}/test-qualified.md", PAGE)
        own = r's,^\[qualification\].*,[qualification]\nrequired = ["dcgm_medium"]\ngate = true,'
        lab.told(
            "head",
            "sed",
            "-i",
            "-e",
            own,
            "-e",
            f's,^folders = .*,folders = ["{PAGES}"],',
            "/etc/fleetward/config.toml",
        )
        lab.told("head", "systemctl", "restart", "fleetward")
        yield lab


def qualify(lab: Lab, *words: str, code: int = 0) -> dict[str, Any]:
    done = lab.on("head", "fleetward", "qualify", *words, "--json")
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def job(lab: Lab, node: str, seconds: int = 1) -> str:
    """Submit somebody's job to a node; returns its number."""
    words = (
        f"sbatch --nodelist={node} --gpus-per-node=8 --time=5 --output=/dev/null --parsable --wrap='sleep {seconds}'"
    )
    return lab.told("head", "sh", "-c", f"cd /tmp && {words}", user="researcher").strip()


def state(lab: Lab, number: str) -> str:
    return lab.told("head", "sacct", "-nXP", "--format=State", "-j", number).strip()


def standing(lab: Lab) -> dict[str, str]:
    return {one["node"]: one["standing"] for one in qualify(lab, "nodes")["nodes"]}


def reason(lab: Lab, node: str) -> str:
    return lab.told("head", "sinfo", "--noheader", f"--nodes={node}", "--format=%E").splitlines()[0].strip()


@contextlib.contextmanager
def sick(lab: Lab, node: str) -> Iterator[None]:
    lab.told(node, "touch", SICK)
    try:
        yield
    finally:
        lab.told(node, "rm", "-f", SICK)


def test_who_never_passed_takes_no_job_until_it_has(fleet: Lab) -> None:
    def reserved() -> bool:
        return "gpu[001-003]" in fleet.told("head", "scontrol", "show", "reservation")

    wait_for(reserved, PATIENCE, "the gate")
    waiting = job(fleet, "gpu001")
    assert state(fleet, waiting) == "PENDING"
    ended = qualify(fleet, "start", "gpu[001-003]", "--wait")
    assert (ended["state"], ended["why"]) == ("done", "3 passed")
    assert standing(fleet) == dict.fromkeys(NODES, "valid")
    wait_for(lambda: state(fleet, waiting) == "COMPLETED", PATIENCE, "the job that waited")
    assert "No reservations" in fleet.told("head", "scontrol", "show", "reservation")
    by = fleet.told("head", "sacct", "-nXP", "-u", "fleetward", "--format=JobName,State,User,NodeList")
    assert len(by.splitlines()) == 3
    assert all(line.split("|")[1:3] == ["COMPLETED", "fleetward"] for line in by.splitlines())


def test_what_runs_on_a_node_goes_on_and_what_is_submitted_waits(fleet: Lab) -> None:
    before = job(fleet, "gpu002", seconds=25)
    wait_for(lambda: state(fleet, before) == "RUNNING", PATIENCE, "a job that runs")
    begun = qualify(fleet, "start", "gpu002")["id"]
    after = job(fleet, "gpu002")
    wait_for(lambda: qualify(fleet, "status", f"q{begun}")["state"] == "done", PATIENCE, "the end of the burn-in")
    wait_for(lambda: state(fleet, after) == "COMPLETED", PATIENCE, "the job that was submitted meanwhile")
    assert state(fleet, before) == "COMPLETED"
    times = fleet.told("head", "sacct", "-nXP", "--format=JobID,Start,End", "-j", f"{before},{after}").split()
    burned = qualify(fleet, "status", f"q{begun}")["jobs"][0]["slurm_job"]
    times += fleet.told("head", "sacct", "-nXP", "--format=JobID,Start,End", "-j", burned).split()
    spans = {line.split("|")[0]: line.split("|")[1:] for line in times}
    assert spans[before][1] <= spans[burned][0]
    assert spans[burned][1] <= spans[after][0]


def test_a_node_that_fails_is_held_and_returns_when_it_passes(fleet: Lab) -> None:
    with sick(fleet, "gpu003"):
        ended = qualify(fleet, "start", "gpu[002-003]", "--wait", code=1)
    assert ended["why"] == "1 passed, 1 failed"
    assert reason(fleet, "gpu003").startswith(f"fleetward:q{ended['id']} node_problem: dcgm_medium failed")
    assert standing(fleet)["gpu003"] == "void"
    assert qualify(fleet, "start", "gpu003", "--wait")["why"] == "1 passed"
    assert reason(fleet, "gpu003") == "none"
    assert standing(fleet)["gpu003"] == "valid"


def test_a_daemon_that_is_killed_carries_it_on_and_submits_no_job_twice(fleet: Lab) -> None:
    begun = qualify(fleet, "start", "gpu[001-003]")["id"]
    for _ in range(4):
        fleet.told("head", "systemctl", "kill", "--signal=KILL", "fleetward")
        wait_for(lambda: fleet.on("head", "fleetward", "qualify", "list").returncode == 0, 60, "the daemon")
    ended = qualify(fleet, "status", f"q{begun}", "--follow")
    assert ended["why"] == "3 passed"
    names = fleet.told("head", "sacct", "-nXP", "-u", "fleetward", "--format=JobName%60").split()
    assert len(names) == len(set(names))


def test_a_changed_machine_is_no_longer_the_one_that_passed(fleet: Lab) -> None:
    fleet.told("gpu001", "sed", "-i", "s/4.6.0/4.6.1/", "/usr/local/bin/dcgmi")
    fleet.told("gpu001", "fleetward", "fingerprint", "--report")
    found = next(one for one in qualify(fleet, "nodes")["nodes"] if one["node"] == "gpu001")
    assert (found["standing"], found["why"]) == ("void", ["DCGM was upgraded from 4.6.0 to 4.6.1"])
    wait_for(lambda: "gpu001" in fleet.told("head", "scontrol", "show", "reservation"), PATIENCE, "the gate")
    assert qualify(fleet, "start", "gpu001", "--wait")["why"] == "1 passed"
    assert standing(fleet)["gpu001"] == "valid"


def test_a_change_gives_back_only_who_has_passed(fleet: Lab) -> None:
    def change(*words: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(fleet.told("head", "fleetward", "change", *words, "--json"))
        return document

    with sick(fleet, "gpu002"):
        planned = change("plan", "test-qualified", "gpu[001-002]", "--at-once", "2")["change"]
        name = f"c{planned['id']}"
        change("approve", name, "--digest", planned["digest"])

        def rested() -> dict[str, Any]:
            now: dict[str, Any] = change("status", name)["change"]
            return {} if any(node["state"] in {"waiting", "under_way"} for node in now["nodes"]) else now

        now = wait_for(rested, PATIENCE, "the end of the change")
    assert {node["name"]: node["state"] for node in now["nodes"]} == {"gpu001": "done", "gpu002": "failed"}
    assert reason(fleet, "gpu001") == "none"
    assert reason(fleet, "gpu002").startswith("fleetward:")
    change("resume", name, "--retry")
    wait_for(lambda: change("status", name)["change"]["why"] == "2 done", PATIENCE, "the second try")
    assert reason(fleet, "gpu002") == "none"
