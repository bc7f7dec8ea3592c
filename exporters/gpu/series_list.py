"""Every number that is read of a GPU, with its source: NVML's function, or its field by the number in nvml.h.

A GPU or driver that lacks one has no such series. Calls that block on hardware are left out, such as
nvmlDeviceGetPcieThroughput (20 ms for each direction).
"""

from collections.abc import Iterator, Mapping

from fleetward.exporters.gpu.series import Call, Family, FieldValue, Gpm, Series, Source

MIB = 1024.0**2
_NANOSECONDS = 1e-9
MOST_NVLINKS = 18
"""Of one GPU, up to Blackwell."""

_Labelled = Mapping[str, Source]


def _one(name: str, help_text: str, source: Source, scale: float = 1.0, *, counter: bool = False) -> Iterator[Series]:
    yield Series(Family(name, help_text, counter), source, scale)


def _some(
    name: str, help_text: str, label: str, sources: _Labelled, scale: float = 1.0, *, counter: bool = False
) -> Iterator[Series]:
    family = Family(name, help_text, counter)
    for value, source in sources.items():
        yield Series(family, source, scale, ((label, value),))


def _load() -> Iterator[Series]:
    rates = "nvmlDeviceGetUtilizationRates"
    yield from _one("gpu_utilization_ratio", "Share of the time in which a kernel ran.", Call(rates, take="gpu"), 0.01)
    yield from _one(
        "gpu_memory_utilization_ratio",
        "Share of the time in which memory was read or written.",
        Call(rates, take="memory"),
        0.01,
    )
    engines: _Labelled = {
        "encoder": Call("nvmlDeviceGetEncoderUtilization", take=0),
        "decoder": Call("nvmlDeviceGetDecoderUtilization", take=0),
        "jpeg": Call("nvmlDeviceGetJpgUtilization", take=0),
        "optical_flow": Call("nvmlDeviceGetOfaUtilization", take=0),
    }
    yield from _some(
        "gpu_engine_utilization_ratio", "Share of the time in which a media engine ran.", "engine", engines, 0.01
    )
    pipes: _Labelled = {
        "graphics": Gpm(1),
        "sm": Gpm(2),
        "sm_occupancy": Gpm(3),
        "integer": Gpm(4),
        "tensor": Gpm(5),
        "dram": Gpm(10),
        "fp64": Gpm(11),
        "fp32": Gpm(12),
        "fp16": Gpm(13),
    }
    yield from _some(
        "gpu_active_ratio", "Share of its peak at which a unit worked since the last look.", "unit", pipes, 0.01
    )
    rates_per_second: _Labelled = {
        "pcie_tx": Gpm(20),
        "pcie_rx": Gpm(21),
        "nvlink_rx": Gpm(60),
        "nvlink_tx": Gpm(61),
    }
    yield from _some(
        "gpu_traffic_bytes_per_second",
        "Traffic since the last look, by link and direction.",
        "link",
        rates_per_second,
        MIB,
    )


def _memory() -> Iterator[Series]:
    info = "nvmlDeviceGetMemoryInfo"
    v2 = 0x02000028
    for member, help_text in {
        "total": "Size of the memory.",
        "used": "Memory that programs hold.",
        "free": "Memory that is free.",
        "reserved": "Memory that the driver keeps for itself.",
    }.items():
        yield from _one(f"gpu_memory_{member}_bytes", help_text, Call(info, (v2,), member))
    bar: _Labelled = {
        member: Call("nvmlDeviceGetBAR1MemoryInfo", take=f"bar1{member.title()}") for member in ("total", "used")
    }
    yield from _some("gpu_bar1_memory_bytes", "Memory that is mapped for the bus (BAR1).", "part", bar)


def _heat_and_power() -> Iterator[Series]:
    yield from _one("gpu_temperature_celsius", "Temperature of the core.", Call("nvmlDeviceGetTemperature", (0,)))
    yield from _one("gpu_memory_temperature_celsius", "Temperature of the memory.", FieldValue(82))
    yield from _one(
        "gpu_temperature_margin_celsius",
        "Degrees left until the GPU slows down.",
        Call("nvmlDeviceGetMarginTemperature"),
    )
    thresholds: _Labelled = {
        name: Call("nvmlDeviceGetTemperatureThreshold", (number,))
        for number, name in enumerate(("shutdown", "slowdown", "memory_max", "gpu_max"))
    }
    yield from _some("gpu_temperature_limit_celsius", "Temperature at which something happens.", "limit", thresholds)
    margins: _Labelled = {
        "shutdown": FieldValue(193),
        "slowdown": FieldValue(194),
        "memory_max": FieldValue(195),
        "gpu_max": FieldValue(196),
    }
    yield from _some(
        "gpu_temperature_limit_margin_celsius",
        "The same limits as a margin, where the chip has them so.",
        "limit",
        margins,
    )
    yield from _one("gpu_power_watts", "Power drawn.", Call("nvmlDeviceGetPowerUsage"), 1e-3)
    yield from _one("gpu_power_instant_watts", "Power drawn at one instant.", FieldValue(186), 1e-3)
    yield from _one("gpu_power_limit_watts", "Power limit in force.", Call("nvmlDeviceGetEnforcedPowerLimit"), 1e-3)
    limits: _Labelled = {
        "requested": Call("nvmlDeviceGetPowerManagementLimit"),
        "default": Call("nvmlDeviceGetPowerManagementDefaultLimit"),
        "min": Call("nvmlDeviceGetPowerManagementLimitConstraints", take=0),
        "max": Call("nvmlDeviceGetPowerManagementLimitConstraints", take=1),
    }
    yield from _some(
        "gpu_power_limit_setting_watts", "Power limits that are set or may be set.", "setting", limits, 1e-3
    )
    yield from _one(
        "gpu_energy_joules_total", "Energy taken since the driver was loaded.", FieldValue(83), 1e-3, counter=True
    )


def _clocks() -> Iterator[Series]:
    domains = {"graphics": 0, "sm": 1, "memory": 2, "video": 3}
    for name, number in domains.items():
        unit = "multiprocessors" if name == "sm" else f"{name} domain"
        yield from _one(
            f"gpu_{name}_clock_hertz", f"Clock of the {unit}.", Call("nvmlDeviceGetClockInfo", (number,)), 1e6
        )
        yield from _one(
            f"gpu_{name}_clock_max_hertz",
            f"Highest clock of the {unit}.",
            Call("nvmlDeviceGetMaxClockInfo", (number,)),
            1e6,
        )
    for name in ("graphics", "memory"):
        yield from _one(
            f"gpu_{name}_clock_application_hertz",
            f"Clock of the {name} domain that programs are given.",
            Call("nvmlDeviceGetApplicationsClock", (domains[name],)),
            1e6,
        )
    yield from _one("gpu_performance_state", "0 is the fastest, 15 the slowest.", Call("nvmlDeviceGetPerformanceState"))
    reasons = Family("gpu_clock_event_active", "1 for each reason why the clocks are now below their highest.")
    for reason, bit in CLOCK_EVENT_REASONS.items():
        source = Call("nvmlDeviceGetCurrentClocksEventReasons")
        yield Series(reasons, source, labels=(("reason", reason),), bit=bit)
    slowed: _Labelled = {
        "sw_power_cap": FieldValue(74),
        "thermal": FieldValue(75),
        "sync_boost": FieldValue(76),
        "board_limit": FieldValue(77),
        "low_utilization": FieldValue(78),
        "reliability": FieldValue(79),
        "application_clocks": FieldValue(80),
        "base_clocks": FieldValue(81),
        "sw_thermal_slowdown": FieldValue(269),
        "hw_thermal_slowdown": FieldValue(270),
        "hw_power_brake": FieldValue(271),
    }
    yield from _some(
        "gpu_clock_event_seconds_total",
        "Time spent below the highest clocks, by reason.",
        "reason",
        slowed,
        _NANOSECONDS,
        counter=True,
    )


CLOCK_EVENT_REASONS = {
    "gpu_idle": 0x1,
    "application_clocks": 0x2,
    "sw_power_cap": 0x4,
    "hw_slowdown": 0x8,
    "sync_boost": 0x10,
    "sw_thermal_slowdown": 0x20,
    "hw_thermal_slowdown": 0x40,
    "hw_power_brake": 0x80,
    "display_clock": 0x100,
}
"""Bits of NVML's mask (nvml.h, nvmlClocksEventReason*)."""


def _errors() -> Iterator[Series]:
    totals: _Labelled = {"corrected": FieldValue(3), "uncorrected": FieldValue(4)}
    yield from _some("gpu_ecc_errors_total", "ECC errors since the driver was loaded.", "type", totals, counter=True)
    lifetime: _Labelled = {"corrected": FieldValue(5), "uncorrected": FieldValue(6)}
    yield from _some(
        "gpu_ecc_lifetime_errors_total", "ECC errors over the life of the GPU.", "type", lifetime, counter=True
    )
    places = {"dram": 2, "sram": 7}
    for name, count, help_text in (
        ("gpu_ecc_location_errors_total", 0, "ECC errors since the driver was loaded, by where they were."),
        ("gpu_ecc_location_lifetime_errors_total", 1, "ECC errors over the life of the GPU, by where they were."),
    ):
        family = Family(name, help_text, counter=True)
        for place, number in places.items():
            for kind, of in (("corrected", 0), ("uncorrected", 1)):
                source = Call("nvmlDeviceGetMemoryErrorCounter", (of, count, number))
                yield Series(family, source, labels=(("location", place), ("type", kind)))
    rows: _Labelled = {"corrected": FieldValue(142), "uncorrected": FieldValue(143)}
    yield from _some(
        "gpu_remapped_rows", "Memory rows replaced by spare ones, by the kind of error that caused it.", "type", rows
    )
    yield from _one("gpu_row_remap_pending", "1 where a row waits for a reset to be replaced.", FieldValue(144))
    yield from _one("gpu_row_remap_failed", "1 where a row could not be replaced.", FieldValue(145))
    spares: _Labelled = {
        name: Call("nvmlDeviceGetRowRemapperHistogram", take=name) for name in ("max", "high", "partial", "low", "none")
    }
    yield from _some("gpu_memory_banks", "Memory banks by how many spare rows they have left.", "spare_rows", spares)
    pages: _Labelled = {"corrected": FieldValue(29), "uncorrected": FieldValue(30)}
    yield from _some("gpu_retired_pages", "Memory pages taken out of use, before Ampere.", "type", pages)
    yield from _one("gpu_retired_pages_pending", "1 where a page waits for a reset.", FieldValue(31))
    yield from _one(
        "gpu_recovery_action",
        "What the driver asks for: 0 nothing, 1 GPU reset, 2 node reboot, 3 drain of peers, 4 drain and reset.",
        FieldValue(230),
    )


def _bus() -> Iterator[Series]:
    yield from _one("gpu_pcie_replay_total", "Packets sent again on the PCIe link.", FieldValue(94), counter=True)
    for name, function, help_text in (
        ("generation", "CurrPcieLinkGeneration", "PCIe generation in use."),
        ("generation_max", "MaxPcieLinkGeneration", "PCIe generation that GPU and slot allow."),
        ("width", "CurrPcieLinkWidth", "PCIe lanes in use."),
        ("width_max", "MaxPcieLinkWidth", "PCIe lanes that GPU and slot allow."),
    ):
        yield from _one(f"gpu_pcie_link_{name}", help_text, Call(f"nvmlDeviceGet{function}"))
    traffic: _Labelled = {"tx": FieldValue(197), "rx": FieldValue(198)}
    yield from _some("gpu_pcie_bytes_total", "Bytes over PCIe.", "direction", traffic, counter=True)
    faults: _Labelled = {
        "correctable": FieldValue(173),
        "naks_received": FieldValue(174),
        "receiver": FieldValue(175),
        "bad_tlp": FieldValue(176),
        "naks_sent": FieldValue(177),
        "bad_dllp": FieldValue(178),
        "non_fatal": FieldValue(179),
        "fatal": FieldValue(180),
        "unsupported_request": FieldValue(181),
        "lcrc": FieldValue(182),
        "lane": FieldValue(183),
    }
    yield from _some("gpu_pcie_errors_total", "Errors on the PCIe link.", "type", faults, counter=True)


def _nvlink() -> Iterator[Series]:
    family = Family("gpu_nvlink_up", "1 where an NVLink is up.")
    for link in range(MOST_NVLINKS):
        yield Series(family, FieldValue(165, link), labels=(("link", str(link)),))
    errors = Family("gpu_nvlink_errors_total", "Errors on one NVLink.", counter=True)
    for kind, number in {"replay": 161, "recovery": 162, "crc": 163}.items():
        for link in range(MOST_NVLINKS):
            yield Series(errors, FieldValue(number, link), labels=(("link", str(link)), ("type", kind)))
    traffic: _Labelled = {"tx": FieldValue(138), "rx": FieldValue(139)}
    yield from _some(
        "gpu_nvlink_bytes_total", "Data over all NVLinks together.", "direction", traffic, 1024, counter=True
    )


def _modes() -> Iterator[Series]:
    yield from _one("gpu_ecc_enabled", "1 where ECC is on.", Call("nvmlDeviceGetEccMode", take=0))
    yield from _one("gpu_ecc_enabled_pending", "1 where ECC is on after a reset.", Call("nvmlDeviceGetEccMode", take=1))
    yield from _one(
        "gpu_mig_enabled", "1 where the GPU is cut into MIG instances.", Call("nvmlDeviceGetMigMode", take=0)
    )
    yield from _one("gpu_mig_enabled_pending", "The same after a reset.", Call("nvmlDeviceGetMigMode", take=1))
    yield from _one(
        "gpu_persistence_enabled",
        "1 where the driver stays loaded without programs.",
        Call("nvmlDeviceGetPersistenceMode"),
    )
    yield from _one(
        "gpu_compute_mode",
        "Who may compute: 0 all, 2 nobody, 3 one process.",
        Call("nvmlDeviceGetComputeMode"),
    )


SERIES: tuple[Series, ...] = (
    *_load(),
    *_memory(),
    *_heat_and_power(),
    *_clocks(),
    *_errors(),
    *_bus(),
    *_nvlink(),
    *_modes(),
)
"""In the order of the page; series of one metric stand together."""

BY_KEY: Mapping[str, int] = {one.key: place for place, one in enumerate(SERIES)}
"""Place in SERIES, and in a GPU's values."""
