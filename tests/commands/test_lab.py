"""`fleetward lab tui`: what it becomes, and where it refuses to."""

import os
import sys
from pathlib import Path

import click
import pytest

from fleetward.commands.lab import lab
from fleetward.lab import lifecycle
from fleetward.lab.engine import Engine
from fleetward.lab.host import HostFacts
from fleetward.lab.spec import LabSpec, LabState
from fleetward.model.errors import UsageError


class BecameError(Exception):
    """In place of becoming another program: its words."""


class Terminal:
    """Says that it is a terminal."""

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        return


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the shared /home of a lab `two` that is there as far as its state folder tells."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for name in ("COLORTERM", "NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_ANIMATIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    facts = HostFacts("podman", "runc", False, tmp_path, 1, 1)
    monkeypatch.setattr(lifecycle, "open_engine", lambda: Engine(facts))

    def become(program: str, words: list[str]) -> None:
        assert words[0] == program
        raise BecameError(words)

    monkeypatch.setattr(os, "execvp", become)
    state = LabState.of("two")
    state.write(LabSpec(name="two"), ready=True)
    state.home.mkdir(parents=True)
    return state.home


def typed(*words: str, terminal: bool = True) -> None:
    with pytest.MonkeyPatch.context() as patch:  # here, for pytest puts its own back before each test
        if terminal:
            patch.setattr(sys, "stdin", Terminal())
            patch.setattr(sys, "stdout", Terminal())
        lab.main([*words], standalone_mode=False)


def became(*words: str) -> list[str]:
    with pytest.raises(BecameError) as raised:
        typed(*words)
    return list(raised.value.args[0])


def test_the_screen_opens_on_the_head_as_the_jobs_user_in_its_folder(home: Path) -> None:
    (home / "researcher/digits").mkdir(parents=True)
    assert became("tui", "--name", "two", "--", "--read-only") == [
        *("podman", "exec", "--interactive", "--tty", "--env=TERM=xterm-256color"),
        *("--user", "researcher", "--workdir", "/home/researcher/digits", "fleetward-two-head"),
        *("fleetward", "tui", "--read-only"),
    ]


def test_without_the_job_it_opens_in_the_users_home(home: Path) -> None:
    (home / "researcher").mkdir()
    words = became("tui", "--name", "two")
    assert words[words.index("--workdir") + 1] == "/home/researcher"


def test_it_refuses_where_nothing_could_be_seen(home: Path) -> None:
    with pytest.raises(UsageError, match="`fleetward lab up --name two` provisions it"):
        typed("tui", "--name", "two")
    with pytest.raises(click.UsageError, match="there is no lab 'three'"):
        typed("tui", "--name", "three")
    with pytest.raises(click.UsageError, match="needs a terminal"):
        typed("tui", "--name", "two", terminal=False)


def test_a_shell_is_still_roots_in_the_root_folder(home: Path) -> None:
    assert not list(home.iterdir())
    words = became("shell", "--name", "two", "gpu001", "--", "id", "-u")
    assert words[words.index("--user") :] == ["--user", "root", "--workdir", "/", "fleetward-two-gpu001", "id", "-u"]
