"""What a process does that asks the driver: look at its GPUs at an interval, or wait for XIDs.

It tells what it sees through shared memory and holds no state that matters: it is killed when the driver hangs, and
another goes on.
"""

import json
import os
import time
from dataclasses import astuple, dataclass

import pynvml

from fleetward.exporters.gpu.board import Board
from fleetward.exporters.gpu.nvml_events import NvmlEvents
from fleetward.exporters.gpu.readings import Census
from fleetward.exporters.gpu.source import GpuSource, OpenSource
from fleetward.exporters.gpu.starving import waited_seconds
from fleetward.model.errors import OutOfReachError

MOST_GPUS = 32
LANES = 100
"""Processes that may exist at once, those included that cannot be killed."""
RETRY_SECONDS = 1.0
"""How long until a driver that does not answer is asked again."""
EVENT_WAIT_SECONDS = 1.0
QUICK = 0.25
"""Seconds; a GPU that answers so is quick."""
IDLE, CENSUS = -1, -2
"""What a lane does where it does not look at a GPU."""

_READING_BYTES = 64 * 1024
_SMALL_BYTES = 4096


@dataclass(frozen=True)
class Task:
    """What a lane is for."""

    gpus: tuple[int, ...] = ()
    census: bool = False
    """Whether it also asks how many GPUs there are."""
    events: bool = False
    """Whether it waits for XIDs, and does nothing else."""


class Boards:
    """What lanes and their parent share."""

    def __init__(self, interval_seconds: float) -> None:
        """Take the memory; make it before the lanes are forked."""
        self.interval = interval_seconds
        self.tasks = Board(LANES, _SMALL_BYTES)
        self.pulses = Board(LANES, _SMALL_BYTES)
        """What each lane does now, since when, and its process."""
        self.tallies = Board(LANES, _SMALL_BYTES)
        """How often each lane has looked since it began, which calls failed how often, how long each GPU took
        without the waits for a processor, and its process."""
        self.readings = Board(MOST_GPUS, _READING_BYTES)
        self.census = Board(1, _SMALL_BYTES)
        self.xids, self.tell_xid = os.pipe2(os.O_CLOEXEC)
        """Lines of JSON."""

    def task(self, lane: int) -> Task:
        """Return what a lane is for."""
        found = self.tasks.read(lane)
        return Task(*found) if found else Task()

    def set_task(self, lane: int, task: Task) -> None:
        """Say what a lane is for; one that runs sees it at its next turn."""
        self.tasks.write(lane, astuple(task))

    def clear(self, lane: int) -> None:
        """Forget what a lane has told of itself."""
        for board in (self.pulses, self.tallies):
            board.clear(lane)

    def clear_looks(self) -> None:
        """Forget what was seen of driver and GPUs."""
        self.census.clear(0)
        for index in range(MOST_GPUS):
            self.readings.clear(index)

    def all_seen(self) -> bool:
        """Return whether the driver has answered and every GPU has been looked at, or that it does not answer."""
        found = self.census.read(0)
        census = Census(*found) if found else Census()
        if not census.count:
            return bool(found)
        return all(self.readings.read(index) for index in range(min(census.count, MOST_GPUS)))


def run_lane(boards: Boards, lane: int, open_source: OpenSource) -> None:
    """Do the lane's task for ever; XIDs come from NVML, whatever the GPUs are looked at with."""
    if boards.task(lane).events:
        _wait_for_xids(boards, lane)
    _look_for_ever(boards, lane, open_source)


def _look_for_ever(boards: Boards, lane: int, open_source: OpenSource) -> None:
    source = _open(boards, lane, open_source)
    due, looks = time.monotonic(), 0
    while True:
        waited = _waited()
        task = boards.task(lane)
        if task.census:
            _pulse(boards, lane, CENSUS)
            boards.census.write(0, astuple(source.census()))
        seconds: dict[int, float] = {}
        for index in task.gpus:
            _pulse(boards, lane, index)
            reading = source.look(index)
            boards.readings.write(index, reading.packed())
            seconds[index] = reading.seconds
            if reading.seconds > QUICK:
                seconds[index] -= min(reading.seconds, _waited() - waited)
                waited = _waited()
        looks += 1
        errors = [(one.function, one.code, count) for one, count in source.errors.most_common(50)]
        boards.tallies.write(lane, (looks, errors, seconds, os.getpid()))
        _pulse(boards, lane, IDLE)
        now = time.monotonic()
        due = max(due + boards.interval, now)  # a look that came late does not make the next ones crowd
        time.sleep(due - now)


def _waited() -> float:
    found = waited_seconds()
    return found[1] if found else 0.0


def _open(boards: Boards, lane: int, open_source: OpenSource) -> GpuSource:
    while True:
        _pulse(boards, lane, CENSUS)
        try:
            return open_source()
        except OutOfReachError as error:
            if boards.task(lane).census:
                boards.census.write(0, astuple(Census(failure=str(error))))
        _pulse(boards, lane, IDLE)
        time.sleep(RETRY_SECONDS)


def _pulse(boards: Boards, lane: int, what: int) -> None:
    boards.pulses.write(lane, (what, time.monotonic(), os.getpid()))


def _wait_for_xids(boards: Boards, lane: int) -> None:
    while True:
        _pulse(boards, lane, CENSUS)
        try:
            events = NvmlEvents()
        except pynvml.NVMLError:
            time.sleep(RETRY_SECONDS)
            continue
        while True:
            _pulse(boards, lane, CENSUS)
            event = events.wait(EVENT_WAIT_SECONDS)
            if event is not None:
                os.write(boards.tell_xid, json.dumps(astuple(event)).encode() + b"\n")
