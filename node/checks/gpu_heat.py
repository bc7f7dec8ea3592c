"""Heat and clocks of the GPUs."""

from collections.abc import Iterator

from fleetward.model.gpu_faults import Action, Severity
from fleetward.node.checking import Asked, check
from fleetward.node.checks.gpu_values import gpu_check, gpu_name, not_answering, present, values
from fleetward.node.probes.gpus import GPUS, Gpus, value
from fleetward.node.results import ProbeError, Trouble

UNDER_LOAD = 0.5
"""Share of the time in which a kernel runs, above which clocks should be high."""

_SLOWDOWNS = (
    gpu_check(
        "gpu_hw_slowdown",
        "The hardware holds a GPU's clocks down.",
        {
            "gpu_clock_event_active.hw_slowdown": "hardware slowdown is on",
            "gpu_clock_event_active.hw_thermal_slowdown": "thermal slowdown of the hardware is on",
        },
        present,
        Severity.DEGRADED,
        Action.INSPECT,
        "gpud, azurehpc-health-checks",
    ),
    gpu_check(
        "gpu_thermal_slowdown",
        "The driver holds a GPU's clocks down because of heat.",
        {"gpu_clock_event_active.sw_thermal_slowdown": "thermal slowdown of the driver is on"},
        present,
        Severity.WARNING,
        Action.INSPECT,
        "azurehpc-health-checks",
    ),
)


@check(
    "gpu_temperature_margin",
    "A GPU is close to the temperature at which it slows down.",
    GPUS,
    Severity.WARNING,
    Action.INSPECT,
    "gpud",
    limits={"celsius": 10},
)
def _temperature_margin(gpus: Gpus, asked: Asked) -> Iterator[Trouble]:
    for reading, margin in values(gpus, "gpu_temperature_margin_celsius"):
        if margin <= asked.limits["celsius"]:
            evidence = {"margin_celsius": margin}
            yield Trouble(f"{margin:.0f} C are left until slowdown", gpu_name(reading.identity.index), evidence)
    yield from not_answering(gpus)


def _over(gpus: Gpus, key: str, limit: str) -> Iterator[Trouble]:
    compared = [
        (reading, celsius, most)
        for reading, celsius in values(gpus, key)
        if (most := value(reading, f"gpu_temperature_limit_celsius.{limit}"))
    ]
    if not compared:
        raise ProbeError("no GPU here tells its highest temperature")
    for reading, celsius, most in compared:
        if celsius > most:
            evidence = {"celsius": celsius, "limit_celsius": most}
            yield Trouble(f"{celsius:.0f} C, allowed are {most:.0f} C", gpu_name(reading.identity.index), evidence)
    yield from not_answering(gpus)


@check(
    "gpu_temperature",
    "A GPU's core is hotter than the model allows.",
    GPUS,
    Severity.FATAL,
    Action.INSPECT,
    "gpud, gcm",
)
def _temperature(gpus: Gpus, _: Asked) -> Iterator[Trouble]:
    yield from _over(gpus, "gpu_temperature_celsius", "gpu_max")


@check(
    "gpu_memory_temperature",
    "A GPU's memory is hotter than the model allows.",
    GPUS,
    Severity.FATAL,
    Action.INSPECT,
    "gpud, gcm",
)
def _memory_temperature(gpus: Gpus, _: Asked) -> Iterator[Trouble]:
    yield from _over(gpus, "gpu_memory_temperature_celsius", "memory_max")


def _slow(gpus: Gpus, key: str, limit_mhz: float) -> Iterator[Trouble]:
    for reading, hertz in values(gpus, key):
        busy = (value(reading, "gpu_utilization_ratio") or 0) >= UNDER_LOAD
        if busy and hertz < limit_mhz * 1e6:
            evidence = {"mhz": hertz / 1e6, "limit_mhz": limit_mhz}
            yield Trouble(f"{hertz / 1e6:.0f} MHz under load", gpu_name(reading.identity.index), evidence)
    yield from not_answering(gpus)


@check(
    "gpu_sm_clock",
    "A GPU that works has a low clock; the limit is for the class of A100 and up.",
    GPUS,
    Severity.DEGRADED,
    Action.DRAIN_RESET,
    "gcm, azurehpc-health-checks",
    limits={"mhz": 1155},
)
def _sm_clock(gpus: Gpus, asked: Asked) -> Iterator[Trouble]:
    yield from _slow(gpus, "gpu_sm_clock_hertz", asked.limits["mhz"])


@check(
    "gpu_memory_clock",
    "A GPU that works has a low memory clock; the limit is for the slowest A100.",
    GPUS,
    Severity.DEGRADED,
    Action.DRAIN_RESET,
    "gcm, azurehpc-health-checks",
    limits={"mhz": 1215},
)
def _memory_clock(gpus: Gpus, asked: Asked) -> Iterator[Trouble]:
    yield from _slow(gpus, "gpu_memory_clock_hertz", asked.limits["mhz"])


CHECKS = (
    *_SLOWDOWNS,
    _temperature_margin,
    _temperature,
    _memory_temperature,
    _sm_clock,
    _memory_clock,
)
