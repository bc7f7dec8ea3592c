"""A node whose GPUs the stand-in for NVIDIA's library plays, without a container: its build, and what steers it."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import fleetward

SOURCES = Path(fleetward.__file__).parent / "lab" / "nvml"


def build(folder: Path, driver: str | None = None) -> Path:
    """Build the library in a folder, with warnings as errors, and return its path; `driver` is one to imitate."""
    built = folder / "libnvidia-ml.so.1"
    imitate = ["--driver", driver] if driver else []
    command = ["sh", SOURCES / "build.sh", *imitate, built, "-Werror"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the stand-in does not build (gcc and libc6-dev are needed):\n{done.stderr}"
    return built


@dataclass(frozen=True)
class PlayedNode:
    """The files by which one stand-in is steered, and the environment in which programs find it."""

    folder: Path
    library: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "LD_LIBRARY_PATH": str(self.library.parent),
            "FLEETWARD_NVML_DEFAULTS": str(self.folder / "defaults.conf"),
            "FLEETWARD_NVML_SCENARIO": str(self.folder / "scenario.conf"),
            "FLEETWARD_NVML_EVENTS": str(self.folder / "events"),
            "FLEETWARD_NVML_DEVICES": str(self.folder / "nvidia"),
            "FLEETWARD_NVML_TRACE": str(self.folder / "trace"),
        }

    def device(self, minor: int) -> Path:
        """Make the device file of a GPU."""
        path = self.folder / f"nvidia{minor}"
        path.touch()
        return path

    def play(self, text: str) -> None:
        """Put a scenario in place as the lab does: by atomic rename."""
        self._replace("scenario.conf", text)

    def play_defaults(self, text: str) -> None:
        """Say what the GPUs are, below what the scenario says of them."""
        self._replace("defaults.conf", text)

    def append_event(self, text: str) -> None:
        """Write to the event file as it stands."""
        with (self.folder / "events").open("a") as events:
            events.write(text)

    def calls(self) -> list[str]:
        """Return the functions that were called since the trace was last removed, in the order in which they ended."""
        return [line.split()[0] for line in (self.folder / "trace").read_text().splitlines()]

    def raise_xid(self, gpu: int, code: int) -> None:
        """Have a GPU report an XID."""
        self.append_event(f"xid {gpu} {code}\n")

    def _replace(self, name: str, text: str) -> None:
        unfinished = self.folder / f"{name}.new"
        unfinished.write_text(text)
        unfinished.replace(self.folder / name)
