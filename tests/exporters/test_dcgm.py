"""The GPUs through DCGM's host engine, which NVIDIA's Python bindings reach; both are played (played_dcgm/)."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from played_exporter import Exporter, running, wait_until
from played_nvml import PlayedNode

from fleetward.exporters.gpu.dcgm import Dcgm
from fleetward.exporters.gpu.dcgm_connection import RECONNECT_SECONDS, load_bindings
from fleetward.exporters.gpu.dcgm_names import DCGM_NAMES
from fleetward.exporters.gpu.dcgm_table import DEVICE, PROFILING
from fleetward.exporters.gpu.readings import CallError, GpuReading
from fleetward.exporters.gpu.series_health import FABRIC_TROUBLES
from fleetward.exporters.gpu.series_list import BY_KEY
from fleetward.exporters.gpu.series_load import CLOCK_EVENT_REASONS
from fleetward.model.errors import OutOfReachError

BINDINGS = Path(__file__).parent / "played_dcgm"
MODULES = ("dcgm_agent", "dcgm_structs", "dcgm_fields")
MIB = 1024**2

Played = tuple[int, float, float]
"""A field, the number that DCGM has, and the number that it becomes."""

PLAIN: dict[str, Played] = {
    "gpu_utilization_ratio": (203, 37, 0.37),
    "gpu_memory_utilization_ratio": (204, 21, 0.21),
    "gpu_engine_utilization_ratio.encoder": (206, 11, 0.11),
    "gpu_engine_utilization_ratio.decoder": (207, 12, 0.12),
    "gpu_memory_total_bytes": (250, 81559, 81559 * MIB),
    "gpu_memory_free_bytes": (251, 80000, 80000 * MIB),
    "gpu_memory_used_bytes": (252, 1008, 1008 * MIB),
    "gpu_memory_reserved_bytes": (253, 551, 551 * MIB),
    "gpu_bar1_memory_bytes.total": (90, 131072, 131072 * MIB),
    "gpu_bar1_memory_bytes.used": (92, 7, 7 * MIB),
    "gpu_temperature_celsius": (150, 61, 61),
    "gpu_memory_temperature_celsius": (140, 71, 71),
    "gpu_temperature_margin_celsius": (153, -3, -3),
    "gpu_temperature_limit_celsius.shutdown": (159, 92, 92),
    "gpu_temperature_limit_celsius.slowdown": (158, 89, 89),
    "gpu_temperature_limit_celsius.memory_max": (151, 95, 95),
    "gpu_temperature_limit_celsius.gpu_max": (152, 87, 87),
    "gpu_power_watts": (155, 432.125, 432.125),
    "gpu_power_instant_watts": (157, 512.5, 512.5),
    "gpu_power_limit_watts": (164, 690, 690),
    "gpu_power_limit_setting_watts.requested": (160, 680, 680),
    "gpu_power_limit_setting_watts.min": (161, 200, 200),
    "gpu_power_limit_setting_watts.max": (162, 710, 710),
    "gpu_power_limit_setting_watts.default": (163, 700, 700),
    "gpu_energy_joules_total": (156, 123456789, 123456.789),
    "gpu_sm_clock_hertz": (100, 1980, 1.98e9),
    "gpu_memory_clock_hertz": (101, 2619, 2.619e9),
    "gpu_video_clock_hertz": (102, 1545, 1.545e9),
    "gpu_sm_clock_max_hertz": (113, 1981, 1.981e9),
    "gpu_memory_clock_max_hertz": (114, 2620, 2.62e9),
    "gpu_video_clock_max_hertz": (115, 1546, 1.546e9),
    "gpu_graphics_clock_application_hertz": (110, 1979, 1.979e9),
    "gpu_memory_clock_application_hertz": (111, 2618, 2.618e9),
    "gpu_performance_state": (190, 2, 2),
    "gpu_clock_event_seconds_total.sw_power_cap": (240, 1_500_000_000, 1.5),
    "gpu_clock_event_seconds_total.thermal": (241, 2_500_000_000, 2.5),
    "gpu_clock_event_seconds_total.sync_boost": (242, 3_500_000_000, 3.5),
    "gpu_clock_event_seconds_total.board_limit": (243, 4_500_000_000, 4.5),
    "gpu_clock_event_seconds_total.low_utilization": (244, 5_500_000_000, 5.5),
    "gpu_clock_event_seconds_total.reliability": (245, 6_500_000_000, 6.5),
    "gpu_clock_event_seconds_total.application_clocks": (246, 7_500_000_000, 7.5),
    "gpu_clock_event_seconds_total.base_clocks": (247, 8_500_000_000, 8.5),
    "gpu_clock_event_seconds_total.sw_thermal_slowdown": (1422, 9_500_000_000, 9.5),
    "gpu_clock_event_seconds_total.hw_thermal_slowdown": (1423, 10_500_000_000, 10.5),
    "gpu_clock_event_seconds_total.hw_power_brake": (1424, 11_500_000_000, 11.5),
    "gpu_ecc_enabled": (300, 1, 1),
    "gpu_ecc_enabled_pending": (301, 0, 0),
    "gpu_mig_enabled": (67, 1, 1),
    "gpu_persistence_enabled": (66, 1, 1),
    "gpu_compute_mode": (65, 2, 3),  # both for one process alone
    "gpu_ecc_errors_total.corrected": (310, 5_000_000_000, 5e9),
    "gpu_ecc_errors_total.uncorrected": (311, 2, 2),
    "gpu_ecc_lifetime_errors_total.corrected": (312, 3, 3),
    "gpu_ecc_lifetime_errors_total.uncorrected": (313, 4, 4),
    "gpu_ecc_location_errors_total.dram.corrected": (318, 5, 5),
    "gpu_ecc_location_errors_total.dram.uncorrected": (319, 6, 6),
    "gpu_ecc_location_errors_total.sram.corrected": (342, 7, 7),
    "gpu_ecc_location_errors_total.sram.uncorrected": (343, 8, 8),
    "gpu_ecc_location_lifetime_errors_total.dram.corrected": (328, 9, 9),
    "gpu_ecc_location_lifetime_errors_total.dram.uncorrected": (329, 10, 10),
    "gpu_ecc_location_lifetime_errors_total.sram.corrected": (344, 11, 11),
    "gpu_ecc_location_lifetime_errors_total.sram.uncorrected": (345, 12, 12),
    "gpu_sram_ecc_threshold_active": (346, 1, 1),
    "gpu_remapped_rows.corrected": (394, 13, 13),
    "gpu_remapped_rows.uncorrected": (393, 14, 14),
    "gpu_row_remap_pending": (396, 1, 1),
    "gpu_row_remap_failed": (395, 1, 1),
    "gpu_memory_banks.max": (385, 640, 640),
    "gpu_memory_banks.high": (386, 15, 15),
    "gpu_memory_banks.partial": (387, 16, 16),
    "gpu_memory_banks.low": (388, 17, 17),
    "gpu_memory_banks.none": (389, 18, 18),
    "gpu_retired_pages.corrected": (390, 19, 19),
    "gpu_retired_pages.uncorrected": (391, 20, 20),
    "gpu_retired_pages_pending": (392, 1, 1),
    "gpu_recovery_action": (1523, 2, 2),
    "gpu_pcie_replay_total": (202, 21, 21),
    "gpu_pcie_link_generation": (237, 4, 4),
    "gpu_pcie_link_generation_max": (235, 5, 5),
    "gpu_pcie_link_width": (238, 8, 8),
    "gpu_pcie_link_width_max": (236, 16, 16),
    "gpu_pcie_errors_total.correctable": (1501, 22, 22),
    "gpu_fabric_state": (170, 4, 3),  # DCGM: it failed; NVML: it is over
    "gpu_fabric_status_code": (170, 4, 999),
    "gpu_active_ratio.graphics": (1001, 0.31, 0.31),
    "gpu_active_ratio.sm": (1002, 0.32, 0.32),
    "gpu_active_ratio.sm_occupancy": (1003, 0.33, 0.33),
    "gpu_active_ratio.tensor": (1004, 0.34, 0.34),
    "gpu_active_ratio.dram": (1005, 0.35, 0.35),
    "gpu_active_ratio.fp64": (1006, 0.36, 0.36),
    "gpu_active_ratio.fp32": (1007, 0.37, 0.37),
    "gpu_active_ratio.fp16": (1008, 0.38, 0.38),
    "gpu_active_ratio.integer": (1016, 0.39, 0.39),
    "gpu_traffic_bytes_per_second.pcie_tx": (1009, 51_000_000_000, 51e9),
    "gpu_traffic_bytes_per_second.pcie_rx": (1010, 52_000_000_000, 52e9),
    "gpu_traffic_bytes_per_second.nvlink_tx": (1011, 53_000_000_000, 53e9),
    "gpu_traffic_bytes_per_second.nvlink_rx": (1012, 54_000_000_000, 54e9),
}
REPLAYS = (420, 421, 422, 423, 424, 425, 463, 464, 465, 466, 467, 468, 426, 427, 428, 487, 488, 489)
RECOVERIES = (430, 431, 432, 433, 434, 435, 469, 470, 471, 472, 473, 474, 436, 437, 438, 491, 492, 493)
VALUES: dict[str, Played] = {
    **PLAIN,
    **{
        f"gpu_clock_event_active.{reason}": (112, 0x44, float(bool(0x44 & bit)))
        for reason, bit in CLOCK_EVENT_REASONS.items()
    },
    **{f"gpu_fabric_trouble_active.{word}": (174, 0x12, float(at == 4)) for word, at in FABRIC_TROUBLES.items()},
    **{f"gpu_nvlink_errors_total.{link}.replay": (one, 100 + link, 100 + link) for link, one in enumerate(REPLAYS)},
    **{
        f"gpu_nvlink_errors_total.{link}.recovery": (one, 200 + link, 200 + link) for link, one in enumerate(RECOVERIES)
    },
}
"""Every series that DCGM has; nearly all numbers differ from each other."""


class HostEngine:
    """A host engine with two GPUs, whose numbers are not NVML's, and what can happen to it."""

    def __init__(self, folder: Path, gpus: int = 2) -> None:
        self.file, self.trace = folder / "dcgm.json", folder / "dcgm-trace"
        self.state: dict[str, Any] = {
            "library": True,
            "engine": 1,
            "address": ["127.0.0.1:5555", False],
            "unknown_fields": [],
            "profiling": 0,
            "versions": {"1": "570.133.20", "2": "12.570.133.20", "5": 12080},
            "gpus": {str(gpus - 1 - index): self.gpu(index) for index in range(gpus)},
        }
        self.play()

    @staticmethod
    def gpu(index: int, uuid: str = "") -> dict[str, Any]:
        identity = {
            "50": "NVIDIA H100 80GB HBM3",
            "52": index,
            "53": f"165{index}",
            "54": uuid or f"GPU-0000000{index}",
            "55": index + 4,
            "57": f"00000000:{0x1B + index:02X}:00.0",
            "85": "96.00.A5.00.01",
        }
        fields = {str(field): number for field, number, _ in VALUES.values()}
        return {"status": 1, "links": [3] * 18, "stopped": False, "hangs": False, "fields": {**fields, **identity}}

    def at(self, index: int) -> dict[str, Any]:
        """Return what is played of the GPU at an index of NVML's."""
        found: dict[str, Any] = next(one for one in self.state["gpus"].values() if one["fields"]["52"] == index)
        return found

    def play(self, **changes: object) -> None:
        self.state |= changes
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(self.state))
        new.replace(self.file)

    def calls(self) -> list[str]:
        return self.trace.read_text().split()

    @property
    def environment(self) -> dict[str, str]:
        return {"FLEETWARD_PLAYED_DCGM": str(self.file), "FLEETWARD_PLAYED_DCGM_TRACE": str(self.trace)}


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostEngine]:
    engine = HostEngine(tmp_path)
    for name, value in engine.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("fleetward.exporters.gpu.nvml_processes.RETRY_SECONDS", 0.0)
    path = list(sys.path)
    yield engine
    sys.path[:] = path
    for name in MODULES:
        sys.modules.pop(name, None)


def installed(folder: Path, *majors: int) -> Path:
    """Lay the bindings where NVIDIA's packages do, and return what stands for /usr/share."""
    for major in majors:
        parent = folder / f"datacenter-gpu-manager-{major}" / "bindings"
        parent.mkdir(parents=True)
        (parent / "python3").symlink_to(BINDINGS)
    return folder


@pytest.fixture
def dcgm(engine: HostEngine, tmp_path: Path) -> Dcgm:
    return Dcgm(load_bindings(installed(tmp_path / "share", 4)), "127.0.0.1:5555", 1.0)


def told(reading: GpuReading) -> Mapping[str, float]:
    """Return the numbers that there are, by their keys."""
    assert reading.values is not None, reading.failure
    return {key: value for key, place in BY_KEY.items() if (value := reading.values[place]) is not None}


def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a host engine that was away tried again at once."""
    monkeypatch.setattr("fleetward.exporters.gpu.dcgm_connection.RECONNECT_SECONDS", 0.0)


def test_every_field_arrives_in_its_place_and_in_base_units(dcgm: Dcgm) -> None:
    found = told(dcgm.look(0))
    assert {key: found.get(key) for key in VALUES} == pytest.approx(
        {key: expected for key, (*_, expected) in VALUES.items()}
    )
    links = {key for key in found if key.startswith("gpu_nvlink_up.")}
    assert set(found) == set(VALUES) | links
    assert len(links) == 18


def test_the_table_has_what_is_tested_and_what_dcgm_exporter_serves_of_itself() -> None:
    table = {field.key: field.id for field in (*DEVICE, *PROFILING)}
    assert table == {key: field for key, (field, *_) in VALUES.items()}
    of_theirs = {key: one.field for one in DCGM_NAMES for key in one.keys if len(one.keys) == 1}
    assert {key: table.get(key) for key in of_theirs} == of_theirs


@pytest.mark.parametrize("blank", ["blank:0", "blank:1", "blank:2", "blank:3", "why:-6", "why:-14", "why:-16", "why:1"])
def test_what_is_blank_is_not_there(engine: HostEngine, dcgm: Dcgm, blank: str) -> None:
    engine.at(0)["fields"] |= {"203": blank, "155": blank, "1002": blank}
    engine.play()
    found = told(dcgm.look(0))
    assert set(VALUES) - set(found) == {"gpu_utilization_ratio", "gpu_power_watts", "gpu_active_ratio.sm"}


def test_a_blank_of_32_bits_is_one_too_and_a_large_number_is_not(engine: HostEngine, dcgm: Dcgm) -> None:
    for kind in range(4):
        engine.at(0)["fields"] |= {"310": f"blank32:{kind}", "311": 0x7FFFFFEF, "312": 0x7FFFFFF4, "155": "nan"}
        engine.play()
        found = told(dcgm.look(0))
        assert "gpu_ecc_errors_total.corrected" not in found
        assert "gpu_power_watts" not in found
        assert found["gpu_ecc_errors_total.uncorrected"] == 0x7FFFFFEF
        assert found["gpu_ecc_lifetime_errors_total.corrected"] == 0x7FFFFFF4


@pytest.mark.parametrize(
    ("fabric", "expected"),
    [(0, (0, None)), (1, (1, None)), (2, (2, None)), (3, (3, 0)), (4, (3, 999)), (5, (None, None)), (-1, (None, None))],
)
def test_states_that_dcgm_numbers_in_its_own_way_are_nvmls(
    engine: HostEngine, dcgm: Dcgm, fabric: int, expected: tuple[float | None, float | None]
) -> None:
    engine.at(0)["fields"]["170"] = fabric
    engine.play()
    found = told(dcgm.look(0))
    assert (found.get("gpu_fabric_state"), found.get("gpu_fabric_status_code")) == expected


def test_a_gpu_is_known_by_nvmls_index_whatever_dcgms_number_is(engine: HostEngine, dcgm: Dcgm) -> None:
    census = dcgm.census()
    assert (census.count, census.driver, census.nvml, census.cuda) == (2, "570.133.20", "12.570.133.20", "12.8")
    assert list(engine.state["gpus"]) == ["1", "0"]
    identity = dcgm.look(1).identity
    assert (identity.index, identity.uuid, identity.minor_number) == (1, "GPU-00000001", 5)
    assert identity.pci_bus_id == "0000:1c:00.0"
    assert identity.model == "NVIDIA H100 80GB HBM3"
    assert (identity.serial, identity.vbios_version, identity.nvlinks) == ("1651", "96.00.A5.00.01", 18)


def test_what_a_gpu_does_not_say_of_itself_is_empty(engine: HostEngine, dcgm: Dcgm) -> None:
    gpu = engine.at(0)
    gpu["fields"] |= {"53": "blank:2", "55": "blank:1", "85": "why:-6", "50": "blank:0", "57": "blank:3"}
    gpu["links"] = [0] * 18
    engine.play()
    identity = dcgm.look(0).identity
    assert identity.uuid == "GPU-00000000"
    assert (identity.serial, identity.minor_number, identity.vbios_version, identity.model) == ("", None, "", "")
    assert identity.pci_bus_id == ""
    assert identity.nvlinks == 0


def test_the_state_of_a_link(engine: HostEngine, dcgm: Dcgm) -> None:
    engine.at(0)["links"] = [3, 2, 1, 0, 9]
    engine.play()
    found = told(dcgm.look(0))
    assert {key: found[key] for key in found if key.startswith("gpu_nvlink_up")} == {
        "gpu_nvlink_up.0": 1,
        "gpu_nvlink_up.1": 0,
        "gpu_nvlink_up.2": 0,
    }


def test_a_look_asks_the_host_engine_three_times_and_for_links_seldom(engine: HostEngine, dcgm: Dcgm) -> None:
    dcgm.census()
    dcgm.look(0)
    engine.trace.unlink()
    for _ in range(10):
        dcgm.look(0)
    assert engine.calls() == ["dcgmGetGpuStatus", "dcgmEntityGetLatestValues", "dcgmEntityGetLatestValues"] * 10


@pytest.mark.parametrize(
    ("status", "word"), [(2, "not supported"), (3, "out of its reach"), (4, "lost"), (7, "detached")]
)
def test_a_gpu_that_is_lost_keeps_its_name_and_comes_back(
    engine: HostEngine, dcgm: Dcgm, status: int, word: str
) -> None:
    before = dcgm.look(1).identity
    engine.at(1)["status"] = status
    engine.play()
    lost = dcgm.look(1)
    assert not lost.up
    assert word in lost.failure
    assert lost.identity == before
    assert dcgm.census().count == 2
    assert dcgm.look(0).up
    engine.at(1)["status"] = 1
    engine.play()
    assert dcgm.look(1).up


def test_a_gpu_that_nothing_is_told_of_does_not_answer(engine: HostEngine, dcgm: Dcgm) -> None:
    gpu = engine.at(0)
    gpu["fields"] = {name: value if name in {"52", "54"} else "blank:1" for name, value in gpu["fields"].items()}
    gpu["links"] = []
    engine.play()
    assert dcgm.look(0).failure == "DCGM has no value of it"


def test_a_gpu_that_is_not_listed_or_no_longer_the_drivers_is_not_there(engine: HostEngine, dcgm: Dcgm) -> None:
    assert dcgm.look(7).failure == "DCGM does not list it"
    gone = next(number for number, gpu in engine.state["gpus"].items() if gpu["fields"]["52"] == 1)
    del engine.state["gpus"][gone]
    engine.play()
    assert dcgm.census().count == 1
    assert dcgm.look(1).failure == "DCGM does not list it"
    engine.state["gpus"]["5"] = {**HostEngine.gpu(1), "status": 7}
    engine.state["gpus"]["5"]["fields"]["52"] = "blank:0"
    engine.play()
    assert dcgm.census().count == 1


def test_a_gpu_in_the_place_of_another_is_known_by_its_own_name(engine: HostEngine, dcgm: Dcgm) -> None:
    dcgm.look(1)
    del engine.state["gpus"]["0"]
    engine.state["gpus"]["5"] = HostEngine.gpu(1, "GPU-new")
    engine.play()
    assert dcgm.census().count == 2
    assert dcgm.look(1).identity.uuid == "GPU-new"


def test_where_the_host_engine_looks_no_more_the_reading_grows_old(engine: HostEngine, dcgm: Dcgm) -> None:
    first = dcgm.look(0)
    assert dcgm.look(0).taken_at > first.taken_at
    engine.at(0)["stopped"] = True
    engine.play()
    stale = dcgm.look(0)
    assert dcgm.look(0).taken_at == stale.taken_at
    engine.at(0)["stopped"] = False
    engine.play()
    assert dcgm.look(0).taken_at > stale.taken_at


def test_without_a_host_engine_it_says_what_to_do(engine: HostEngine, tmp_path: Path) -> None:
    engine.play(engine=0)
    bindings = load_bindings(installed(tmp_path / "share", 4))
    with pytest.raises(OutOfReachError, match=r"127\.0\.0\.1:5555 .*systemctl start nvidia-dcgm.*--dcgm-address"):
        Dcgm(bindings, "127.0.0.1:5555", 1.0)
    engine.play(library=False)
    with pytest.raises(OutOfReachError, match=r"libdcgm\.so\.4 is not on this host: install"):
        Dcgm(bindings, "127.0.0.1:5555", 1.0)


def test_a_host_engine_that_goes_away_and_comes_back(
    engine: HostEngine, dcgm: Dcgm, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.at(1)["fields"]["155"] = 99.5
    engine.play()
    before = dcgm.look(1)
    engine.play(engine=0)
    away = dcgm.look(1)
    assert not away.up
    assert away.identity == before.identity
    assert "not valid any longer" in away.failure
    assert "systemctl start nvidia-dcgm" in dcgm.census().failure
    assert dcgm.errors[CallError("GetGpuStatus", -21)] == 1
    assert dcgm.look(1).identity == before.identity
    soon(monkeypatch)
    renumbered = dict(zip(engine.state["gpus"], reversed(engine.state["gpus"].values()), strict=True))
    engine.play(engine=2, gpus=renumbered)
    wait_until(lambda: not dcgm.census().failure, 2 * RECONNECT_SECONDS)
    assert told(dcgm.look(1)) == pytest.approx(told(before))


def test_a_host_engine_that_is_away_is_not_tried_at_every_look(engine: HostEngine, dcgm: Dcgm) -> None:
    engine.play(engine=0)
    for _ in range(20):
        assert not dcgm.look(0).up
    assert dcgm.errors[CallError("Connect_v2", -21)] <= 1


@pytest.mark.parametrize(
    ("address", "played"),
    [
        ("head:1234", ["head:1234", False]),
        ("/run/dcgm", ["/run/dcgm", True]),
        ("unix:///run/dcgm", ["/run/dcgm", True]),
    ],
)
def test_the_host_engine_may_be_elsewhere(
    engine: HostEngine, tmp_path: Path, address: str, played: list[object]
) -> None:
    engine.play(address=played)
    assert Dcgm(load_bindings(installed(tmp_path / "share", 4)), address, 1.0).look(0).up


def test_fields_that_this_dcgm_does_not_know_cost_themselves(engine: HostEngine, tmp_path: Path) -> None:
    engine.play(unknown_fields=[1523, 1422, 1423, 1424])
    found = told(Dcgm(load_bindings(installed(tmp_path / "share", 4)), "127.0.0.1:5555", 1.0).look(0))
    assert set(VALUES) - set(found) == {
        "gpu_recovery_action",
        "gpu_clock_event_seconds_total.sw_thermal_slowdown",
        "gpu_clock_event_seconds_total.hw_thermal_slowdown",
        "gpu_clock_event_seconds_total.hw_power_brake",
    }


def test_where_dcgm_cannot_measure_units_the_rest_is_there(engine: HostEngine, tmp_path: Path) -> None:
    engine.play(profiling=-36)
    dcgm = Dcgm(load_bindings(installed(tmp_path / "share", 4)), "127.0.0.1:5555", 1.0)
    assert set(VALUES) - set(told(dcgm.look(0))) == {field.key for field in PROFILING}
    assert dcgm.errors == {CallError("WatchFields", -36): 1}


def test_the_newest_dcgm_that_is_installed_is_taken(engine: HostEngine, tmp_path: Path) -> None:
    share = installed(tmp_path / "share", 4, 10, 9)
    assert "datacenter-gpu-manager-10" in load_bindings(share).agent.__file__


def test_bindings_on_pythonpath_come_first(engine: HostEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BINDINGS))
    assert load_bindings(installed(tmp_path / "share", 4)).agent.__file__ == str(BINDINGS / "dcgm_agent.py")


def test_without_the_bindings_it_says_what_to_install(tmp_path: Path) -> None:
    before = list(sys.path)
    with pytest.raises(
        OutOfReachError, match=r"bindings are not on this host.* install .*datacenter-gpu-manager-4-core"
    ):
        load_bindings(tmp_path)
    assert sys.path == before


@dataclass(frozen=True)
class NodeWithDcgm(PlayedNode):
    """A node on which DCGM's host engine runs beside what plays NVML, with the same GPUs."""

    engine: HostEngine

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **self.engine.environment, "PYTHONPATH": str(BINDINGS)}


@pytest.fixture
def node(tmp_path: Path, played: PlayedNode) -> NodeWithDcgm:
    engine, uuids = HostEngine(tmp_path, 8), nvml_uuids(played)
    for index, uuid in enumerate(uuids):
        engine.at(index)["fields"]["54"] = uuid
    engine.play()
    return NodeWithDcgm(played.folder, played.library, engine)


def nvml_uuids(played: PlayedNode) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "fleetward", "gpus", "--json"],
        env=played.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return [gpu["uuid"] for gpu in json.loads(done.stdout)["gpus"]]


def up(exporter: Exporter) -> list[str]:
    return re.findall(r'^gpu_up\{gpu="(\d)",uuid="GPU-[^"]+"\} 1\.0$', exporter.scrape(), re.MULTILINE)


def test_the_exporter_serves_what_dcgm_tells_and_xids_and_processes_from_nvml(node: NodeWithDcgm) -> None:
    with running(node, "--backend", "dcgm") as exporter:
        assert up(exporter) == list("01234567")
        assert exporter.value("gpu_active_ratio", gpu="3", unit="sm") == 0.32
        assert exporter.value("gpu_power_watts", gpu="3") == 432.125
        assert exporter.value("gpu_info", gpu="3", pci_bus_id="0000:1e:00.0", minor="7") == 1
        assert exporter.value("gpu_driver_info", driver_version="570.133.20", cuda_version="12.8") == 1
        assert exporter.value("gpu_processes", gpu="3") == 0
        held = os.open(node.device(3), os.O_RDONLY)
        try:
            wait_until(lambda: exporter.value("gpu_processes", gpu="3") == 1)
        finally:
            os.close(held)
        wait_until(lambda: (exporter.value("gpu_exporter_sweeps_total") or 0) > 3)
        node.raise_xid(3, 79)
        wait_until(lambda: exporter.value("gpu_xid_total", gpu="3", xid="79") == 1)


def test_dcgm_exporters_page_is_served_from_dcgm_too(node: NodeWithDcgm) -> None:
    with running(node, "--backend", "dcgm", "--dcgm-names") as exporter:
        assert exporter.value("DCGM_FI_DEV_GPU_UTIL", gpu="3") == 37
        assert exporter.value("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", gpu="3") == 0.34
        assert exporter.value("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", gpu="3") == 123456789


def test_a_gpu_at_which_dcgm_hangs_costs_its_own_series_and_comes_back(node: NodeWithDcgm) -> None:
    with running(node, "--backend", "dcgm") as exporter:
        node.engine.at(3)["hangs"] = True
        node.engine.play()
        wait_until(lambda: up(exporter) == list("0124567"), 30)
        assert exporter.value("gpu_temperature_celsius", gpu="3") is None
        assert (exporter.value("gpu_exporter_killed_total") or 0) >= 1
        node.engine.at(3)["hangs"] = False
        node.engine.play()
        wait_until(lambda: up(exporter) == list("01234567"), 30)


def test_a_gpu_at_which_the_host_engine_itself_hangs_is_down(node: NodeWithDcgm) -> None:
    with running(node, "--backend", "dcgm") as exporter:
        node.engine.at(2)["stopped"] = True
        node.engine.play()
        wait_until(lambda: up(exporter) == list("0134567"), 30)
        assert exporter.value("gpu_exporter_killed_total") == 0
        node.engine.at(2)["stopped"] = False
        node.engine.play()
        wait_until(lambda: up(exporter) == list("01234567"), 30)


def test_while_the_host_engine_is_away_every_gpu_is_down_under_its_name(node: NodeWithDcgm) -> None:
    with running(node, "--backend", "dcgm") as exporter:
        node.engine.play(engine=0)
        wait_until(lambda: exporter.scrape().count("\ngpu_up{") == 8 and not up(exporter), 30)
        wait_until(lambda: exporter.value("gpu_driver_up") == 0)
        node.engine.play(engine=2)
        wait_until(lambda: up(exporter) == list("01234567"), 30)
        assert exporter.value("gpu_exporter_killed_total") == 0


def exporter_gpu(environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleetward", "exporter", "gpu", "--backend", "dcgm"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_what_is_missing_ends_the_exporter_with_a_sentence(node: NodeWithDcgm, played: PlayedNode) -> None:
    without = exporter_gpu({**played.environment, "PYTHONPATH": ""})
    assert without.returncode == 3
    assert "install NVIDIA's package datacenter-gpu-manager-4-core" in without.stderr
    node.engine.play(engine=0)
    away = exporter_gpu(node.environment)
    assert away.returncode == 3
    assert "systemctl start nvidia-dcgm" in away.stderr
    assert "Traceback" not in without.stderr + away.stderr


def test_without_nvml_the_number_of_processes_is_not_told(engine: HostEngine, dcgm: Dcgm) -> None:
    assert not dcgm.look(0).processes_told  # of a GPU with such a name NVML knows nothing, where there is one at all
    assert told(dcgm.look(0))["gpu_power_watts"] == 432.125
