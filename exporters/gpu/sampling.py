"""One look at one GPU: every question of SERIES to NVML, each asked once, the answers in base units."""

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pynvml

from fleetward.exporters.gpu.nvml_calls import Calls, NvmlObject
from fleetward.exporters.gpu.nvml_fields import FieldBatch
from fleetward.exporters.gpu.nvml_structs import BY_FUNCTION
from fleetward.exporters.gpu.series import Call, FieldValue, Gpm
from fleetward.exporters.gpu.series_list import SERIES

LOOKS_UNTIL_ASKED_AGAIN = 60
"""What a GPU does not support is asked for again after so many looks: a mode may have been switched."""

Values = list[float | None]
"""One for each of SERIES; None for one that this GPU or driver does not have."""


Places = list[tuple[int, float, int]]
"""Place in SERIES, scale and bit, as in Series."""


def _places(kind: type) -> dict[Any, Places]:
    """Return the places in SERIES by what they ask NVML."""
    found: dict[Any, Places] = defaultdict(list)
    for place, series in enumerate(SERIES):
        if isinstance(series.source, kind):
            source = series.source
            question = (source.function, source.arguments) if isinstance(source, Call) else source
            found[question].append((place, series.scale, series.bit))
    return found


_FIELDS: dict[FieldValue, Places] = _places(FieldValue)
_CALLS: dict[tuple[str, tuple[int, ...]], Places] = _places(Call)
_GPM: dict[Gpm, Places] = _places(Gpm)
_TAKE = {place: one.source.take for place, one in enumerate(SERIES) if isinstance(one.source, Call)}


class GpuLook:
    """Looks at one GPU again and again, and remembers what it does not have."""

    def __init__(self, nvlinks: int) -> None:
        """Ask only for so many NVLinks."""
        fields = [field for field in _FIELDS if field.link is None or field.link < nvlinks]
        self._places = [_FIELDS[field] for field in fields]
        self._batch = FieldBatch([(field.id, field.link or 0) for field in fields])
        self._lacks: set[object] = set()
        self._looks = 0
        self._gpm_before: NvmlObject = None

    def values(self, calls: Calls, handle: NvmlObject) -> Values:
        """Ask everything; raises GpuGoneError where the GPU no longer answers."""
        if self._looks % LOOKS_UNTIL_ASKED_AGAIN == 0:
            self._lacks.clear()
        self._looks += 1
        values: Values = [None] * len(SERIES)
        self._read_calls(calls, handle, values)
        answers = calls.make("nvmlDeviceGetFieldValues", self._batch.read, handle)
        for places, answer in zip(self._places, answers or (), strict=answers is not None):
            if answer is not None:
                _put(values, places, answer)
        self._read_gpm(calls, handle, values)
        return values

    def _read_calls(self, calls: Calls, handle: NvmlObject, values: Values) -> None:
        for question, places in _CALLS.items():
            if question in self._lacks:
                continue
            function, arguments = question
            fills_in = BY_FUNCTION.get(function)
            answer = calls.make(function, fills_in, handle) if fills_in else calls.get(function, handle, *arguments)
            if answer is None:
                if calls.lacked:
                    self._lacks.add(question)
                continue
            for place in places:
                _put(values, [place], _taken(answer, _TAKE[place[0]]))

    def _read_gpm(self, calls: Calls, handle: NvmlObject, values: Values) -> None:
        """Take a sample and compare it with the one before; the first look has none to compare with."""
        if "gpm" in self._lacks:
            return
        support = calls.get("nvmlGpmQueryDeviceSupport", handle)
        sample = calls.get("nvmlGpmSampleAlloc") if support is not None and support.isSupportedDevice else None
        if sample is None or calls.get("nvmlGpmSampleGet", handle, sample) is None:
            if calls.lacked:
                self._lacks.add("gpm")
            return
        before, self._gpm_before = self._gpm_before, sample
        if before is None:
            return
        for gpm, answer in _gpm_values(calls, before, sample):
            _put(values, _GPM[gpm], answer)
        calls.get("nvmlGpmSampleFree", before)


def _gpm_values(calls: Calls, before: NvmlObject, sample: NvmlObject) -> Iterator[tuple[Gpm, float]]:
    wanted = pynvml.c_nvmlGpmMetricsGet_t()
    wanted.version, wanted.numMetrics = pynvml.NVML_GPM_METRICS_GET_VERSION, len(_GPM)
    wanted.sample1, wanted.sample2 = before, sample
    for place, gpm in enumerate(_GPM):
        wanted.metrics[place].metricId = gpm.id
    answers = calls.get("nvmlGpmMetricsGet", wanted)
    for place, gpm in enumerate(_GPM):
        if answers is not None and answers.metrics[place].nvmlReturn == pynvml.NVML_SUCCESS:
            value = float(answers.metrics[place].value)
            if not math.isnan(value):  # as where the two looks were too close together
                yield gpm, value


def _taken(answer: NvmlObject, take: str | int) -> NvmlObject:
    if take == "":
        return answer
    return answer[take] if isinstance(take, int) else getattr(answer, take)


def _put(values: Values, places: Places, answer: float) -> None:
    for place, scale, bit in places:
        values[place] = float(bool(int(answer) & bit)) if bit else answer * scale
