"""Plays NVML to ranks that run as processes: eight GPUs, of which those named in a file are lost.

Stands in for the pynvml module through PYTHONPATH, on machines without NVIDIA's library. The file is named by
PLAYED_LOST_GPUS and holds the numbers of the lost GPUs, one a line; where it is missing none is lost.
"""

import os
from pathlib import Path

NVML_TEMPERATURE_GPU = 0
NVML_ERROR_NOT_FOUND = 6
NVML_ERROR_DRIVER_NOT_LOADED = 9
NVML_ERROR_GPU_IS_LOST = 15
NVML_ERROR_RESET_REQUIRED = 16
NVML_ERROR_UNKNOWN = 999


class NVMLError(Exception):
    """As in pynvml: the number is in `value`."""

    def __init__(self, value: int) -> None:
        super().__init__("GPU is lost")
        self.value = value


class NVMLLibraryMismatchError(Exception):
    """Never raised here."""


def _minor_of(handle: int) -> int:
    """NVML's order is by PCI address, and here the reverse of the device files' numbers."""
    return 7 - handle


def nvmlInit() -> None: ...


def nvmlDeviceGetCount() -> int:
    return 8


def nvmlDeviceGetHandleByIndex(index: int) -> int:
    return index


def nvmlDeviceGetMinorNumber(handle: int) -> int:
    return _minor_of(handle)


def nvmlDeviceGetUUID(handle: int) -> str:
    return f"GPU-00000000-0000-0000-0000-00000000000{_minor_of(handle)}"


def nvmlDeviceGetTemperature(handle: int, sensor: int) -> int:
    lost = Path(os.environ["PLAYED_LOST_GPUS"])
    if lost.exists() and str(_minor_of(handle)) in lost.read_text().split():
        raise NVMLError(NVML_ERROR_GPU_IS_LOST)
    return 40 + sensor
