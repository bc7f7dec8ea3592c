"""What a visitor is told at the end of `fleetward lab up`: commands that exist, with the words of this lab."""

from typing import Any

import pytest
from in_process import check_words

from fleetward.lab import summary
from fleetward.lab.spec import LabSpec


def found(name: str = "lab", nodes: int = 3, *, ready: bool = True) -> dict[str, Any]:
    spec = LabSpec(name=name, nodes=nodes)
    hosts = [{"name": host.name, "address": host.address, "state": "running"} for host in spec.hosts]
    lab = {"name": name, "suite": "trixie"}
    return {"lab": lab, "ready": ready, "hosts": hosts, "nodes": [], "job": None, "seconds": 98.6}


def commands(text: str) -> list[str]:
    """Return what the visitor is to type: the words before the two spaces that part them from their meaning."""
    rows = [line.strip() for line in text.splitlines()]
    return [row.partition("  ")[0] for row in rows if row.startswith("fleetward ")]


@pytest.mark.parametrize("name", ["lab", "two"])
def test_it_ends_with_the_screen_a_fault_and_its_healing(name: str) -> None:
    text = summary.text(found(name))
    of_this_lab = "" if name == "lab" else " --name two"
    assert commands(text)[-3:] == [
        f"fleetward lab tui{of_this_lab}",
        f"fleetward lab fault gpu002 xid --gpu 3 --code 79{of_this_lab}",
        f"fleetward lab fault gpu002 clear{of_this_lab}",
    ]
    last = text.splitlines()[-4:]
    assert last[0] == "  See it break and heal, in three commands:"
    assert "open the screen" in last[1]
    assert "break a GPU" in last[2]
    assert "watch it heal" in last[3]


def test_a_lab_of_one_node_breaks_that_one() -> None:
    assert commands(summary.text(found(nodes=1)))[-1] == "fleetward lab fault gpu001 clear"


def test_a_lab_that_is_not_provisioned_promises_nothing() -> None:
    text = summary.text(found(ready=False))
    assert "heal" not in text
    assert "fleetward lab tui" not in text
    assert "Took 99 s" in text


@pytest.mark.parametrize("name", ["lab", "two"])
def test_every_command_that_is_named_exists_and_takes_these_words(name: str) -> None:
    named = commands(summary.text(found(name)))
    assert len(named) == 6
    for line in named:
        check_words(line)


def test_the_longest_state_still_leaves_a_gap_before_the_gpus() -> None:
    nodes = [{"name": "gpu001", "state": "UNKNOWN+NOT_RESPONDING", "gres": "gpu:h100:8"}]
    rows = [line.split() for line in summary.status_text({**found(), "nodes": nodes}).splitlines()]
    assert ["gpu001", "10.213.1.101", "running", "UNKNOWN+NOT_RESPONDING", "gpu:h100:8"] in rows
    assert ["gpu002", "10.213.1.102", "running", "-", "-"] in rows
