"""Readings as they would be recorded, and a node whose GPUs the stand-in plays."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import fleetward
from fleetward.exporters.gpu.readings import (
    CallError,
    DriverVersions,
    GpuIdentity,
    GpuReading,
    GpuValues,
    Snapshot,
    Sweep,
    XidEvent,
)


def reading(index: int, *, lost: bool = False) -> GpuReading:
    identity = GpuIdentity(
        index, f"GPU-{index}", "NVIDIA H100 80GB HBM3", "42", f"0000:{index:02x}:00.0", index, "1", 18
    )
    if lost:
        return GpuReading(identity, None, failure="GPU is lost")
    values = GpuValues(
        utilization_ratio=0.9, power_watts=600.0, energy_joules=12.5, ecc_uncorrected=2.0, clock_event_reasons=0x48
    )
    return GpuReading(identity, values, process_ids=(100, 200))


@dataclass(frozen=True)
class Recorded:
    """Builds sweeps and snapshots."""

    def sweep(self, lost: frozenset[int] = frozenset(), count: int = 3) -> Sweep:
        gpus = tuple(reading(index, lost=index in lost) for index in range(count))
        errors = tuple(CallError("DeviceGetHandleByIndex", 15) for _ in lost)
        return Sweep(gpus, DriverVersions("570.133.20", "12.570.133.20", "12.8"), errors)

    def snapshot(self, lost: frozenset[int] = frozenset(), xids: dict[XidEvent, int] | None = None) -> Snapshot:
        return Snapshot(self.sweep(lost), 100.0, 0.002, 7, xids or {}, {CallError("DeviceGetHandleByIndex", 15): 4})


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the stand-in for NVIDIA's library; the folder that it is in."""
    folder = tmp_path_factory.mktemp("stand-in")
    sources = Path(fleetward.__file__).parent / "lab" / "nvml"
    done = subprocess.run(
        ["sh", sources / "build.sh", folder / "libnvidia-ml.so.1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"the stand-in does not build (gcc and libc6-dev are needed):\n{done.stderr}"
    return folder


@dataclass(frozen=True)
class PlayedNode:
    """The files that steer one stand-in, and the environment in which programs find it."""

    folder: Path
    library: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "LD_LIBRARY_PATH": str(self.library),
            "FLEETWARD_NVML_DEFAULTS": str(self.folder / "defaults.conf"),
            "FLEETWARD_NVML_SCENARIO": str(self.folder / "scenario.conf"),
            "FLEETWARD_NVML_EVENTS": str(self.folder / "events"),
            "FLEETWARD_NVML_DEVICES": str(self.folder / "nvidia"),
            "FLEETWARD_NVML_TRACE": str(self.folder / "trace"),
        }

    def play(self, text: str) -> None:
        """Put a scenario in place by atomic rename."""
        unfinished = self.folder / "scenario.new"
        unfinished.write_text(text)
        unfinished.replace(self.folder / "scenario.conf")

    def raise_xid(self, gpu: int, code: int) -> None:
        with (self.folder / "events").open("a") as events:
            events.write(f"xid {gpu} {code}\n")


@pytest.fixture
def played(tmp_path: Path, stand_in: Path) -> PlayedNode:
    return PlayedNode(tmp_path, stand_in)
