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
JOB_MAP = "/run/fleetward/jobs"
RELEASE = "/run/fleetward/release"
OVER = 67_000_000
"""No job of the scenario gets so high a number."""


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


@pytest.fixture
def left_over(on: On) -> Iterator[str]:
    """Write a job into the map as prolog would have done an hour ago; no epilog comes."""
    line = f"{JOB_MAP}/.parts/6/{OVER}"
    on("gpu001").check_output(f"mkdir -p {JOB_MAP}/.parts/6 && printf '{OVER}\\tnode=gpu001\\n' >{line}")
    on("gpu001").check_output(f"cp {line} {JOB_MAP}/6 && touch --date='1 hour ago' {line}")
    yield line
    on("gpu001").check_output(f"rm -f {line} {JOB_MAP}/6")


def test_a_job_whose_epilog_never_came_leaves_the_job_map(on: On, left_over: str) -> None:
    done = on("gpu001").run("systemctl start fleetward-job-map.service")  # it waits up to a minute by itself
    said = on("gpu001").check_output("journalctl --no-pager --unit fleetward-job-map --lines 20")
    assert done.rc == 0, said
    assert not on("gpu001").file(left_over).exists, said
    assert not on("gpu001").file(f"{JOB_MAP}/6").exists
    shown = on("gpu001").check_output("systemctl show --value --property ExecMainStatus fleetward-job-map")
    assert shown == "0", "Slurm was not to be asked"


def test_the_job_map_is_mended_again_and_again(on: On) -> None:
    timer = on("gpu001").service("fleetward-job-map.timer")
    assert timer.is_running
    assert timer.is_enabled
    assert "fleetward-job-map.service" in on("gpu001").check_output("systemctl list-timers --no-pager")


def fingerprints(on: On, address: Address) -> tuple[float, dict[str, Any]]:
    """Return how many fingerprints the daemon was told, and what it has of gpu001."""
    with urllib.request.urlopen(f"http://{address('head')}:9720/metrics", timeout=20) as answer:
        page = answer.read().decode()
    counted = next(line for line in page.splitlines() if line.startswith("fleet_fingerprint_reports_total "))
    select = "select parts from fingerprints where node = 'gpu001'"
    ask = "runuser --user fleetward -- psql --no-psqlrc --tuples-only --no-align --dbname fleetward --command %s"
    kept = on("head").check_output(ask, select)
    return float(counted.split()[1]), json.loads(kept or "{}")


def test_the_daemon_is_told_what_the_node_has_and_a_daemon_that_is_away_fails_no_unit(on: On, address: Address) -> None:
    unit = "fleetward-fingerprint.service"
    before, _ = fingerprints(on, address)
    done = on("gpu001").run("systemctl start %s", unit)
    said = on("gpu001").check_output("journalctl --no-pager --unit %s --lines 20", unit)
    assert done.rc == 0, said
    after, kept = fingerprints(on, address)
    assert after > before, said
    assert kept == json.loads(on("gpu001").check_output("fleetward fingerprint --json"))
    assert kept["kernel"] == on("gpu001").check_output("uname -r")
    assert len(kept["gpus"]) == 8
    on("head").check_output("systemctl stop fleetward")
    try:
        assert on("gpu001").run("systemctl start %s", unit).rc == 0
        shown = on("gpu001").check_output("systemctl show --value --property ExecMainStatus %s", unit)
        assert shown == "3"
    finally:
        on("head").check_output("systemctl start fleetward")


def test_the_daemon_is_told_again_and_again(on: On) -> None:
    timer = on("gpu001").service("fleetward-fingerprint.timer")
    assert timer.is_running
    assert timer.is_enabled
    assert "fleetward-fingerprint.service" in on("gpu001").check_output("systemctl list-timers --no-pager")


def test_what_root_asks_of_the_exporter_is_read_by_a_user_without_rights(on: On) -> None:
    folder = on("gpu001").file(RELEASE)
    assert (folder.user, folder.group, folder.mode) == ("root", "root", 0o755)
    file = f"{RELEASE}/gpu-exporter.json"
    confined = "systemd-run --pipe --wait --quiet -p DynamicUser=yes -p ProtectSystem=strict -p CapabilityBoundingSet="
    try:
        on("gpu001").check_output("fleetward release --seconds 60")
        asked = json.loads(on("gpu001").check_output(f"{confined} cat {file}"))
        assert 0 < asked["until"] - float(on("gpu001").check_output("date +%s")) <= 60
    finally:
        on("gpu001").check_output("fleetward release --end")
    assert not on("gpu001").file(file).exists


def test_the_folder_of_such_requests_comes_back_with_the_host(on: On) -> None:
    on("gpu001").check_output(f"rm -r {RELEASE}")
    on("gpu001").check_output(f"systemd-tmpfiles --create --boot --prefix={RELEASE}")
    assert on("gpu001").file(RELEASE).mode == 0o755
