"""What a node does by itself: it drains itself where no daemon answers, and gives its GPUs back for a reset."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from labs import Lab
from loops import CHANCE, Gpu, becomes, break_gpu, incident_of, mend, node, put_right, wait_for
from test_loop import mode

pytestmark = [pytest.mark.lab, pytest.mark.verify]

OWN_DRAIN = "fleetward:local-"
RUNS = 4
"""One more than the streak after which a node drains itself."""


@pytest.fixture
def whole(lab: Lab) -> Iterator[Lab]:
    put_right(lab)
    mode(lab, "propose")
    yield lab
    lab.told("head", "systemctl", "start", "fleetward")
    for host in nodes(lab):
        lab.on(host, "fleetward", "release", "--end")
        mend(lab, host)
    put_right(lab)


def nodes(lab: Lab) -> list[str]:
    return [host["name"] for host in lab.up["hosts"][1:]]


def any_gpu(lab: Lab) -> Gpu:
    return Gpu(CHANCE.choice(nodes(lab)), str(CHANCE.randrange(8)))


def drained(lab: Lab) -> set[str]:
    return {name for name in nodes(lab) if "DRAIN" in node(lab, name)["state"]}


def users_of_nvml(lab: Lab, name: str) -> int:
    """Count the processes of a node that have the driver's library: on hardware each of them holds every GPU."""
    look = "grep -l libnvidia-ml /proc/[0-9]*/maps 2>/dev/null | wc -l"
    return int(lab.told(name, "sh", "-c", look))


def seen(lab: Lab, query: str) -> float | None:
    rows = lab.prometheus(query)
    return rows[0][1] if rows else None


@pytest.mark.timeout(900)
def test_a_node_drains_itself_only_while_no_daemon_answers(whole: Lab) -> None:
    gpu = any_gpu(whole)
    others = set(nodes(whole)) - {gpu.node}
    last = f'node_health_last_run_timestamp_seconds{{node="{gpu.node}"}}'
    break_gpu(whole, gpu)
    wait_for(lambda: incident_of(whole, "GpuOffBus", gpu.node), 60, "an incident")
    for _ in range(RUNS):
        before = seen(whole, last)
        wait_for(lambda before=before: seen(whole, last) != before, 60, "another run of the node's checks")
    assert drained(whole) == set(), "the daemon takes the reports, and nobody has approved its run"

    whole.told("head", "systemctl", "stop", "fleetward")
    wait_for(lambda: drained(whole), 180, "a node that drains itself")
    assert drained(whole) == {gpu.node}
    assert node(whole, gpu.node)["reason"].startswith(OWN_DRAIN)
    assert " node_problem: " in node(whole, gpu.node)["reason"]
    wait_for(
        lambda: whole.prometheus(f'ALERTS{{alertname="NodeDrainedItself",alertstate="firing",node="{gpu.node}"}}'),
        120,
        "an alert about it",
    )

    mend(whole, gpu.node)
    becomes(lambda: drained(whole), set(), 180, "what is drained once the fault is gone")
    assert all(OWN_DRAIN not in node(whole, name)["reason"] for name in others)


@pytest.mark.timeout(600)
def test_a_gpu_can_be_reset_while_the_exporter_runs(whole: Lab) -> None:
    gpu = any_gpu(whole)
    up = f'sum(gpu_up{{node="{gpu.node}"}})'
    wait_for(lambda: users_of_nvml(whole, gpu.node), 30, "an exporter that holds GPUs")

    def released() -> dict[str, Any]:  # a check that had begun before may hold it for a moment
        done = whole.on(gpu.node, "fleetward", "release", "--gpu", gpu.index, "--seconds", "300", "--json")
        assert done.returncode in {0, 1}, done.stderr
        return {"code": done.returncode} | json.loads(done.stdout)

    wait_for(lambda: released()["code"] == 0, 20, "a GPU that nobody holds")
    assert users_of_nvml(whole, gpu.node) == 0
    wait_for(lambda: seen(whole, up) is None, 60, "a page without the node's GPUs")
    break_gpu(whole, gpu, code=31)
    counted = f'gpu_xid_total{{node="{gpu.node}",gpu="{gpu.index}",xid="31"}}'
    found = whole.on(gpu.node, "fleetward", "check", "--json")
    unknown = {one["check"] for one in json.loads(found.stdout)["findings"] if one["status"] == "unknown"}
    assert {"gpu_lost", "gpu_temperature"} <= unknown, found.stderr
    assert users_of_nvml(whole, gpu.node) == 0, "neither the exporter nor a check has opened it meanwhile"

    whole.told(gpu.node, "fleetward", "release", "--end")
    becomes(lambda: seen(whole, up), 8.0, 60, "GPUs that are up after the release")
    wait_for(lambda: seen(whole, counted), 30, "the XID that came meanwhile")
    assert users_of_nvml(whole, gpu.node) > 0
