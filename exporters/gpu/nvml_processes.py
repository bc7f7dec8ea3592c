"""The processes on a GPU, from NVML, for where something else tells of the rest."""

import time
from collections import Counter

import pynvml

from fleetward.exporters.gpu.nvml_calls import Calls, GpuGoneError
from fleetward.exporters.gpu.questions import processes_on
from fleetward.exporters.gpu.readings import CallError, GpuProcess

RETRY_SECONDS = 10.0
"""How long until an NVML that does not open is tried again."""


class NvmlProcesses:
    """Asks NVML within one process; opened when it is first asked."""

    def __init__(self, errors: Counter[CallError]) -> None:
        """Count calls that fail in `errors`."""
        self._errors = errors
        self._missing: set[str] = set()
        self._open = False
        self._not_before = 0.0

    def of(self, uuid: str) -> tuple[GpuProcess, ...] | None:
        """Return the processes that compute on a GPU; None where NVML does not tell."""
        if not self._opened():
            return None
        calls = Calls(self._missing)
        try:
            handle = calls.get("nvmlDeviceGetHandleByUUID", uuid)
            return None if handle is None else processes_on(calls, handle)
        except GpuGoneError:
            self._open = False
            return None
        finally:
            self._errors.update(calls.errors)

    def _opened(self) -> bool:
        if not self._open and time.monotonic() >= self._not_before:
            self._not_before = time.monotonic() + RETRY_SECONDS
            try:
                pynvml.nvmlInit()
                self._open = True
            except pynvml.NVMLError:
                pass  # the page has no number of processes then
        return self._open
