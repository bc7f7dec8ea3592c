"""`fleetward qualify` against a whole daemon over its socket: what people type, and what they are told."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest
from burn_in_logs import BAD, GOOD, run_jobs
from whole_daemon import Daemon

Typed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def played(daemon: Daemon) -> Iterator[Callable[[str], None]]:
    """Let every job that is submitted run; a node that is named fails from then on."""
    over, bad = threading.Event(), set[str]()

    def play() -> None:
        while not over.wait(0.1):
            run_jobs(daemon, lambda name: BAD if name in bad else GOOD)
            daemon.made.burner.hurry()

    thread = threading.Thread(target=play)
    thread.start()
    yield bad.add
    over.set()
    thread.join()


def test_from_the_start_to_who_is_qualified(daemon: Daemon, typed: Typed, played: Callable[[str], None]) -> None:
    played("gpu002")
    done = typed("qualify", "start", "gpu[001-002]", "--wait", code=1)
    assert "node gpu001 ended (job 1" in done.stdout
    assert "1 passed, 1 failed" in done.stdout
    assert done.stderr.splitlines()[-1] == "fleetward: q1: gpu002 failed"
    listed = typed("qualify", "list").stdout.splitlines()
    assert listed[1].split()[:3] == ["q1", "done", "gpu[001-002]"]
    nodes = typed("qualify", "nodes").stdout.splitlines()
    assert nodes[1].split()[:2] == ["gpu001", "valid"]
    assert nodes[2].split()[:2] == ["gpu002", "missing"]
    assert "dcgm_medium passed: all is well" in typed("qualify", "nodes", "gpu001").stdout
    status = json.loads(typed("qualify", "status", "q1", "--json").stdout)
    job = next(one for one in status["jobs"] if one["nodes"] == ["gpu002"])
    assert "DCGM Diagnostic" in typed("qualify", "log", "q1", str(job["id"])).stdout
    assert typed("qualify", "clear", "gpu002", "--why", "riser").stdout == "gpu002: q1 holds it no longer\n"
    assert json.loads(typed("qualify", "nodes", "--json").stdout)["nodes"][0]["standing"] == "valid"


def test_who_is_left_out_is_told_and_an_abort_is_no_pass(daemon: Daemon, typed: Typed) -> None:
    daemon.slurm.drain("gpu002", "riser of ada")
    begun = typed("qualify", "start", "gpu[001-002]")
    assert "gpu002 is left out: it is out of service: riser of ada" in begun.stderr
    assert "aborted by" in typed("qualify", "abort", "q1").stdout
    typed("qualify", "status", "1", "--follow", code=5)


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("start", "gpu009"), 2, "gpu009"),
        (("start", "gpu001", "--workload", "nope"), 2, "there is no workload 'nope'"),
        (("status", "q7"), 2, "there is no burn-in q7"),
        (("status", "c7"), 2, "names no burn-in"),
        (("nodes", "gpu009"), 2, "gpu009"),
        (("clear", "gpu001", "--why", "bored"), 1, "no burn-in holds gpu001"),
    ],
)
def test_what_cannot_be_is_said_with_the_exit_code(typed: Typed, words: tuple[str, ...], code: int, why: str) -> None:
    assert why in typed("qualify", *words, code=code).stderr


def test_the_workloads_are_listed_without_a_daemon(typed: Typed) -> None:
    assert "nccl_pair" in typed("qualify", "workloads").stdout
