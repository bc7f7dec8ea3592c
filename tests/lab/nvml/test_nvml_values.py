"""Every value that a scenario sets, read back through the unmodified pynvml while the reading process runs on."""

from typing import TYPE_CHECKING

import pytest

from fleetward.lab import scenario

if TYPE_CHECKING:
    from conftest import Nvml
    from played_nvml import PlayedNode

GPU_VALUES = [
    ("minor_number", 5, "n.nvmlDeviceGetMinorNumber(h(2))", 5),
    ("utilization_percent", 37, "n.nvmlDeviceGetUtilizationRates(h(2)).gpu", 37),
    ("memory_utilization_percent", 21, "n.nvmlDeviceGetUtilizationRates(h(2)).memory", 21),
    ("memory_total_mib", 1000, "n.nvmlDeviceGetMemoryInfo(h(2)).total", 1000 * 1024**2),
    ("memory_reserved_mib", 100, "n.nvmlDeviceGetMemoryInfo(h(2), n.nvmlMemory_v2).reserved", 100 * 1024**2),
    ("memory_used_mib", 500, "n.nvmlDeviceGetMemoryInfo(h(2), n.nvmlMemory_v2).used", 500 * 1024**2),
    ("temperature", 91, "n.nvmlDeviceGetTemperature(h(2), 0)", 91),
    ("temperature", 92, "n.nvmlDeviceGetTemperatureV(h(2), 0)", 92),
    ("memory_temperature", 97, "field(2, 82)['value']", 97),
    ("power_watts", 432.1, "n.nvmlDeviceGetPowerUsage(h(2))", 432100),
    ("power_limit_watts", 500, "n.nvmlDeviceGetEnforcedPowerLimit(h(2))", 500000),
    ("power_limit_watts", 450, "n.nvmlDeviceGetPowerManagementLimit(h(2))", 450000),
    ("power_default_limit_watts", 650, "n.nvmlDeviceGetPowerManagementDefaultLimit(h(2))", 650000),
    ("energy_joules", 123456, "n.nvmlDeviceGetTotalEnergyConsumption(h(2))", 123456000),
    ("sm_clock_mhz", 1200, "n.nvmlDeviceGetClockInfo(h(2), n.NVML_CLOCK_SM)", 1200),
    ("memory_clock_mhz", 1593, "n.nvmlDeviceGetClockInfo(h(2), n.NVML_CLOCK_MEM)", 1593),
    ("max_sm_clock_mhz", 1755, "n.nvmlDeviceGetMaxClockInfo(h(2), n.NVML_CLOCK_SM)", 1755),
    ("max_memory_clock_mhz", 2400, "n.nvmlDeviceGetMaxClockInfo(h(2), n.NVML_CLOCK_MEM)", 2400),
    ("clock_event_reasons", "0x48", "n.nvmlDeviceGetCurrentClocksEventReasons(h(2))", 0x48),
    ("clock_event_reasons", "0x20", "n.nvmlDeviceGetCurrentClocksThrottleReasons(h(2))", 0x20),
    ("ecc_mode", 0, "n.nvmlDeviceGetEccMode(h(2))", [0, 0]),
    ("ecc_corrected", 11, "n.nvmlDeviceGetTotalEccErrors(h(2), 0, 0)", 11),
    ("ecc_uncorrected", 2, "n.nvmlDeviceGetTotalEccErrors(h(2), 1, 0)", 2),
    ("ecc_uncorrected", 4, "n.nvmlDeviceGetMemoryErrorCounter(h(2), 1, 0, 2)", 4),
    ("ecc_aggregate_corrected", 5000000000, "field(2, 5)['value']", 5000000000),
    ("ecc_aggregate_uncorrected", 7, "n.nvmlDeviceGetTotalEccErrors(h(2), 1, 1)", 7),
    ("retired_pages_corrected", 3, "len(n.nvmlDeviceGetRetiredPages(h(2), 0))", 3),
    ("retired_pages_uncorrected", 1, "len(n.nvmlDeviceGetRetiredPages(h(2), 1))", 1),
    ("retired_pages_pending", 1, "n.nvmlDeviceGetRetiredPagesPendingStatus(h(2))", 1),
    ("remapped_rows_corrected", 8, "n.nvmlDeviceGetRemappedRows(h(2))[0]", 8),
    ("remapped_rows_uncorrected", 9, "n.nvmlDeviceGetRemappedRows(h(2))[1]", 9),
    ("remapped_rows_pending", 1, "n.nvmlDeviceGetRemappedRows(h(2))[2]", 1),
    ("remapped_rows_failed", 1, "n.nvmlDeviceGetRemappedRows(h(2))[3]", 1),
    ("pcie_replays", 77, "n.nvmlDeviceGetPcieReplayCounter(h(2))", 77),
    ("pcie_generation", 3, "n.nvmlDeviceGetCurrPcieLinkGeneration(h(2))", 3),
    ("pcie_max_generation", 4, "n.nvmlDeviceGetMaxPcieLinkGeneration(h(2))", 4),
    ("pcie_width", 8, "n.nvmlDeviceGetCurrPcieLinkWidth(h(2))", 8),
    ("pcie_max_width", 4, "n.nvmlDeviceGetMaxPcieLinkWidth(h(2))", 4),
    ("nvlink_count", 12, "field(2, 91)['value']", 12),
    ("nvlink_down_mask", "0x20", "n.nvmlDeviceGetNvLinkState(h(2), 5)", 0),
    ("nvlink_replay_errors", 6, "field(2, 161, 0)['value']", 6),
    ("nvlink_recovery_errors", 5, "field(2, 162, 0)['value']", 5),
    ("nvlink_crc_errors", 4, "field(2, 163, 0)['value']", 4),
    ("mig_mode", 1, "n.nvmlDeviceGetMigMode(h(2))", [1, 1]),
    ("persistence_mode", 0, "n.nvmlDeviceGetPersistenceMode(h(2))", 0),
    ("recovery_action", 2, "field(2, 230)['value']", 2),
    ("name", "NVIDIA B200", "n.nvmlDeviceGetName(h(2))", "NVIDIA B200"),
    ("uuid", "GPU-of-a-test", "n.nvmlDeviceGetUUID(n.nvmlDeviceGetHandleByUUID('GPU-of-a-test'))", "GPU-of-a-test"),
    ("serial", "42", "n.nvmlDeviceGetSerial(h(2))", "42"),
    ("pci_bus_id", "0000000A:3B:00.0", "n.nvmlDeviceGetPciInfo(h(2)).busId", "0000000A:3B:00.0"),
    ("vbios_version", "1.2.3", "n.nvmlDeviceGetVbiosVersion(h(2))", "1.2.3"),
]
DRIVER_VALUES = [
    ("version", "535.1.2", "n.nvmlSystemGetDriverVersion()", "535.1.2"),
    ("nvml_version", "12.535.1", "n.nvmlSystemGetNVMLVersion()", "12.535.1"),
    ("cuda_version", 12020, "n.nvmlSystemGetCudaDriverVersion()", 12020),
    ("gpu_count", 4, "n.nvmlDeviceGetCount()", 4),
]
ASKED_ELSEWHERE = {"lost", "error", "delay_ms"}
DRIVER_ASKED_ELSEWHERE = {"loaded", "mismatch", "event_wait_error", "seed"}


def test_every_key_is_asked_for_somewhere() -> None:
    asked = {key for key, *_ in GPU_VALUES} | ASKED_ELSEWHERE
    assert asked == scenario.GPU_NUMBERS | scenario.GPU_TEXTS
    asked = {key for key, *_ in DRIVER_VALUES} | DRIVER_ASKED_ELSEWHERE
    assert asked == scenario.DRIVER_NUMBERS | scenario.DRIVER_TEXTS


@pytest.mark.parametrize(("key", "value", "expression", "expected"), GPU_VALUES)
def test_a_value_of_one_gpu(
    played: "PlayedNode", nvml: "Nvml", key: str, value: object, expression: str, expected: object
) -> None:
    assert nvml(expression.replace("n.nvmlDeviceGetHandleByUUID('GPU-of-a-test')", "h(2)")) != expected
    played.play(f"gpu.2.{key}={value}\n")
    assert nvml(expression) == expected
    if "h(2)" in expression:
        assert nvml(expression.replace("h(2)", "h(3)")) != expected, "only GPU 2 was changed"


@pytest.mark.parametrize(("key", "value", "expression", "expected"), DRIVER_VALUES)
def test_a_value_of_the_driver(
    played: "PlayedNode", nvml: "Nvml", key: str, value: object, expression: str, expected: object
) -> None:
    assert nvml(expression) != expected
    played.play(f"driver.{key}={value}\n")
    assert nvml(expression) == expected


def test_a_value_of_all_gpus(played: "PlayedNode", nvml: "Nvml") -> None:
    played.play("all.temperature=77\ngpu.1.temperature=33\n")
    assert nvml("[n.nvmlDeviceGetTemperature(h(i), 0) for i in range(8)]") == [77, 33, 77, 77, 77, 77, 77, 77]


def test_the_scenario_goes_over_the_defaults_and_its_end_brings_them_back(played: "PlayedNode", nvml: "Nvml") -> None:
    played.play_defaults("driver.gpu_count=4\nall.power_limit_watts=350\n")
    played.play("gpu.0.power_limit_watts=300\n")
    limits = "[n.nvmlDeviceGetEnforcedPowerLimit(h(i)) for i in range(n.nvmlDeviceGetCount())]"
    assert nvml(limits) == [300000, 350000, 350000, 350000]
    (played.folder / "scenario.conf").unlink()
    assert nvml(limits) == [350000] * 4


@pytest.mark.parametrize(
    "bad",
    [
        "gpu.2.temperature=hot",
        "gpu.2.temperature=",
        "gpu.2.temperature=1e999",
        "gpu.2.temperature=-5",
        "gpu.2.temperature=nan",
        "gpu.99.temperature=1",
        "gpu..temperature=1",
        "gpu.2.nothing=1",
        "nonsense",
        "=",
        "gpu.2.name=" + "x" * 5000,
        "gpu.2.name=" + "x" * 200,
        "\x00\x01\x02=\xff",
    ],
)
def test_a_bad_line_changes_nothing_and_the_others_count(played: "PlayedNode", nvml: "Nvml", bad: str) -> None:
    played.play("gpu.2.temperature=55\n")
    name = nvml("n.nvmlDeviceGetName(h(2))")
    assert nvml("n.nvmlDeviceGetTemperature(h(2), 0)") == 55
    kept = "" if bad.startswith("gpu.2.temperature") else "gpu.2.temperature=55\n"
    played.play(f"{bad}\n{kept}gpu.3.temperature=66\n")
    assert nvml("n.nvmlDeviceGetTemperature(h(2), 0)") == 55
    assert nvml("n.nvmlDeviceGetTemperature(h(3), 0)") == 66
    assert nvml("n.nvmlDeviceGetName(h(2))") == name


def test_a_scenario_that_python_renders_is_one_that_the_library_reads(played: "PlayedNode", nvml: "Nvml") -> None:
    asked = scenario.Scenario().with_gpu(None, temperature=40).with_gpu(6, temperature=88, name="NVIDIA H200")
    played.play(asked.with_driver(version="560.1").render())
    assert nvml("[n.nvmlDeviceGetTemperature(h(i), 0) for i in (5, 6)]") == [40, 88]
    assert nvml("[n.nvmlDeviceGetName(h(6)), n.nvmlSystemGetDriverVersion()]") == ["NVIDIA H200", "560.1"]
