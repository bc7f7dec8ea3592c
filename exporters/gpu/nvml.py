"""The GPUs of this node as NVML shows them.

One sweep makes some 20 calls for each GPU; one of them fetches all that NVML hands out in a batch. Calls known to
block for tens of milliseconds (nvmlDeviceGetPcieThroughput) are not among them.
"""

import ctypes
import threading
import time

import pynvml

from fleetward.exporters.gpu.nvml_calls import Calls, GpuGoneError, NvmlObject
from fleetward.exporters.gpu.nvml_values import process_ids, read_identity, read_values
from fleetward.exporters.gpu.readings import DriverVersions, GpuIdentity, GpuReading, Sweep, XidEvent
from fleetward.model.errors import OutOfReachError

BACK_OFF_SECONDS = 1.0
"""After an error of the event wait: a persistent one would otherwise take a whole processor."""

WHAT_TO_DO = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
        "libnvidia-ml.so.1 is not on this host: install NVIDIA's driver (in the lab, run the role gpu_simulator)"
    ),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the kernel has no NVIDIA driver: load it with `modprobe nvidia`",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "the NVIDIA library and the kernel driver are of different versions: reboot the node or reload the driver"
    ),
    pynvml.NVML_ERROR_NO_PERMISSION: "this user may not open /dev/nvidiactl: run as a user who may",
}


class NvmlReader:
    """Reads through pynvml; raises OutOfReachError where the library or the driver is not there at the start."""

    def __init__(self) -> None:
        """Open NVML."""
        self._missing: set[str] = set()
        self._lock = threading.Lock()
        self._known: dict[str, GpuIdentity] = {}
        self._at: dict[int, GpuIdentity] = {}
        self._event_set: NvmlObject = None
        self._registered: dict[int, GpuIdentity] = {}
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            todo = WHAT_TO_DO.get(error.value, "see `dmesg` for what the driver says")
            raise OutOfReachError(f"NVML does not answer ({error}): {todo}") from error

    def sweep(self) -> Sweep:
        """Look at all GPUs; those seen before that the driver no longer lists are reported as not answering."""
        calls = Calls(self._missing)
        try:
            versions = _versions(calls)
            count = int(calls.get("nvmlDeviceGetCount") or 0)
        except GpuGoneError as gone:
            return Sweep(self._unlisted(set(), str(gone)), errors=tuple(calls.errors))
        readings = tuple(self._read(calls, index) for index in range(count))
        listed = {reading.identity.uuid for reading in readings}
        return Sweep(readings + self._unlisted(listed, "the driver no longer lists it"), versions, tuple(calls.errors))

    def wait_xid(self, timeout_seconds: float) -> XidEvent | None:
        """Wait for an XID on any GPU that could be registered; one that is not yet is tried again at every call."""
        try:
            if not self._register_events():
                time.sleep(min(BACK_OFF_SECONDS, timeout_seconds))
                return None
            data = pynvml.nvmlEventSetWait_v2(self._event_set, int(timeout_seconds * 1000))
        except pynvml.NVMLError as error:
            if error.value != pynvml.NVML_ERROR_TIMEOUT:
                time.sleep(min(BACK_OFF_SECONDS, timeout_seconds))
            return None
        # The GPU may be lost by now and not say who it is, so the address of its handle does.
        identity = self._registered.get(_address(data.device))
        return XidEvent(identity.index, identity.uuid, int(data.eventData)) if identity else None

    def close(self) -> None:
        """Shut NVML down; call it once no other thread is in a call."""
        try:
            if self._event_set is not None:
                pynvml.nvmlEventSetFree(self._event_set)
            pynvml.nvmlShutdown()
        except pynvml.NVMLError:
            return  # the driver is gone: there is nothing left to let go of

    def _read(self, calls: Calls, index: int) -> GpuReading:
        try:
            handle = calls.get("nvmlDeviceGetHandleByIndex", index)
            uuid = None if handle is None else calls.get("nvmlDeviceGetUUID", handle)
            if uuid is None:
                return self._unanswered(index, "the driver gives no handle for it")
            identity = self._identity(calls, handle, index, str(uuid))
            return GpuReading(
                identity, read_values(calls, handle, identity.nvlinks), process_ids=process_ids(calls, handle)
            )
        except GpuGoneError as gone:
            return self._unanswered(index, str(gone))

    def _identity(self, calls: Calls, handle: NvmlObject, index: int, uuid: str) -> GpuIdentity:
        known = self._known.get(uuid)
        if known is None or known.index != index:
            known = read_identity(calls, handle, index, uuid)
        with self._lock:
            self._known[uuid] = self._at[index] = known
        return known

    def _unanswered(self, index: int, failure: str) -> GpuReading:
        return GpuReading(self._at.get(index) or GpuIdentity(index, ""), None, failure=failure)

    def _unlisted(self, listed: set[str], failure: str) -> tuple[GpuReading, ...]:
        gone = (identity for uuid, identity in self._known.items() if uuid not in listed)
        return tuple(GpuReading(identity, None, failure=failure) for identity in gone)

    def _register_events(self) -> bool:
        """Register every known GPU that is not registered; False where none is."""
        with self._lock:
            known = list(self._known.values())
        if self._event_set is None:
            self._event_set = pynvml.nvmlEventSetCreate()
        registered = {identity.uuid for identity in self._registered.values()}
        for identity in known:
            if identity.uuid not in registered:
                self._register(identity)
        return bool(self._registered)

    def _register(self, identity: GpuIdentity) -> None:
        try:
            handle = pynvml.nvmlDeviceGetHandleByUUID(identity.uuid)
            pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, self._event_set)
        except pynvml.NVMLError:
            return  # it is lost now; the sweep counts that, and the next wait tries again
        self._registered[_address(handle)] = identity


def _versions(calls: Calls) -> DriverVersions:
    cuda = int(calls.get("nvmlSystemGetCudaDriverVersion") or 0)
    return DriverVersions(
        driver=str(calls.get("nvmlSystemGetDriverVersion") or ""),
        nvml=str(calls.get("nvmlSystemGetNVMLVersion") or ""),
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else "",
    )


def _address(handle: NvmlObject) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0
