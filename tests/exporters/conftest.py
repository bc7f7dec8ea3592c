"""Readings as they would be recorded, and a node whose GPUs the stand-in plays."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from played_nvml import PlayedNode, build

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
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def played(tmp_path: Path, library: Path) -> PlayedNode:
    return PlayedNode(tmp_path, library)
