"""A real lab for the end-to-end tests: made for them and taken down in any case, or one that is up (--lab NAME)."""

import json
import os
from collections.abc import Iterator

import pytest
from labs import Lab, brought_up, fleetward


@pytest.fixture(scope="session")
def lab(suite: str, pytestconfig: pytest.Config) -> Iterator[Lab]:
    if name := pytestconfig.getoption("--lab"):
        status = fleetward("lab", "status", "--name", name, "--json")
        assert status.returncode == 0, status.stderr
        yield Lab(name, suite, json.loads(status.stdout))
        return
    with brought_up(f"e2e-{suite}-{os.getpid()}", suite, "--no-job") as running:
        yield running
