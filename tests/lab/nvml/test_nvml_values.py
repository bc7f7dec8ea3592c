"""Every value that a scenario sets, read back through the unmodified pynvml while the reading process runs on."""

import re
from typing import TYPE_CHECKING

import pytest

from fleetward.lab import scenario
from fleetward.lab.scenario_keys import keys

if TYPE_CHECKING:
    from conftest import Nvml
    from played_nvml import PlayedNode

    Shared = tuple[PlayedNode, Nvml]

Row = tuple[str, object, str, object]
"""A key, its value in the scenario, what is asked of pynvml (about GPU 2), and the answer in NVML's own unit."""

MIB = 1024**2
SRAM = "versioned('nvmlDeviceGetSramEccErrorStatus', n.c_nvmlEccSramErrorStatus_v1_t, 2)"
FABRIC = "versioned('nvmlDeviceGetGpuFabricInfoV', n.c_nvmlGpuFabricInfo_v3_t, 2)"


def fields(number: int, ids: dict[str, int], scope: int = 0) -> list[Row]:
    """Return rows of keys that one field each shows, with values that differ from each other."""
    return [(key, number + id, f"field(2, {id}, {scope})['value']", number + id) for key, id in ids.items()]


IDENTITY: list[Row] = [
    ("minor_number", 5, "n.nvmlDeviceGetMinorNumber(h(2))", 5),
    ("architecture", 10, "n.nvmlDeviceGetArchitecture(h(2))", 10),
    ("brand", 2, "n.nvmlDeviceGetBrand(h(2))", 2),
    ("compute_capability", 10.3, "n.nvmlDeviceGetCudaComputeCapability(h(2))", [10, 3]),
    ("core_count", 14592, "n.nvmlDeviceGetNumGpuCores(h(2))", 14592),
    ("memory_bus_bits", 6144, "n.nvmlDeviceGetMemoryBusWidth(h(2))", 6144),
    ("board_id", 4321, "n.nvmlDeviceGetBoardId(h(2))", 4321),
    ("module_id", 7, "n.nvmlDeviceGetModuleId(h(2))", 7),
    ("fan_count", 2, "n.nvmlDeviceGetNumFans(h(2))", 2),
    ("persistence_mode", 0, "n.nvmlDeviceGetPersistenceMode(h(2))", 0),
    ("compute_mode", 3, "n.nvmlDeviceGetComputeMode(h(2))", 3),
    ("display_active", 1, "n.nvmlDeviceGetDisplayActive(h(2))", 1),
    ("power_source", 2, "n.nvmlDeviceGetPowerSource(h(2))", 2),
    ("gsp_mode", 0, "n.nvmlDeviceGetGspFirmwareMode(h(2))", [0, 1]),
    ("mig_mode", 1, "n.nvmlDeviceGetMigMode(h(2))", [1, 1]),
    ("mig_mode_pending", 1, "n.nvmlDeviceGetMigMode(h(2))", [0, 1]),
    ("ecc_mode", 0, "n.nvmlDeviceGetEccMode(h(2))", [0, 0]),
    ("ecc_mode_pending", 0, "n.nvmlDeviceGetEccMode(h(2))", [1, 0]),
    ("ecc_mode_pending", 0, "field(2, 2)['value']", 0),
    ("inforom_checksum", 77, "n.nvmlDeviceGetInforomConfigurationChecksum(h(2))", 77),
    ("name", "NVIDIA B200", "n.nvmlDeviceGetName(h(2))", "NVIDIA B200"),
    ("uuid", "GPU-of-a-test", "n.nvmlDeviceGetUUID(h(2))", "GPU-of-a-test"),
    ("serial", "42", "n.nvmlDeviceGetSerial(h(2))", "42"),
    ("pci_bus_id", "0000000A:3B:00.0", "n.nvmlDeviceGetPciInfo(h(2)).busId", "0000000A:3B:00.0"),
    ("vbios_version", "1.2.3", "n.nvmlDeviceGetVbiosVersion(h(2))", "1.2.3"),
    ("board_part_number", "900-X", "n.nvmlDeviceGetBoardPartNumber(h(2))", "900-X"),
    ("inforom_image", "G1", "n.nvmlDeviceGetInforomImageVersion(h(2))", "G1"),
    ("inforom_oem", "9.1", "n.nvmlDeviceGetInforomVersion(h(2), n.NVML_INFOROM_OEM)", "9.1"),
    ("inforom_ecc", "9.2", "n.nvmlDeviceGetInforomVersion(h(2), n.NVML_INFOROM_ECC)", "9.2"),
    ("gsp_version", "560.1", "n.nvmlDeviceGetGspFirmwareVersion(h(2)).decode()", "560.1"),
    ("recovery_action", 2, "field(2, 230)['value']", 2),
    ("repair_channel_pending", 1, "n.nvmlDeviceGetRepairStatus(h(2))", [1, 0]),
    ("repair_tpc_pending", 1, "n.nvmlDeviceGetRepairStatus(h(2))", [0, 1]),
]
LOAD: list[Row] = [
    ("utilization_percent", 37, "n.nvmlDeviceGetUtilizationRates(h(2)).gpu", 37),
    ("utilization_percent", 36, "n.nvmlDeviceGetDynamicPstatesInfo(h(2)).utilization[0].percentage", 36),
    ("memory_utilization_percent", 21, "n.nvmlDeviceGetUtilizationRates(h(2)).memory", 21),
    ("encoder_percent", 11, "n.nvmlDeviceGetEncoderUtilization(h(2))[0]", 11),
    ("decoder_percent", 12, "n.nvmlDeviceGetDecoderUtilization(h(2))[0]", 12),
    ("jpeg_percent", 13, "n.nvmlDeviceGetJpgUtilization(h(2))[0]", 13),
    ("optical_flow_percent", 14, "n.nvmlDeviceGetOfaUtilization(h(2))[0]", 14),
    ("memory_total_mib", 1000, "n.nvmlDeviceGetMemoryInfo(h(2)).total", 1000 * MIB),
    ("memory_reserved_mib", 100, "n.nvmlDeviceGetMemoryInfo(h(2), n.nvmlMemory_v2).reserved", 100 * MIB),
    ("memory_used_mib", 500, "n.nvmlDeviceGetMemoryInfo(h(2), n.nvmlMemory_v2).used", 500 * MIB),
    ("bar1_total_mib", 65536, "n.nvmlDeviceGetBAR1MemoryInfo(h(2)).bar1Total", 65536 * MIB),
    ("bar1_used_mib", 17, "n.nvmlDeviceGetBAR1MemoryInfo(h(2)).bar1Used", 17 * MIB),
    ("temperature", 91, "n.nvmlDeviceGetTemperature(h(2), 0)", 91),
    ("temperature", 92, "n.nvmlDeviceGetTemperatureV(h(2), 0)", 92),
    ("temperature", 93, "n.nvmlDeviceGetThermalSettings(h(2), 0)[0].currentTemp", 93),
    ("temperature", 80, "n.nvmlDeviceGetMarginTemperature(h(2))", 7),
    ("margin_temperature", -3, "n.nvmlDeviceGetMarginTemperature(h(2))", -3),
    ("memory_temperature", 97, "field(2, 82)['value']", 97),
    ("threshold_shutdown", 99, "n.nvmlDeviceGetTemperatureThreshold(h(2), 0)", 99),
    ("threshold_slowdown", 98, "n.nvmlDeviceGetTemperatureThreshold(h(2), 1)", 98),
    ("threshold_memory_max", 97, "n.nvmlDeviceGetTemperatureThreshold(h(2), 2)", 97),
    ("threshold_gpu_max", 96, "n.nvmlDeviceGetTemperatureThreshold(h(2), 3)", 96),
    *fields(-300, {"tlimit_shutdown": 193, "tlimit_slowdown": 194, "tlimit_memory_max": 195, "tlimit_gpu_max": 196}),
    ("power_watts", 432.1, "n.nvmlDeviceGetPowerUsage(h(2))", 432100),
    ("power_watts", 333, "field(2, 186)['value']", 333000),
    ("power_average_watts", 222, "field(2, 185)['value']", 222000),
    ("power_limit_watts", 500, "n.nvmlDeviceGetEnforcedPowerLimit(h(2))", 500000),
    ("power_limit_watts", 450, "n.nvmlDeviceGetPowerManagementLimit(h(2))", 450000),
    ("power_enforced_limit_watts", 460, "n.nvmlDeviceGetEnforcedPowerLimit(h(2))", 460000),
    ("power_default_limit_watts", 650, "n.nvmlDeviceGetPowerManagementDefaultLimit(h(2))", 650000),
    ("power_min_limit_watts", 150, "n.nvmlDeviceGetPowerManagementLimitConstraints(h(2))[0]", 150000),
    ("power_max_limit_watts", 750, "n.nvmlDeviceGetPowerManagementLimitConstraints(h(2))[1]", 750000),
    ("power_management_mode", 0, "n.nvmlDeviceGetPowerManagementMode(h(2))", 0),
    ("energy_joules", 123456, "n.nvmlDeviceGetTotalEnergyConsumption(h(2))", 123456000),
    ("energy_joules", 23456, "field(2, 83)['value']", 23456000),
]
GPM = {
    **{1: "graphics", 2: "sm", 3: "sm_occupancy", 4: "integer", 5: "tensor", 6: "dfma_tensor", 7: "hmma_tensor"},
    **{8: "dmma_tensor", 9: "imma_tensor", 10: "dram", 11: "fp64", 12: "fp32", 13: "fp16"},
}
GPM_RATES = {20: "pcie_tx", 21: "pcie_rx", 60: "nvlink_rx", 61: "nvlink_tx"}
LOAD += [(f"gpm_{name}_percent", 40.5 + id, f"gpm(2, {id})", [40.5 + id]) for id, name in GPM.items()]
LOAD += [(f"gpm_{name}_mib_per_second", 500.5 + id, f"gpm(2, {id})", [500.5 + id]) for id, name in GPM_RATES.items()]
POLICIES = ("power", "thermal", "sync_boost", "board_limit", "low_utilization", "reliability")
CLOCKS: list[Row] = [
    ("performance_state", 2, "n.nvmlDeviceGetPerformanceState(h(2))", 2),
    ("performance_state", 3, "n.nvmlDeviceGetPowerState(h(2))", 3),
    ("sm_clock_mhz", 1200, "n.nvmlDeviceGetClockInfo(h(2), n.NVML_CLOCK_SM)", 1200),
    ("graphics_clock_mhz", 1210, "n.nvmlDeviceGetClockInfo(h(2), n.NVML_CLOCK_GRAPHICS)", 1210),
    ("video_clock_mhz", 1220, "n.nvmlDeviceGetClockInfo(h(2), n.NVML_CLOCK_VIDEO)", 1220),
    ("memory_clock_mhz", 1593, "n.nvmlDeviceGetClockInfo(h(2), n.NVML_CLOCK_MEM)", 1593),
    ("max_sm_clock_mhz", 1755, "n.nvmlDeviceGetMaxClockInfo(h(2), n.NVML_CLOCK_SM)", 1755),
    ("max_memory_clock_mhz", 2400, "n.nvmlDeviceGetMaxClockInfo(h(2), n.NVML_CLOCK_MEM)", 2400),
    ("application_sm_clock_mhz", 1500, "n.nvmlDeviceGetApplicationsClock(h(2), n.NVML_CLOCK_SM)", 1500),
    ("application_memory_clock_mhz", 1600, "n.nvmlDeviceGetApplicationsClock(h(2), n.NVML_CLOCK_MEM)", 1600),
    ("clock_event_reasons", "0x48", "n.nvmlDeviceGetCurrentClocksEventReasons(h(2))", 0x48),
    ("clock_event_reasons", "0x20", "n.nvmlDeviceGetCurrentClocksThrottleReasons(h(2))", 0x20),
    ("supported_clock_event_reasons", "0xff", "n.nvmlDeviceGetSupportedClocksEventReasons(h(2))", 0xFF),
    *fields(9000, {f"throttle_{name}_ns": 74 + place for place, name in enumerate(POLICIES)}),
    *fields(9000, {"throttle_application_clocks_ns": 80, "throttle_base_clocks_ns": 81}),
    *fields(9000, {"throttle_sw_thermal_ns": 269, "throttle_hw_thermal_ns": 270, "throttle_power_brake_ns": 271}),
    ("throttle_thermal_ns", 5000000000, "n.nvmlDeviceGetViolationStatus(h(2), 1).violationTime", 5000000000),
]
PLACES = ("l1", "l2", "dram", "register", "texture", "shared", "cbu", "sram")
MEMORY: list[Row] = [
    (
        f"ecc_{age}{place}_{kind}",
        100 + at,
        f"n.nvmlDeviceGetMemoryErrorCounter(h(2), {error}, {counter}, {at})",
        100 + at,
    )
    for at, place in enumerate(PLACES)
    for counter, age in enumerate(("", "aggregate_"))
    for error, kind in enumerate(("corrected", "uncorrected"))
]
MEMORY += [
    ("ecc_corrected", 11, "n.nvmlDeviceGetTotalEccErrors(h(2), 0, 0)", 11),
    ("ecc_uncorrected", 2, "n.nvmlDeviceGetTotalEccErrors(h(2), 1, 0)", 2),
    ("ecc_aggregate_uncorrected", 7, "n.nvmlDeviceGetTotalEccErrors(h(2), 1, 1)", 7),
    *fields(5000000000, {"ecc_corrected": 3, "ecc_uncorrected": 4}),
    *fields(5000000000, {"ecc_aggregate_corrected": 5, "ecc_aggregate_uncorrected": 6}),
    *fields(
        60, {"ecc_l1_corrected": 7, "ecc_l2_uncorrected": 10, "ecc_dram_corrected": 11, "ecc_register_corrected": 13}
    ),
    *fields(60, {"ecc_cbu_uncorrected": 17, "ecc_aggregate_l1_corrected": 18, "ecc_aggregate_texture_uncorrected": 27}),
    ("sram_parity", 3, f"{SRAM}['volatileUncParity']", 3),
    ("sram_secded", 4, f"{SRAM}['volatileUncSecDed']", 4),
    ("sram_aggregate_parity", 5, f"{SRAM}['aggregateUncParity']", 5),
    ("sram_aggregate_secded", 6, f"{SRAM}['aggregateUncSecDed']", 6),
    ("ecc_sram_corrected", 9, f"{SRAM}['volatileCor']", 9),
    ("sram_bucket_l2", 11, f"{SRAM}['aggregateUncBucketL2']", 11),
    ("sram_bucket_sm", 12, f"{SRAM}['aggregateUncBucketSm']", 12),
    ("sram_bucket_pcie", 13, f"{SRAM}['aggregateUncBucketPcie']", 13),
    ("sram_bucket_mcu", 14, f"{SRAM}['aggregateUncBucketMcu']", 14),
    ("sram_bucket_other", 15, f"{SRAM}['aggregateUncBucketOther']", 15),
    ("sram_threshold_exceeded", 1, f"{SRAM}['bThresholdExceeded']", 1),
    ("retired_pages_corrected", 3, "len(n.nvmlDeviceGetRetiredPages(h(2), 0))", 3),
    ("retired_pages_uncorrected", 1, "len(n.nvmlDeviceGetRetiredPages_v2(h(2), 1))", 1),
    ("retired_pages_pending", 1, "n.nvmlDeviceGetRetiredPagesPendingStatus(h(2))", 1),
    ("remapped_rows_corrected", 8, "n.nvmlDeviceGetRemappedRows(h(2))[0]", 8),
    ("remapped_rows_uncorrected", 9, "n.nvmlDeviceGetRemappedRows(h(2))[1]", 9),
    ("remapped_rows_pending", 1, "n.nvmlDeviceGetRemappedRows(h(2))[2]", 1),
    ("remapped_rows_failed", 1, "n.nvmlDeviceGetRemappedRows(h(2))[3]", 1),
    *fields(7, {"remapped_rows_corrected": 142, "remapped_rows_uncorrected": 143}),
    ("remapped_rows_pending", 1, "field(2, 144)['value']", 1),
    ("remapped_rows_failed", 1, "field(2, 145)['value']", 1),
]
BANKS = ("max", "high", "partial", "low", "none")
MEMORY += [(f"remap_banks_{name}", 33, f"n.nvmlDeviceGetRowRemapperHistogram(h(2)).{name}", 33) for name in BANKS]
LINKS: list[Row] = [
    ("pcie_generation", 3, "n.nvmlDeviceGetCurrPcieLinkGeneration(h(2))", 3),
    ("pcie_generation", 4, "n.nvmlDeviceGetPcieSpeed(h(2))", 16000),
    ("pcie_max_generation", 4, "n.nvmlDeviceGetMaxPcieLinkGeneration(h(2))", 4),
    ("pcie_width", 8, "n.nvmlDeviceGetCurrPcieLinkWidth(h(2))", 8),
    ("pcie_max_width", 4, "n.nvmlDeviceGetMaxPcieLinkWidth(h(2))", 4),
    ("pcie_replays", 77, "n.nvmlDeviceGetPcieReplayCounter(h(2))", 77),
    *fields(9, {"pcie_replays": 94, "pcie_replay_rollovers": 95, "pcie_l0_to_recovery": 169}),
    *fields(9, {"pcie_correctable_errors": 173, "pcie_naks_received": 174, "pcie_receiver_errors": 175}),
    *fields(9, {"pcie_bad_tlps": 176, "pcie_naks_sent": 177, "pcie_bad_dllps": 178, "pcie_non_fatal_errors": 179}),
    *fields(9, {"pcie_fatal_errors": 180, "pcie_unsupported_requests": 181, "pcie_lcrc_errors": 182}),
    *fields(9, {"pcie_lane_errors": 183}),
    *fields(6000000000, {"pcie_tx_bytes": 197, "pcie_rx_bytes": 198}),
    ("pcie_tx_kb_per_second", 900, "n.nvmlDeviceGetPcieThroughput(h(2), 0)", 900),
    ("pcie_rx_kb_per_second", 901, "n.nvmlDeviceGetPcieThroughput(h(2), 1)", 901),
    ("nvlink_count", 12, "field(2, 91)['value']", 12),
    ("nvlink_version", 5, "n.nvmlDeviceGetNvLinkVersion(h(2), 3)", 5),
    ("nvlink_down_mask", "0x20", "n.nvmlDeviceGetNvLinkState(h(2), 5)", 0),
    ("nvlink_replay_errors", 6, "field(2, 161, 0)['value']", 6),
    ("nvlink_recovery_errors", 5, "field(2, 162, 0)['value']", 5),
    ("nvlink_crc_errors", 4, "field(2, 163, 0)['value']", 4),
    ("fabric_state", 1, f"{FABRIC}['state']", 1),
    ("fabric_status", 999, f"{FABRIC}['status']", 999),
    ("fabric_clique", 17, f"{FABRIC}['cliqueId']", 17),
    ("fabric_health_mask", "0x155", f"{FABRIC}['healthMask']", 0x155),
    ("fabric_health_summary", 2, f"{FABRIC}['healthSummary']", 2),
    ("fabric_cluster_uuid", "01020304-0506-0708-090a-0b0c0d0e0f10", f"{FABRIC}['clusterUuid']", list(range(1, 17))),
]
ROWS = IDENTITY + LOAD + CLOCKS + MEMORY + LINKS
DRIVER_ROWS: list[Row] = [
    ("version", "535.1.2", "n.nvmlSystemGetDriverVersion()", "535.1.2"),
    ("nvml_version", "12.535.1", "n.nvmlSystemGetNVMLVersion()", "12.535.1"),
    ("cuda_version", 12020, "n.nvmlSystemGetCudaDriverVersion()", 12020),
    ("gpu_count", 4, "n.nvmlDeviceGetCount()", 4),
    ("event_types", 8, "n.nvmlDeviceGetSupportedEventTypes(h(2))", 8),
]
ASKED_ELSEWHERE = {
    "lost",
    "error",
    "delay_ms",
    "hang",
    "mig",
    "mig_encoders",
    "numa_node",
    "inforom_valid",
    "inforom_power",
}
ASKED_ELSEWHERE |= {"throttle_since", "platform_slot", "platform_tray", "platform_host", "platform_peer_type"}
ASKED_ELSEWHERE |= {"platform_ib_guid", "platform_chassis_serial"}
DRIVER_ASKED_ELSEWHERE = {"loaded", "mismatch", "event_wait_error", "seed", "hang", "delay_ms"}


def test_every_key_is_asked_for_somewhere() -> None:
    asked = {key for key, *_ in ROWS} | ASKED_ELSEWHERE
    assert asked == set(keys().gpu_numbers) | keys().gpu_texts
    asked = {key for key, *_ in DRIVER_ROWS} | DRIVER_ASKED_ELSEWHERE
    assert asked == set(keys().driver_numbers) | keys().driver_texts


@pytest.mark.parametrize(("key", "value", "expression", "expected"), ROWS)
def test_a_value_of_one_gpu(shared: "Shared", key: str, value: object, expression: str, expected: object) -> None:
    played, nvml = shared
    other = re.sub(r"(versioned\(.*, |h\(|field\(|gpm\()2\b", r"\g<1>3", expression)
    assert other != expression
    played.play("")
    assert nvml(expression) != expected
    played.play(scenario.Scenario().with_gpu(2, **{key: value}).render())  # type: ignore[dict-item]  # rows are mixed
    assert nvml(expression) == expected
    assert nvml(other) != expected, "only GPU 2 was changed"


@pytest.mark.parametrize(("key", "value", "expression", "expected"), DRIVER_ROWS)
def test_a_value_of_the_driver(shared: "Shared", key: str, value: object, expression: str, expected: object) -> None:
    played, nvml = shared
    played.play("")
    assert nvml(expression) != expected
    played.play(f"driver.{key}={value}\n")
    assert nvml(expression) == expected
