"""`fleetward drain` and `fleetward resume` against a daemon that plays the contract."""

import json
import subprocess
from collections.abc import Callable

from played_daemon import ME, NOON, PlayedDaemon

from fleetward.model.claims import Claim, ClaimClass

Asking = Callable[..., subprocess.CompletedProcess[str]]


def test_drain_claims_each_node_of_a_range(asking: Asking, daemon: PlayedDaemon) -> None:
    done = asking("drain", "gpu[001-002]", "gpu002", "--reason", "new fans", "--json")
    assert done.returncode == 0, done.stderr
    nodes = json.loads(done.stdout)["nodes"]
    assert [(node["node"], node["result"], node["claims"][0]["owner"]) for node in nodes] == [
        ("gpu001", "drained", f"p-{ME}"),
        ("gpu002", "drained", f"p-{ME}"),
    ]
    body = {"why": "new fans", "class": "maintenance"}
    assert daemon.posted() == [("/v1/nodes/gpu001/drain", body), ("/v1/nodes/gpu002/drain", body)]


def test_a_refusal_ends_it_after_what_was_done(asking: Asking, daemon: PlayedDaemon) -> None:
    done = asking("drain", "gpu001", "gpu999", "gpu003", "--reason", "odd", "--class", "node_problem")
    assert done.returncode == 4
    assert done.stdout.splitlines()[1:] == [f"gpu001  drained  p-{ME} (node_problem: odd)"]
    assert done.stderr.splitlines() == [
        "fleetward: failed: gpu999; not asked for: gpu003",
        "fleetward: gpu999: 2 of 2 nodes are held already",
    ]
    assert [path for path, _ in daemon.posted()] == ["/v1/nodes/gpu001/drain", "/v1/nodes/gpu999/drain"]


def test_a_drain_has_a_reason_and_a_name(asking: Asking, daemon: PlayedDaemon) -> None:
    assert asking("drain", "gpu001").returncode == 2
    assert asking("drain", "--reason", "x").returncode == 2
    odd = asking("drain", "gpu[1-", "--reason", "x")
    assert odd.returncode == 2
    assert "write gpu001 or gpu[001-003]" in odd.stderr
    assert asking("drain", "gpu001", "--reason", "x", "--class", "boredom").returncode == 2
    assert daemon.asked == []


def test_resume_tells_who_else_holds_the_node(asking: Asking, daemon: PlayedDaemon) -> None:
    daemon.claims = [Claim(1, "gpu002", "i12", ClaimClass.NODE_PROBLEM, "GPU 3 off the bus", "fleetward", NOON)]
    done = asking("resume", "gpu001", "gpu002")
    assert done.returncode == 0, done.stderr
    assert [line.split(maxsplit=1) for line in done.stdout.splitlines()[1:]] == [
        ["gpu001", "resumed            -"],
        ["gpu002", "still held by i12  i12 (node_problem: GPU 3 off the bus)"],
    ]
    assert daemon.posted() == [("/v1/nodes/gpu001/resume", {}), ("/v1/nodes/gpu002/resume", {})]
