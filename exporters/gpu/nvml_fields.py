"""nvmlDeviceGetFieldValues asked again and again: the array is filled in once, and read as plain memory.

pynvml builds the array anew at each call and hands out an object a value; at a hundred values of eight GPUs a second
that is most of what a look costs.
"""

import ctypes
import struct
from collections.abc import Sequence
from functools import cache

import pynvml

from fleetward.exporters.gpu.nvml_calls import NvmlObject

LIBRARY = "libnvidia-ml.so.1"
ENTRY = struct.Struct("=IIqqii8s")
"""nvmlFieldValue_t: field, scope, timestamp, latency in microseconds, type, return code, and the value itself."""

_VALUE = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: struct.Struct("=d"),
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: struct.Struct("=I4x"),
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: struct.Struct("=Q"),
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: struct.Struct("=Q"),
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: struct.Struct("=q"),
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: struct.Struct("=i4x"),
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: struct.Struct("=H6x"),
}


class FieldBatch:
    """Some fields of one GPU in one call."""

    def __init__(self, asked: Sequence[tuple[int, int]]) -> None:
        """Take pairs of field id and scope."""
        self._array = (pynvml.c_nvmlFieldValue_t * len(asked))()
        for entry, (field, scope) in zip(self._array, asked, strict=True):
            entry.fieldId, entry.scopeId = field, scope

    def read(self, handle: NvmlObject) -> list[float | None]:
        """Return the values in order, None for each that this GPU does not have; raises pynvml.NVMLError."""
        code = _function()(handle, len(self._array), self._array)
        if code != pynvml.NVML_SUCCESS:
            raise pynvml.NVMLError(code)
        return [
            None if returned or kind not in _VALUE else float(_VALUE[kind].unpack(value)[0])
            for _, _, _, _, kind, returned, value in ENTRY.iter_unpack(memoryview(self._array).cast("B"))
        ]


@cache
def _function() -> NvmlObject:
    """Return the function of the library that pynvml has loaded already."""
    return ctypes.CDLL(LIBRARY).nvmlDeviceGetFieldValues
