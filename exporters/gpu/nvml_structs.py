"""Functions of NVML that fill in a struct of the caller's, brought to the form of the others."""

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import pynvml

from fleetward.exporters.gpu.nvml_calls import NvmlObject


def _tag(struct: type[ctypes.Structure], version: int) -> int:
    """Return what NVML expects in `version`: the struct's size and its number."""
    return ctypes.sizeof(struct) | version << 24


def fabric(handle: NvmlObject) -> NvmlObject:
    """Return how far a GPU has joined the NVLink fabric, and how well it is there."""
    info: Any = pynvml.c_nvmlGpuFabricInfo_v2_t()
    info.version = _tag(pynvml.c_nvmlGpuFabricInfo_v2_t, 2)
    pynvml.nvmlDeviceGetGpuFabricInfoV(handle, ctypes.byref(info))
    return info


def sram_errors(handle: NvmlObject) -> NvmlObject:
    """Return the ECC errors of the GPU's own memories, and whether they are more than it is good for."""
    status: Any = pynvml.c_nvmlEccSramErrorStatus_v1_t()
    status.version = _tag(pynvml.c_nvmlEccSramErrorStatus_v1_t, 1)
    pynvml.nvmlDeviceGetSramEccErrorStatus(handle, ctypes.byref(status))
    return status


BY_FUNCTION: Mapping[str, Callable[[NvmlObject], NvmlObject]] = {
    "nvmlDeviceGetGpuFabricInfoV": fabric,
    "nvmlDeviceGetSramEccErrorStatus": sram_errors,
}
