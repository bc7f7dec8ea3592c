"""A hardware profile, and what workloads print on nodes of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fleetward.model.fleet import ExpectedBandwidth, GpuProfile, HardwareProfile, InfinibandProfile

SAMPLES = Path(__file__).parent / "samples"


@pytest.fixture(scope="session")
def hgx() -> HardwareProfile:
    return HardwareProfile(
        name="hgx-h100",
        sockets=2,
        cores_per_socket=56,
        threads_per_core=2,
        memory_mib=2_000_000,
        gpu=GpuProfile("h100", 8, "NVIDIA H100 80GB HBM3", 81559, "/dev/nvidia[0-7]"),
        infiniband=InfinibandProfile(("mlx5_0", "mlx5_1", "mlx5_2", "mlx5_3"), 400),
        bandwidth_gbytes_per_second=ExpectedBandwidth(460, 52, 46.8),
    )


@pytest.fixture(scope="session")
def sample() -> Callable[[str], str]:
    return lambda name: (SAMPLES / name).read_text()
