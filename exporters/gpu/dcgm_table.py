"""Which of DCGM's fields is which of SERIES, and in which unit DCGM has it.

Source: DCGM 4.6.0, dcgm_fields.h for the numbers, DcgmCacheManager.cpp for the units and for what of NVML each field
is. Fields are known by their numbers: 4.6 renamed many of them. All that dcgm-exporter serves by default is here, but
the last XID (XIDs are counted from NVML's events and the kernel's log, whatever looks at the GPUs) and the licences of
virtual GPUs.

What SERIES has beyond that only NVML tells, or DCGM tells something else by a similar name: its NVLink throughput is a
rate where ours is a count, and it counts two kinds of CRC errors where NVML's field is one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fleetward.exporters.gpu.series_health import FABRIC_TROUBLES
from fleetward.exporters.gpu.series_load import CLOCK_EVENT_REASONS, MIB

_PERCENT = 0.01
_MEGAHERTZ = 1e6
_MILLIJOULES = 1e-3
_NANOSECONDS = 1e-9


@dataclass(frozen=True, slots=True)
class DcgmField:
    """One field of a GPU."""

    key: str
    """Of SERIES; where that has a bit, the field is NVML's mask."""
    id: int
    scale: float = 1.0
    """What DCGM's number is multiplied with to get base units."""
    words: Mapping[int, float] | None = None
    """Where DCGM numbers states in its own way: our number by its; one that is missing is not told."""


def _device() -> Iterator[DcgmField]:
    yield from _load()
    yield from _memory()
    yield from _heat_and_power()
    yield from _clocks()
    yield from _modes()
    yield from _errors()
    yield from _links()


def _load() -> Iterator[DcgmField]:
    yield DcgmField("gpu_utilization_ratio", 203, _PERCENT)
    yield DcgmField("gpu_memory_utilization_ratio", 204, _PERCENT)
    yield DcgmField("gpu_engine_utilization_ratio.encoder", 206, _PERCENT)
    yield DcgmField("gpu_engine_utilization_ratio.decoder", 207, _PERCENT)


def _memory() -> Iterator[DcgmField]:
    yield DcgmField("gpu_memory_total_bytes", 250, MIB)
    yield DcgmField("gpu_memory_free_bytes", 251, MIB)
    yield DcgmField("gpu_memory_used_bytes", 252, MIB)
    yield DcgmField("gpu_memory_reserved_bytes", 253, MIB)
    yield DcgmField("gpu_bar1_memory_bytes.total", 90, MIB)
    yield DcgmField("gpu_bar1_memory_bytes.used", 92, MIB)


def _heat_and_power() -> Iterator[DcgmField]:
    yield DcgmField("gpu_temperature_celsius", 150)
    yield DcgmField("gpu_memory_temperature_celsius", 140)
    yield DcgmField("gpu_temperature_margin_celsius", 153)
    yield DcgmField("gpu_temperature_limit_celsius.shutdown", 159)
    yield DcgmField("gpu_temperature_limit_celsius.slowdown", 158)
    yield DcgmField("gpu_temperature_limit_celsius.memory_max", 151)
    yield DcgmField("gpu_temperature_limit_celsius.gpu_max", 152)
    yield DcgmField("gpu_power_watts", 155)
    yield DcgmField("gpu_power_instant_watts", 157)
    yield DcgmField("gpu_power_limit_watts", 164)
    yield DcgmField("gpu_power_limit_setting_watts.requested", 160)
    yield DcgmField("gpu_power_limit_setting_watts.min", 161)
    yield DcgmField("gpu_power_limit_setting_watts.max", 162)
    yield DcgmField("gpu_power_limit_setting_watts.default", 163)
    yield DcgmField("gpu_energy_joules_total", 156, _MILLIJOULES)


def _clocks() -> Iterator[DcgmField]:
    yield DcgmField("gpu_sm_clock_hertz", 100, _MEGAHERTZ)
    yield DcgmField("gpu_memory_clock_hertz", 101, _MEGAHERTZ)
    yield DcgmField("gpu_video_clock_hertz", 102, _MEGAHERTZ)
    yield DcgmField("gpu_sm_clock_max_hertz", 113, _MEGAHERTZ)
    yield DcgmField("gpu_memory_clock_max_hertz", 114, _MEGAHERTZ)
    yield DcgmField("gpu_video_clock_max_hertz", 115, _MEGAHERTZ)
    yield DcgmField("gpu_graphics_clock_application_hertz", 110, _MEGAHERTZ)  # of graphics, though DCGM calls it SM
    yield DcgmField("gpu_memory_clock_application_hertz", 111, _MEGAHERTZ)
    yield DcgmField("gpu_performance_state", 190)
    for reason in CLOCK_EVENT_REASONS:
        yield DcgmField(f"gpu_clock_event_active.{reason}", 112)
    slowed = {
        "sw_power_cap": 240,
        "thermal": 241,
        "sync_boost": 242,
        "board_limit": 243,
        "low_utilization": 244,
        "reliability": 245,
        "application_clocks": 246,
        "base_clocks": 247,
        "sw_thermal_slowdown": 1422,
        "hw_thermal_slowdown": 1423,
        "hw_power_brake": 1424,
    }
    for reason, number in slowed.items():
        yield DcgmField(f"gpu_clock_event_seconds_total.{reason}", number, _NANOSECONDS)


def _modes() -> Iterator[DcgmField]:
    yield DcgmField("gpu_ecc_enabled", 300)
    yield DcgmField("gpu_ecc_enabled_pending", 301)
    yield DcgmField("gpu_mig_enabled", 67)
    yield DcgmField("gpu_persistence_enabled", 66)
    yield DcgmField("gpu_compute_mode", 65, words={0: 0, 1: 2, 2: 3})


def _errors() -> Iterator[DcgmField]:
    yield DcgmField("gpu_ecc_errors_total.corrected", 310)
    yield DcgmField("gpu_ecc_errors_total.uncorrected", 311)
    yield DcgmField("gpu_ecc_lifetime_errors_total.corrected", 312)
    yield DcgmField("gpu_ecc_lifetime_errors_total.uncorrected", 313)
    yield DcgmField("gpu_ecc_location_errors_total.dram.corrected", 318)
    yield DcgmField("gpu_ecc_location_errors_total.dram.uncorrected", 319)
    yield DcgmField("gpu_ecc_location_errors_total.sram.corrected", 342)
    yield DcgmField("gpu_ecc_location_errors_total.sram.uncorrected", 343)
    yield DcgmField("gpu_ecc_location_lifetime_errors_total.dram.corrected", 328)
    yield DcgmField("gpu_ecc_location_lifetime_errors_total.dram.uncorrected", 329)
    yield DcgmField("gpu_ecc_location_lifetime_errors_total.sram.corrected", 344)
    yield DcgmField("gpu_ecc_location_lifetime_errors_total.sram.uncorrected", 345)
    yield DcgmField("gpu_sram_ecc_threshold_active", 346)
    yield DcgmField("gpu_remapped_rows.corrected", 394)
    yield DcgmField("gpu_remapped_rows.uncorrected", 393)
    yield DcgmField("gpu_row_remap_pending", 396)
    yield DcgmField("gpu_row_remap_failed", 395)
    for number, left in enumerate(("max", "high", "partial", "low", "none"), 385):
        yield DcgmField(f"gpu_memory_banks.{left}", number)
    yield DcgmField("gpu_retired_pages.corrected", 390)
    yield DcgmField("gpu_retired_pages.uncorrected", 391)
    yield DcgmField("gpu_retired_pages_pending", 392)
    yield DcgmField("gpu_recovery_action", 1523)


def _links() -> Iterator[DcgmField]:
    yield DcgmField("gpu_pcie_replay_total", 202)
    yield DcgmField("gpu_pcie_link_generation", 237)
    yield DcgmField("gpu_pcie_link_generation_max", 235)
    yield DcgmField("gpu_pcie_link_width", 238)
    yield DcgmField("gpu_pcie_link_width_max", 236)
    yield DcgmField("gpu_pcie_errors_total.correctable", 1501)
    for link, number in enumerate((*range(420, 426), *range(463, 469), *range(426, 429), *range(487, 490))):
        yield DcgmField(f"gpu_nvlink_errors_total.{link}.replay", number)
    for link, number in enumerate((*range(430, 436), *range(469, 475), *range(436, 439), *range(491, 494))):
        yield DcgmField(f"gpu_nvlink_errors_total.{link}.recovery", number)
    yield DcgmField("gpu_fabric_state", 170, words={0: 0, 1: 1, 2: 2, 3: 3, 4: 3})
    yield DcgmField("gpu_fabric_status_code", 170, words={3: 0, 4: 999})  # DCGM tells that it failed, not NVML's code
    for trouble in FABRIC_TROUBLES:
        yield DcgmField(f"gpu_fabric_trouble_active.{trouble}", 174)


def _profiling() -> Iterator[DcgmField]:
    units = {
        "graphics": 1001,
        "sm": 1002,
        "sm_occupancy": 1003,
        "tensor": 1004,
        "dram": 1005,
        "fp64": 1006,
        "fp32": 1007,
        "fp16": 1008,
        "integer": 1016,
    }
    for unit, number in units.items():
        yield DcgmField(f"gpu_active_ratio.{unit}", number)
    for number, link in enumerate(("pcie_tx", "pcie_rx", "nvlink_tx", "nvlink_rx"), 1009):
        yield DcgmField(f"gpu_traffic_bytes_per_second.{link}", number)


DEVICE: tuple[DcgmField, ...] = tuple(_device())
PROFILING: tuple[DcgmField, ...] = tuple(_profiling())
"""What DCGM measures itself, with a module that not every GPU and host has, and which a profiler may hold."""
