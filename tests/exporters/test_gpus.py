"""`fleetward gpus` on a node whose GPUs the stand-in plays, and how a sweep becomes a table."""

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from fleetward.exporters.gpu.readings import GpuIdentity, GpuReading, GpuValues, Sweep
from fleetward.exporters.gpu.table import document, table

if TYPE_CHECKING:
    from conftest import PlayedNode, Recorded


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


def test_what_is_unknown_is_a_dash() -> None:
    sweep = Sweep((GpuReading(GpuIdentity(0, "GPU-0"), GpuValues(power_watts=100.4)),))
    line = table(sweep).splitlines()[1]
    assert "-/-" in line
    assert "100/- W" in line
    assert "-%" in line


def test_columns_line_up(recorded: "Recorded") -> None:
    lines = table(recorded.sweep(lost=frozenset({1}), count=12)).splitlines()
    column = lines[0].index("UUID")
    assert [line[column:] for line in lines[1:]] == [f"GPU-{index}" for index in range(12)]


def test_the_document_is_json(recorded: "Recorded") -> None:
    sweep = recorded.sweep(lost=frozenset({1}))
    assert json.loads(json.dumps(document(sweep)))["gpus"][0]["process_ids"] == [100, 200]
