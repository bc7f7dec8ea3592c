"""Plays NVIDIA's module of this name: DCGM's functions, each answered from the file that FLEETWARD_PLAYED_DCGM names.

As with the real one (dcgm_agent.h of DCGM 4.6.0):

- A connection is worth nothing any more when its host engine has ended, also when another has begun: -21 is raised.
- A field has a value only where this connection has had it watched; the first one comes at the next update, for which
  `dcgmUpdateAllFields` waits. dcgmEntityGetLatestValues never asks the driver: a host engine whose own looks hang
  hands out what it saw last, with the time of that.
- With DCGM_FV_FLAG_LIVE_DATA the driver is asked, for fields that nobody watches too; values come in any order.
- A group of fields has a name of its own, and at most 128 fields; a request has at most 128 too.
- A GPU is known by DCGM's own number; NVML's index of it is field 52.

The file: `library`, `engine` (0: it does not run; any other number is one run of it), `address` that answers,
`unknown_fields`, `profiling` (the code that watching such fields fails with, 0 for none), `versions`, and `gpus`: by
number a `status`, `links`, `stopped` (the host engine's looks at it hang), `hangs` (a request about it hangs), and
`fields`. A field is a number or a text, or `why:CODE`, or `blank:KIND` and `blank32:KIND` with a kind from 0 to 3.
"""

import os
import time
from itertools import count
from pathlib import Path
from typing import Any

import dcgm_fields
import dcgm_structs
from dcgm_structs import DCGMError, c_dcgmFieldValue_v1, c_dcgmFieldValue_v2

MOST_FIELDS = 128
_FP64_BLANK, _INT32_BLANK, _INT64_BLANK = 140737488355328.0, 0x7FFFFFF0, 0x7FFFFFFFFFFFFFF0
_TEXT_BLANKS = ("<<<NULL>>>", "<<<NOT_FOUND>>>", "<<<NOT_SUPPORTED>>>", "<<<NOT_PERM>>>")
_initialized = False
_numbers = count(1)


class _Handle:
    def __init__(self, engine: int) -> None:
        self.engine = engine
        self.groups: dict[int, tuple[int, ...]] = {}
        self.names: set[str] = set()
        self.watched: set[int] = set()
        self.updated: set[int] = set()
        self.stopped_at: dict[int, int] = {}
        self.open = True


def dcgmInit() -> int:
    global _initialized  # noqa: PLW0603
    dcgm_structs.check_loaded()
    _initialized = True
    return 0


def dcgmConnect_v2(ip_address: str, connectParams: dcgm_structs.c_dcgmConnectV2Params_v2, version: int) -> _Handle:
    played = dcgm_structs.played()
    if not _initialized:
        raise DCGMError(-10)
    if version != dcgm_structs.c_dcgmConnectV2Params_version2 or connectParams.persistAfterDisconnect:
        raise DCGMError(-1)
    if not played["engine"] or (ip_address, bool(connectParams.addressIsUnixSocket)) != tuple(played["address"]):
        raise DCGMError(-21)
    return _Handle(played["engine"])


def dcgmDisconnect(dcgm_handle: _Handle) -> int:
    _engine(dcgm_handle, "dcgmDisconnect")
    dcgm_handle.open = False
    return 0


def dcgmGetAllDevices(dcgm_handle: _Handle) -> list[int]:
    return [int(number) for number in _engine(dcgm_handle, "dcgmGetAllDevices")["gpus"]]


def dcgmGetGpuStatus(dcgm_handle: _Handle, gpuId: int) -> int:
    return int(_gpu(_engine(dcgm_handle, "dcgmGetGpuStatus"), gpuId)["status"])


def dcgmGetNvLinkLinkStatus(dcgm_handle: _Handle) -> dcgm_structs.c_dcgmNvLinkStatus_v5:
    played = _engine(dcgm_handle, "dcgmGetNvLinkLinkStatus")
    told = dcgm_structs.c_dcgmNvLinkStatus_v5()
    told.numGpus = len(played["gpus"])
    for place, (number, gpu) in enumerate(played["gpus"].items()):
        told.gpus[place].entityId = int(number)
        for link, state in enumerate(gpu["links"]):
            told.gpus[place].linkState[link] = state
    return told


def dcgmFieldGroupCreate(dcgm_handle: _Handle, fieldIds: tuple[int, ...], fieldGroupName: str) -> int:
    _engine(dcgm_handle, "dcgmFieldGroupCreate")
    if not 0 < len(fieldIds) <= MOST_FIELDS or any(dcgm_fields.DcgmFieldGetById(one) is None for one in fieldIds):
        raise DCGMError(-1)
    if fieldGroupName in dcgm_handle.names:
        raise DCGMError(-26)
    dcgm_handle.names.add(fieldGroupName)
    number = next(_numbers)
    dcgm_handle.groups[number] = tuple(fieldIds)
    return number


def dcgmWatchFields(
    dcgm_handle: _Handle, groupId: int, fieldGroupId: int, updateFreq: int, maxKeepAge: float, maxKeepSamples: int
) -> int:
    played = _engine(dcgm_handle, "dcgmWatchFields")
    fields = dcgm_handle.groups[fieldGroupId]
    if groupId != dcgm_structs.DCGM_GROUP_ALL_GPUS or updateFreq < 1000:
        raise DCGMError(-1)
    if any(1001 <= one < 1100 for one in fields) and played["profiling"]:
        raise DCGMError(played["profiling"])
    dcgm_handle.watched.update(fields)
    return 0


def dcgmUpdateAllFields(dcgm_handle: _Handle, waitForUpdate: int) -> int:
    _engine(dcgm_handle, "dcgmUpdateAllFields")
    dcgm_handle.updated |= dcgm_handle.watched
    return 0


def dcgmEntityGetLatestValues(
    dcgmHandle: _Handle, entityGroup: int, entityId: int, fieldIds: tuple[int, ...]
) -> list[c_dcgmFieldValue_v1]:
    played = _engine(dcgmHandle, "dcgmEntityGetLatestValues")
    if entityGroup != 1 or not 0 < len(fieldIds) <= MOST_FIELDS:
        raise DCGMError(-1)
    gpu = _gpu(played, entityId)
    while gpu["hangs"]:
        time.sleep(0.02)
        gpu = _gpu(dcgm_structs.played(), entityId)
    now = int(time.time() * 1e6)
    if gpu["stopped"]:
        now = dcgmHandle.stopped_at.setdefault(entityId, now)
    else:
        dcgmHandle.stopped_at.pop(entityId, None)
    values = []
    for field in fieldIds:
        value = c_dcgmFieldValue_v1()
        if field in dcgmHandle.updated:
            _fill(value, field, gpu["fields"].get(str(field), "blank:2"), now)
        else:
            _fill(value, field, "why:-16", 0)
        values.append(value)
    return values


def dcgmEntitiesGetLatestValues(
    dcgmHandle: _Handle, entities: list[dcgm_structs.c_dcgmGroupEntityPair_t], fieldIds: tuple[int, ...], flags: int
) -> list[c_dcgmFieldValue_v2]:
    played = _engine(dcgmHandle, "dcgmEntitiesGetLatestValues")
    if not flags & dcgm_structs.DCGM_FV_FLAG_LIVE_DATA or len(fieldIds) * len(entities) > MOST_FIELDS:
        raise DCGMError(-1)
    values = []
    for entity in entities:
        of_gpu = {} if entity.entityGroupId == 0 else _gpu(played, entity.entityId)["fields"]
        for field in reversed(fieldIds):
            known = dcgm_fields.DcgmFieldGetById(field)
            from_where = played["versions"] if known and known.of_nobody else of_gpu
            value = c_dcgmFieldValue_v2()
            value.entityGroupId, value.entityId = entity.entityGroupId, entity.entityId
            _fill(value, field, from_where.get(str(field), "blank:1"), int(time.time() * 1e6))
            values.append(value)
    return values


def _engine(handle: _Handle, function: str) -> dict[str, Any]:
    played = dcgm_structs.played()
    trace = os.environ.get("FLEETWARD_PLAYED_DCGM_TRACE")
    if trace:
        with Path(trace).open("a") as file:
            file.write(f"{function}\n")
    if not handle.open or handle.engine != played["engine"]:
        raise DCGMError(-21)
    return played


def _gpu(played: dict[str, Any], number: int) -> dict[str, Any]:
    if str(number) not in played["gpus"]:
        raise DCGMError(-1)
    found: dict[str, Any] = played["gpus"][str(number)]
    return found


def _fill(value: c_dcgmFieldValue_v1 | c_dcgmFieldValue_v2, field: int, played: object, at: int) -> None:
    known = dcgm_fields.DcgmFieldGetById(field)
    assert known is not None
    value.fieldId, value.fieldType, value.ts = field, ord(known.fieldType), at
    word, _, number = played.partition(":") if isinstance(played, str) else ("", "", "")
    if word == "why":
        value.status = int(number)
    elif known.fieldType == "d":
        value.value.dbl = _FP64_BLANK + int(number) if word == "blank" else float(str(played))
    elif known.fieldType == "s":
        value.value.str = (_TEXT_BLANKS[int(number)] if word == "blank" else str(played)).encode()
    elif word in {"blank", "blank32"}:
        value.value.i64 = (_INT64_BLANK if word == "blank" else _INT32_BLANK) + int(number)
    else:
        value.value.i64 = int(str(played))
