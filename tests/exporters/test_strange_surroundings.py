"""The exporter where what it depends on is not as it should be: the clock jumps, the played driver is told nonsense."""

import math
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from played_clock import play_clock
from played_exporter import Exporter, kernel_log, log, running, wait_until

from fleetward.lab.scenario import Scenario, kernel_lines

if TYPE_CHECKING:
    from played_nvml import PlayedNode

YEAR = 365 * 86400


def value(exporter: Exporter, name: str, **labels: str) -> float:
    found = exporter.value(name, **labels)
    return math.nan if found is None else found


@pytest.mark.parametrize("seconds", [-YEAR, -3, 3, 10 * YEAR])
def test_a_clock_that_jumps_changes_nothing(played: "PlayedNode", tmp_path: Path, seconds: int) -> None:
    kernel_log(played).touch()
    clock = play_clock(tmp_path)
    with running(played, environment=clock.environment) as exporter:
        began = value(exporter, "process_start_time_seconds")
        assert began == pytest.approx(time.time(), abs=60)
        clock.jump(seconds)
        looks = value(exporter, "gpu_exporter_sweeps_total")
        wait_until(lambda: value(exporter, "gpu_exporter_sweeps_total") > looks + 40)
        for gpu in "07":
            assert value(exporter, "gpu_up", gpu=gpu) == 1
            assert 0 <= value(exporter, "gpu_sample_age_seconds", gpu=gpu) < 5
        assert value(exporter, "gpu_exporter_killed_total") == 0
        assert value(exporter, "process_start_time_seconds") == began
        played.raise_xid(2, 79)
        log(played, kernel_lines(Scenario(), 2, 79, 5))
        wait_until(lambda: exporter.value("gpu_xid_total", gpu="2", xid="79") == 1)
        clock.jump(-seconds)
        played.play("gpu.3.temperature=71\n")
        wait_until(lambda: exporter.value("gpu_temperature_celsius", gpu="3") == 71)
        assert value(exporter, "gpu_xid_total", gpu="2", xid="79") == 1, "told by both sources, and counted once"


NONSENSE = (
    b"",
    b"\n" * 5000,
    b"gpu.3.temperature\ngpu.3.temperature=\n=71\n===\ngpu..temperature=71\ngpu.99.lost=1\ngpu.-1.lost=1\n",
    b"gpu.3.temperature=nan\ngpu.3.temperature=1e999\ngpu.3.temperature=-5\ngpu.3.temperature=hot\n",
    b"gpu.3.lost=2\nall.hang=yes\ndriver.loaded=\ndriver.gpu_count=-1\ndriver.gpu_count=17\n",
    b"\xff\xfe\x00gpu.3.lost=1\x00\n" + bytes(range(256)),
    b"a" * 200_000,
    b"gpu.3.nvlink.99.state=0\ngpu.3.call.nvmlNonsense.hang=1\nall.call..hang=1\n",
    random.Random(3).randbytes(50_000),  # noqa: S311  the same rubbish at every run
)


def test_a_played_driver_that_is_told_nonsense_plays_what_it_understands(played: "PlayedNode") -> None:
    """Line by line it is left out; what stands beside it holds."""
    with running(played) as exporter:
        for turn, nonsense in enumerate(NONSENSE):
            (played.folder / "new").write_bytes(nonsense + f"\ngpu.3.temperature={40 + turn}\n".encode())
            (played.folder / "new").replace(played.folder / "scenario.conf")
            wait_until(lambda celsius=40 + turn: exporter.value("gpu_temperature_celsius", gpu="3") == celsius)
            assert [value(exporter, "gpu_up", gpu=str(index)) for index in range(8)] == [1] * 8
            assert exporter.value("gpu_up", gpu="8") is None
        assert value(exporter, "gpu_exporter_killed_total") == 0
