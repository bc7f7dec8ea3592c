"""Memory errors, heat, clocks, and links of the GPUs."""

from collections.abc import Iterator

from fleetward.exporters.gpu.series_health import FABRIC_TROUBLES, MOST_NVLINKS
from fleetward.model.gpu_faults import Action, Severity
from fleetward.node.checking import Asked, check
from fleetward.node.checks.gpu_values import (
    above,
    answering,
    at_least,
    gpu_check,
    gpu_name,
    not_answering,
    present,
    values,
)
from fleetward.node.probes.gpus import GPUS, Gpus, value
from fleetward.node.results import ProbeError, Trouble

UNDER_LOAD = 0.5
"""Share of the time in which a kernel runs, above which clocks should be high."""
FABRIC_NONE, FABRIC_DONE = 0, 3
"""Of gpu_fabric_state."""

MEMORY_CHECKS = (
    gpu_check(
        "gpu_ecc_uncorrected",
        "A GPU's memory had errors that could not be corrected since the driver was loaded.",
        {"gpu_ecc_errors_total.uncorrected": "uncorrected ECC errors"},
        above("errors"),
        Severity.FATAL,
        Action.DRAIN_RESET,
        "gcm, azurehpc-health-checks",
        limits={"errors": 0},
    ),
    gpu_check(
        "gpu_ecc_corrected",
        "A GPU's memory had very many errors that were corrected.",
        {"gpu_ecc_errors_total.corrected": "corrected ECC errors"},
        above("errors"),
        Severity.WARNING,
        Action.WATCH,
        "gcm, azurehpc-health-checks",
        limits={"errors": 2e7},
    ),
    gpu_check(
        "gpu_sram_uncorrected",
        "A GPU's own memories had errors that could not be corrected.",
        {
            "gpu_ecc_location_errors_total.sram.uncorrected": "uncorrected SRAM errors",
            "gpu_sram_ecc_threshold_active": "the threshold of SRAM errors is passed",
        },
        present,
        Severity.FATAL,
        Action.INSPECT,
        "azurehpc-health-checks",
    ),
    gpu_check(
        "gpu_row_remap_failed",
        "A row of memory could not be replaced.",
        {"gpu_row_remap_failed": "remapping failed"},
        present,
        Severity.FATAL,
        Action.RMA,
        "gcm, azurehpc-health-checks, awslabs gpu-cluster-healthcheck, dcgm-exporter",
    ),
    gpu_check(
        "gpu_row_remap_pending",
        "A row of memory waits for a reset to be replaced.",
        {"gpu_row_remap_pending": "remapping is pending"},
        present,
        Severity.DEGRADED,
        Action.DRAIN_RESET,
        "gcm, azurehpc-health-checks, gpud",
    ),
    gpu_check(
        "gpu_rows_remapped",
        "As many rows of memory are replaced as a GPU has spare ones for.",
        {"gpu_remapped_rows.uncorrected": "rows remapped after uncorrected errors"},
        at_least("rows"),
        Severity.FATAL,
        Action.RMA,
        "azurehpc-health-checks, awslabs gpu-cluster-healthcheck",
        limits={"rows": 512},
    ),
    gpu_check(
        "gpu_banks_exhausted",
        "Too many memory banks have no spare row left.",
        {"gpu_memory_banks.none": "banks without a spare row"},
        at_least("banks"),
        Severity.FATAL,
        Action.RMA,
        "azurehpc-health-checks",
        limits={"banks": 8},
    ),
    gpu_check(
        "gpu_pages_retired",
        "Many pages of memory are out of use (before Ampere).",
        {
            "gpu_retired_pages.corrected": "pages retired after corrected errors",
            "gpu_retired_pages.uncorrected": "pages retired after uncorrected errors",
        },
        at_least("pages"),
        Severity.DEGRADED,
        Action.RMA,
        "gcm",
        limits={"pages": 10},
    ),
    gpu_check(
        "gpu_pages_retired_pending",
        "A page of memory waits for a reset to be retired (before Ampere).",
        {"gpu_retired_pages_pending": "retirement is pending"},
        present,
        Severity.DEGRADED,
        Action.DRAIN_RESET,
        "gcm",
    ),
)

HEAT_CHECKS = (
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


@check(
    "gpu_pcie_width",
    "A GPU's PCIe link has fewer lanes than GPU and slot allow.",
    GPUS,
    Severity.FATAL,
    Action.INSPECT,
    "gcm, azurehpc-health-checks",
)
def _pcie_width(gpus: Gpus, _: Asked) -> Iterator[Trouble]:
    for reading, lanes in values(gpus, "gpu_pcie_link_width"):
        most = value(reading, "gpu_pcie_link_width_max")
        if most and lanes < most:
            evidence = {"lanes": lanes, "lanes_max": most}
            yield Trouble(f"{lanes:.0f} lanes of {most:.0f}", gpu_name(reading.identity.index), evidence)
    yield from not_answering(gpus)


@check(
    "gpu_pcie_generation",
    "A GPU in its fastest state has a slower PCIe link than GPU and slot allow; one that rests may save power.",
    GPUS,
    Severity.FATAL,
    Action.INSPECT,
    "gcm, azurehpc-health-checks",
)
def _pcie_generation(gpus: Gpus, _: Asked) -> Iterator[Trouble]:
    for reading, generation in values(gpus, "gpu_pcie_link_generation"):
        most, state = value(reading, "gpu_pcie_link_generation_max"), value(reading, "gpu_performance_state")
        if most and state == 0 and generation < most:
            evidence = {"generation": generation, "generation_max": most}
            yield Trouble(f"generation {generation:.0f} of {most:.0f}", gpu_name(reading.identity.index), evidence)
    yield from not_answering(gpus)


@check(
    "gpu_nvlink_down",
    "An NVLink is down, or a GPU has fewer of them than the profile says.",
    GPUS,
    Severity.FATAL,
    Action.CHECK_FABRIC,
    "gcm, azurehpc-health-checks",
)
def _nvlink_down(gpus: Gpus, asked: Asked) -> Iterator[Trouble]:
    expected = asked.profile.gpu.nvlinks
    for one in answering(gpus):
        states = {link: value(one, f"gpu_nvlink_up.{link}") for link in range(MOST_NVLINKS)}
        down = [str(link) for link, state in states.items() if state == 0]
        there = sum(state is not None for state in states.values())
        name = gpu_name(one.identity.index)
        if down:
            yield Trouble(f"NVLinks {', '.join(down)} are down", name, {"down": ", ".join(down)})
        if expected is not None and there < expected:
            yield Trouble(f"{there} NVLinks of {expected}", name, {"nvlinks": there, "expected": expected})
    yield from not_answering(gpus)


def _counted_on_links(gpus: Gpus, kinds: tuple[str, ...], most: float) -> Iterator[Trouble]:
    for one in answering(gpus):
        for kind in kinds:
            counts = {link: value(one, f"gpu_nvlink_errors_total.{link}.{kind}") or 0 for link in range(MOST_NVLINKS)}
            links = ", ".join(str(link) for link, count in counts.items() if count > most)
            if links:
                evidence = {f"{kind}_errors": sum(counts.values()), "links": links}
                yield Trouble(f"{kind} errors on NVLinks {links}", gpu_name(one.identity.index), evidence)
    yield from not_answering(gpus)


@check(
    "gpu_nvlink_recovery",
    "An NVLink had to be trained anew since the GPU was last reset.",
    GPUS,
    Severity.FATAL,
    Action.CHECK_FABRIC,
    "gcm",
    limits={"errors": 0},
)
def _nvlink_recovery(gpus: Gpus, asked: Asked) -> Iterator[Trouble]:
    yield from _counted_on_links(gpus, ("recovery",), asked.limits["errors"])


@check(
    "gpu_nvlink_errors",
    "An NVLink had CRC errors or sent data again since the GPU was last reset.",
    GPUS,
    Severity.WARNING,
    Action.CHECK_FABRIC,
    "gcm",
    limits={"errors": 0},
)
def _nvlink_errors(gpus: Gpus, asked: Asked) -> Iterator[Trouble]:
    yield from _counted_on_links(gpus, ("crc", "replay"), asked.limits["errors"])


@check(
    "gpu_fabric_state",
    "A GPU has not joined the NVLink fabric that its board has.",
    GPUS,
    Severity.FATAL,
    Action.CHECK_FABRIC,
    "gpud",
)
def _fabric_state(gpus: Gpus, _: Asked) -> Iterator[Trouble]:
    for reading, state in values(gpus, "gpu_fabric_state"):
        status = value(reading, "gpu_fabric_status_code") or 0
        if state not in (FABRIC_NONE, FABRIC_DONE) or (state == FABRIC_DONE and status):
            evidence = {"gpu_fabric_state": state, "gpu_fabric_status_code": status}
            why = f"state {state:.0f} with code {status:.0f}, where 3 with 0 is joined"
            yield Trouble(why, gpu_name(reading.identity.index), evidence)
    yield from not_answering(gpus)


fabric_trouble = gpu_check(
    "gpu_fabric_trouble",
    "The NVLink fabric has trouble with a GPU.",
    {f"gpu_fabric_trouble_active.{name}": name.replace("_", " ") for name in FABRIC_TROUBLES},
    present,
    Severity.FATAL,
    Action.CHECK_FABRIC,
    "gpud",
)
pcie_replays = gpu_check(
    "gpu_pcie_replays",
    "A GPU's PCIe link sent very many packets again.",
    {"gpu_pcie_replay_total": "packets sent again"},
    above("replays"),
    Severity.WARNING,
    Action.INSPECT,
    "dcgm-exporter",
    limits={"replays": 100_000},
)
pcie_errors = gpu_check(
    "gpu_pcie_errors",
    "A GPU's PCIe link had errors that were not corrected.",
    {
        "gpu_pcie_errors_total.fatal": "fatal PCIe errors",
        "gpu_pcie_errors_total.non_fatal": "PCIe errors that were not corrected",
    },
    above("errors"),
    Severity.DEGRADED,
    Action.INSPECT,
    "dcgm-exporter",
    limits={"errors": 0},
)

CHECKS = (
    *MEMORY_CHECKS,
    *HEAT_CHECKS,
    _temperature_margin,
    _temperature,
    _memory_temperature,
    _sm_clock,
    _memory_clock,
    _pcie_width,
    _pcie_generation,
    pcie_replays,
    pcie_errors,
    _nvlink_down,
    _nvlink_recovery,
    _nvlink_errors,
    _fabric_state,
    fabric_trouble,
)
