"""The command in a process of its own, on recorded answers or on programs that stand in for Slurm's."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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
