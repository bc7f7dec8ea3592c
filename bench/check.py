"""How long all checks of a node take, with 8 healthy GPUs that the stand-in for NVML plays."""

import subprocess
import sys
import tempfile
from pathlib import Path

from bench.exporter import played_nvml
from bench.figures import Figure, median_seconds

TIMES = 21
FINDINGS = 5
"""Exit code where this machine itself is not in order, as without a time daemon."""


def measure() -> list[Figure]:
    """Run `fleetward check --json` again and again, each time as a person would."""
    command = [str(Path(sys.executable).with_name("fleetward")), "check", "--json"]
    with tempfile.TemporaryDirectory(prefix="fleetward-bench-") as folder:
        environment = played_nvml(Path(folder))

        def run() -> None:
            done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
            if done.returncode not in {0, FINDINGS}:
                raise subprocess.CalledProcessError(done.returncode, command)

        return [Figure("fleetward check, all checks of a node with 8 GPUs, p50", median_seconds(run, times=TIMES), 0.5)]
