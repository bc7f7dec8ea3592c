"""Calls to NVML that never raise: a value or None, the failures counted, the missing functions asked for once only."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import pynvml

from fleetward.exporters.gpu.readings import CallError

T = TypeVar("T")

NvmlObject: TypeAlias = Any
"""What pynvml takes and hands out; it has no types."""

NOT_FAILURES = frozenset({pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND})
"""A GPU or driver that lacks a feature is no fault."""

GONE = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
        pynvml.NVML_ERROR_GPU_IS_LOST,
        pynvml.NVML_ERROR_RESET_REQUIRED,
        pynvml.NVML_ERROR_GPU_NOT_FOUND,
        pynvml.NVML_ERROR_UNKNOWN,
    }
)
"""Answers after which asking the same GPU for more is of no use in this sweep."""


_OWN_WORDS = {pynvml.NVML_ERROR_RESET_REQUIRED: "GPU requires reset"}
"""NVML's words for an answer where pynvml has others (here: `GPU requires restart`)."""


class GpuGoneError(Exception):
    """The GPU, or the driver below it, does not answer; the text is NVML's own."""

    def __init__(self, code: int) -> None:
        """Keep NVML's return code."""
        super().__init__(_OWN_WORDS.get(code) or str(pynvml.NVMLError(code)))
        self.code = code


class Calls:
    """Makes the calls of one sweep and remembers what failed."""

    def __init__(self, missing: set[str]) -> None:
        """Take the names of functions that the library lacks; it is shared by all sweeps and grows."""
        self.errors: list[CallError] = []
        self.lacked = False
        """Whether the last call that gave None asked for what this GPU or driver does not have."""
        self._missing = missing

    def get(self, function: str, *arguments: NvmlObject) -> NvmlObject:
        """Return what a function of pynvml returns, or None; raises GpuGoneError where no further call is of use."""
        self.lacked = True
        if function in self._missing:
            return None
        call: Callable[..., NvmlObject] | None = getattr(pynvml, function, None)
        if call is None:
            self._missing.add(function)
            return None
        return self.make(function, call, *arguments)

    def make(self, function: str, call: Callable[..., T], *arguments: NvmlObject) -> T | None:
        """Return what `call` returns, or None; `function` is the name under which a failure is counted."""
        self.lacked = True
        try:
            return call(*arguments)
        except pynvml.NVMLLibraryMismatchError:
            self._missing.add(function)  # this pynvml speaks a newer version of the call than the driver does
        except pynvml.NVMLError as error:
            self._failed(function, int(error.value))
        return None

    def _failed(self, function: str, code: int) -> None:
        if code == pynvml.NVML_ERROR_FUNCTION_NOT_FOUND:
            self._missing.add(function)
        self.lacked = code in NOT_FAILURES
        if not self.lacked and code != pynvml.NVML_ERROR_NOT_FOUND:  # no fault either, and it may be there next time
            self.errors.append(CallError(function.removeprefix("nvml"), code))
        if code in GONE:
            raise GpuGoneError(code)
