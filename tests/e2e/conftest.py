"""A real lab for the end-to-end tests: made for them and taken down in any case, or one that is up (--lab NAME)."""

import json
import os
from collections.abc import Iterator

import pytest
from labs import Lab, brought_up, fleetward
from loops import HandDrain, drain_by_hand, prepare_job, put_right, undrain


@pytest.fixture(scope="session")
def lab(suite: str, pytestconfig: pytest.Config) -> Iterator[Lab]:
    if name := pytestconfig.getoption("--lab"):
        status = fleetward("lab", "status", "--name", name, "--json")
        assert status.returncode == 0, status.stderr
        yield Lab(name, suite, json.loads(status.stdout))
        return
    with brought_up(f"e2e-{suite}-{os.getpid()}", suite, "--no-job") as running:
        yield running


@pytest.fixture(scope="module")
def four_nodes(lab: Lab) -> Iterator[Lab]:
    had = len(lab.up["hosts"]) - 1
    grown = lab.fleetward("lab", "up", "--nodes", "4", "--no-job", "--json")
    assert grown.returncode == 0, grown.stderr
    yield Lab.after(lab, grown.stdout)
    shrunk = lab.fleetward("lab", "up", "--nodes", str(had), "--no-job", "--json")
    assert shrunk.returncode == 0, shrunk.stderr


@pytest.fixture
def hand(four_nodes: Lab) -> Iterator[HandDrain]:
    put_right(four_nodes)
    prepare_job(four_nodes)
    drained = drain_by_hand(four_nodes)
    yield drained
    four_nodes.on("head", "scancel", "--user=researcher")  # what a test that failed has left running
    undrain(four_nodes, drained)
