"""What a GPU does and is set to: load, memory, heat, power, clocks, modes."""

from collections.abc import Iterator

from fleetward.exporters.gpu.series import Call, Family, FieldValue, Gpm, Labelled, Series, one, some

MIB = 1024.0**2
MEMORY_INFO_V2 = 0x02000028
"""The tag of NVML's struct in which what the driver keeps is no longer counted as used."""
ACTIVE_UNITS = {
    "graphics": 1,
    "sm": 2,
    "sm_occupancy": 3,
    "integer": 4,
    "tensor": 5,
    "dram": 10,
    "fp64": 11,
    "fp32": 12,
    "fp16": 13,
}
"""Metrics of GPM that are shares of a unit's peak (nvml.h, NVML_GPM_METRIC_*)."""
_NANOSECONDS = 1e-9


def load_series() -> Iterator[Series]:
    """Yield them in the order of the page."""
    yield from _load()
    yield from _memory()
    yield from _heat_and_power()
    yield from _clocks()
    yield from _modes()


def _load() -> Iterator[Series]:
    rates = "nvmlDeviceGetUtilizationRates"
    yield from one("gpu_utilization_ratio", "Share of the time in which a kernel ran.", Call(rates, take="gpu"), 0.01)
    yield from one(
        "gpu_memory_utilization_ratio",
        "Share of the time in which memory was read or written.",
        Call(rates, take="memory"),
        0.01,
    )
    engines: Labelled = {
        "encoder": Call("nvmlDeviceGetEncoderUtilization", take=0),
        "decoder": Call("nvmlDeviceGetDecoderUtilization", take=0),
        "jpeg": Call("nvmlDeviceGetJpgUtilization", take=0),
        "optical_flow": Call("nvmlDeviceGetOfaUtilization", take=0),
    }
    yield from some(
        "gpu_engine_utilization_ratio", "Share of the time in which a media engine ran.", "engine", engines, 0.01
    )
    pipes: Labelled = {unit: Gpm(number) for unit, number in ACTIVE_UNITS.items()}
    yield from some(
        "gpu_active_ratio", "Share of its peak at which a unit worked since the last look.", "unit", pipes, 0.01
    )
    rates_per_second: Labelled = {
        "pcie_tx": Gpm(20),
        "pcie_rx": Gpm(21),
        "nvlink_rx": Gpm(60),
        "nvlink_tx": Gpm(61),
    }
    yield from some(
        "gpu_traffic_bytes_per_second",
        "Traffic since the last look, by link and direction.",
        "link",
        rates_per_second,
        MIB,
    )


def _memory() -> Iterator[Series]:
    info = "nvmlDeviceGetMemoryInfo"
    for member, help_text in {
        "total": "Size of the memory.",
        "used": "Memory that programs hold.",
        "free": "Memory that is free.",
        "reserved": "Memory that the driver keeps for itself.",
    }.items():
        yield from one(f"gpu_memory_{member}_bytes", help_text, Call(info, (MEMORY_INFO_V2,), member))
    bar: Labelled = {
        member: Call("nvmlDeviceGetBAR1MemoryInfo", take=f"bar1{member.title()}") for member in ("total", "used")
    }
    yield from some("gpu_bar1_memory_bytes", "Memory that is mapped for the bus (BAR1).", "part", bar)


def _heat_and_power() -> Iterator[Series]:
    yield from one("gpu_temperature_celsius", "Temperature of the core.", Call("nvmlDeviceGetTemperature", (0,)))
    yield from one("gpu_memory_temperature_celsius", "Temperature of the memory.", FieldValue(82))
    yield from one(
        "gpu_temperature_margin_celsius",
        "Degrees left until the GPU slows down.",
        Call("nvmlDeviceGetMarginTemperature"),
    )
    thresholds: Labelled = {
        name: Call("nvmlDeviceGetTemperatureThreshold", (number,))
        for number, name in enumerate(("shutdown", "slowdown", "memory_max", "gpu_max"))
    }
    yield from some("gpu_temperature_limit_celsius", "Temperature at which something happens.", "limit", thresholds)
    margins: Labelled = {
        "shutdown": FieldValue(193),
        "slowdown": FieldValue(194),
        "memory_max": FieldValue(195),
        "gpu_max": FieldValue(196),
    }
    yield from some(
        "gpu_temperature_limit_margin_celsius",
        "The same limits as a margin, where the chip has them so.",
        "limit",
        margins,
    )
    yield from one("gpu_power_watts", "Power drawn.", Call("nvmlDeviceGetPowerUsage"), 1e-3)
    yield from one("gpu_power_instant_watts", "Power drawn at one instant.", FieldValue(186), 1e-3)
    yield from one("gpu_power_limit_watts", "Power limit in force.", Call("nvmlDeviceGetEnforcedPowerLimit"), 1e-3)
    limits: Labelled = {
        "requested": Call("nvmlDeviceGetPowerManagementLimit"),
        "default": Call("nvmlDeviceGetPowerManagementDefaultLimit"),
        "min": Call("nvmlDeviceGetPowerManagementLimitConstraints", take=0),
        "max": Call("nvmlDeviceGetPowerManagementLimitConstraints", take=1),
    }
    yield from some(
        "gpu_power_limit_setting_watts", "Power limits that are set or may be set.", "setting", limits, 1e-3
    )
    yield from one(
        "gpu_energy_joules_total", "Energy taken since the driver was loaded.", FieldValue(83), 1e-3, counter=True
    )


def _clocks() -> Iterator[Series]:
    domains = {"graphics": 0, "sm": 1, "memory": 2, "video": 3}
    for name, number in domains.items():
        unit = "multiprocessors" if name == "sm" else f"{name} domain"
        yield from one(
            f"gpu_{name}_clock_hertz", f"Clock of the {unit}.", Call("nvmlDeviceGetClockInfo", (number,)), 1e6
        )
        yield from one(
            f"gpu_{name}_clock_max_hertz",
            f"Highest clock of the {unit}.",
            Call("nvmlDeviceGetMaxClockInfo", (number,)),
            1e6,
        )
    for name in ("graphics", "memory"):
        yield from one(
            f"gpu_{name}_clock_application_hertz",
            f"Clock of the {name} domain that programs are given.",
            Call("nvmlDeviceGetApplicationsClock", (domains[name],)),
            1e6,
        )
    yield from one("gpu_performance_state", "0 is the fastest, 15 the slowest.", Call("nvmlDeviceGetPerformanceState"))
    reasons = Family("gpu_clock_event_active", "1 for each reason why the clocks are now below their highest.")
    for reason, bit in CLOCK_EVENT_REASONS.items():
        source = Call("nvmlDeviceGetCurrentClocksEventReasons")
        yield Series(reasons, source, labels=(("reason", reason),), bit=bit)
    slowed: Labelled = {
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
    yield from some(
        "gpu_clock_event_seconds_total",
        "Time spent below the highest clocks, by reason.",
        "reason",
        slowed,
        _NANOSECONDS,
        counter=True,
    )


def _modes() -> Iterator[Series]:
    yield from one("gpu_ecc_enabled", "1 where ECC is on.", Call("nvmlDeviceGetEccMode", take=0))
    yield from one("gpu_ecc_enabled_pending", "1 where ECC is on after a reset.", Call("nvmlDeviceGetEccMode", take=1))
    yield from one(
        "gpu_mig_enabled", "1 where the GPU is cut into MIG instances.", Call("nvmlDeviceGetMigMode", take=0)
    )
    yield from one("gpu_mig_enabled_pending", "The same after a reset.", Call("nvmlDeviceGetMigMode", take=1))
    yield from one(
        "gpu_persistence_enabled",
        "1 where the driver stays loaded without programs.",
        Call("nvmlDeviceGetPersistenceMode"),
    )
    yield from one(
        "gpu_compute_mode",
        "Who may compute: 0 all, 2 nobody, 3 one process.",
        Call("nvmlDeviceGetComputeMode"),
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
