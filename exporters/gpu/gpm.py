"""NVML's GPU performance monitoring (GPM): means between two samples of one GPU, or of one part of it."""

import ctypes
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pynvml

from fleetward.exporters.gpu.nvml_calls import Calls, NvmlObject
from fleetward.exporters.gpu.series import Gpm


class GpmQuestion:
    """Some metrics, asked of two samples in one call; the struct of 19 KB is made once and filled in at each call."""

    def __init__(self, metrics: Sequence[Gpm]) -> None:
        """Take the metrics in the order of the answers."""
        self._metrics = tuple(metrics)
        self._struct: Any = pynvml.c_nvmlGpmMetricsGet_t()
        self._struct.version, self._struct.numMetrics = pynvml.NVML_GPM_METRICS_GET_VERSION, len(self._metrics)
        for entry, metric in zip(self._struct.metrics, self._metrics, strict=False):
            entry.metricId, entry.value = metric.id, math.nan
        used = pynvml.c_nvmlGpmMetricsGet_t.metrics.offset + len(self._metrics) * ctypes.sizeof(
            pynvml.c_nvmlGpmMetric_t
        )
        self._fresh = ctypes.string_at(ctypes.addressof(self._struct), used)
        """What is asked, without an answer: none of another GPU may be taken for this one's."""

    def means(self, calls: Calls, before: NvmlObject, after: NvmlObject) -> Iterator[tuple[Gpm, float]]:
        """Yield the metrics that there are, in NVML's units."""
        ctypes.memmove(ctypes.addressof(self._struct), self._fresh, len(self._fresh))
        self._struct.sample1, self._struct.sample2 = before, after
        if calls.get("nvmlGpmMetricsGet", self._struct) is None:
            return
        for metric, entry in zip(self._metrics, self._struct.metrics, strict=False):
            value = float(entry.value)
            if entry.nvmlReturn == pynvml.NVML_SUCCESS and not math.isnan(value):
                yield metric, value


class GpmSamples:
    """The last two samples of one GPU or instance; their memory is NVML's, and is used in turn."""

    def __init__(self) -> None:
        """Hold no sample yet."""
        self._last: NvmlObject = None
        self._spare: NvmlObject = None

    def take(self, calls: Calls, function: str, *of: NvmlObject) -> bool:
        """Take the next sample with a function of NVML; where that is False, `calls.lacked` tells why."""
        if self._spare is None:
            self._spare = calls.get("nvmlGpmSampleAlloc")
        if self._spare is None or calls.get(function, *of, self._spare) is None:
            return False
        self._last, self._spare = self._spare, self._last
        return True

    def means(self, calls: Calls, question: GpmQuestion) -> Iterator[tuple[Gpm, float]]:
        """Yield the means between the last two samples; nothing where there has been one only."""
        if self._last is not None and self._spare is not None:
            yield from question.means(calls, self._spare, self._last)

    def free(self, calls: Calls) -> None:
        """Give the memory back."""
        for sample in (self._last, self._spare):
            if sample is not None:
                calls.get("nvmlGpmSampleFree", sample)
        self._last = self._spare = None
