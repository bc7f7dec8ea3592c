"""A rolling change through eight nodes under a steady stream of jobs: no job fails, and what goes wrong is held."""

import contextlib
import itertools
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from labs import Lab, brought_up
from loops import wait_for

pytestmark = [pytest.mark.lab, pytest.mark.verify, pytest.mark.timeout(2400)]

NODES = tuple(f"gpu{number:03}" for number in range(1, 9))
PATIENCE = 900.0
PAGES = "/etc/fleetward/pages"
UNFIT = "/var/lib/fleetward-unfit"
"""Where this file lies, a node is not fit."""
PAGE = f"""\
---
id: test-qualify
title: Look whether a node is fit
alerts: []
severity: info
params: {{node: {{}}}}
blast: node
mode: propose
---
# Look whether a node is fit

## Meaning
A change without anything that takes long.

## Impact
None.

## Diagnosis
None.

## Mitigation
```step drain
slurm.drain: "{{{{ node }}}}"
why: "looking whether it is fit"
class: maintenance
```
```step empty
slurm.wait_for_jobs: "{{{{ node }}}}"
within: 10m
```

## Verification
```step qualify
node.run: [test, "!", -e, {UNFIT}]
on: "{{{{ node }}}}"
```
```step resume
slurm.resume: "{{{{ node }}}}"
```

## Escalation
None.

## History
None.
"""


@dataclass
class Stream:
    """Jobs of one and of two nodes, one after the other, for as long as it flows."""

    lab: Lab
    jobs: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def flow(self) -> None:
        for number in itertools.count():
            words = f"--nodes={1 + number % 2} --gpus-per-node=8 --no-requeue --time=5 --output=/dev/null --parsable"
            command = f"cd /tmp && sbatch {words} --wrap='srun sleep 10'"
            self.jobs.append(self.lab.told("head", "sh", "-c", command, user="researcher").strip())
            if self.over.wait(3):
                return

    def ends(self) -> dict[str, int]:
        """Let the queue run empty; return how many jobs ended in which state, `restarted` for any that was."""
        self.over.set()
        wait_for(lambda: not self.lab.told("head", "squeue", "--noheader").strip(), PATIENCE, "an empty queue")
        listed = ("sacct", "-nXP", "--format=JobID,State,Restarts", "-j", ",".join(self.jobs))
        found: dict[str, int] = {}
        for line in self.lab.told("head", *listed).split():
            _, state, restarts = line.split("|")
            word = state if restarts == "0" else "restarted"
            found[word] = found.get(word, 0) + 1
        return found


@contextlib.contextmanager
def stream(lab: Lab) -> Iterator[Stream]:
    jobs = Stream(lab)
    thread = threading.Thread(target=jobs.flow)
    thread.start()
    try:
        yield jobs
    finally:
        jobs.over.set()
        thread.join()


@pytest.fixture(scope="module")
def fleet(suite: str) -> Iterator[Lab]:
    """Return a lab of eight nodes, whose daemon has a page of the site's own."""
    with brought_up(f"change-{suite}-{os.getpid()}", suite, "--nodes", "8", "--no-job") as lab:
        lab.told("head", "sh", "-c", f'mkdir -p {PAGES} && printf %s "$1" > {PAGES}/test-qualify.md', "sh", PAGE)
        lab.told("head", "sed", "-i", f's,^folders = .*,folders = ["{PAGES}"],', "/etc/fleetward/config.toml")
        lab.told("head", "systemctl", "restart", "fleetward")
        yield lab


def change(lab: Lab, *words: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(lab.told("head", "fleetward", "change", *words, "--json"))
    return document


def begun(lab: Lab, page: str, *words: str, nodes: str = "gpu[001-008]") -> str:
    """Plan and approve a change; returns its name."""
    planned = change(lab, "plan", page, nodes, *words)["change"]
    name = f"c{planned['id']}"
    change(lab, "approve", name, "--digest", planned["digest"])
    return name


def status(lab: Lab, name: str) -> dict[str, Any]:
    found: dict[str, Any] = change(lab, "status", name)["change"]
    return found


def rests(lab: Lab, name: str) -> dict[str, Any]:
    """Wait until a change has ended or stopped and nothing of it is under way."""

    def found() -> dict[str, Any]:
        now = status(lab, name)
        under_way = any(node["state"] == "under_way" for node in now["nodes"])
        return {} if under_way or now["state"] == "running" else now

    rested: dict[str, Any] = wait_for(found, PATIENCE, f"the end of {name}")
    return rested


def drained(lab: Lab) -> dict[str, str]:
    """Return the reason of every node that is drained."""
    told = lab.told("head", "sinfo", "--noheader", "--Node", "--states=drain", "--format=%N|%E")
    return dict(line.split("|", 1) for line in told.splitlines())


def test_a_role_is_played_through_all_nodes_and_no_job_notices(fleet: Lab) -> None:
    with stream(fleet) as jobs:
        wait_for(lambda: len(jobs.jobs) >= 4, PATIENCE, "a full queue")
        name = begun(fleet, "change-site", "--at-once", "2", "--param", "part=node_exporter", "--param", "patience=10m")
        ended = rests(fleet, name)
        ends = jobs.ends()
    assert (ended["state"], ended["why"]) == ("done", "8 done")
    assert drained(fleet) == {}
    assert ends == {"COMPLETED": len(jobs.jobs)}
    assert len(jobs.jobs) > 10


def test_a_node_that_is_not_fit_stays_out_and_the_change_stops_at_its_budget(fleet: Lab) -> None:
    fleet.told("gpu003", "touch", UNFIT)
    with stream(fleet) as jobs:
        name = begun(fleet, "test-qualify", "--at-once", "2", "--budget", "0")
        stopped = rests(fleet, name)
        assert stopped["state"] == "stopped"
        assert stopped["why"] == "1 nodes are in trouble (gpu003), and its budget allows none"
        assert drained(fleet) == {"gpu003": f"fleetward:{name} maintenance: looking whether it is fit"}
        assert "waiting" in {node["state"] for node in stopped["nodes"]}
        fleet.told("gpu003", "rm", UNFIT)
        change(fleet, "resume", name, "--retry")
        assert rests(fleet, name)["why"] == "8 done"
        assert jobs.ends() == {"COMPLETED": len(jobs.jobs)}
    assert drained(fleet) == {}


def test_what_a_person_drained_stays_as_it_was(fleet: Lab) -> None:
    by_hand = ("scontrol", "update", "nodename=gpu005", "state=drain", "reason=riser of ada")
    fleet.told("head", *by_hand)
    try:
        name = begun(fleet, "test-qualify", "--at-once", "4")
        ended = rests(fleet, name)
        assert (ended["state"], ended["why"]) == ("done", "7 done")
        assert drained(fleet) == {"gpu005": "riser of ada"}
    finally:
        fleet.told("head", "scontrol", "update", "nodename=gpu005", "state=resume")


def test_a_daemon_that_is_killed_half_way_carries_it_on_to_the_same_end(fleet: Lab) -> None:
    with stream(fleet) as jobs:
        name = begun(fleet, "test-qualify", "--at-once", "2")
        killed = 0
        while (now := status(fleet, name))["state"] == "running" and killed < 5:
            if any(node["state"] == "under_way" for node in now["nodes"]):
                fleet.told("head", "systemctl", "kill", "--signal=KILL", "fleetward")
                killed += 1
                wait_for(lambda: fleet.on("head", "fleetward", "change", "list").returncode == 0, 60, "the daemon")
            jobs.over.wait(5)
        ended = rests(fleet, name)
        ends = jobs.ends()
    assert killed >= 2
    assert (ended["state"], ended["why"]) == ("done", "8 done")
    assert drained(fleet) == {}
    assert ends == {"COMPLETED": len(jobs.jobs)}
