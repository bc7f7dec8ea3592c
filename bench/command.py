"""How quickly the command answers."""

import subprocess
import sys
from pathlib import Path

from bench.figures import Figure, median_seconds

TIMES = 21


def measure() -> list[Figure]:
    """Compare `fleetward --help` with an interpreter that does nothing."""
    fleetward = str(Path(sys.executable).with_name("fleetward"))
    nothing = median_seconds(lambda: _run(sys.executable, "-c", "pass"), times=TIMES)
    help_page = median_seconds(lambda: _run(fleetward, "--help"), times=TIMES)
    return [Figure("fleetward --help, in times of `python -c pass`", help_page / nothing, 4, "times")]


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
