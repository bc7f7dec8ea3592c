"""Programs that stand in for pyslurm's interpreter, and recordings of a real Slurm."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

RECORDINGS = Path(__file__).parent / "recordings"


@pytest.fixture(params=["slurm-24.11", "slurm-26.05"])
def recording(request: pytest.FixtureRequest) -> Path:
    """Return a folder with what one release of Slurm answered."""
    return RECORDINGS / str(request.param)


@pytest.fixture
def interpreter(tmp_path: Path) -> Callable[[str], Path]:
    """Return a maker of interpreters in which `import pyslurm` finds a module of the given text."""

    def make(module: str) -> Path:
        package = tmp_path / "fake" / "pyslurm"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(module)
        program = tmp_path / "python"
        start = (
            f"import runpy, sys; sys.path.insert(0, {str(package.parent)!r});"
            " runpy.run_path(sys.argv[1], run_name='__main__')"
        )
        # $1 is -I and $2 the worker's file.
        program.write_text(f'#!/bin/sh\nexec {sys.executable} "$1" -c "{start}" "$2"\n')
        program.chmod(0o755)
        return program

    return make
