"""A real lab for the end-to-end tests: made for them and taken down in any case, or one that is up (--lab NAME)."""

import contextlib
import json
import os
import subprocess
from collections.abc import Generator, Iterator

import pytest
from labs import Lab, brought_up, fleetward
from loops import HandDrain, drain_by_hand, prepare_job, put_right, undrain

LOOKS = (
    'date; squeue -ho "%A %T %r %N restarts=%z start=%S"; sinfo -hNo "%N %T %E"',
    "sacct -DXnP --starttime=now-30minutes --format=JobID,State,ExitCode,NodeList,Start,End,Restarts",
    "fleetward incident list --state open; fleetward events | head -20",
    "tail -n 40 /var/log/slurm/slurmctld.log",
    "journalctl --unit fleetward --lines 40 --no-pager --output cat",
    "tail -n 30 $(ls -t /home/researcher/digits/digits-*.log | head -n 1)",
)
"""What one would look at first on the head of a lab in which a test has failed."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failed test how its lab looked at that moment."""
    report = yield
    shown = getattr(item, "funcargs", {})
    here = next((one for one in shown.values() if isinstance(one, Lab)), None)
    if report.failed and here is not None:
        for look in LOOKS:
            with contextlib.suppress(subprocess.TimeoutExpired):
                seen = here.on("head", "sh", "-c", look)
                report.sections.append((f"on the head: {look}", seen.stdout + seen.stderr))
    return report


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
