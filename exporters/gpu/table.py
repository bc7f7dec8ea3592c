"""A node's GPUs as a table for people and as a document for programs."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from fleetward.exporters.gpu.readings import Census, GpuInstance, GpuReading, Values
from fleetward.exporters.gpu.series_list import BY_KEY
from fleetward.exporters.gpu.series_mig import MIG_BY_KEY

HEADINGS = ("GPU", "STATE", "MODEL", "UTIL", "MEMORY MiB", "TEMP", "POWER", "PROCS", "UUID")
MIB = 1024**2


def document(census: Census, gpus: Iterable[GpuReading]) -> dict[str, Any]:
    """Return `driver` versions, and `gpus` with identity, state and every value in base units, for JSON."""
    driver = {name: value for name, value in asdict(census).items() if name in {"driver", "nvml", "cuda"}}
    return {"driver": driver, "gpus": [_gpu(reading) for reading in gpus]}


def table(gpus: Iterable[GpuReading]) -> str:
    """Return aligned columns, one line a GPU, and below it one for each MIG instance of it."""
    rows: list[tuple[str, ...]] = [HEADINGS]
    for reading in gpus:
        rows += [_row(reading), *(_instance_row(reading, one) for one in reading.instances)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def _gpu(reading: GpuReading) -> dict[str, Any]:
    return {
        **asdict(reading.identity),
        "state": _state(reading),
        "failure": reading.failure or None,
        "processes": [asdict(process) for process in reading.processes],
        "values": None if reading.values is None else _values(reading.values, BY_KEY, "gpu_"),
        "instances": [_instance(one) for one in reading.instances],
    }


def _instance(one: GpuInstance) -> dict[str, Any]:
    return {
        "gpu_instance": one.gpu_instance,
        "compute_instance": one.compute_instance,
        "uuid": one.uuid,
        "profile": one.profile,
        "processes": None if one.processes is None else [asdict(process) for process in one.processes],
        "values": _values(one.values, MIG_BY_KEY, "gpu_mig_"),
    }


def _state(reading: GpuReading) -> str:
    return "up" if reading.up else "lost"


def _row(reading: GpuReading) -> tuple[str, ...]:
    identity, values = reading.identity, reading.values
    begin = (str(identity.index), ("● " if reading.up else "✗ ") + _state(reading), identity.model or "-")
    if values is None:
        return (*begin, "-", "-", "-", "-", "-", identity.uuid or "-")

    memory = f"{_shown(values, 'gpu_memory_used_bytes', 1 / MIB)}/{_shown(values, 'gpu_memory_total_bytes', 1 / MIB)}"
    return (
        *begin,
        _shown(values, "gpu_utilization_ratio", 100) + "%",
        memory,
        _shown(values, "gpu_temperature_celsius") + " C",
        f"{_shown(values, 'gpu_power_watts')}/{_shown(values, 'gpu_power_limit_watts')} W",
        str(len(reading.processes)) if reading.processes_told else "-",
        identity.uuid,
    )


def _instance_row(reading: GpuReading, one: GpuInstance) -> tuple[str, ...]:
    """Return what there is of an instance; temperature and power are of the whole GPU."""
    used, total = (
        _shown(one.values, f"gpu_mig_memory_{part}_bytes", 1 / MIB, MIG_BY_KEY) for part in ("used", "total")
    )
    return (
        f"{reading.identity.index}.{one.gpu_instance}.{one.compute_instance}",
        "",
        f"MIG {one.profile}",
        _shown(one.values, "gpu_mig_active_ratio.graphics", 100, MIG_BY_KEY) + "%",
        f"{used}/{total}",
        "",
        "",
        "-" if one.processes is None else str(len(one.processes)),
        one.uuid,
    )


def _shown(values: Values, name: str, factor: float = 1, places: Mapping[str, int] = BY_KEY) -> str:
    value = values[places[name]]
    return "-" if value is None else f"{value * factor:.0f}"


def _values(values: Values, places: Mapping[str, int], prefix: str) -> dict[str, float]:
    """Return the numbers that there are, by the metric's name and labels: `ecc_errors_total.corrected`."""
    return {key.removeprefix(prefix): value for key, place in places.items() if (value := values[place]) is not None}
