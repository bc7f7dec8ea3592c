"""The part of the page that is about MIG instances.

Each of their series has the labels of the GPU that they are cut from and the numbers that NVML has given them,
`gpu_instance` within the GPU and `compute_instance` within that. UUID and profile stand in `gpu_mig_info` alone. An
instance that is gone has no series any more, and one that takes its number begins its own.
"""

from itertools import groupby

from fleetward.exporters.gpu.page_writer import Writer, labelled, labels_of
from fleetward.exporters.gpu.readings import GpuIdentity, GpuInstance, GpuReading
from fleetward.exporters.gpu.series import Family
from fleetward.exporters.gpu.series_mig import MIG_SERIES

_FAMILIES = tuple(
    (family, tuple(members)) for family, members in groupby(enumerate(MIG_SERIES), lambda one: one[1].family)
)

_Key = tuple[GpuIdentity, int, int]


class MigPage:
    """Writes the instances of all GPUs; it keeps the labels of those that were there last."""

    def __init__(self) -> None:
        """Know of no instance."""
        self._begins: dict[_Key, list[str]] = {}

    def write(self, writer: Writer, gpus: tuple[GpuReading, ...]) -> None:
        """Write nothing where no GPU is cut."""
        parts = [(one.identity, part) for one in gpus if one.up for part in one.instances]
        writer.family(
            Family("gpu_mig_info", "What the MIG instance is; always 1."),
            ((_about(identity, part), 1) for identity, part in parts),
        )
        writer.family(
            Family("gpu_mig_processes", "Processes that compute on the MIG instance."),
            ((_labels(identity, part), len(part.processes)) for identity, part in parts if part.processes is not None),
        )
        self._numbers(writer, parts)

    def _numbers(self, writer: Writer, parts: list[tuple[GpuIdentity, GpuInstance]]) -> None:
        known, self._begins = self._begins, {}
        for identity, part in parts:
            key = (identity, part.gpu_instance, part.compute_instance)
            self._begins[key] = known.get(key) or _begins(identity, part)
        shown = list(zip(self._begins.values(), (part.values for _, part in parts), strict=True))
        for family, members in _FAMILIES:
            lines = [
                f"{begins[place]}{value!r}\n"
                for place, _ in members
                for begins, values in shown
                if (value := values[place]) is not None
            ]
            if lines:
                writer.head(family)
                writer.lines += lines


def _begins(identity: GpuIdentity, part: GpuInstance) -> list[str]:
    """Return each line's beginning, up to the value."""
    labels = _labels(identity, part)
    return [f"{one.family.name}{labelled({**labels, **dict(one.labels)})} " for one in MIG_SERIES]


def _labels(identity: GpuIdentity, part: GpuInstance) -> dict[str, str]:
    return {
        **labels_of(identity),
        "gpu_instance": str(part.gpu_instance),
        "compute_instance": str(part.compute_instance),
    }


def _about(identity: GpuIdentity, part: GpuInstance) -> dict[str, str]:
    return {**_labels(identity, part), "mig_uuid": part.uuid, "profile": part.profile}
