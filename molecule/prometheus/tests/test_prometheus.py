"""Prometheus, which scrapes every target of the inventory."""

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable

from testinfra.host import Host

Address = Callable[[str], str]


def query(address: Address, words: str) -> list[dict[str, str]]:
    url = f"http://{address('head')}:9090/api/v1/query?{urllib.parse.urlencode({'query': words})}"
    with urllib.request.urlopen(url, timeout=20) as answer:
        return [found["metric"] for found in json.load(answer)["data"]["result"]]


def test_it_scrapes_every_node_exporter(address: Address) -> None:
    until = time.monotonic() + 60
    while len(query(address, 'up{job="node"} == 1')) < 2 and time.monotonic() < until:
        time.sleep(1)
    assert {found["node"] for found in query(address, 'up{job="node"} == 1')} == {"head", "gpu001"}


def test_a_gpu_exporter_that_does_not_answer_is_known_and_down(address: Address) -> None:
    until = time.monotonic() + 60
    while not query(address, 'up{job="gpu"}') and time.monotonic() < until:
        time.sleep(1)
    assert [found["node"] for found in query(address, 'up{job="gpu"} == 0')] == ["gpu001"]


def test_its_rules_are_ours_and_they_work(address: Address) -> None:
    with urllib.request.urlopen(f"http://{address('head')}:9090/api/v1/rules", timeout=20) as answer:
        groups = json.load(answer)["data"]["groups"]
    rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert {"GpuOffBus", "NodeDown", "SlurmControllerDown", "Watchdog", "fleet_profile_gpus"} <= set(rules)
    assert [rule["lastError"] for rule in rules.values() if rule.get("lastError")] == []
    assert rules["GpuOffBus"]["annotations"]["runbook_url"].startswith(f"http://{address('head')}:9720/runbooks/")


def test_what_the_inventory_declares_is_there_to_compare_with(address: Address) -> None:
    until = time.monotonic() + 60
    while not query(address, "fleet_profile_gpus == 8") and time.monotonic() < until:
        time.sleep(1)
    assert [found["hardware_profile"] for found in query(address, "fleet_profile_gpus == 8")] == ["lab-h100"]
    assert [found["job"] for found in query(address, 'fleet_targets{job="gpu"} == 1')] == ["gpu"]


def test_alerts_fire_and_know_where_to_go(address: Address) -> None:
    until = time.monotonic() + 60
    while not query(address, 'ALERTS{alertname="Watchdog", alertstate="firing"}') and time.monotonic() < until:
        time.sleep(1)
    assert query(address, 'ALERTS{alertname="Watchdog", alertstate="firing"}') != []
    with urllib.request.urlopen(f"http://{address('head')}:9090/api/v1/alertmanagers", timeout=20) as answer:
        found = [one["url"] for one in json.load(answer)["data"]["activeAlertmanagers"]]
    assert found == [f"http://{address('head')}:9093/api/v2/alerts"]


def test_it_has_never_scraped_what_the_inventory_does_not_name(address: Address) -> None:
    """Debian's own configuration has two targets on localhost, whose last values would stand for five minutes."""
    known = {found["instance"].rpartition(":")[0] for found in query(address, "last_over_time(up[1h])")}
    assert known == {address("head"), address("gpu001")}


def test_it_comes_back_with_the_host(on: Callable[[str], Host]) -> None:
    assert on("head").service("prometheus").is_enabled
