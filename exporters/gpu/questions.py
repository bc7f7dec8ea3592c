"""A list of series as questions to NVML: each question is asked once, whatever number of series it answers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from fleetward.exporters.gpu.nvml_calls import Calls, NvmlObject
from fleetward.exporters.gpu.nvml_structs import BY_FUNCTION
from fleetward.exporters.gpu.readings import GpuProcess, Values
from fleetward.exporters.gpu.series import Call, FieldValue, Gpm, Series

Place = tuple[int, float, int]
"""Where a series stands in its list, with its scale and bit."""

LOOKS_UNTIL_ASKED_AGAIN = 60
"""What a GPU does not support is asked for again after so many looks: a mode may have been switched."""


class Questions:
    """What a list of series asks."""

    def __init__(self, series: Sequence[Series]) -> None:
        """Take the list; the places of its series are those of the values that are filled in."""
        fields: dict[FieldValue, list[Place]] = defaultdict(list)
        gpm: dict[Gpm, list[Place]] = defaultdict(list)
        asked: dict[tuple[str, tuple[int, ...]], list[tuple[Place, str | int]]] = defaultdict(list)
        for number, one in enumerate(series):
            place = (number, one.scale, one.bit)
            if isinstance(one.source, Call):
                asked[one.source.function, one.source.arguments].append((place, one.source.take))
            elif isinstance(one.source, FieldValue):
                fields[one.source].append(place)
            else:
                gpm[one.source].append(place)
        self.count = len(series)
        self.fields: Mapping[FieldValue, Sequence[Place]] = dict(fields)
        self.gpm: Mapping[Gpm, Sequence[Place]] = dict(gpm)
        self._asked = dict(asked)

    def call(self, calls: Calls, handle: NvmlObject, values: Values, lacks: set[object]) -> None:
        """Make every call about a device, and fill in the values; what it lacks is added to `lacks` and not asked."""
        for question, places in self._asked.items():
            if question in lacks:
                continue
            function, arguments = question
            fills_in = BY_FUNCTION.get(function)
            answer = calls.make(function, fills_in, handle) if fills_in else calls.get(function, handle, *arguments)
            if answer is None:
                if calls.lacked:
                    lacks.add(question)
                continue
            for place, take in places:
                put(values, place, _taken(answer, take))


def processes_on(calls: Calls, handle: NvmlObject) -> tuple[GpuProcess, ...] | None:
    """Return the processes that compute on a GPU or MIG instance; None where the driver does not tell."""
    found = calls.get("nvmlDeviceGetComputeRunningProcesses", handle)
    return None if found is None else tuple(GpuProcess(int(one.pid), one.usedGpuMemory) for one in found)


def put(values: Values, place: Place, answer: float) -> None:
    """Fill in one value, in base units."""
    number, scale, bit = place
    values[number] = float(bool(int(answer) & bit)) if bit else answer * scale


def _taken(answer: NvmlObject, take: str | int) -> NvmlObject:
    if take == "":
        return answer
    return answer[take] if isinstance(take, int) else getattr(answer, take)
