"""Every number of the list, one by one: changed in what plays NVML, and seen on the page in the right unit."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from played_exporter import Exporter, running, wait_until
from played_nvml import PlayedNode

from fleetward.exporters.gpu.series import Series
from fleetward.exporters.gpu.series_health import FABRIC_TROUBLES, MOST_NVLINKS
from fleetward.exporters.gpu.series_list import SERIES
from fleetward.exporters.gpu.series_load import CLOCK_EVENT_REASONS

MIB = 1024.0**2
GPU = 3

Shared = tuple[PlayedNode, Exporter]
Change = tuple[str, float]
"""A line of the scenario about one GPU, and the number that it becomes."""

PLAIN: dict[str, Change] = {
    "gpu_utilization_ratio": ("utilization_percent=37", 0.37),
    "gpu_memory_utilization_ratio": ("memory_utilization_percent=21", 0.21),
    "gpu_engine_utilization_ratio.encoder": ("encoder_percent=11", 0.11),
    "gpu_engine_utilization_ratio.decoder": ("decoder_percent=12", 0.12),
    "gpu_engine_utilization_ratio.jpeg": ("jpeg_percent=13", 0.13),
    "gpu_engine_utilization_ratio.optical_flow": ("optical_flow_percent=14", 0.14),
    "gpu_active_ratio.graphics": ("gpm_graphics_percent=31", 0.31),
    "gpu_active_ratio.sm": ("gpm_sm_percent=32", 0.32),
    "gpu_active_ratio.sm_occupancy": ("gpm_sm_occupancy_percent=33", 0.33),
    "gpu_active_ratio.integer": ("gpm_integer_percent=34", 0.34),
    "gpu_active_ratio.tensor": ("gpm_tensor_percent=35", 0.35),
    "gpu_active_ratio.dram": ("gpm_dram_percent=36", 0.36),
    "gpu_active_ratio.fp64": ("gpm_fp64_percent=38", 0.38),
    "gpu_active_ratio.fp32": ("gpm_fp32_percent=39", 0.39),
    "gpu_active_ratio.fp16": ("gpm_fp16_percent=41", 0.41),
    "gpu_traffic_bytes_per_second.pcie_tx": ("gpm_pcie_tx_mib_per_second=51", 51 * MIB),
    "gpu_traffic_bytes_per_second.pcie_rx": ("gpm_pcie_rx_mib_per_second=52", 52 * MIB),
    "gpu_traffic_bytes_per_second.nvlink_rx": ("gpm_nvlink_rx_mib_per_second=53", 53 * MIB),
    "gpu_traffic_bytes_per_second.nvlink_tx": ("gpm_nvlink_tx_mib_per_second=54", 54 * MIB),
    "gpu_memory_total_bytes": ("memory_total_mib=90000", 90000 * MIB),
    "gpu_memory_used_bytes": ("memory_used_mib=500", 500 * MIB),
    "gpu_memory_free_bytes": ("memory_used_mib=1008", (81559 - 551 - 1008) * MIB),
    "gpu_memory_reserved_bytes": ("memory_reserved_mib=100", 100 * MIB),
    "gpu_bar1_memory_bytes.total": ("bar1_total_mib=4096", 4096 * MIB),
    "gpu_bar1_memory_bytes.used": ("bar1_used_mib=77", 77 * MIB),
    "gpu_temperature_celsius": ("temperature=91", 91),
    "gpu_memory_temperature_celsius": ("memory_temperature=97", 97),
    "gpu_temperature_margin_celsius": ("margin_temperature=5", 5),
    "gpu_temperature_limit_celsius.shutdown": ("threshold_shutdown=101", 101),
    "gpu_temperature_limit_celsius.slowdown": ("threshold_slowdown=102", 102),
    "gpu_temperature_limit_celsius.memory_max": ("threshold_memory_max=103", 103),
    "gpu_temperature_limit_celsius.gpu_max": ("threshold_gpu_max=104", 104),
    "gpu_temperature_limit_margin_celsius.shutdown": ("tlimit_shutdown=-21", -21),
    "gpu_temperature_limit_margin_celsius.slowdown": ("tlimit_slowdown=-22", -22),
    "gpu_temperature_limit_margin_celsius.memory_max": ("tlimit_memory_max=23", 23),
    "gpu_temperature_limit_margin_celsius.gpu_max": ("tlimit_gpu_max=24", 24),
    "gpu_power_watts": ("power_watts=432.5", 432.5),
    "gpu_power_instant_watts": ("power_watts=433.5", 433.5),
    "gpu_power_limit_watts": ("power_enforced_limit_watts=610", 610),
    "gpu_power_limit_setting_watts.requested": ("power_limit_watts=620", 620),
    "gpu_power_limit_setting_watts.default": ("power_default_limit_watts=630", 630),
    "gpu_power_limit_setting_watts.min": ("power_min_limit_watts=190", 190),
    "gpu_power_limit_setting_watts.max": ("power_max_limit_watts=710", 710),
    "gpu_energy_joules_total": ("energy_joules=123456", 123456),
    "gpu_graphics_clock_hertz": ("graphics_clock_mhz=1201", 1.201e9),
    "gpu_graphics_clock_max_hertz": ("max_sm_clock_mhz=1901", 1.901e9),
    "gpu_sm_clock_hertz": ("sm_clock_mhz=1202", 1.202e9),
    "gpu_sm_clock_max_hertz": ("max_sm_clock_mhz=1902", 1.902e9),
    "gpu_memory_clock_hertz": ("memory_clock_mhz=1593", 1.593e9),
    "gpu_memory_clock_max_hertz": ("max_memory_clock_mhz=3201", 3.201e9),
    "gpu_video_clock_hertz": ("video_clock_mhz=1203", 1.203e9),
    "gpu_video_clock_max_hertz": ("max_sm_clock_mhz=1903", 1.903e9),
    "gpu_graphics_clock_application_hertz": ("application_sm_clock_mhz=1501", 1.501e9),
    "gpu_memory_clock_application_hertz": ("application_memory_clock_mhz=1502", 1.502e9),
    "gpu_performance_state": ("performance_state=8", 8),
    "gpu_clock_event_seconds_total.sw_power_cap": ("throttle_power_ns=1500000000", 1.5),
    "gpu_clock_event_seconds_total.thermal": ("throttle_thermal_ns=2500000000", 2.5),
    "gpu_clock_event_seconds_total.sync_boost": ("throttle_sync_boost_ns=3500000000", 3.5),
    "gpu_clock_event_seconds_total.board_limit": ("throttle_board_limit_ns=4500000000", 4.5),
    "gpu_clock_event_seconds_total.low_utilization": ("throttle_low_utilization_ns=5500000000", 5.5),
    "gpu_clock_event_seconds_total.reliability": ("throttle_reliability_ns=6500000000", 6.5),
    "gpu_clock_event_seconds_total.application_clocks": ("throttle_application_clocks_ns=7500000000", 7.5),
    "gpu_clock_event_seconds_total.base_clocks": ("throttle_base_clocks_ns=8500000000", 8.5),
    "gpu_clock_event_seconds_total.sw_thermal_slowdown": ("throttle_sw_thermal_ns=9500000000", 9.5),
    "gpu_clock_event_seconds_total.hw_thermal_slowdown": ("throttle_hw_thermal_ns=10500000000", 10.5),
    "gpu_clock_event_seconds_total.hw_power_brake": ("throttle_power_brake_ns=11500000000", 11.5),
    "gpu_ecc_enabled": ("ecc_mode=0", 0),
    "gpu_ecc_enabled_pending": ("ecc_mode_pending=0", 0),
    "gpu_mig_enabled": ("mig_mode=1", 1),
    "gpu_mig_enabled_pending": ("mig_mode_pending=1", 1),
    "gpu_persistence_enabled": ("persistence_mode=0", 0),
    "gpu_compute_mode": ("compute_mode=3", 3),
    "gpu_ecc_errors_total.corrected": ("ecc_corrected=11", 11),
    "gpu_ecc_errors_total.uncorrected": ("ecc_uncorrected=12", 12),
    "gpu_ecc_lifetime_errors_total.corrected": ("ecc_aggregate_corrected=5000000000", 5e9),
    "gpu_ecc_lifetime_errors_total.uncorrected": ("ecc_aggregate_uncorrected=13", 13),
    "gpu_ecc_location_errors_total.dram.corrected": ("ecc_dram_corrected=21", 21),
    "gpu_ecc_location_errors_total.dram.uncorrected": ("ecc_dram_uncorrected=22", 22),
    "gpu_ecc_location_errors_total.sram.corrected": ("ecc_sram_corrected=23", 23),
    "gpu_ecc_location_errors_total.sram.uncorrected": ("ecc_sram_uncorrected=24", 24),
    "gpu_ecc_location_lifetime_errors_total.dram.corrected": ("ecc_aggregate_dram_corrected=31", 31),
    "gpu_ecc_location_lifetime_errors_total.dram.uncorrected": ("ecc_aggregate_dram_uncorrected=32", 32),
    "gpu_ecc_location_lifetime_errors_total.sram.corrected": ("ecc_aggregate_sram_corrected=33", 33),
    "gpu_ecc_location_lifetime_errors_total.sram.uncorrected": ("ecc_aggregate_sram_uncorrected=34", 34),
    "gpu_sram_ecc_threshold_active": ("sram_threshold_exceeded=1", 1),
    "gpu_remapped_rows.corrected": ("remapped_rows_corrected=14", 14),
    "gpu_remapped_rows.uncorrected": ("remapped_rows_uncorrected=15", 15),
    "gpu_row_remap_pending": ("remapped_rows_pending=1", 1),
    "gpu_row_remap_failed": ("remapped_rows_failed=1", 1),
    "gpu_memory_banks.max": ("remap_banks_max=631", 631),
    "gpu_memory_banks.high": ("remap_banks_high=5", 5),
    "gpu_memory_banks.partial": ("remap_banks_partial=4", 4),
    "gpu_memory_banks.low": ("remap_banks_low=3", 3),
    "gpu_memory_banks.none": ("remap_banks_none=2", 2),
    "gpu_retired_pages.corrected": ("retired_pages_corrected=7", 7),
    "gpu_retired_pages.uncorrected": ("retired_pages_uncorrected=8", 8),
    "gpu_retired_pages_pending": ("retired_pages_pending=1", 1),
    "gpu_recovery_action": ("recovery_action=2", 2),
    "gpu_pcie_replay_total": ("pcie_replays=16", 16),
    "gpu_pcie_link_generation": ("pcie_generation=3", 3),
    "gpu_pcie_link_generation_max": ("pcie_max_generation=4", 4),
    "gpu_pcie_link_width": ("pcie_width=8", 8),
    "gpu_pcie_link_width_max": ("pcie_max_width=32", 32),
    "gpu_pcie_bytes_total.tx": ("pcie_tx_bytes=7000000000", 7e9),
    "gpu_pcie_bytes_total.rx": ("pcie_rx_bytes=8000000000", 8e9),
    "gpu_pcie_errors_total.correctable": ("pcie_correctable_errors=61", 61),
    "gpu_pcie_errors_total.naks_received": ("pcie_naks_received=62", 62),
    "gpu_pcie_errors_total.receiver": ("pcie_receiver_errors=63", 63),
    "gpu_pcie_errors_total.bad_tlp": ("pcie_bad_tlps=64", 64),
    "gpu_pcie_errors_total.naks_sent": ("pcie_naks_sent=65", 65),
    "gpu_pcie_errors_total.bad_dllp": ("pcie_bad_dllps=66", 66),
    "gpu_pcie_errors_total.non_fatal": ("pcie_non_fatal_errors=67", 67),
    "gpu_pcie_errors_total.fatal": ("pcie_fatal_errors=68", 68),
    "gpu_pcie_errors_total.unsupported_request": ("pcie_unsupported_requests=69", 69),
    "gpu_pcie_errors_total.lcrc": ("pcie_lcrc_errors=71", 71),
    "gpu_pcie_errors_total.lane": ("pcie_lane_errors=72", 72),
    "gpu_fabric_state": ("fabric_state=2", 2),
    "gpu_fabric_status_code": ("fabric_status=999", 999),
}
CHANGES: dict[str, Change] = {
    **PLAIN,
    **{
        f"gpu_clock_event_active.{reason}": (f"clock_event_reasons={bit}", 1.0)
        for reason, bit in CLOCK_EVENT_REASONS.items()
    },
    "gpu_clock_event_active.gpu_idle": ("clock_event_reasons=4", 0.0),
    **{
        f"gpu_fabric_trouble_active.{trouble}": (f"fabric_health_mask={1 << shift}", 1.0)
        for trouble, shift in FABRIC_TROUBLES.items()
    },
    **{f"gpu_nvlink_up.{link}": (f"nvlink.{link}.state=0", 0.0) for link in range(MOST_NVLINKS)},
    **{
        f"gpu_nvlink_errors_total.{link}.{kind}": (f"nvlink.{link}.{kind}_errors={100 + link}", 100.0 + link)
        for kind in ("replay", "recovery", "crc")
        for link in range(MOST_NVLINKS)
    },
    **{
        f"gpu_nvlink_bytes_total.{link}.{way}": (f"nvlink.{link}.{way}_kib={200 + link}", (200.0 + link) * 1024)
        for way in ("tx", "rx")
        for link in range(MOST_NVLINKS)
    },
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, library: Path) -> Iterator[Shared]:
    played = PlayedNode(tmp_path_factory.mktemp("values"), library)
    with running(played) as exporter:
        yield played, exporter


def test_the_table_has_every_number_of_the_list() -> None:
    assert sorted(CHANGES) == sorted(one.key for one in SERIES)


@pytest.mark.parametrize("series", SERIES, ids=lambda one: one.key)
def test_a_change_is_seen_on_the_page_in_the_right_unit(shared: Shared, series: Series) -> None:
    played, exporter = shared
    line, expected = CHANGES[series.key]
    labels = {"gpu": str(GPU), **dict(series.labels)}

    def shown() -> float | None:
        return exporter.value(series.family.name, **labels)

    def changed() -> bool:
        value = shown()
        return value is not None and math.isclose(value, expected)

    wait_until(lambda: shown() is not None)  # what a GPU did not have is asked for again after a while
    wait_until(lambda: not changed())  # what another test has changed may still be on the page
    played.play(f"gpu.{GPU}.{line}\n")
    wait_until(changed)
    played.play("")
