"""XIDs as NVML's events tell of them, within one process."""

import ctypes
import time

import pynvml

from fleetward.exporters.events.faults import XidEvent
from fleetward.exporters.gpu.nvml_calls import NvmlObject

BACK_OFF_SECONDS = 1.0
"""After an error of the event wait: a persistent one would otherwise take a whole processor."""


class NvmlEvents:
    """Waits for XIDs on every GPU that could be registered; one that could not is tried again at each wait."""

    def __init__(self) -> None:
        """Open NVML; raises pynvml.NVMLError."""
        pynvml.nvmlInit()
        self._set: NvmlObject = pynvml.nvmlEventSetCreate()
        self._registered: dict[int, tuple[int, str]] = {}
        """Index and UUID by the address of a handle: a GPU that is lost by then does not say who it is."""

    def wait(self, timeout_seconds: float) -> XidEvent | None:
        """Return the next XID; None where none came in time."""
        try:
            if not self._register():
                time.sleep(min(BACK_OFF_SECONDS, timeout_seconds))
                return None
            data = pynvml.nvmlEventSetWait_v2(self._set, int(timeout_seconds * 1000))
        except pynvml.NVMLError as error:
            if error.value != pynvml.NVML_ERROR_TIMEOUT:
                time.sleep(min(BACK_OFF_SECONDS, timeout_seconds))
            return None
        known = self._registered.get(_address(data.device))
        return XidEvent(*known, int(data.eventData)) if known else None

    def _register(self) -> bool:
        """Register every GPU that is not registered; False where none is."""
        indices = {index for index, _ in self._registered.values()}
        for index in range(pynvml.nvmlDeviceGetCount()):
            if index not in indices:
                self._register_one(index)
        return bool(self._registered)

    def _register_one(self, index: int) -> None:
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid = str(pynvml.nvmlDeviceGetUUID(handle))
            pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, self._set)
        except pynvml.NVMLError:
            return  # it is lost now; the next wait tries again
        self._registered[_address(handle)] = (index, uuid)


def _address(handle: NvmlObject) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0
