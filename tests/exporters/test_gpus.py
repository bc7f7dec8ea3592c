"""`fleetward gpus` on a node whose GPUs the stand-in plays, and how a sweep becomes a table."""

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from fleetward.exporters.gpu.readings import Census
from fleetward.exporters.gpu.table import document, table

if TYPE_CHECKING:
    from conftest import Recorded
    from played_nvml import PlayedNode


def gpus(played: "PlayedNode", *options: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "fleetward", "gpus", *options],
        env=played.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout


def test_the_table_has_a_line_for_every_gpu_with_its_state_in_words(played: "PlayedNode") -> None:
    played.play("gpu.2.lost=1\ngpu.4.temperature=91\ngpu.4.utilization_percent=37\n")
    heading, *lines = gpus(played).splitlines()
    assert heading.split()[:4] == ["GPU", "STATE", "MODEL", "UTIL"]
    assert [line.split()[2] for line in lines] == ["up", "up", "lost", "up", "up", "up", "up", "up"]
    assert "37%" in lines[4]
    assert "91 C" in lines[4]


def test_the_document_holds_every_value(played: "PlayedNode") -> None:
    played.play("gpu.2.lost=1\ngpu.4.power_watts=321\n")
    told: dict[str, Any] = json.loads(gpus(played, "--json"))
    assert told["driver"]["driver"] == "570.133.20"
    assert [gpu["index"] for gpu in told["gpus"]] == list(range(8))
    assert told["gpus"][2]["state"] == "lost"
    assert told["gpus"][2]["values"] is None
    assert told["gpus"][2]["failure"] == "GPU is lost"
    assert told["gpus"][4]["state"] == "up"
    assert told["gpus"][4]["values"]["power_watts"] == 321
    assert told["gpus"][4]["values"]["memory_total_bytes"] == 81559 * 1024**2


PLAYED = {
    "utilization_percent": ("37", "utilization_ratio", 0.37),
    "memory_utilization_percent": ("21", "memory_utilization_ratio", 0.21),
    "temperature": ("91", "temperature_celsius", 91),
    "memory_temperature": ("97", "memory_temperature_celsius", 97),
    "power_watts": ("432.1", "power_watts", 432.1),
    "power_limit_watts": ("650", "power_limit_watts", 650),
    "energy_joules": ("123456", "energy_joules_total", 123456),
    "memory_total_mib": ("1000", "memory_total_bytes", 1000 * 1024**2),
    "memory_used_mib": ("500", "memory_used_bytes", 500 * 1024**2),
    "memory_reserved_mib": ("100", "memory_reserved_bytes", 100 * 1024**2),
    "sm_clock_mhz": ("1200", "sm_clock_hertz", 1.2e9),
    "max_sm_clock_mhz": ("1755", "sm_clock_max_hertz", 1.755e9),
    "memory_clock_mhz": ("1593", "memory_clock_hertz", 1.593e9),
    "clock_event_reasons": ("0x48", "clock_event_active.hw_thermal_slowdown", 1),
    "ecc_corrected": ("11", "ecc_errors_total.corrected", 11),
    "ecc_uncorrected": ("12", "ecc_errors_total.uncorrected", 12),
    "ecc_aggregate_corrected": ("5000000000", "ecc_lifetime_errors_total.corrected", 5e9),
    "ecc_aggregate_uncorrected": ("13", "ecc_lifetime_errors_total.uncorrected", 13),
    "remapped_rows_corrected": ("14", "remapped_rows.corrected", 14),
    "remapped_rows_uncorrected": ("15", "remapped_rows.uncorrected", 15),
    "remapped_rows_pending": ("1", "row_remap_pending", 1),
    "remapped_rows_failed": ("0", "row_remap_failed", 0),
    "pcie_replays": ("16", "pcie_replay_total", 16),
    "pcie_generation": ("3", "pcie_link_generation", 3),
    "pcie_max_generation": ("4", "pcie_link_generation_max", 4),
    "pcie_width": ("8", "pcie_link_width", 8),
    "pcie_max_width": ("32", "pcie_link_width_max", 32),
    "nvlink_down_mask": ("0x21", "nvlink_up.5", 0),
    "ecc_mode": ("1", "ecc_enabled", 1),
    "mig_mode": ("1", "mig_enabled", 1),
    "persistence_mode": ("0", "persistence_enabled", 0),
    "recovery_action": ("2", "recovery_action", 2),
}
"""What is played, the number that it becomes, and that number in base units; nearly all differ from each other."""


def test_every_number_arrives_in_its_own_place_and_in_base_units(played: "PlayedNode") -> None:
    played.play("".join(f"gpu.3.{key}={text}\n" for key, (text, _, _) in PLAYED.items()))
    values = json.loads(gpus(played, "--json"))["gpus"][3]["values"]
    expected = {name: value for _, name, value in PLAYED.values()}
    assert {name: values[name] for name in expected} == pytest.approx(expected)


def test_what_is_unknown_is_a_dash(recorded: "Recorded") -> None:
    line = table([recorded.reading(0, values={"gpu_power_watts": 100.4})]).splitlines()[1]
    assert "-/-" in line
    assert "100/- W" in line
    assert "-%" in line


def test_columns_line_up(recorded: "Recorded") -> None:
    lines = table(recorded.gpus(lost=frozenset({1}), count=12)).splitlines()
    column = lines[0].index("UUID")
    assert [line[column:] for line in lines[1:]] == [f"GPU-{index}" for index in range(12)]


def test_the_document_is_json(recorded: "Recorded") -> None:
    told = json.loads(json.dumps(document(Census(3, "570.1"), recorded.gpus(lost=frozenset({1})))))
    assert told["driver"]["driver"] == "570.1"
    assert [process["pid"] for process in told["gpus"][0]["processes"]] == [100, 200]
