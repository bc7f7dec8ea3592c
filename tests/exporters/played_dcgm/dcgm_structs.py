"""Plays NVIDIA's module of this name, as far as the exporter uses it: structs, errors, loading the library.

It imitates what the bindings of DCGM 4.6.0 do (testing/python3 in NVIDIA/DCGM, installed as
/usr/share/datacenter-gpu-manager-4/bindings/python3), with a file of JSON in place of libdcgm and nv-hostengine:

- `_dcgmInit` raises DCGMError -25 where the library is not there.
- Each error is a DCGMError whose `value` is DCGM's negative code, and whose text says what it means.
- A value has the type of its field: `d` a double, `i` a 64-bit integer, `s` a text that is decoded when it is read. Why
  there is none stands in `status`, or is one of the blank numbers and texts of dcgmvalue.py.

dcgm_agent.py says which functions there are and what the file holds.
"""

import ctypes
import json
import os
from pathlib import Path
from typing import Any

DCGM_GROUP_ALL_GPUS = 0x7FFFFFFF
DCGM_FV_FLAG_LIVE_DATA = 1

_MEANINGS = {
    -1: "Bad parameter passed to function",
    -10: "Object is in an undefined state",
    -16: "Field is not being updated",
    -20: "Unable to find function",
    -21: "The connection to the host engine is not valid any longer",
    -25: "DCGM library could not be found",
    -26: "Duplicate key passed to function",
    -36: "Profiling is not supported for this group of GPUs or GPU",
}
_loaded = False


class DCGMError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return _MEANINGS.get(self.value, f"DCGM Error with code {self.value}")


class c_dcgmConnectV2Params_v2(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_uint),
        ("persistAfterDisconnect", ctypes.c_uint),
        ("timeoutMs", ctypes.c_uint),
        ("addressIsUnixSocket", ctypes.c_uint),
    )


c_dcgmConnectV2Params_version2 = ctypes.sizeof(c_dcgmConnectV2Params_v2) | 2 << 24


class c_dcgmGroupEntityPair_t(ctypes.Structure):
    _fields_ = (("entityGroupId", ctypes.c_uint32), ("entityId", ctypes.c_uint32))


class _Value(ctypes.Union):
    _fields_ = (
        ("i64", ctypes.c_int64),
        ("dbl", ctypes.c_double),
        ("str", ctypes.c_char * 256),
        ("blob", ctypes.c_byte * 4096),
    )

    def __getattribute__(self, name: str) -> object:
        value = super().__getattribute__(name)
        return value.decode("utf-8") if isinstance(value, bytes) else value


class c_dcgmFieldValue_v1(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_uint),
        ("fieldId", ctypes.c_ushort),
        ("fieldType", ctypes.c_short),
        ("status", ctypes.c_int),
        ("ts", ctypes.c_int64),
        ("value", _Value),
    )


class c_dcgmFieldValue_v2(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_uint),
        ("entityGroupId", ctypes.c_uint),
        ("entityId", ctypes.c_uint),
        ("fieldId", ctypes.c_ushort),
        ("fieldType", ctypes.c_short),
        ("status", ctypes.c_int),
        ("unused", ctypes.c_uint),
        ("ts", ctypes.c_int64),
        ("value", _Value),
    )


class c_dcgmNvLinkGpuLinkStatus_v4(ctypes.Structure):
    _fields_ = (("entityId", ctypes.c_uint32), ("linkState", ctypes.c_uint32 * 36))


class c_dcgmNvLinkStatus_v5(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_uint32),
        ("numGpus", ctypes.c_uint32),
        ("gpus", c_dcgmNvLinkGpuLinkStatus_v4 * 32),
    )


def _dcgmInit(libDcgmPath: str | None = None) -> None:
    global _loaded  # noqa: PLW0603  as the real one has it
    if not played()["library"]:
        raise DCGMError(-25)
    _loaded = True


def played() -> dict[str, Any]:
    """Return what the file says now."""
    read: dict[str, Any] = json.loads(Path(os.environ["FLEETWARD_PLAYED_DCGM"]).read_text())
    return read


def check_loaded() -> None:
    if not _loaded:
        raise DCGMError(-10)
