"""The commands against a whole daemon over its socket: an alert comes in, people type, the incident closes."""

import json
import pwd
import subprocess
from collections.abc import Callable
from os import getuid

from whole_daemon import Daemon, alert, eventually

Asking = Callable[..., subprocess.CompletedProcess[str]]
ME = pwd.getpwuid(getuid()).pw_name


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


def test_a_change_is_planned_approved_and_followed_to_its_end(daemon: Daemon, typed: Asking) -> None:
    daemon.slurm.change("gpu002", flags=("DRAIN",), reason="riser \x1b[2J", reason_by="ada")
    planned = typed("change", "plan", "test-change", "gpu[001-004]", "--at-once", "2", "--work", "10m")
    assert "fleetward: gpu002 is left out: it was taken out of service by ada: riser \\x1b[2J" in planned.stderr
    assert [line.split() for line in planned.stdout.splitlines()[-2:]] == [["1", "gpu[001,003]"], ["2", "gpu004"]]
    typed("change", "approve", "c1", code=2)
    typed("change", "approve", "c1", "--digest", "0" * 12, code=2)
    digest = json.loads(typed("change", "status", "c1", "--json").stdout)["change"]["digest"]
    assert daemon.player.played == []
    done = typed("change", "approve", "c1", "--digest", digest[:12], "--wait")
    assert "✓ gpu004 done" in done.stdout
    assert "state        done: 3 done" in done.stdout
    assert sorted(daemon.player.played) == ["gpu001", "gpu003", "gpu004"]
    assert [name for name, node in daemon.slurm.nodes_now.items() if "DRAIN" in node.flags] == ["gpu002"]
    assert typed("change", "list").stdout.splitlines()[1].split()[:5] == ["c1", "test-change", "done", "2/2", "3/3"]
    run = json.loads(typed("runbook", "status", "r1", "--json").stdout)
    assert (run["change"], run["asked_by"], run["approved_by"]) == (1, ME, ME)


def test_a_change_that_stops_is_carried_on_once_more_and_what_it_holds_is_given_back(
    daemon: Daemon, typed: Asking
) -> None:
    daemon.player.fails |= {"gpu001": "gpu001: broken", "gpu002": "gpu002: broken"}
    digest = json.loads(typed("change", "plan", "test-change", "gpu[001-003]", "--json").stdout)["change"]["digest"]
    stopped = typed("change", "approve", "c1", "--digest", digest, "--wait", code=5)
    assert "✗ gpu001 failed (r1): step play: gpu001: broken" in stopped.stdout
    assert "c1 is stopped: 1 nodes are in trouble (gpu001)" in stopped.stderr
    assert "--budget 1" in typed("change", "resume", "c1", code=1).stderr
    typed("change", "resume", "c1", "--budget", "2")
    ended = typed("change", "status", "c1", "--follow", code=1)
    assert ended.stderr == "fleetward: c1 is done: gpu[001-002] failed\n"
    assert "has no node" in typed("change", "give-back", "c1", "gpu009", "--why", "x", code=2).stderr
    typed("change", "give-back", "c1", "gpu001", "--why", " ", code=2)
    shown = typed("change", "give-back", "c1", "gpu001", "--why", "by hand").stdout
    assert "given back" in shown
    assert f"{ME}: gpu001 given back: by hand" in shown
    assert [name for name, node in daemon.slurm.nodes_now.items() if "DRAIN" in node.flags] == ["gpu002"]
    assert "cannot be aborted" in typed("change", "abort", "c1", code=1).stderr


def test_a_node_that_slurm_does_not_know_is_said(typed: Asking) -> None:
    assert "gpu099" in typed("drain", "gpu099", "--reason", "odd", code=2).stderr
    assert "gpu099" in typed("resume", "gpu099", code=2).stderr
