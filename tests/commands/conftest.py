"""The command in a process of its own, on recorded answers, stand-ins for Slurm's programs, or a played daemon."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from in_process import run_command
from played_daemon import PlayedDaemon, Served

RECORDINGS = Path(__file__).parent.parent / "slurm" / "recordings"

Fleetward = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=["slurm-24.11", "slurm-26.05"])
def recording(request: pytest.FixtureRequest) -> Path:
    """Return a folder with what one release of Slurm answered."""
    return RECORDINGS / str(request.param)


@pytest.fixture
def fleetward(tmp_path: Path) -> Fleetward:
    """Return a way to run the command; keywords become environment variables."""

    def run(*arguments: str, folder: Path = tmp_path, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("FLEETWARD_")}
        return subprocess.run(
            [sys.executable, "-m", "fleetward", *arguments],
            cwd=folder,
            env=kept | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str, str], Path]:
    """Return a maker of programs: name and shell text in, the folder for PATH out."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(name: str, text: str) -> Path:
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
        return folder

    return make


@pytest.fixture
def daemon() -> Iterator[PlayedDaemon]:
    """Return a daemon that listens; what it holds may be changed at any time."""
    with tempfile.TemporaryDirectory() as folder:  # a socket's path has room for 107 characters only
        played = PlayedDaemon(socket=Path(folder) / "daemon.sock")
        with Served(played, played.socket):
            yield played


@pytest.fixture
def asking(daemon: PlayedDaemon, tmp_path: Path) -> Fleetward:
    """Return a way to run the command against that daemon."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return run_command(tmp_path, *arguments, **{"FLEETWARD_DAEMON_SOCKET": str(daemon.socket)} | variables)

    return run
