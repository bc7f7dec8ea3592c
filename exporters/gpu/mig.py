"""The MIG instances of one GPU, looked at again and again; whatever its layout is at each look."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fleetward.exporters.gpu.gpm import GpmQuestion, GpmSamples
from fleetward.exporters.gpu.nvml_calls import Calls, GpuGoneError, NvmlObject
from fleetward.exporters.gpu.questions import LOOKS_UNTIL_ASKED_AGAIN, Questions, processes_on, put
from fleetward.exporters.gpu.readings import GpuInstance
from fleetward.exporters.gpu.series_mig import MIG_SERIES

MOST_INSTANCES = 64
"""Handles of one GPU that are asked for; NVML itself says seven."""

_QUESTIONS = Questions(MIG_SERIES)
_GPM = GpmQuestion(tuple(_QUESTIONS.gpm))
_NAME_BEFORE_PROFILE = " MIG "


@dataclass
class _Sampled:
    """The samples of one GPU instance, and whose they are: a number is given to another one later."""

    uuid: str
    profile: str
    samples: GpmSamples


class MigLook:
    """Looks at the instances of one GPU that has MIG on.

    Nothing of an instance is remembered from one look to the next but the last sample of its activity: the driver gives
    number and UUID of one that was destroyed to the next one.
    """

    def __init__(self) -> None:
        """Know of no instance."""
        self._lacks: set[object] = set()
        self._looks = 0
        self._sampled: dict[int, _Sampled] = {}

    def instances(self, calls: Calls, gpu: NvmlObject) -> tuple[GpuInstance, ...]:
        """Return what there is, by number; what a GPU that goes away meanwhile had told stands until the next look."""
        if self._looks % LOOKS_UNTIL_ASKED_AGAIN == 0:
            self._lacks.clear()
        self._looks += 1
        found: list[GpuInstance] = []
        try:
            found += self._found(calls, gpu)
            self._sample(calls, gpu, found)  # last: a sample has been seen to make the calls after it fail
        except GpuGoneError:
            pass
        by_number = {(one.gpu_instance, one.compute_instance): one for one in found}
        return tuple(by_number[number] for number in sorted(by_number))

    def forget(self, calls: Calls) -> None:
        """Give back what is held for instances, where MIG is off."""
        self._keep_only(calls, [])

    def _found(self, calls: Calls, gpu: NvmlObject) -> Iterator[GpuInstance]:
        most = min(int(calls.get("nvmlDeviceGetMaxMigDeviceCount", gpu) or 0), MOST_INSTANCES)
        for index in range(most):
            handle = calls.get("nvmlDeviceGetMigDeviceHandleByIndex", gpu, index)
            if handle is not None and (instance := self._one(calls, handle)) is not None:
                yield instance

    def _one(self, calls: Calls, handle: NvmlObject) -> GpuInstance | None:
        """Return what one is; None where it is destroyed at this moment."""
        number = calls.get("nvmlDeviceGetGpuInstanceId", handle)
        within = calls.get("nvmlDeviceGetComputeInstanceId", handle)
        uuid, name = calls.get("nvmlDeviceGetUUID", handle), calls.get("nvmlDeviceGetName", handle)
        if number is None or within is None or uuid is None:
            return None
        profile = str(name or "").rpartition(_NAME_BEFORE_PROFILE)[2]
        instance = GpuInstance(int(number), int(within), str(uuid), profile, [None] * _QUESTIONS.count)
        _QUESTIONS.call(calls, handle, instance.values, self._lacks)
        return replace(instance, processes=processes_on(calls, handle))

    def _sample(self, calls: Calls, gpu: NvmlObject, found: list[GpuInstance]) -> None:
        self._keep_only(calls, found)
        if "gpm" in self._lacks:
            return
        for number in {one.gpu_instance: None for one in found}:
            those = [one for one in found if one.gpu_instance == number]
            sampled = self._sampled.setdefault(number, _Sampled(those[0].uuid, those[0].profile, GpmSamples()))
            if not sampled.samples.take(calls, "nvmlGpmMigSampleGet", gpu, number):
                if calls.lacked:
                    self._lacks.add("gpm")
                    return
                continue
            for metric, mean in sampled.samples.means(calls, _GPM):
                for one in those:
                    for place in _QUESTIONS.gpm[metric]:
                        put(one.values, place, mean)

    def _keep_only(self, calls: Calls, found: list[GpuInstance]) -> None:
        """Give back the samples of GPU instances that are gone."""
        there = {(one.gpu_instance, one.uuid, one.profile) for one in found}
        for number, sampled in list(self._sampled.items()):
            if (number, sampled.uuid, sampled.profile) not in there:
                del self._sampled[number]
                sampled.samples.free(calls)
