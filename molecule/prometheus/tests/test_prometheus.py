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


def test_it_comes_back_with_the_host(on: Callable[[str], Host]) -> None:
    assert on("head").service("prometheus").is_enabled
