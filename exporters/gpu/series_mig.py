"""Every number that is read of a MIG instance, with its source in NVML: asked of the instance's own handle.

An instance is a compute instance within a GPU instance, as NVML hands out handles. What the compute instances of one
GPU instance share (memory, activity, errors, engines, its slices) is shown on each of them alike: take the `max by
(node, uuid, gpu_instance)` before adding up. NVML has no utilisation rates, clocks, power or temperature of an
instance. Of errors it has the uncorrectable ones since the driver was loaded, beside the memory, and no others.
"""

from collections.abc import Iterator, Mapping

from fleetward.exporters.gpu.series import Call, Gpm, Labelled, Series, one, some
from fleetward.exporters.gpu.series_load import ACTIVE_UNITS, MEMORY_INFO_V2

_UNCORRECTED, _SINCE_LOADED, _SRAM = 1, 0, 7
"""NVML's numbers of a kind of error, a counter and a place (nvml.h)."""


def mig_series() -> Iterator[Series]:
    """Yield them in the order of the page."""
    yield from _memory()
    units: Labelled = {unit: Gpm(number) for unit, number in ACTIVE_UNITS.items()}
    yield from some(
        "gpu_mig_active_ratio",
        "Share of the GPU instance's peak at which a unit worked since the last look.",
        "unit",
        units,
        0.01,
    )
    yield from _parts()
    errors: Labelled = {
        "uncorrected": Call("nvmlDeviceGetMemoryErrorCounter", (_UNCORRECTED, _SINCE_LOADED, _SRAM)),
    }
    yield from some(
        "gpu_mig_sram_ecc_errors_total",
        "ECC errors of the instance's own memories since the driver was loaded.",
        "type",
        errors,
        counter=True,
    )


def _memory() -> Iterator[Series]:
    for member, help_text in {
        "total": "Size of the GPU instance's memory.",
        "used": "Memory of the GPU instance that programs hold.",
        "free": "Memory of the GPU instance that is free.",
        "reserved": "Memory of the GPU instance that the driver keeps for itself.",
    }.items():
        source = Call("nvmlDeviceGetMemoryInfo", (MEMORY_INFO_V2,), member)
        yield from one(f"gpu_mig_memory_{member}_bytes", help_text, source)


def _parts() -> Iterator[Series]:
    function = "nvmlDeviceGetAttributes"
    yield from one(
        "gpu_mig_multiprocessors",
        "Multiprocessors of the compute instance.",
        Call(function, take="multiprocessorCount"),
    )
    slices: Labelled = {
        "gpu_instance": Call(function, take="gpuInstanceSliceCount"),
        "compute_instance": Call(function, take="computeInstanceSliceCount"),
    }
    yield from some("gpu_mig_slices", "Slices of the GPU, of which it has seven.", "of", slices)
    engines: Labelled = {
        "copy": Call(function, take="sharedCopyEngineCount"),
        "encoder": Call(function, take="sharedEncoderCount"),
        "decoder": Call(function, take="sharedDecoderCount"),
        "jpeg": Call(function, take="sharedJpegCount"),
        "optical_flow": Call(function, take="sharedOfaCount"),
    }
    yield from some("gpu_mig_engines", "Engines that the GPU instance has.", "engine", engines)


MIG_SERIES: tuple[Series, ...] = tuple(mig_series())
"""In the order of the page; series of one metric stand together."""

MIG_BY_KEY: Mapping[str, int] = {one.key: place for place, one in enumerate(MIG_SERIES)}
"""Place in MIG_SERIES, and in an instance's values."""
