"""The metrics of a Slurm cluster, over the network."""

import time
import urllib.request
from collections.abc import Callable

from testinfra.host import Host

On = Callable[[str], Host]
Address = Callable[[str], str]


def metrics(address: Address) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{address('head')}:9401/metrics", timeout=20) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def wait_for(address: Address, series: str, value: float, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while metrics(address).get(series) != value:
        assert time.monotonic() < until, f"{series} never became {value}"
        time.sleep(1)


def test_it_tells_of_the_controller_and_of_every_node(address: Address) -> None:
    wait_for(address, 'slurm_node_state{node="gpu001",state="idle"}', 1)
    found = metrics(address)
    assert found["slurm_up"] == 1
    assert found['slurm_node_gpus{node="gpu001"}'] == 8
    assert found['slurm_jobs{state="running"}'] == 0
    assert found["slurm_exporter_snapshot_age_seconds"] < 60


def test_a_drain_is_seen_with_whose_it_is(on: On, address: Address) -> None:
    head = on("head")
    head.check_output("scontrol update nodename=gpu001 state=DRAIN reason='a fan is loud'")
    try:
        wait_for(address, 'slurm_node_drained{node="gpu001",owner="person"}', 1)
        head.check_output("scontrol update nodename=gpu001 state=DRAIN reason='fleetward:i7 node_problem: GPU 3 lost'")
        wait_for(address, 'slurm_node_drained{node="gpu001",owner="fleetward"}', 1)
    finally:
        head.check_output("scontrol update nodename=gpu001 state=RESUME")
    until = time.monotonic() + 60
    while any(series.startswith("slurm_node_drained{") for series in metrics(address)):
        assert time.monotonic() < until, "the drain stays"
        time.sleep(1)


def test_a_controller_that_stops_is_told_and_its_return_too(on: On, address: Address) -> None:
    wait_for(address, "slurm_up", 1)
    on("head").check_output("systemctl stop slurmctld")
    try:
        wait_for(address, "slurm_up", 0)
        assert 'slurm_node_gpus{node="gpu001"}' in metrics(address)
    finally:
        on("head").check_output("systemctl start slurmctld")
    wait_for(address, "slurm_up", 1)


def test_it_has_no_rights_and_comes_back_with_the_host(on: On) -> None:
    head = on("head")
    assert head.service("fleetward-slurm-exporter").is_enabled
    process = head.check_output("systemctl show --property=MainPID --value fleetward-slurm-exporter")
    owner = head.check_output(f"stat --format=%u /proc/{process}")
    assert int(owner) >= 61184, "systemd's range of users without a name"
