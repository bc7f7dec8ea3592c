"""What a terminal shows of a run: all hosts where they fit, else those to look at first."""

import io
import sys

import pytest
from rich.console import Console

from fleetward.commands._provision_view import live, looked_at_first, picture, watched
from fleetward.operations.playbook import TaskFailure
from fleetward.operations.provision_progress import HostProgress, HostState, PlayProgress


def host(name: str, state: HostState, task_seconds: float = 0, failed: int = 0, said: str = "") -> HostProgress:
    return HostProgress(name, state, "munge", "Write the key", 5, 2, failed, 65 + task_seconds, task_seconds, said)


def drawn(hosts: list[HostProgress], lines: int = 24, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=lines)
    console.print(picture(hosts, "munge : Write the key", 133, lines))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in printed.splitlines()]


def test_each_host_has_its_task_counts_and_time() -> None:
    lines = drawn([host("gpu001", HostState.WORKING, 3), host("gpu002", HostState.FAILED, 0, 1, "no space left")])
    assert lines[0] == "00:02:13  munge : Write the key"
    assert lines[1] == "2 hosts: 1 failed, 1 working"
    assert lines[2].split() == ["HOST", "STATE", "ROLE", "TASK", "OK", "CHANGED", "FAILED", "TIME"]
    assert lines[3].split() == ["gpu001", "working", "munge", "Write", "the", "key", "5", "2", "0", "00:01:08"]
    assert lines[4].split() == ["gpu002", "failed", "munge", "no", "space", "left", "5", "2", "1", "00:01:05"]
    assert len(lines) == 5


def test_of_2000_hosts_the_states_are_counted_and_those_that_fail_or_are_slowest_shown() -> None:
    hosts = [host(f"gpu{number:04}", HostState.WORKING, number % 1000 / 10) for number in range(1998)]
    hosts[500:500] = [host("bad1", HostState.FAILED, 0, 1, "x"), host("gone1", HostState.UNREACHABLE)]
    lines = drawn(hosts, lines=10)
    assert lines[1] == "2000 hosts: 1 failed, 1 unreachable, 1998 working"
    assert [line.split()[0] for line in lines[3:]] == ["bad1", "gone1", "gpu0999", "gpu0998", "gpu0997", "and"]
    assert lines[-1] == "and 1995 others"
    assert len(lines) < 10


def test_a_host_that_failed_and_is_at_another_task_stays_in_sight() -> None:
    hosts = [host("slow", HostState.WORKING, 99), host("mending", HostState.WORKING, 1, failed=1)]
    assert [one.name for one in looked_at_first(hosts, 1)] == ["mending"]


@pytest.mark.parametrize("lines", [1, 3, 24])
def test_a_small_terminal_and_words_for_a_terminal_do_no_harm(lines: int) -> None:
    hostile = HostProgress("\x1b[2J", HostState.FAILED, "[red]", "\r\n[/]", 0, 0, 1, 0, 0, "\x1b]0;x\x07[bold]")
    printed = "\n".join(drawn([hostile], lines=lines, width=160))
    assert "\x1b" not in printed
    assert "[bold]" in printed


def test_live_tells_failures_as_they_come_and_leaves_one_line() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=24, color_system=None)
    progress = PlayProgress()
    with live(progress, "site.yml", console) as told:
        task = {"host": "gpu001", "task": "Write"}
        failure = progress.see({"event": "runner_on_failed", "event_data": {**task, "res": {"msg": "no\x1b[2J"}}})
        assert failure is not None
        told.failure(failure)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "✗ failed: gpu001: Write: no\\x1b[2J" in printed
    assert "✗ site.yml  1 failed  00:00:00" in printed.splitlines()[-1]


def test_where_stdout_is_no_terminal_there_are_plain_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with watched(PlayProgress(), "site.yml") as told:
        told.task("munge : Write")
        told.failure(TaskFailure("gpu001", "Write", "no space\x1b[2J", unreachable=False))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line[10:] for line in printed.err.splitlines()] == [
        "site.yml",
        "  munge : Write",
        "  failed: gpu001: Write: no space\\x1b[2J",
    ]
