"""A process that is given no processor: what is counted as its waits, and what the exporter makes of it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from played_exporter import running, wait_until

from fleetward.exporters.gpu.starving import MOST_ENTRIES, Waits, is_ready, waited_seconds

if TYPE_CHECKING:
    from played_nvml import PlayedNode

SECOND = 1_000_000_000
BUSY = 16
"""Processes that want one processor; of one that asks for it only when nobody else does they leave next to nothing."""
LATE = 3.0
"""Seconds; with the interval of these tests a GPU that is not looked at for 2.2 s is down."""


class Played:
    """One process in a folder that plays /proc."""

    def __init__(self, folder: Path) -> None:
        self.proc = folder
        self.ran = self.waited = 0.0
        (folder / "7").mkdir()
        self.is_("S")

    def is_(self, state: str, *, ran: float = 0, waited: float = 0) -> None:
        self.ran, self.waited = self.ran + ran, self.waited + waited
        (self.proc / "7/stat").write_text(f"7 (gpu-lane-0 ) R) {state} 1 7 7")
        (self.proc / "7/schedstat").write_text(f"{int(self.ran * SECOND)} {int(self.waited * SECOND)} 12\n")


@pytest.fixture
def process(tmp_path: Path) -> Played:
    return Played(tmp_path)


@pytest.fixture
def waits(process: Played) -> Waits:
    """Return what has looked at lane 0 once, at second 100."""
    waits = Waits(process.proc)
    waits.look(0, 7, 100.0)
    return waits


def test_a_process_that_sleeps_or_hangs_does_not_wait(process: Played, waits: Waits) -> None:
    for at, state in ((101.0, "S"), (102.0, "D"), (103.0, "Z")):
        process.is_(state)
        waits.look(0, 7, at)
    assert waits.since(0, 100.0, 103.0) == 0


def test_waits_that_are_over_are_as_the_kernel_counted_them(process: Played, waits: Waits) -> None:
    process.is_("S", ran=0.1, waited=0.4)
    waits.look(0, 7, 101.0)
    process.is_("S", ran=0.1)
    waits.look(0, 7, 102.0)
    process.is_("R", ran=0.1, waited=0.2)
    waits.look(0, 7, 103.0)
    assert waits.since(0, 100.0, 103.0) == pytest.approx(0.6)
    assert waits.since(0, 101.0, 103.0) == pytest.approx(0.2)
    assert waits.since(0, 103.0, 103.0) == 0


def test_a_wait_that_goes_on_counts_once(process: Played, waits: Waits) -> None:
    """The kernel counts it when it is over."""
    for at in (101.0, 102.0, 103.0):
        process.is_("R")
        waits.look(0, 7, at)
    assert waits.since(0, 100.0, 103.0) == 3
    process.is_("S", ran=0.1, waited=3.5)
    waits.look(0, 7, 104.0)
    assert waits.since(0, 100.0, 104.0) == pytest.approx(3.5)


def test_one_that_runs_all_the_time_does_not_wait(process: Played, waits: Waits) -> None:
    """As where a driver spins."""
    for at in (101.0, 102.0):
        process.is_("R", ran=1)
        waits.look(0, 7, at)
    assert waits.since(0, 100.0, 102.0) == 0


def test_no_more_is_waited_than_has_passed(process: Played, waits: Waits) -> None:
    process.is_("R", ran=0.1, waited=5)
    waits.look(0, 7, 105.0)
    assert waits.since(0, 104.0, 105.5) == 1.5


def test_one_that_was_started_and_has_not_run_waits(process: Played) -> None:
    waits = Waits(process.proc)
    waits.look(0, None, 100.0)
    waits.look(0, None, 102.0)
    process.is_("S", ran=0.1, waited=2)
    waits.look(0, 7, 103.0)
    assert waits.since(0, 100.0, 103.0) == 2
    waits.forget(0)
    assert waits.since(0, 100.0, 103.0) == 0
    assert waits.since(None, 100.0, 103.0) == 0


def test_where_the_kernel_does_not_tell_nothing_is_waited(process: Played, waits: Waits) -> None:
    for content in ("", "x y z", "5"):
        (process.proc / "7/schedstat").write_text(content)
        waits.look(0, 7, 101.0)
    (process.proc / "7/schedstat").unlink()
    (process.proc / "7/stat").unlink()
    waits.look(0, 7, 102.0)
    assert waits.since(0, 100.0, 102.0) == 0
    assert not is_ready(7, process.proc)


def test_what_is_kept_does_not_grow_for_ever(process: Played, waits: Waits) -> None:
    for number in range(3 * MOST_ENTRIES):
        process.is_("R", ran=0.1, waited=0.1)
        waits.look(0, 7, 101.0 + number)
    now = 101.0 + 3 * MOST_ENTRIES
    assert waits.since(0, now - 11, now) == pytest.approx(1.0)
    assert waits.since(0, 0.0, now) == pytest.approx((MOST_ENTRIES - 1) / 10)


def test_the_real_kernel_counts_them() -> None:
    found = waited_seconds()
    assert found is not None
    assert found[0] > 0
    assert is_ready(os.getpid())
    with subprocess.Popen(["sleep", "10"]) as sleeping:
        wait_until(lambda: not is_ready(sleeping.pid))
        sleeping.kill()


def lanes_of(exporter: int) -> list[int]:
    """Return the processes that look at GPUs: children of the one that the exporter forks them with."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            before, _, after = stat.read_text(errors="replace").rpartition(")")
        except OSError:
            continue
        process = int(stat.parent.name)
        names[process], parents[process] = before.partition("(")[2], int(after.split()[1])
    return [one for one, name in names.items() if "gpu-lane" in name and parents.get(parents[one]) == exporter]


@contextmanager
def starved(processes: list[int]) -> Iterator[None]:
    """Have the kernel give these processes what busy ones leave of one processor."""
    processor = max(os.sched_getaffinity(0))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY)]
    try:
        for one in busy:
            os.sched_setaffinity(one.pid, {processor})
        for one in processes:
            os.sched_setaffinity(one, {processor})
            os.sched_setscheduler(one, os.SCHED_IDLE, os.sched_param(0))
        yield
    finally:
        for one in busy:
            one.kill()
            one.wait()


def test_gpus_that_are_looked_at_late_for_want_of_a_processor_are_not_down(played: "PlayedNode") -> None:
    with running(played) as exporter:
        wait_until(lambda: (exporter.value("gpu_exporter_sweeps_total") or 0) > 3)
        lanes = lanes_of(exporter.process.pid)
        assert len(lanes) == 2
        oldest, until = 0.0, time.monotonic() + 60
        with starved(lanes):
            while oldest < LATE:
                assert time.monotonic() < until, f"they were not starved: the oldest look was {oldest:.1f} s old"
                ups = [line for line in exporter.scrape().splitlines() if line.startswith("gpu_up{")]
                assert [line.rpartition(" ")[2] for line in ups] == ["1.0"] * 8
                oldest = max(oldest, exporter.value("gpu_sample_age_seconds", gpu="7") or 0)
                time.sleep(0.2)
        assert lanes_of(exporter.process.pid) == lanes, "and no process was replaced"
        wait_until(lambda: (exporter.value("gpu_sample_age_seconds", gpu="7") or 9) < 1)


def test_a_gpu_that_hangs_is_down_on_a_busy_node_too(played: "PlayedNode") -> None:
    with running(played) as exporter:
        wait_until(lambda: (exporter.value("gpu_exporter_sweeps_total") or 0) > 3)
        with starved([]):
            played.play("gpu.3.hang=1\n")
            wait_until(lambda: exporter.value("gpu_up", gpu="3") == 0)
            wait_until(lambda: exporter.value("gpu_up", gpu="4") == 1)
