"""A connection to DCGM's host engine through NVIDIA's own Python bindings, which come with DCGM's package."""

import contextlib
import importlib
import os
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

from fleetward.exporters.gpu.readings import CallError
from fleetward.model.errors import OutOfReachError

DcgmObject: TypeAlias = Any
"""What the bindings take and hand out; they have no types."""

CONNECT_SECONDS = 3.0
RECONNECT_SECONDS = 5.0
"""How long until a host engine that does not answer is tried again."""
WHAT_TO_INSTALL = "install NVIDIA's package datacenter-gpu-manager-4-core, or use --backend nvml"

_SHARE, _BINDINGS = Path("/usr/share"), "datacenter-gpu-manager-*/bindings/python3"
_NOT_CONNECTED = frozenset({-10, -21})
"""DCGM_ST_UNINITIALIZED and DCGM_ST_CONNECTION_NOT_VALID: what is held of the host engine is worth nothing any more."""
_LIBRARY_NOT_FOUND = -25


@dataclass(frozen=True)
class Bindings:
    """NVIDIA's modules."""

    agent: DcgmObject
    """dcgm_agent: DCGM's functions."""
    structs: DcgmObject
    """dcgm_structs: what they take and return, DCGMError among it."""
    fields: DcgmObject
    """dcgm_fields: what is known of each field."""


class DcgmFailedError(Exception):
    """The host engine does not answer, or not to this question."""


def load_bindings(share: Path = _SHARE) -> Bindings:
    """Import the modules from where Python finds them, or from the newest DCGM that is installed.

    Raises OutOfReachError that says what to install.
    """
    folders = sorted(share.glob(_BINDINGS), key=_major, reverse=True)
    for folder in (None, *map(str, folders)):
        if folder:
            sys.path.append(folder)  # behind all else: a module there is called `logger`
        try:
            return Bindings(*(importlib.import_module(name) for name in ("dcgm_agent", "dcgm_structs", "dcgm_fields")))
        except ImportError:
            if folder:
                sys.path.remove(folder)
    raise OutOfReachError(
        f"DCGM's Python bindings are not on this host (neither on PYTHONPATH nor in {share / _BINDINGS}): "
        f"{WHAT_TO_INSTALL}"
    )


class DcgmConnection:
    """Asks the host engine from one thread, and connects again where the connection is lost."""

    def __init__(self, bindings: Bindings, address: str, errors: Counter[CallError]) -> None:
        """Take `HOST:PORT`, or the path of a socket; calls that fail are counted in `errors`."""
        self.bindings = bindings
        self._address = address
        self._errors = errors
        self._handle: DcgmObject = None
        self._groups = count()
        self._not_before = 0.0

    @property
    def made(self) -> bool:
        """Return whether there is a connection, as far as is known."""
        return self._handle is not None

    def make(self) -> None:
        """Connect; raises OutOfReachError that says what to do, also where it was tried just now."""
        structs = self.bindings.structs
        if time.monotonic() < self._not_before:
            raise OutOfReachError(self._silent("tried a moment ago"))
        self._not_before = time.monotonic() + RECONNECT_SECONDS
        parameters = structs.c_dcgmConnectV2Params_v2()
        parameters.persistAfterDisconnect = 0
        parameters.timeoutMs = int(CONNECT_SECONDS * 1000)
        path = self._address.removeprefix("unix://")
        parameters.addressIsUnixSocket = int(path.startswith("/"))
        version = structs.c_dcgmConnectV2Params_version2
        try:
            structs._dcgmInit()  # loads libdcgm; NVIDIA's own examples call it so
            self.bindings.agent.dcgmInit()
            self._handle = self.bindings.agent.dcgmConnect_v2(path, parameters, version)
        except structs.DCGMError as error:
            self._count("dcgmConnect_v2", error)
            if int(error.value) == _LIBRARY_NOT_FOUND:
                raise OutOfReachError(f"libdcgm.so.4 is not on this host: {WHAT_TO_INSTALL}") from error
            raise OutOfReachError(self._silent(str(error))) from error

    def end(self) -> None:
        """Disconnect; the host engine forgets what it did for us."""
        with contextlib.suppress(DcgmFailedError):
            self.ask("dcgmDisconnect")
        self._handle = None

    def ask(self, function: str, *arguments: DcgmObject) -> DcgmObject:
        """Return what a function of dcgm_agent returns, which takes the connection first; raises DcgmFailedError."""
        if self._handle is None:
            raise DcgmFailedError("there is no connection to DCGM's host engine")
        try:
            return getattr(self.bindings.agent, function)(self._handle, *arguments)
        except self.bindings.structs.DCGMError as error:
            self._count(function, error)
            if int(error.value) in _NOT_CONNECTED:
                self._handle = None
            raise DcgmFailedError(str(error)) from error

    def watch(self, fields: tuple[int, ...], interval_seconds: float) -> tuple[int, ...]:
        """Have the host engine look at fields of every GPU, and return those that it knows; raises DcgmFailedError.

        It stops when this connection ends. At most 128 fields go together (DCGM_MAX_FIELD_IDS_PER_FIELD_GROUP).
        """
        known = tuple(one for one in fields if self.bindings.fields.DcgmFieldGetById(one) is not None)
        group = self.ask("dcgmFieldGroupCreate", known, f"fleetward-{os.getpid()}-{next(self._groups)}")
        every_gpu = self.bindings.structs.DCGM_GROUP_ALL_GPUS
        self.ask("dcgmWatchFields", every_gpu, group, int(interval_seconds * 1e6), 3600.0, 1)
        return known

    def _silent(self, why: str) -> str:
        return (
            f"DCGM's host engine does not answer at {self._address} ({why}): start it with "
            "`systemctl start nvidia-dcgm`, or say with --dcgm-address where it is"
        )

    def _count(self, function: str, error: DcgmObject) -> None:
        self._errors[CallError(function.removeprefix("dcgm"), int(error.value))] += 1


def _major(folder: Path) -> int:
    found = re.search(r"datacenter-gpu-manager-(\d+)", str(folder))
    return int(found[1]) if found else 0
