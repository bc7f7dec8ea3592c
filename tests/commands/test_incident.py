"""`fleetward incident` against a daemon that plays the contract."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from played_daemon import ME, NOON, PlayedDaemon, Served, entry, incident, run

from fleetward.model.daemon_views import IncidentView
from fleetward.model.errors import RefusedError
from fleetward.model.incidents import IncidentState
from fleetward.model.runs import Run, RunState, StepState

Asking = Callable[..., subprocess.CompletedProcess[str]]

CLOSED = incident(state=IncidentState.CLOSED, closed_at=NOON, closed_by="fleetward", firing=0)
LOCAL_NOON = NOON.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def test_list_shows_those_that_are_not_closed(asking: Asking, daemon: PlayedDaemon) -> None:
    daemon.incidents_held = [
        incident(13, node="", gpu="", state=IncidentState.ACKNOWLEDGED, acknowledged_by="ada"),
        CLOSED,
    ]
    lines = asking("incident", "list").stdout.splitlines()
    assert lines[0].split() == [
        "INCIDENT", "ALERT", "SEVERITY", "STATE", "NODE", "GPU", "OPENED", "FIRING", "SUMMARY",
    ]  # fmt: skip
    assert len(lines) == 2
    assert lines[1].split()[:8] == ["i13", "GpuOffBus", "critical", "acknowledged", "by", "ada", "-", "-"]
    assert LOCAL_NOON in lines[1]


def test_list_in_json_is_what_the_daemon_has(asking: Asking, daemon: PlayedDaemon) -> None:
    daemon.incidents_held = [incident(), CLOSED]
    found = json.loads(asking("incident", "list", "--state", "closed", "--json").stdout)["incidents"]
    assert [one["state"] for one in found] == ["closed"]
    assert (found[0]["id"], found[0]["opened_at"], found[0]["labels"]) == (
        12,
        "2026-11-21T12:00:00+00:00",
        {"node": "gpu002", "gpu": "3"},
    )
    assert daemon.asked[-1].query == {"state": "closed"}


@pytest.mark.parametrize("name", ["12", "i12"])
def test_show_tells_timeline_and_run_with_what_each_step_does(asking: Asking, name: str) -> None:
    done = asking("incident", "show", name)
    assert done.returncode == 0, done.stderr
    assert "i12  GpuOffBus on gpu002 GPU 3  critical  open: GPU 3 of gpu002 fell off the bus" in done.stdout
    assert "alertmanager  GpuOffBus fires" in done.stdout
    assert "http://head:9720/runbooks/gpu-off-bus" in done.stdout
    assert "slurm.drain gpu002 why='GPU 3 off the bus'" in done.stdout
    assert done.stdout.endswith("r7 waits for an approval: `fleetward runbook approve r7`\n")


def test_a_timeline_of_several_days_has_its_dates(asking: Asking, daemon: PlayedDaemon) -> None:
    later = dataclasses.replace(entry(2, "still there"), at=NOON + timedelta(days=2))
    daemon.timeline = [entry(1, "fires"), later]
    shown = asking("incident", "show", "12").stdout
    for at in (NOON, later.at):
        assert at.astimezone().strftime("%Y-%m-%d %H:%M:%S  note") in shown


def test_show_without_a_number_is_the_newest_that_is_not_closed(asking: Asking, daemon: PlayedDaemon) -> None:
    daemon.incidents_held = [incident(9), incident(11), incident(14, state=IncidentState.CLOSED)]
    shown = json.loads(asking("incident", "show", "--json").stdout)
    assert (shown["incident"]["id"], [run["id"] for run in shown["runs"]]) == (11, [7])
    daemon.incidents_held = []
    none = asking("incident", "show")
    assert none.returncode == 2
    assert "--state all" in none.stderr


def test_what_comes_from_outside_cannot_draw_on_the_terminal(asking: Asking, daemon: PlayedDaemon) -> None:
    evil = "\x1b[2J\nr9 done\u202e"
    daemon.incidents_held = [incident(summary=evil, node=evil, alert_name=evil, gpu=evil)]
    daemon.timeline = [entry(1, evil, who=evil)]
    base = run(RunState.STOPPED, StepState.DONE, StepState.UNKNOWN, why=evil, title=evil, params={"node": evil})
    daemon.looks_at_run = [base]
    for command in (("list",), ("show", "12")):
        done = asking("incident", *command)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        assert "\u202e" not in done.stdout
        assert not [line for line in done.stdout.splitlines() if line.startswith("r9 done")]


def test_ack_and_close_tell_who_did_it(asking: Asking, daemon: PlayedDaemon) -> None:
    done = asking("incident", "ack", "i12", "--note", "on it")
    assert (done.returncode, done.stdout) == (0, f"i12 is acknowledged by {ME}\n")
    closed = json.loads(asking("incident", "close", "12", "--why", "replaced", "--json").stdout)
    assert (closed["state"], closed["closed_by"]) == ("closed", ME)
    assert daemon.posted() == [
        ("/v1/incidents/12/ack", {"note": "on it"}),
        ("/v1/incidents/12/close", {"why": "replaced"}),
    ]


def test_what_the_daemon_refuses_is_said_with_its_exit_code(asking: Asking, daemon: PlayedDaemon) -> None:
    daemon.refuses = RefusedError("its GPU is still lost\n\x1b[31m")
    done = asking("incident", "close", "12", "--why", "bored")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == "fleetward: its GPU is still lost\n\\x1b[31m\n"


@pytest.mark.parametrize("name", ["twelve", "r12", "-1", "1" * 30, "١٢"])
def test_a_wrong_number_is_a_usage_error(asking: Asking, daemon: PlayedDaemon, name: str) -> None:
    done = asking("incident", "ack", "--", name)
    assert done.returncode == 2
    assert "write 12 or i12" in done.stderr
    assert daemon.asked == []


def test_without_a_daemon_it_says_what_to_do(asking: Asking, tmp_path: Path) -> None:
    done = asking("incident", "list", "--socket", f"{tmp_path}/none.sock")
    assert (done.returncode, done.stdout) == (3, "")
    assert f"{tmp_path}/none.sock: there is no such socket" in done.stderr


def test_follow_tells_each_change_once_until_it_is_closed(asking: Asking, daemon: PlayedDaemon) -> None:
    fires, acts, ends = entry(1, "GpuOffBus fires"), entry(2, "drain begins"), entry(3, "closed: all is well", "close")

    def waits(why: str) -> Run:
        going = run(RunState.WAITING, StepState.DONE, StepState.WAITING, why=why)
        looked, waiting, last = going.steps
        steps = (dataclasses.replace(looked, output="NVRM: Xid\n"), dataclasses.replace(waiting, why=why), last)
        return dataclasses.replace(going, steps=steps)

    daemon.looks_at_incident = [
        IncidentView(incident(), (fires,), ()),
        IncidentView(incident(), (fires,), (run(RunState.RUNNING, StepState.DONE, StepState.RESERVED),)),
        IncidentView(incident(), (fires, acts), (waits("30 s to go"),)),
        IncidentView(incident(), (fires, acts), (waits("5 s to go"),)),
        IncidentView(incident(), (fires, acts), (waits("its GPU is lost"),)),
        IncidentView(CLOSED, (fires, acts, ends), (run(RunState.DONE, *[StepState.DONE] * 3),)),
    ]
    done = asking("incident", "show", "--follow", "12")
    assert done.returncode == 0, done.stderr
    assert [line.split("  ")[-1].strip() for line in done.stdout.splitlines()] == [
        "open: GPU 3 of gpu002 fell off the bus",
        "GpuOffBus fires",
        "drain begins",
        "look | NVRM: Xid",
        "r7 step 1 drain: waiting: 30 s to go",
        "r7 step 1 drain: waiting: its GPU is lost",
        "closed: all is well",
    ]


def test_follow_shows_a_run_that_waits_for_something_out_of_reach(asking: Asking, daemon: PlayedDaemon) -> None:
    away = run(RunState.WAITING, StepState.RESERVED, why="Slurm does not answer")
    daemon.looks_at_incident = [IncidentView(incident(), (), (away,)), IncidentView(CLOSED, (), (away,))]
    assert "r7 waiting: Slurm does not answer\n" in asking("incident", "show", "--follow", "12").stdout


@pytest.mark.parametrize(
    ("state", "code", "words"),
    [
        (RunState.STOPPED, 5, "`fleetward runbook resume r7 done`"),
        (RunState.PROPOSED, 5, "`fleetward runbook approve r7`"),
        (RunState.FAILED, 1, "r7 failed: the node is gone"),
    ],
)
def test_follow_ends_where_a_person_is_needed(
    asking: Asking, daemon: PlayedDaemon, state: RunState, code: int, words: str
) -> None:
    daemon.looks_at_run = [run(state, StepState.DONE, StepState.UNKNOWN, why="the node is gone")]
    done = asking("incident", "show", "12", "--follow", "--json")
    assert done.returncode == code
    assert json.loads(done.stdout)["runs"][0]["state"] == state
    assert words in done.stderr


def test_follow_outlasts_a_daemon_that_is_restarted(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        daemon = PlayedDaemon(socket=Path(folder) / "daemon.sock")
        daemon.looks_at_run = [run(RunState.RUNNING)]
        with Served(daemon, daemon.socket):
            following = subprocess.Popen(
                [sys.executable, "-m", "fleetward", "incident", "show", "i12", "--follow"],
                env=os.environ | {"FLEETWARD_DAEMON_SOCKET": str(daemon.socket)},
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert following.stdout is not None and following.stderr is not None
            assert "critical  open" in following.stdout.readline()
        daemon.socket.unlink(missing_ok=True)
        assert "waiting for it up to 60 s" in following.stderr.readline()
        daemon.incidents_held = [CLOSED]
        with Served(daemon, daemon.socket):
            _, said = following.communicate(timeout=60)
        assert (following.returncode, said) == (0, "fleetward: the daemon answers again\n")
