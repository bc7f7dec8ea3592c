"""Sampling apart from serving: what a scrape gets while the driver hangs, errors and XIDs add up, stopping ends."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fleetward.exporters.gpu.reader import RecordedReader
from fleetward.exporters.gpu.readings import CallError, XidEvent
from fleetward.exporters.gpu.sampler import Sampler

if TYPE_CHECKING:
    from conftest import Recorded


def wait_until(true: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def test_there_is_a_snapshot_from_the_start_and_newer_ones_follow(recorded: "Recorded") -> None:
    reader = RecordedReader([recorded.sweep(), recorded.sweep(lost=frozenset({1}))])
    sampler = Sampler(reader, interval_seconds=0.01)
    assert [gpu.up for gpu in sampler.snapshot().sweep.gpus] == [True, True, True]
    sampler.start()
    wait_until(lambda: [gpu.up for gpu in sampler.snapshot().sweep.gpus] == [True, False, True])
    sampler.stop()
    made = reader.sweeps_made
    time.sleep(0.1)
    assert reader.sweeps_made == made, "nothing is looked at after the stop"


def test_errors_add_up_over_sweeps(recorded: "Recorded") -> None:
    sampler = Sampler(RecordedReader([recorded.sweep(lost=frozenset({0, 1}))]), interval_seconds=0.01)
    sampler.start()
    wait_until(lambda: sampler.snapshot().sweeps >= 3)
    sampler.stop()
    last = sampler.snapshot()
    assert last.errors == {CallError("DeviceGetHandleByIndex", 15): 2 * last.sweeps}


def test_a_driver_that_hangs_makes_the_snapshot_old_and_stops_nobody(recorded: "Recorded") -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def hang() -> None:
        if hangs.is_set():
            goes_on.wait(30)

    sampler = Sampler(RecordedReader([recorded.sweep()], before_sweep=hang), interval_seconds=0.01)
    sampler.start()
    hangs.set()
    wait_until(lambda: time.monotonic() - sampler.snapshot().taken_at > 0.2)
    asked = time.monotonic()
    snapshot = sampler.snapshot()
    assert time.monotonic() - asked < 0.1
    assert len(snapshot.sweep.gpus) == 3
    goes_on.set()
    wait_until(lambda: sampler.snapshot().sweeps > snapshot.sweeps)
    sampler.stop()


def test_xids_are_counted_by_gpu_and_code(recorded: "Recorded") -> None:
    reader = RecordedReader([recorded.sweep()])
    sampler = Sampler(reader, interval_seconds=60)
    sampler.start()
    for event in (XidEvent(0, "GPU-0", 79), XidEvent(1, "GPU-1", 79), XidEvent(0, "GPU-0", 79)):
        reader.events.put(event)
    wait_until(lambda: sum(sampler.snapshot().xids.values()) == 3)
    sampler.stop()
    assert sampler.snapshot().xids == {XidEvent(0, "GPU-0", 79): 2, XidEvent(1, "GPU-1", 79): 1}


def test_the_age_is_counted_from_the_end_of_the_sweep_and_its_duration_is_known(recorded: "Recorded") -> None:
    times = iter([10.0, 10.5])
    snapshot = Sampler(RecordedReader([recorded.sweep()]), interval_seconds=60, clock=lambda: next(times)).snapshot()
    assert (snapshot.taken_at, snapshot.duration_seconds) == (10.5, 0.5)
