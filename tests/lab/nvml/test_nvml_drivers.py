"""Builds that imitate older drivers, and what a GPU or a driver does not have."""

import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from played_nvml import SOURCES, PlayedNode, build

if TYPE_CHECKING:
    from conftest import Nvml

    Asking = Callable[[PlayedNode], AbstractContextManager[Nvml]]

AFTER_535 = {
    "nvmlDeviceGetGpuFabricInfoV",
    "nvmlDeviceGetNumaNodeId",
    "nvmlDeviceGetPciInfoExt",
    "nvmlDeviceGetProcessesUtilizationInfo",
}
AFTER_550 = {
    "nvmlDeviceGetMarginTemperature",
    "nvmlDeviceGetPlatformInfo",
    "nvmlDeviceGetRepairStatus",
    "nvmlDeviceGetTemperatureV",
}
PLATFORM = "versioned('nvmlDeviceGetPlatformInfo', n.c_nvmlPlatformInfo_v2_t, 2)"


def functions(library: Path) -> set[str]:
    shown = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1] for line in shown.splitlines()}


@pytest.mark.parametrize(
    ("driver", "lacking", "version", "cuda", "newest_field", "no_field"),
    [
        ("535", AFTER_535 | AFTER_550, "535.261.03", 12020, 198, 230),
        ("550", AFTER_550, "550.163.01", 12040, 198, 202),
    ],
)
def test_an_older_driver_lacks_what_came_later(
    tmp_path: Path,
    library: Path,
    ask: "Asking",
    driver: str,
    lacking: set[str],
    version: str,
    cuda: int,
    newest_field: int,
    no_field: int,
) -> None:
    (tmp_path / "old").mkdir()
    old = build(tmp_path / "old", driver)
    assert functions(library) - functions(old) == lacking
    played = PlayedNode(tmp_path, old)
    played.play("all.nvlink_version=7\n")
    with ask(played) as nvml:
        assert nvml("[n.nvmlSystemGetDriverVersion(), n.nvmlSystemGetCudaDriverVersion()]") == [version, cuda]
        assert nvml(f"[field(0, id)['code'] for id in (165, {newest_field}, {no_field})]") == [0, 0, 3]
        with pytest.raises(Exception, match="code 13"):
            nvml("n.nvmlDeviceGetTemperatureV(h(0), 0)")
        assert nvml("n.nvmlDeviceGetTemperature(h(0), 0)") < 40
        assert nvml("n.nvmlDeviceGetCurrentClocksEventReasons(h(0))") == 1


def test_a_driver_that_nobody_listed_is_refused(tmp_path: Path) -> None:
    command = ["sh", SOURCES / "build.sh", "--driver", "470", tmp_path / "lib.so"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "470 is not one of 535 and 550" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_inforom_that_is_corrupt(played: PlayedNode, nvml: "Nvml") -> None:
    assert nvml("n.nvmlDeviceValidateInforom(h(2))") is None
    played.play("gpu.2.inforom_valid=0\n")
    for call in ("nvmlDeviceValidateInforom", "nvmlDeviceGetInforomConfigurationChecksum"):
        with pytest.raises(Exception, match="code 14"):
            nvml(f"n.{call}(h(2))")
    assert nvml("n.nvmlDeviceValidateInforom(h(3))") is None


def test_what_a_board_does_not_have_is_not_supported_until_it_is_named(played: PlayedNode, nvml: "Nvml") -> None:
    power = "n.nvmlDeviceGetInforomVersion(h(2), n.NVML_INFOROM_POWER)"
    for call in (power, "n.nvmlDeviceGetNumaNodeId(h(2))", PLATFORM):
        with pytest.raises(Exception, match="code 3"):
            nvml(call)
    played.play("gpu.2.inforom_power=3.1\ngpu.2.numa_node=5\ngpu.2.platform_chassis_serial=1821\n")
    assert nvml(power) == "3.1"
    assert nvml("n.nvmlDeviceGetNumaNodeId(h(2))") == 5
    assert nvml("list(n.nvmlDeviceGetMemoryAffinity(h(2), 1, 0))") == [1 << 5]
    assert nvml(PLATFORM)["chassisSerialNumber"] == "1821"


def test_where_a_board_stands(played: PlayedNode, nvml: "Nvml") -> None:
    keys = {"slot": 4, "tray": 5, "host": 6, "peer_type": 1}
    text = "".join(f"gpu.2.platform_{key}={value}\n" for key, value in keys.items())
    played.play(f"{text}gpu.2.platform_ib_guid=0123456789abcdefgh\ngpu.2.module_id=3\n")
    found = nvml(PLATFORM)
    assert [ord(found[name]) for name in ("slotNumber", "trayIndex", "hostId", "peerType", "moduleId")] == [
        4,
        5,
        6,
        1,
        3,
    ]
    assert found["ibGuid"] == "0123456789abcdef", "as much of it as there is room for"


@pytest.mark.parametrize(
    ("function", "struct"),
    [
        ("nvmlDeviceGetGpuFabricInfoV", "c_nvmlGpuFabricInfo_v2_t"),
        ("nvmlDeviceGetSramEccErrorStatus", "c_nvmlEccSramErrorStatus_v1_t"),
        ("nvmlDeviceGetPlatformInfo", "c_nvmlPlatformInfo_v1_t"),
        ("nvmlDeviceGetPciInfoExt", "nvmlPciInfoExt_v1_t"),
    ],
)
def test_a_struct_of_another_version_is_refused(nvml: "Nvml", function: str, struct: str) -> None:
    with pytest.raises(Exception, match="code 25"):
        nvml(f"versioned('{function}', n.{struct}, 2, 0x09000008)")


def test_the_older_fabric_calls(played: PlayedNode, nvml: "Nvml") -> None:
    played.play("gpu.2.fabric_clique=9\ngpu.2.fabric_state=2\ngpu.2.fabric_health_mask=5\n")
    first = nvml("versioned('nvmlDeviceGetGpuFabricInfo', n.c_nvmlGpuFabricInfo_t, 2)")
    second = nvml("versioned('nvmlDeviceGetGpuFabricInfoV', n.c_nvmlGpuFabricInfo_v2_t, 2)")
    assert [first["cliqueId"], first["state"]] == [9, 2]
    assert [second["cliqueId"], second["state"], second["healthMask"]] == [9, 2, 5]


def test_throttle_time_grows_while_its_reason_holds(played: PlayedNode, nvml: "Nvml") -> None:
    since = f"gpu.2.throttle_since={time.time() - 100}\ngpu.2.throttle_hw_thermal_ns=7\n"
    played.play(f"gpu.2.clock_event_reasons=0x40\n{since}")
    counters = "[field(2, id)['value'] for id in (270, 75, 269, 271, 74)]"
    before = nvml(counters)
    after = nvml(counters)
    assert after[0] > before[0] > 100e9
    assert after[1] > before[1]
    assert [before[2:], after[2:]] == [[0, 0, 0], [0, 0, 0]], "of other reasons"
    played.play(since)
    assert nvml(counters) == [7, 0, 0, 0, 0]


def test_a_total_of_ecc_errors_and_its_places_agree(played: PlayedNode, nvml: "Nvml") -> None:
    of = "[n.nvmlDeviceGetMemoryErrorCounter(h(2), 1, {counter}, at) for at in range(8)]"
    played.play("gpu.2.ecc_uncorrected=10\ngpu.2.ecc_l2_uncorrected=3\ngpu.2.sram_parity=1\ngpu.2.sram_secded=1\n")
    assert nvml(of.format(counter=0)) == [0, 3, 5, 0, 0, 0, 0, 2]
    assert nvml(of.format(counter=1)) == [0, 3, 5, 0, 0, 0, 0, 2]
    played.play("gpu.2.ecc_l2_uncorrected=3\ngpu.2.ecc_dram_uncorrected=4\ngpu.2.ecc_aggregate_l1_uncorrected=5\n")
    assert nvml("[n.nvmlDeviceGetTotalEccErrors(h(2), 1, counter) for counter in (0, 1)]") == [7, 12]
