"""Where probes read from: the files below a root folder, and the programs that stand there."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fleetward.exporters.gpu.forks import die_with_parent
from fleetward.model.node_settings import KERNEL_LOG, GpuNumbers
from fleetward.node.results import ProbeError

PROGRAM_FOLDERS = ("usr/local/bin", "usr/bin", "usr/sbin", "bin", "sbin")
MOST_BYTES = 1 << 20
"""Of one file; what sysfs and procfs have is shorter."""


@dataclass(frozen=True)
class Surroundings:
    """A node as its files show it; another root than `/` is for tests and for a node's copied files."""

    root: Path = Path("/")
    kernel_log: Path = KERNEL_LOG
    """Below the root."""
    slurm_gpu_numbers: GpuNumbers = GpuNumbers.MINOR

    @property
    def is_this_machine(self) -> bool:
        """Return whether this is the machine that the program runs on."""
        return self.root == Path("/")

    def path(self, name: str) -> Path:
        """Return where a file of the node stands; `name` with or without the leading slash."""
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str | None:
        """Return what a file says, without the white space around it; None where it cannot be read."""
        try:
            with self.path(name).open("rb") as file:
                return file.read(MOST_BYTES).decode("utf-8", "replace").strip()
        except OSError:
            return None

    def needed(self, name: str) -> str:
        """Return what a file says; raises ProbeError where it cannot be read."""
        found = self.text(name)
        if found is None:
            raise ProbeError(f"/{name.lstrip('/')} cannot be read: it is not there, or this user may not")
        return found

    def number(self, name: str) -> int | None:
        """Return the number in a file, decimal or after 0x; None where there is none."""
        try:
            return int(self.text(name) or "", 0)
        except ValueError:
            return None

    def names(self, folder: str) -> list[str]:
        """Return what stands in a folder, in order; empty where there is none."""
        try:
            return sorted(entry.name for entry in self.path(folder).iterdir())
        except OSError:
            return []

    def run(self, arguments: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None) -> str:
        """Return what a program of the node prints; ProbeError where it is not there, fails or takes too long.

        The program is killed when this process is gone.
        """
        name = arguments[0]
        found = shutil.which(name, path=os.pathsep.join(str(self.root / folder) for folder in PROGRAM_FOLDERS))
        if found is None:
            raise ProbeError(f"{name} is not installed")
        try:
            done = subprocess.run(
                [found, *arguments[1:]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", **(environment or {})},
                preexec_fn=partial(die_with_parent, os.getpid()),
            )
        except subprocess.TimeoutExpired as error:
            raise ProbeError(f"{name} gave no answer within {seconds:.3g} s") from error
        except OSError as error:
            raise ProbeError(f"{name} cannot be run: {error}") from error
        if done.returncode:
            words = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
            raise ProbeError(f"{name} failed with {done.returncode}: {words[0] if words else 'it says nothing'}")
        return done.stdout.decode("utf-8", "replace")
