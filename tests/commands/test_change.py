"""`fleetward change` against a daemon that plays the contract."""

import dataclasses
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from played_daemon import DIGEST, ME, NOON, PlayedDaemon, change_view

from fleetward.model.changes import ChangeNode, ChangeState, Forecast, LeftOut, NodeState
from fleetward.model.errors import ConflictError, RefusedError

Asking = Callable[..., subprocess.CompletedProcess[str]]

HOSTILE = "\x1b[2J\x1b]0;owned\x07\nmine\u202e"
HARMLESS = "\\x1b[2J\\x1b]0;owned\\x07\\nmine\\u202e"


def node(number: int, state: NodeState = NodeState.WAITING, why: str = "", run: int | None = None) -> ChangeNode:
    """Return a node of one of two batches; one that had its turn has a run of its own."""
    had_turn = state not in {NodeState.WAITING, NodeState.LEFT_OUT}
    made = ChangeNode(f"gpu{number:03}", (number + 1) // 2, state, run or (70 + number if had_turn else None), why)
    return dataclasses.replace(made, began_at=NOON if had_turn else None, ended_at=NOON if state.ended else None)


def all_of(state: NodeState) -> tuple[ChangeNode, ...]:
    return tuple(node(number, state) for number in range(1, 5))


class TestPlan:
    def test_prints_batches_and_forecast_and_begins_nothing(self, asking: Asking, daemon: PlayedDaemon) -> None:
        done = asking(
            "change", "plan", "change-site", "gpu[001-004]", "--at-once", "2", "--budget", "1",
            "--param", "patience=2h", "--param", "why=a=b", "--work", "30m",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        body = {
            "page": "change-site",
            "nodes": "gpu[001-004]",
            "at_once": 2,
            "budget": 1,
            "params": {"patience": "2h", "why": "a=b"},
            "work_seconds": 1800,
        }
        assert daemon.posted() == [("/v1/changes", body)]
        lines = done.stdout.splitlines()
        assert lines[0] == "c3  Bring a node to what the inventory declares (change-site)"
        assert [line.split() for line in lines[-3:]] == [
            ["BATCH", "NODES"],
            ["1", "gpu[001-002]"],
            ["2", "gpu[003-004]"],
        ]
        shown = " ".join(done.stdout.split())
        assert "forecast 01:30:00 at the latest, 12.2 GPU-hours lost, at 00:15:00 of work a node" in shown
        assert f"digest {DIGEST[:12]} BATCH" in shown
        assert "approved by nobody yet" in shown
        assert "`fleetward change approve c3`" in done.stderr

    def test_notes_each_node_that_is_left_out_with_the_reason(self, asking: Asking, daemon: PlayedDaemon) -> None:
        daemon.changes.left_out = (
            LeftOut("gpu005", "was taken out of service by ada: riser"),
            LeftOut("gpu006", f"was taken out of service: {HOSTILE}"),
        )
        done = asking("change", "plan", "change-site", "gpu[001-006]")
        said = done.stderr.splitlines()
        assert said[0] == "fleetward: gpu005 is left out: it was taken out of service by ada: riser"
        assert said[1] == "fleetward: gpu006 is left out: it was taken out of service: \\x1b[2J\\x1b]0;owned\\x07"
        assert "\x1b" not in done.stderr

    def test_as_json_is_the_plan_with_what_is_left_out(self, asking: Asking, daemon: PlayedDaemon) -> None:
        daemon.changes.left_out = (LeftOut("gpu005", "is held by i12: off the bus"),)
        done = asking("change", "plan", "change-site", "gpu[001-005]", "--json")
        found = json.loads(done.stdout)
        assert found["left_out"] == [{"name": "gpu005", "why": "is held by i12: off the bus"}]
        assert (found["change"]["id"], found["change"]["made_by"], found["change"]["digest"]) == (3, ME, DIGEST)
        assert found["change"]["nodes"][0] == {
            "name": "gpu001",
            "batch": 1,
            "state": "waiting",
            "run": None,
            "why": "",
            "began_at": None,
            "ended_at": None,
        }
        assert found["change"]["forecast"] == {
            "seconds": 5400.0,
            "lost_gpu_hours": 12.25,
            "work_seconds": 900.0,
            "endless": [],
        }
        assert done.stderr == ""

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--param", "patience"], "NAME=VALUE"),
            (["--work", "soon"], "'soon' is no length of time"),
            (["--at-once", "0"], "--at-once"),
            (["--budget", "-1"], "--budget"),
        ],
    )
    def test_what_cannot_be_meant_is_not_asked(
        self, asking: Asking, daemon: PlayedDaemon, arguments: list[str], words: str
    ) -> None:
        done = asking("change", "plan", "change-site", "gpu001", *arguments)
        assert (done.returncode, words in done.stderr) == (2, True)
        assert daemon.asked == []

    def test_a_plan_that_nobody_can_end_says_why(self, asking: Asking, daemon: PlayedDaemon) -> None:
        forecast = Forecast(None, 3.0, 900.0, ("gpu001", "gpu002", "gpu003"))
        daemon.changes.looks = [change_view(forecast=forecast)]
        shown = asking("change", "status", "c3").stdout
        assert "no end can be told: jobs without a time limit on gpu[001-003]; 3.0 GPU-hours lost beside" in shown


class TestApprove:
    def test_needs_a_terminal_or_the_digest_that_was_looked_at(self, asking: Asking, daemon: PlayedDaemon) -> None:
        for arguments, words in {
            (): "no terminal to ask on",
            ("--digest", "5f5f"): "at least 8 characters",
            ("--digest", ""): "at least 8 characters",
            ("--digest", "00000000"): f"is {DIGEST[:12]}, not 00000000",
            ("--digest", DIGEST + "5f"): f"is {DIGEST[:12]}, not {DIGEST}5f",
        }.items():
            done = asking("change", "approve", "c3", *arguments)
            assert done.returncode == 2, arguments
            assert words in done.stderr
            assert "`fleetward change status c3` shows it" in done.stderr
        assert daemon.posted() == []
        assert asking("change", "approve", "3", "--digest", DIGEST[:8]).returncode == 0
        assert daemon.posted() == [("/v1/changes/3/approve", {"digest": DIGEST})]

    @pytest.mark.parametrize(("key", "posts"), [("y", 1), ("n", 0)])
    def test_on_a_terminal_the_plan_is_shown_and_asked_about(
        self, daemon: PlayedDaemon, tmp_path: Path, key: str, posts: int
    ) -> None:
        ours, theirs = pty.openpty()
        environment = os.environ | {"FLEETWARD_DAEMON_SOCKET": str(daemon.socket)}
        with subprocess.Popen(
            [sys.executable, "-m", "fleetward", "change", "approve", "c3"],
            stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment,
        ) as process:  # fmt: skip
            os.close(theirs)
            os.write(ours, f"{key}\n".encode())
            _, said = process.communicate(timeout=60)
            os.close(ours)
        assert "gpu[001-002]" in said
        assert "01:30:00 at the latest" in said
        assert "Approve c3? [y/N]" in said
        assert process.returncode == (0 if posts else 130)
        assert [path for path, _ in daemon.posted()] == ["/v1/changes/3/approve"] * posts

    def test_and_wait_tells_each_thing_once(self, asking: Asking, daemon: PlayedDaemon) -> None:
        running, under_way = ChangeState.RUNNING, NodeState.UNDER_WAY
        waits = "step empty: job 7 still runs on gpu001"
        daemon.changes.looks = [
            change_view(),
            change_view(running, history=["approved"]),
            change_view(running, node(1, under_way), node(2, under_way), node(3), history=["approved"]),
            change_view(running, node(1, under_way, waits), node(2, NodeState.DONE), node(3), history=["approved"]),
            change_view(
                running,
                node(1, NodeState.FAILED, "step play: it broke"),
                node(2, NodeState.DONE),
                node(3, NodeState.LEFT_OUT, "was taken out of service by ada: riser"),
                history=["approved", "gpu003 left out: riser"],
            ),
            change_view(
                ChangeState.DONE,
                node(1, NodeState.FAILED, "step play: it broke"),
                node(2, NodeState.DONE),
                node(3, NodeState.LEFT_OUT, "was taken out of service by ada: riser"),
                why="1 done, 1 failed, 1 left out",
                ended_at=NOON,
                history=["approved", "gpu003 left out: riser", "done: 1 done, 1 failed, 1 left out"],
            ),
        ]
        done = asking("change", "approve", "c3", "--digest", DIGEST, "--wait")
        told, _, overview = done.stdout.partition("\nc3  ")
        at = NOON.astimezone().strftime("%H:%M:%S")
        assert told.splitlines() == [
            f"{at} fleetward: planned for 4 nodes",
            f"{at} fleetward: approved",
            "  ▶ gpu001 under way (r71)",
            "  ▶ gpu002 under way (r72)",
            "  ✓ gpu002 done (r72)",
            f"{at} fleetward: gpu003 left out: riser",
            "  ✗ gpu001 failed (r71): step play: it broke",
            "  - gpu003 left out: was taken out of service by ada: riser",
            f"{at} fleetward: done: 1 done, 1 failed, 1 left out",
        ]
        assert "state        done: 1 done, 1 failed, 1 left out" in overview
        assert "planned for" not in overview
        assert (done.returncode, done.stderr) == (1, "fleetward: c3 is done: gpu001 failed\n")


class TestFollow:
    @pytest.mark.parametrize(
        ("state", "nodes", "code", "words"),
        [
            (ChangeState.DONE, all_of(NodeState.DONE), 0, ""),
            (ChangeState.DONE, (node(1, NodeState.DONE), node(2, NodeState.LEFT_OUT)), 0, ""),
            (ChangeState.DONE, (node(1, NodeState.GIVEN_BACK), node(2, NodeState.DONE)), 0, ""),
            (ChangeState.DONE, (node(1, NodeState.FAILED), node(2, NodeState.FAILED)), 1, "gpu[001-002] failed"),
            (ChangeState.ABORTED, all_of(NodeState.GIVEN_BACK), 1, "c3 is aborted\n"),
            (ChangeState.ABORTED, (node(1, NodeState.FAILED),), 1, "c3 is aborted: gpu001 failed\n"),
            (
                ChangeState.STOPPED,
                (node(1, NodeState.FAILED), node(2)),
                5,
                "stopped: because; `fleetward change resume",
            ),
            (
                ChangeState.PAUSED,
                (node(1, NodeState.DONE), node(2)),
                5,
                "paused: because; `fleetward change resume c3`",
            ),
            (ChangeState.PLANNED, (node(1),), 5, "c3 waits for an approval: `fleetward change approve c3`"),
            (
                ChangeState.RUNNING,
                (node(1, NodeState.ASKS, "was it done?"), node(2, NodeState.DONE)),
                5,
                "gpu001 asks: was it done?; `fleetward runbook status r71`",
            ),
            (
                ChangeState.RUNNING,
                (node(1, NodeState.FAILED), node(2, NodeState.ASKS), node(3, NodeState.ASKS)),
                5,
                "gpu002 asks (and 2 more in trouble)",
            ),
        ],
    )
    def test_ends_with_what_became_of_it(
        self,
        asking: Asking,
        daemon: PlayedDaemon,
        state: ChangeState,
        nodes: tuple[ChangeNode, ...],
        code: int,
        words: str,
    ) -> None:
        """Each is the last look; a command that went on looking would never end."""
        daemon.changes.looks = [change_view(ChangeState.RUNNING), change_view(state, *nodes, why="because")]
        done = asking("change", "status", "c3", "--follow", "--json")
        assert done.returncode == code, done.stderr
        assert words in done.stderr
        assert json.loads(done.stdout)["change"]["state"] == state

    @pytest.mark.parametrize("state", [ChangeState.STOPPED, ChangeState.PAUSED, ChangeState.ABORTED])
    def test_waits_for_what_is_still_under_way(self, asking: Asking, daemon: PlayedDaemon, state: ChangeState) -> None:
        going = change_view(state, node(1, NodeState.UNDER_WAY), node(2, NodeState.FAILED))
        daemon.changes.looks = [going, going, change_view(state, node(1, NodeState.DONE), node(2, NodeState.FAILED))]
        assert "  ✓ gpu001 done (r71)" in asking("change", "status", "c3", "--follow").stdout.splitlines()

    def test_does_not_take_a_question_for_the_end_while_others_go_on(
        self, asking: Asking, daemon: PlayedDaemon
    ) -> None:
        asks = node(1, NodeState.ASKS, "was it done?")
        daemon.changes.looks = [
            change_view(ChangeState.RUNNING, asks, node(2, NodeState.UNDER_WAY)),
            change_view(ChangeState.RUNNING, asks, node(2, NodeState.DONE), node(3)),
            change_view(ChangeState.RUNNING, node(1, NodeState.DONE), node(2, NodeState.DONE), node(3, NodeState.DONE)),
            change_view(ChangeState.DONE, node(1, NodeState.DONE), node(2, NodeState.DONE), node(3, NodeState.DONE)),
        ]
        assert asking("change", "status", "c3", "--follow").returncode == 0

    def test_an_aborted_change_is_followed_until_its_last_node_has_its_end(
        self, asking: Asking, daemon: PlayedDaemon
    ) -> None:
        asks = change_view(ChangeState.ABORTED, node(1, NodeState.ASKS))
        daemon.changes.looks = [asks, asks, change_view(ChangeState.ABORTED, node(1, NodeState.GIVEN_BACK))]
        assert "gpu001 given back" in asking("change", "status", "c3", "--follow").stdout


class TestShow:
    def test_status_shows_each_node_and_what_was_said(self, asking: Asking, daemon: PlayedDaemon) -> None:
        nodes = (node(1, NodeState.FAILED, "step play: it broke"), node(2, NodeState.UNDER_WAY), node(3))
        daemon.changes.looks = [
            change_view(
                ChangeState.STOPPED, *nodes, why="too many", approved_by="bob", approved_at=NOON, history=["stopped"]
            )
        ]
        done = asking("change", "status", "3")
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert "  state        stopped: too many" in lines
        assert any(line.startswith("  approved by  bob at 2026-11-21") for line in lines)
        table = [line.split() for line in lines[lines.index("") :] if line.startswith(("BATCH", "1", "2 "))]
        assert table[0] == ["BATCH", "NODE", "STATE", "RUN", "BEGAN", "ENDED", "WHY"]
        assert table[1][:5] == ["1", "gpu001", "✗", "failed", "r71"]
        assert table[1][-4:] == ["step", "play:", "it", "broke"]
        assert table[2][:6] == ["1", "gpu002", "▶", "under", "way", "r72"]
        assert table[3] == ["2", "gpu003", "·", "waiting", "-", "-", "-", "-"]
        assert lines[-1].endswith("fleetward: stopped")

    def test_status_as_json_is_what_the_daemon_serves(self, asking: Asking, daemon: PlayedDaemon) -> None:
        found = json.loads(asking("change", "status", "c3", "--json").stdout)
        assert set(found) == {"change", "history"}
        assert found["change"]["made_at"] == NOON.isoformat()
        assert found["history"] == [{"at": NOON.isoformat(), "who": "fleetward", "text": "planned for 4 nodes"}]

    def test_list_shows_how_far_each_is(self, asking: Asking, daemon: PlayedDaemon) -> None:
        nodes = (node(1, NodeState.DONE), node(2, NodeState.FAILED), node(3))
        daemon.changes.looks = [
            change_view(ChangeState.STOPPED, *nodes, why="too many", approved_by="bob"),
            change_view(ChangeState.DONE, *all_of(NodeState.DONE)),
        ]
        done = asking("change", "list", "--limit", "2")
        lines = done.stdout.splitlines()
        assert lines[0].split() == [
            "CHANGE",
            "PAGE",
            "STATE",
            "BATCH",
            "NODES",
            "PLANNED",
            "BY",
            "APPROVED",
            "BY",
            "WHY",
        ]
        assert lines[1].split()[:5] == ["c3", "change-site", "stopped", "2/2", "2/3"]
        assert lines[1].split()[-4:] == ["ada", "bob", "too", "many"]
        assert lines[2].split()[2:5] == ["done", "2/2", "4/4"]
        assert daemon.asked[-1].query == {"limit": "2"}
        found = json.loads(asking("change", "list", "--json").stdout)["changes"]
        assert [one["state"] for one in found] == ["stopped", "done"]

    def test_terminal_escapes_of_others_are_shown_and_not_obeyed(self, asking: Asking, daemon: PlayedDaemon) -> None:
        nodes = (node(1, NodeState.FAILED, HOSTILE), dataclasses.replace(node(2, NodeState.DONE), name=f"gpu{HOSTILE}"))
        daemon.changes.looks = [
            change_view(
                ChangeState.STOPPED,
                *nodes,
                why=HOSTILE,
                title=HOSTILE,
                page=HOSTILE,
                made_by=HOSTILE,
                approved_by=HOSTILE,
                approved_at=NOON,
                params={HOSTILE: HOSTILE},
                history=[HOSTILE],
            )
        ]
        for arguments in (("status", "c3"), ("status", "c3", "--follow"), ("list",), ("pause", "c3")):
            done = asking("change", *arguments)
            assert not {"\x1b", "\x07", "\u202e"} & {*done.stdout, *done.stderr}, arguments
            assert HARMLESS in done.stdout
        planned = change_view(nodes=nodes, title=HOSTILE)
        daemon.changes.looks = [planned]
        assert "\x1b" not in asking("change", "status", "c3").stdout


class TestSay:
    def test_each_word_goes_to_the_daemon_and_shows_how_it_stands_then(
        self, asking: Asking, daemon: PlayedDaemon
    ) -> None:
        daemon.changes.looks = [change_view(ChangeState.PAUSED, node(1, NodeState.FAILED), node(3))]
        for arguments in (
            ("pause", "c3"),
            ("resume", "c3"),
            ("resume", "3", "--budget", "5", "--retry"),
            ("give-back", "c3", "gpu001", "--why", "disk replaced"),
            ("abort", "c3"),
        ):
            done = asking("change", *arguments)
            assert done.returncode == 0, done.stderr
            assert "gpu001" in done.stdout
        assert daemon.posted() == [
            ("/v1/changes/3/pause", {}),
            ("/v1/changes/3/resume", {"budget": None, "retry": False}),
            ("/v1/changes/3/resume", {"budget": 5, "retry": True}),
            ("/v1/changes/3/give-back", {"node": "gpu001", "why": "disk replaced"}),
            ("/v1/changes/3/abort", {}),
        ]

    @pytest.mark.parametrize("word", [["pause"], ["resume"], ["abort"], ["give-back", "gpu001", "--why", "x"]])
    def test_as_json_it_shows_the_change(self, asking: Asking, word: list[str]) -> None:
        done = asking("change", word[0], "c3", *word[1:], "--json")
        assert (json.loads(done.stdout)["change"]["id"], done.stderr) == (3, "")

    def test_a_node_is_not_given_back_without_a_reason(self, asking: Asking, daemon: PlayedDaemon) -> None:
        done = asking("change", "give-back", "c3", "gpu001")
        assert (done.returncode, "--why" in done.stderr, daemon.asked) == (2, True, [])

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (ConflictError("c3 is done and cannot be paused."), 1),
            (RefusedError("not this one"), 4),
        ],
    )
    def test_a_refusal_ends_with_its_sentence_and_code(
        self, asking: Asking, daemon: PlayedDaemon, error: ConflictError | RefusedError, code: int
    ) -> None:
        daemon.refuses = error
        done = asking("change", "pause", "c3")
        assert (done.returncode, done.stdout, done.stderr) == (code, "", f"fleetward: {error}\n")

    @pytest.mark.parametrize("number", ["x3", "r3", "c", "", "-3", "3.0", "c" + "9" * 19, "٣"])
    def test_what_names_no_change_is_not_asked_for(self, asking: Asking, daemon: PlayedDaemon, number: str) -> None:
        for verb in ("status", "pause", "abort"):
            assert asking("change", verb, number).returncode == 2
        assert daemon.asked == []

    def test_one_that_is_not_there_is_said(self, asking: Asking) -> None:
        done = asking("change", "status", "c4")
        assert (done.returncode, done.stderr) == (2, "fleetward: there is no change c4\n")

    def test_a_daemon_out_of_reach_ends_with_3(self, asking: Asking, tmp_path: Path) -> None:
        gone = {"FLEETWARD_DAEMON_SOCKET": str(tmp_path / "no.sock")}
        for arguments in (
            ("list",),
            ("status", "c3"),
            ("plan", "change-site", "gpu001"),
            ("approve", "c3", "--digest", DIGEST),
            ("abort", "c3"),
        ):
            done = asking("change", *arguments, **gone)
            assert (done.returncode, done.stdout) == (3, ""), arguments
