"""A node's GPUs as a table for people and as a document for programs."""

from dataclasses import asdict
from typing import Any

from fleetward.exporters.gpu.readings import GpuReading, Sweep

HEADINGS = ("GPU", "STATE", "MODEL", "UTIL", "MEMORY MiB", "TEMP", "POWER", "PROCS", "UUID")
MIB = 1024**2


def document(sweep: Sweep) -> dict[str, Any]:
    """Return the sweep for JSON: `driver` versions, and `gpus` with identity, state and values in base units."""
    return {"driver": asdict(sweep.versions), "gpus": [_gpu(reading) for reading in sweep.gpus]}


def table(sweep: Sweep) -> str:
    """Return aligned columns, one line a GPU."""
    rows = [HEADINGS, *(_row(reading) for reading in sweep.gpus)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def _gpu(reading: GpuReading) -> dict[str, Any]:
    return {
        **asdict(reading.identity),
        "state": _state(reading),
        "failure": reading.failure or None,
        "process_ids": list(reading.process_ids),
        "values": asdict(reading.values) if reading.values else None,
    }


def _state(reading: GpuReading) -> str:
    return "up" if reading.up else "lost"


def _row(reading: GpuReading) -> tuple[str, ...]:
    identity, values = reading.identity, reading.values
    begin = (str(identity.index), ("● " if values else "✗ ") + _state(reading), identity.model or "-")
    if values is None:
        return (*begin, "-", "-", "-", "-", "-", identity.uuid or "-")
    memory = f"{_number(values.memory_used_bytes, 1 / MIB)}/{_number(values.memory_total_bytes, 1 / MIB)}"
    return (
        *begin,
        _number(values.utilization_ratio, 100) + "%",
        memory,
        _number(values.temperature_celsius) + " C",
        f"{_number(values.power_watts)}/{_number(values.power_limit_watts)} W",
        str(len(reading.process_ids)),
        identity.uuid,
    )


def _number(value: float | None, factor: float = 1) -> str:
    return "-" if value is None else f"{value * factor:.0f}"
