"""One look at one GPU: every question of SERIES to NVML, each asked once, the answers in base units."""

from fleetward.exporters.gpu.gpm import GpmQuestion, GpmSamples
from fleetward.exporters.gpu.mig import MigLook
from fleetward.exporters.gpu.nvml_calls import Calls, NvmlObject
from fleetward.exporters.gpu.nvml_fields import FieldBatch
from fleetward.exporters.gpu.questions import LOOKS_UNTIL_ASKED_AGAIN, Questions, put
from fleetward.exporters.gpu.readings import GpuInstance, Values
from fleetward.exporters.gpu.series_list import BY_KEY, SERIES

_QUESTIONS = Questions(SERIES)
_GPM = GpmQuestion(tuple(_QUESTIONS.gpm))
_MIG_ENABLED = BY_KEY["gpu_mig_enabled"]


class GpuLook:
    """Looks at one GPU again and again, and remembers what it does not have."""

    def __init__(self, nvlinks: int) -> None:
        """Ask only for so many NVLinks."""
        fields = [field for field in _QUESTIONS.fields if field.link is None or field.link < nvlinks]
        self._places = [_QUESTIONS.fields[field] for field in fields]
        self._batch = FieldBatch([(field.id, field.link or 0) for field in fields])
        self._lacks: set[object] = set()
        self._looks = 0
        self._samples = GpmSamples()
        self._mig_enabled: float | None = None
        self._mig = MigLook()

    def values(self, calls: Calls, handle: NvmlObject) -> Values:
        """Ask everything; raises GpuGoneError where the GPU no longer answers."""
        if self._looks % LOOKS_UNTIL_ASKED_AGAIN == 0:
            self._lacks.clear()
        self._looks += 1
        values: Values = [None] * _QUESTIONS.count
        _QUESTIONS.call(calls, handle, values, self._lacks)
        answers = calls.make("nvmlDeviceGetFieldValues", self._batch.read, handle)
        for places, answer in zip(self._places, answers or (), strict=answers is not None):
            if answer is not None:
                for place in places:
                    put(values, place, answer)
        self._read_gpm(calls, handle, values)
        if values[_MIG_ENABLED] != self._mig_enabled:
            self._mig_enabled = values[_MIG_ENABLED]
            self._lacks.clear()  # with MIG on a GPU has no utilisation, and with MIG off it has one again
        return values

    def instances(self, calls: Calls, handle: NvmlObject) -> tuple[GpuInstance, ...]:
        """Return the GPU's MIG instances; where the last look found MIG off, NVML is not asked."""
        if not self._mig_enabled:
            self._mig.forget(calls)
            return ()
        return self._mig.instances(calls, handle)

    def _read_gpm(self, calls: Calls, handle: NvmlObject, values: Values) -> None:
        """Take a sample and compare it with the one before; the first look has none to compare with."""
        if "gpm" in self._lacks:
            return
        support = calls.get("nvmlGpmQueryDeviceSupport", handle)
        there = support is not None and support.isSupportedDevice
        if not there or not self._samples.take(calls, "nvmlGpmSampleGet", handle):
            if calls.lacked:
                self._lacks.add("gpm")
            return
        for metric, mean in self._samples.means(calls, _GPM):
            for place in _QUESTIONS.gpm[metric]:
                put(values, place, mean)
