"""The checks of GPU nodes, as Slurm runs them and as the daemon and Prometheus hear of them."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from testinfra.host import Host

On = Callable[[str], Host]
Address = Callable[[str], str]
SCENARIO = "/etc/fleetward/nvml/scenario.conf"
METRICS = "/var/lib/prometheus/node-exporter/fleetward_health.prom"


def program(on: On) -> str:
    """Return what slurm.conf names, as the node's own slurmd has it."""
    lines = on("gpu001").check_output("scontrol show config").splitlines()
    return next(line.partition("=")[2].strip() for line in lines if line.startswith("HealthCheckProgram"))


def incidents(on: On, node: str) -> list[dict[str, Any]]:
    found = json.loads(on("head").check_output("fleetward incident list --json"))["incidents"]
    return [one for one in found if one["node"] == node]


def wait_for(holds: Callable[[], Any], what: str) -> Any:  # noqa: ANN401  whatever was waited for
    until = time.monotonic() + 20
    while not (found := holds()):
        assert time.monotonic() < until, what
        time.sleep(0.5)
    return found


@pytest.fixture
def lost_gpu(on: On) -> Iterator[str]:
    """Take GPU 5 of a node off the bus, in the words of the stand-in."""
    on("gpu001").check_output("echo gpu.5.lost=1 > %s.new && mv %s.new %s", SCENARIO, SCENARIO, SCENARIO)
    yield "gpu001"
    on("gpu001").check_output("rm %s", SCENARIO)
    on("gpu001").check_output(program(on))


def test_slurm_runs_a_program_that_is_there(on: On) -> None:
    assert on("gpu001").file(program(on)).mode == 0o755
    assert on("gpu001").run(program(on)).rc == 0


def test_the_results_are_metrics_of_the_node(on: On, address: Address) -> None:
    with urllib.request.urlopen(f"http://{address('gpu001')}:9100/metrics", timeout=20) as answer:
        page = answer.read().decode()
    names = {line.partition("{")[0].partition(" ")[0] for line in page.splitlines()}
    assert {"node_health_checks", "node_health_last_run_timestamp_seconds"} <= names
    assert 'node_health_checks{status="unhealthy"} 0' in page
    assert "node_health_report_accepted 1" in page


def test_the_daemon_opens_an_incident_of_what_a_node_reports(on: On, lost_gpu: str) -> None:
    assert on(lost_gpu).run(program(on)).rc == 0, "Slurm would act on any other exit code itself"
    found = wait_for(lambda: incidents(on, lost_gpu), "no incident")
    assert ("GpuOffBus", "5") in {(one["alert_name"], one["gpu"]) for one in found}


def test_a_node_without_its_daemon_goes_on(on: On) -> None:
    on("head").check_output("systemctl stop fleetward")
    try:
        assert on("gpu001").run(program(on)).rc == 0
        assert "node_health_report_accepted 0" in on("gpu001").file(METRICS).content_string
    finally:
        on("head").check_output("systemctl start fleetward")


def answer_to(address: Address, node: str, token: str) -> int:
    """Return the status of a post of no events in the name of a node."""
    request = urllib.request.Request(
        f"http://{address('head')}:9720/v1/nodes/{node}/events",
        data=b'{"events": []}',
        headers={"Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310  the address above
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def test_the_token_speaks_for_its_node_only(on: On, address: Address) -> None:
    token = on("gpu001").file("/etc/fleetward/node.token").content_string.strip()
    assert answer_to(address, "gpu001", token) == 200
    assert answer_to(address, "head", token) == 401
    assert answer_to(address, "gpu001", token[::-1]) == 401


def test_not_everybody_reads_the_token(on: On) -> None:
    token = on("gpu001").file("/etc/fleetward/node.token")
    assert (token.user, token.group, token.mode) == ("root", "fleetward-node", 0o640)
    assert on("gpu001").run("runuser --user researcher -- cat /etc/fleetward/node.token").rc != 0


def test_the_profile_is_what_the_inventory_declares(on: On) -> None:
    found = json.loads(on("gpu001").check_output("fleetward check --json --only gpu_count --only gpu_power_limit"))
    assert {one["check"]: one["status"] for one in found["findings"]} == {
        "gpu_count": "healthy",
        "gpu_power_limit": "healthy",
    }
