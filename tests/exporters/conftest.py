"""Readings as they would be made, and a node whose GPUs the stand-in plays."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from played_nvml import PlayedNode, build
from played_push import TOKEN, Kept, Node

from fleetward.exporters.events.faults import FaultTally, XidEvent
from fleetward.exporters.gpu.readings import (
    CallError,
    Census,
    GpuIdentity,
    GpuProcess,
    GpuReading,
    Snapshot,
    Values,
)
from fleetward.exporters.gpu.series_list import BY_KEY

VALUES = {
    "gpu_utilization_ratio": 0.9,
    "gpu_power_watts": 600.0,
    "gpu_energy_joules_total": 12.5,
    "gpu_ecc_errors_total.uncorrected": 2.0,
    "gpu_nvlink_up.0": 1.0,
    "gpu_nvlink_up.1": 0.0,
}


def values_of(known: Mapping[str, float]) -> Values:
    values: Values = [None] * len(BY_KEY)
    for key, value in known.items():
        values[BY_KEY[key]] = value
    return values


@dataclass(frozen=True)
class Recorded:
    """Builds readings and snapshots."""

    def reading(self, index: int, *, lost: bool = False, values: Mapping[str, float] | None = None) -> GpuReading:
        identity = GpuIdentity(
            index, f"GPU-{index}", "NVIDIA H100 80GB HBM3", "42", f"0000:{index:02x}:00.0", index, "1", 18
        )
        if lost:
            return GpuReading(identity, None, failure="GPU is lost", taken_at=100.0, seconds=0.001)
        processes = (GpuProcess(100, 1 << 30), GpuProcess(200))
        known = values_of(VALUES if values is None else values)
        return GpuReading(identity, known, processes, taken_at=100.0, seconds=0.002)

    def gpus(self, lost: frozenset[int] = frozenset(), count: int = 3) -> tuple[GpuReading, ...]:
        return tuple(self.reading(index, lost=index in lost) for index in range(count))

    def snapshot(self, lost: frozenset[int] = frozenset(), xids: dict[XidEvent, int] | None = None) -> Snapshot:
        census = Census(3, "570.133.20", "12.570.133.20", "12.8")
        errors = {CallError("DeviceGetHandleByIndex", 15): 4}
        return Snapshot(self.gpus(lost), census, 7, errors, killed=1, faults=FaultTally(xids=xids or {}))


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def played(tmp_path: Path, library: Path) -> PlayedNode:
    return PlayedNode(tmp_path, library)


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "node.token"
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.fixture
def node(token: Path) -> Node:
    return Node(token, Kept("b:1"))
