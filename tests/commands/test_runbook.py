"""`fleetward runbook` against a daemon that plays the contract, and on pages in files."""

import dataclasses
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from played_daemon import DIGEST, PlayedDaemon, run

from fleetward.commands._follow import _added
from fleetward.model.runs import RunState, Step, StepState

Asking = Callable[..., subprocess.CompletedProcess[str]]

GOOD_PAGE = """\
---
id: smells-odd
title: A node smells odd
alerts: []
severity: warning
params: {node: {from: labels.node}}
blast: node
mode: observe
---
## Meaning
Something burns.
## Impact
Soon none.
## Diagnosis
Go there.
## Mitigation
```step drain
slurm.drain: "{{ node }}"
why: "it smells"
```
## Verification
Sniff.
## Escalation
The fire brigade.
## History
None.
"""


def test_list_shows_pages_with_their_modes(asking: Asking) -> None:
    lines = asking("runbook", "list").stdout.splitlines()
    assert lines[0].split() == ["RUNBOOK", "SEVERITY", "MODE", "STEPS", "ALERTS", "TITLE"]
    assert lines[1].split()[:5] == ["gpu-off-bus", "critical", "propose", "3", "GpuOffBus"]
    found = json.loads(asking("runbook", "list", "--json").stdout)["runbooks"]
    assert found[0]["steps"][1] == {"name": "drain", "section": "Mitigation", "action": "slurm.drain"}


def test_show_prints_the_page_and_nothing_that_draws(asking: Asking, daemon: PlayedDaemon) -> None:
    daemon.pages = [dataclasses.replace(daemon.pages[0], text="## Meaning\nred \x1b[31m\n")]
    assert asking("runbook", "show", "gpu-off-bus").stdout == "## Meaning\nred \\x1b[31m\n"
    unknown = asking("runbook", "show", "nonsense")
    assert (unknown.returncode, unknown.stderr) == (2, "fleetward: there is no page nonsense\n")


def test_without_a_daemon_pages_come_from_their_files(fleetward: Asking, tmp_path: Path) -> None:
    (tmp_path / "smells-odd.md").write_text(GOOD_PAGE)
    variables = {"FLEETWARD_DAEMON_SOCKET": str(tmp_path / "no"), "FLEETWARD_RUNBOOKS_FOLDERS": str(tmp_path)}
    listed = fleetward("runbook", "list", "--json", **variables)
    assert listed.returncode == 0, listed.stderr
    assert "as they lie in files" in listed.stderr
    pages = {page["id"]: page for page in json.loads(listed.stdout)["runbooks"]}
    assert pages["smells-odd"]["mode"] == "observe"
    assert pages["smells-odd"]["params"] == ["node"]
    assert "gpu-off-bus" in pages
    assert fleetward("runbook", "show", "smells-odd", **variables).stdout == GOOD_PAGE


def test_lint_finds_nothing_on_the_pages_that_are_shipped(fleetward: Asking) -> None:
    done = fleetward("runbook", "lint")
    assert (done.returncode, done.stdout) == (0, "")
    assert "pages, 0 findings" in done.stderr


def test_lint_names_file_line_and_problem(fleetward: Asking, tmp_path: Path) -> None:
    page = tmp_path / "smells-odd.md"
    page.write_text(GOOD_PAGE)
    assert fleetward("runbook", "lint", str(page)).returncode == 0
    page.write_text(GOOD_PAGE.replace("slurm.drain", "slurm.drown"))
    done = fleetward("runbook", "lint", str(page))
    assert done.returncode == 5
    assert done.stdout.startswith(f"{page}:18: step drain: slurm.drown is no action")
    found = json.loads(fleetward("runbook", "lint", str(page), "--json").stdout)
    assert (found["pages"], found["findings"][0]["line"]) == (1, 18)
    assert fleetward("runbook", "lint", str(tmp_path / "none.md")).returncode == 2


def test_run_plans_and_does_not_begin(asking: Asking, daemon: PlayedDaemon) -> None:
    done = asking("runbook", "run", "gpu-off-bus", "--param", "node=gpu002", "--param", "why=a=b", "--incident", "i12")
    assert done.returncode == 0, done.stderr
    body = {"runbook": "gpu-off-bus", "params": {"node": "gpu002", "why": "a=b"}, "incident": 12}
    assert daemon.posted() == [("/v1/runs", body)]
    assert "slurm.drain gpu002 why='GPU 3 off the bus'" in done.stdout
    assert f"digest       {DIGEST[:12]}\n" in done.stdout
    assert "`fleetward runbook approve r7`" in done.stderr
    wrong = asking("runbook", "run", "gpu-off-bus", "--param", "node")
    assert wrong.returncode == 2
    assert "NAME=VALUE" in wrong.stderr


def test_approve_needs_a_terminal_or_the_digest_that_was_looked_at(asking: Asking, daemon: PlayedDaemon) -> None:
    for arguments, words in {
        (): "no terminal to ask on",
        ("--digest", "5f5f"): "at least 8 characters",
        ("--digest", "00000000"): f"is {DIGEST[:12]}, not 00000000",
    }.items():
        done = asking("runbook", "approve", "7", *arguments)
        assert done.returncode == 2
        assert words in done.stderr
    assert daemon.posted() == []
    assert asking("runbook", "approve", "r7", "--digest", DIGEST[:8], "--json").returncode == 0
    assert daemon.posted() == [("/v1/runs/7/approve", {"digest": DIGEST})]


@pytest.mark.parametrize(("key", "posts"), [("y", 1), ("n", 0)])
def test_on_a_terminal_the_plan_is_shown_and_asked_about(
    daemon: PlayedDaemon, tmp_path: Path, key: str, posts: int
) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"FLEETWARD_DAEMON_SOCKET": str(daemon.socket)}
    with subprocess.Popen(
        [sys.executable, "-m", "fleetward", "runbook", "approve", "r7"],
        stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment,
    ) as process:  # fmt: skip
        os.close(theirs)
        os.write(ours, f"{key}\n".encode())
        _, said = process.communicate(timeout=60)
        os.close(ours)
    assert "slurm.drain gpu002" in said
    assert "Approve r7? [y/N]" in said
    assert process.returncode == (0 if posts else 130)
    assert [path for path, _ in daemon.posted()] == ["/v1/runs/7/approve"] * posts


def test_wait_tells_each_change_once_with_the_output_as_it_grows(asking: Asking, daemon: PlayedDaemon) -> None:
    def look(text: str, state: StepState) -> object:
        going = run(RunState.RUNNING, state)
        return dataclasses.replace(going, steps=(dataclasses.replace(going.steps[0], output=text), *going.steps[1:]))

    daemon.looks_at_run = [
        run(),
        look("", StepState.RESERVED),
        look("NVRM: Xid\n\x1b[2Jhalf", StepState.RESERVED),
        look("NVRM: Xid\n\x1b[2Jhalf a line\n", StepState.DONE),
        run(RunState.DONE, *[StepState.DONE] * 3),
    ]  # type: ignore[list-item]
    done = asking("runbook", "approve", "r7", "--digest", DIGEST, "--wait")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "r7 step 0 look: reserved",
        "r7 running",
        "  look | NVRM: Xid",
        "r7 step 0 look: done",
        "  look | \\x1b[2Jhalf a line",
        "r7 step 1 drain: done",
        "r7 step 2 sure: done",
        "r7 done",
    ]


@pytest.mark.parametrize(
    ("state", "code"), [(RunState.FAILED, 1), (RunState.ABORTED, 1), (RunState.STOPPED, 5), (RunState.DONE, 0)]
)
def test_wait_ends_with_what_became_of_the_run(
    asking: Asking, daemon: PlayedDaemon, state: RunState, code: int
) -> None:
    daemon.looks_at_run = [run(RunState.RUNNING), run(state, StepState.DONE, why="because")]
    done = asking("runbook", "status", "r7", "--follow", "--json")
    assert done.returncode == code
    assert json.loads(done.stdout)["state"] == state
    assert ("because" in done.stderr) == (code != 0)


def test_a_question_just_answered_is_not_asked_again(asking: Asking, daemon: PlayedDaemon) -> None:
    def at_question(outcome: dict[str, object]) -> object:
        waiting = run(RunState.WAITING, StepState.DONE, StepState.DONE, StepState.WAITING)
        step: Step = dataclasses.replace(waiting.steps[2], outcome=outcome)
        return dataclasses.replace(waiting, steps=(*waiting.steps[:2], step))

    answered = at_question({"approved_by": "ada"})
    daemon.looks_at_run = [at_question({}), answered, run(RunState.DONE, *[StepState.DONE] * 3)]  # type: ignore[list-item]
    assert asking("runbook", "approve", "7", "--digest", DIGEST, "--wait").returncode == 0
    daemon.looks_at_run = [at_question({})]  # type: ignore[list-item]
    asks = asking("runbook", "status", "7", "--follow")
    assert asks.returncode == 5
    assert "Was it repaired? `fleetward runbook approve r7`" in asks.stderr


def test_an_output_whose_beginning_was_cut_off_goes_on_where_it_was() -> None:
    lines = [f"line {number}\n" for number in range(100)]
    assert _added("".join(lines[:90]), "".join(lines[20:])) == "".join(lines[90:])
    assert _added("".join(lines[:50]), "".join(lines)) == "".join(lines[50:])
    assert _added("old\n", "nothing of it\n") == "nothing of it\n"


def test_a_run_that_is_only_written_down_says_how_to_get_one(asking: Asking, daemon: PlayedDaemon) -> None:
    daemon.looks_at_run = [run(RunState.PLANNED)]
    done = asking("runbook", "status", "r7", "--follow")
    assert done.returncode == 5
    assert "`fleetward runbook run gpu-off-bus --incident i12`" in done.stderr


def test_a_stopped_run_is_told_about_the_step_at_which_it_stopped(asking: Asking, daemon: PlayedDaemon) -> None:
    daemon.looks_at_run = [run(RunState.STOPPED, StepState.DONE, StepState.UNKNOWN, why="was it done?")]
    assert asking("runbook", "resume", "r7", "again").returncode == 0
    assert asking("runbook", "resume", "r7", "done", "--step", "2").returncode == 0
    assert asking("runbook", "resume", "r7", "perhaps").returncode == 2
    assert asking("runbook", "abort", "r7").returncode == 0
    assert daemon.posted() == [
        ("/v1/runs/7/decide", {"step": 1, "decision": "again"}),
        ("/v1/runs/7/decide", {"step": 2, "decision": "done"}),
        ("/v1/runs/7/abort", {}),
    ]


def test_runs_and_status_show_where_each_stands(asking: Asking, daemon: PlayedDaemon) -> None:
    stopped = run(RunState.STOPPED, StepState.DONE, StepState.UNKNOWN, why="was it done?")
    looked, unknown, last = stopped.steps
    looked = dataclasses.replace(looked, output="one\ntwo\n")
    steps = (looked, dataclasses.replace(unknown, why="killed in the middle"), last)
    daemon.looks_at_run = [dataclasses.replace(stopped, steps=steps)]
    row = asking("runbook", "runs", "--limit", "1").stdout.splitlines()[1]
    assert row.split()[:5] == ["r7", "gpu-off-bus", "i12", "stopped", "drain"]
    assert row.endswith("was it done?")
    assert daemon.asked[-1].query == {"limit": "1"}
    shown = asking("runbook", "status", "7").stdout
    assert "state        stopped: was it done?" in shown
    assert shown.endswith("look done\n  | one\n  | two\n\ndrain unknown: killed in the middle\n")
    assert json.loads(asking("runbook", "status", "7", "--json").stdout)["digest"] == DIGEST
