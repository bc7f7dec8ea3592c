"""The commands against a whole daemon over its socket: an alert comes in, people type, the incident closes."""

import json
import pwd
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from os import getuid
from pathlib import Path

import pytest
from in_process import run_command
from played_daemon import Served
from whole_daemon import Daemon, alert, eventually

from fleetward.server.app import local_app

Asking = Callable[..., subprocess.CompletedProcess[str]]
ME = pwd.getpwuid(getuid()).pw_name


@pytest.fixture
def typed(daemon: Daemon, tmp_path: Path) -> Iterator[Asking]:
    """Return a way to run the command against the daemon; it must do what was asked unless a code is named."""
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "daemon.sock"

        def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
            variables = {"FLEETWARD_DAEMON_SOCKET": str(socket), "FLEETWARD_RUNBOOKS_FOLDERS": str(daemon.folder)}
            done = run_command(tmp_path, *arguments, **variables)
            assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            return done

        with Served(local_app(daemon.made.service), socket):
            yield run


def test_from_alert_to_closed_by_commands_alone(daemon: Daemon, typed: Asking) -> None:
    assert daemon.post(alert()).status_code == 200
    eventually(lambda: daemon.incident()["runs"])
    asks = typed("incident", "show", "--follow", code=5)
    assert "`fleetward runbook approve r1`" in asks.stderr
    assert typed("incident", "ack", "i1", "--note", "on it").stdout == f"i1 is acknowledged by {ME}\n"

    assert "slurm.drain gpu002" in typed("runbook", "status", "r1").stdout
    typed("runbook", "approve", "r1", "--digest", "0" * 12, code=2)
    digest = json.loads(typed("runbook", "status", "r1", "--json").stdout)["digest"]
    at_question = typed("runbook", "approve", "r1", "--digest", digest[:12], "--wait", code=5)
    assert "r1 step 0 drain: done" in at_question.stdout
    assert "Was gpu002 mended?" in at_question.stderr
    assert daemon.slurm.nodes_now["gpu002"].reason == "fleetward:i1 node_problem: it is broken"

    assert f"p-{ME} (maintenance: new fans)" in typed("drain", "gpu002", "--reason", "new fans").stdout
    done = typed("runbook", "approve", "r1", "--digest", digest, "--wait")
    assert done.stdout.splitlines()[-1] == "r1 done"
    assert "DRAIN" in daemon.slurm.nodes_now["gpu002"].flags, "a person holds it still"
    assert "resumed" in typed("resume", "gpu002").stdout
    assert "DRAIN" not in daemon.slurm.nodes_now["gpu002"].flags

    daemon.post(alert(status="resolved"))
    typed("incident", "show", "1", "--follow")
    shown = typed("incident", "show", "1").stdout
    for words in ("alertmanager", f"by {ME}", "r1 approved", "closed"):
        assert words in shown
    row = typed("incident", "list", "--state", "closed").stdout.splitlines()[1]
    assert row.split()[:4] == ["i1", "NodeBroken", "critical", "closed"]


def test_modes_and_pages_are_the_daemons(daemon: Daemon, typed: Asking) -> None:
    assert "test-node-broken  auto" in typed("autopilot", "mode", "test-node-broken", "auto").stdout
    pages = {page["id"]: page for page in json.loads(typed("runbook", "list", "--json").stdout)["runbooks"]}
    assert pages["test-node-broken"]["mode"] == "auto"
    assert "gpu-off-bus" in pages
    assert "<script>" in typed("runbook", "show", "test-node-broken").stdout
    typed("runbook", "show", "nonsense", code=2)
    daemon.post(alert())
    eventually(lambda: "DRAIN" in daemon.slurm.nodes_now["gpu002"].flags)
    assert "nodes held: 1 of 1 allowed" in typed("autopilot", "status").stdout
    assert typed("runbook", "runs").stdout.splitlines()[1].split()[:2] == ["r1", "test-node-broken"]


def test_a_person_plans_and_aborts_a_run_without_an_incident(daemon: Daemon, typed: Asking) -> None:
    missing = typed("runbook", "run", "test-node-broken", code=2)
    assert "node" in missing.stderr
    planned = json.loads(typed("runbook", "run", "test-node-broken", "--param", "node=gpu003", "--json").stdout)
    assert (planned["state"], planned["asked_by"], planned["incident"]) == ("proposed", ME, None)
    assert "aborted" in typed("runbook", "abort", f"r{planned['id']}").stdout
    assert not daemon.slurm.nodes_now["gpu003"].flags
    gone = typed("runbook", "approve", "1", "--digest", planned["digest"], code=1)
    assert "r1" in gone.stderr


def test_a_node_that_slurm_does_not_know_is_said(typed: Asking) -> None:
    assert "gpu099" in typed("drain", "gpu099", "--reason", "odd", code=2).stderr
    assert "gpu099" in typed("resume", "gpu099", code=2).stderr
