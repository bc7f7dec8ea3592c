"""A node's GPUs as a table for people and as a document for programs."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from fleetward.exporters.gpu.readings import Census, GpuReading, Values
from fleetward.exporters.gpu.series_list import BY_KEY

HEADINGS = ("GPU", "STATE", "MODEL", "UTIL", "MEMORY MiB", "TEMP", "POWER", "PROCS", "UUID")
MIB = 1024**2


def document(census: Census, gpus: Iterable[GpuReading]) -> dict[str, Any]:
    """Return `driver` versions, and `gpus` with identity, state and every value in base units, for JSON."""
    driver = {name: value for name, value in asdict(census).items() if name in {"driver", "nvml", "cuda"}}
    return {"driver": driver, "gpus": [_gpu(reading) for reading in gpus]}


def table(gpus: Iterable[GpuReading]) -> str:
    """Return aligned columns, one line a GPU."""
    rows = [HEADINGS, *(_row(reading) for reading in gpus)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def _gpu(reading: GpuReading) -> dict[str, Any]:
    return {
        **asdict(reading.identity),
        "state": _state(reading),
        "failure": reading.failure or None,
        "processes": [asdict(process) for process in reading.processes],
        "values": None if reading.values is None else _values(reading.values),
    }


def _state(reading: GpuReading) -> str:
    return "up" if reading.up else "lost"


def _row(reading: GpuReading) -> tuple[str, ...]:
    identity, values = reading.identity, reading.values
    begin = (str(identity.index), ("● " if reading.up else "✗ ") + _state(reading), identity.model or "-")
    if values is None:
        return (*begin, "-", "-", "-", "-", "-", identity.uuid or "-")

    def shown(name: str, factor: float = 1) -> str:
        value = values[BY_KEY[name]]
        return "-" if value is None else f"{value * factor:.0f}"

    return (
        *begin,
        shown("gpu_utilization_ratio", 100) + "%",
        f"{shown('gpu_memory_used_bytes', 1 / MIB)}/{shown('gpu_memory_total_bytes', 1 / MIB)}",
        shown("gpu_temperature_celsius") + " C",
        f"{shown('gpu_power_watts')}/{shown('gpu_power_limit_watts')} W",
        str(len(reading.processes)),
        identity.uuid,
    )


def _values(values: Values) -> dict[str, float]:
    """Return the numbers that there are, by the metric's name and labels: `ecc_errors_total.corrected`."""
    return {key.removeprefix("gpu_"): value for key, place in BY_KEY.items() if (value := values[place]) is not None}
