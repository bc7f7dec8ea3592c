"""The metrics of every host, over the network."""

import urllib.request
from collections.abc import Callable

import pytest
from testinfra.host import Host

every_host = pytest.mark.parametrize("name", ["head", "gpu001"])


@every_host
def test_it_tells_of_the_host_it_runs_on(address: Callable[[str], str], name: str) -> None:
    with urllib.request.urlopen(f"http://{address(name)}:9100/metrics", timeout=20) as answer:
        text = answer.read().decode()
    assert f'nodename="{name}"' in next(line for line in text.splitlines() if line.startswith("node_uname_info{"))
    assert "\nnode_memory_MemAvailable_bytes " in text


@every_host
def test_it_listens_on_the_fleets_address_alone(
    on: Callable[[str], Host], address: Callable[[str], str], name: str
) -> None:
    listening = on(name).check_output("ss --no-header --listening --tcp --numeric 'sport = :9100'").splitlines()
    assert [line.split()[3] for line in listening] == [f"{address(name)}:9100"]


@every_host
def test_it_comes_back_with_the_host(on: Callable[[str], Host], name: str) -> None:
    assert on(name).service("prometheus-node-exporter").is_enabled
