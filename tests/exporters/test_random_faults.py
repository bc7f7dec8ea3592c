"""Ten thousand faults at random, and an exporter killed where it writes: each is counted once and told once.

The time is played, files and journal are real. The kernel writes a line for each fault; NVML tells of some, late, and
only a program that listened when the fault happened. What one source cannot tell apart is left out: a fault that NVML
keeps quiet about is not repeated on the same GPU within the seconds in which two sources are taken for one.
"""

import heapq
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fleetward.exporters.events import journal as journal_module
from fleetward.exporters.events.fault_state import folded
from fleetward.exporters.events.faults import Device, SxidEvent, XidEvent
from fleetward.exporters.events.journal import Journal
from fleetward.exporters.events.kernel_log import KernelLog
from fleetward.exporters.events.outbox import Outbox
from fleetward.exporters.events.recent import SAME_WITHIN_SECONDS
from fleetward.exporters.events.recorder import Clocks, Recorder
from fleetward.model.gpu_fault_files import read_catalogue

FAULTS = 10_000
GPUS = {f"0000:{0x10 + index:02x}:00": Device(index, f"GPU-{index}") for index in range(8)}
TOLD_BY_BOTH = (13, 31, 48, 63, 74, 79, 94, 95, 119, 154)
TOLD_BY_THE_KERNEL = (32, 43, 45, 62, 69)
SWITCH = "0000:a9:00"
CATALOGUE = read_catalogue()


class Killed(BaseException):
    """The process is gone, in the middle of whatever it did."""


class Disk:
    """Lets what a journal does go through to the disk until the process is to be killed, then half of it."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.steps_left: int | None = None

    @contextmanager
    def played(self) -> Iterator[None]:
        write, replace = os.write, Path.replace
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(journal_module.os, "write", lambda file, text: self._write(write, file, text))
            patch.setattr(journal_module.os, "fdatasync", lambda _file: self._step())
            patch.setattr(journal_module.os, "fsync", lambda _file: self._step())
            patch.setattr(Path, "replace", lambda path, to: (self._step(), replace(path, to))[1])
            yield

    def _write(self, write: Callable[[int, Any], int], file: int, text: memoryview) -> int:
        if self.steps_left == 0:
            write(file, text[: self._chance.randrange(len(text) + 1)])
        self._step()
        return write(file, text)

    def _step(self) -> None:
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                raise Killed


@dataclass
class Daemon:
    """Takes events by their keys, and now and then an answer of it is lost."""

    taken: dict[str, dict[str, Any]] = field(default_factory=dict)

    def post(self, events: dict[str, bytes]) -> list[str]:
        for key, text in events.items():
            event = json.loads(text)
            assert self.taken.setdefault(key, event) == event
        return list(events)


class Program:
    """What an exporter does with faults, without its threads."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._journal = Journal(node.folder / "state")
        try:
            entries, broken = self._journal.read()
            assert not broken
            state = folded(entries, "boot", Outbox())
            self.log = KernelLog(node.log, "boot", state.cursor, clock=node.clock)
            clocks = Clocks(node.clock, lambda: 1.7e9 + node.now)
            self.recorder = Recorder(state, self._journal, CATALOGUE, push=True, clocks=clocks)
            self.recorder.tell((), (), self.log.cursor)
            self.recorder.knows(GPUS)
        except Killed:
            self._journal.close()
            raise

    def look(self, nvml: tuple[XidEvent, ...] = ()) -> None:
        faults = self.log.read()
        while not self.log.caught_up:
            faults += self.log.read()
        self.recorder.tell(faults, nvml, self.log.cursor)

    def push(self, daemon: Daemon, *, answered: bool) -> None:
        batch = dict(self.recorder.batch(50))
        taken = daemon.post(batch)
        if answered and taken:
            self.recorder.done(taken, {})

    def gone(self) -> None:
        self._journal.close()
        self.log.close()


class Node:
    """A node on which faults happen, with a program that is killed and started again."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.log = folder, folder / "kmsg"
        self.log.write_text("")
        self.now = 0.0
        self.chance = random.Random(seed)  # noqa: S311  no secret
        self.disk = Disk(self.chance)
        self.daemon = Daemon()
        self.kills = 0
        self.program: Program | None = None
        self.starts_at = 0.0
        self.life = 0
        self._busy: dict[tuple[int, int], float] = {}

    def clock(self) -> float:
        return self.now

    def run(self, faults: int) -> tuple[Counter[XidEvent], Counter[SxidEvent]]:
        """Have faults happen; return what should have been counted."""
        xids: Counter[XidEvent] = Counter()
        sxids: Counter[SxidEvent] = Counter()
        due: list[tuple[float, int, str, Any]] = []
        made = 0
        order = iter(range(10**9))
        happens = 0.0
        while made < faults or due:
            if made < faults:
                happens += self.chance.expovariate(2.0)
                while due and due[0][0] <= happens:
                    self._does(*heapq.heappop(due))
                self._until(happens)
                made += 1
                if self.chance.random() < 0.1:
                    sxid = SxidEvent(self.chance.randrange(4), SWITCH, self.chance.choice((12028, 20034, 19047)))
                    sxids[sxid] += 1
                    text = f"nvidia-nvswitch{sxid.switch}: SXid (PCI:{SWITCH}.0): {sxid.sxid}, Non-fatal, Link 1"
                    heapq.heappush(due, (happens, next(order), "line", text))
                    continue
                xid = self._xid(happens)
                xids[xid] += 1
                address = next(place for place, device in GPUS.items() if device.index == xid.index)
                text = f"NVRM: Xid (PCI:{address}): {xid.xid}, pid=1, name=python3"
                heapq.heappush(due, (happens + self.chance.uniform(0, 0.5), next(order), "line", text))
                if xid.xid in TOLD_BY_BOTH and self.chance.random() < 0.8:
                    late = happens + self.chance.uniform(0, SAME_WITHIN_SECONDS - 1)
                    heapq.heappush(due, (late, next(order), "nvml", (xid, self.life if self.program else -1)))
            else:
                self._does(*heapq.heappop(due))
        return xids, sxids

    def settle(self) -> Program:
        """Let the program run on until all is told."""
        self.now += 30
        self.disk.steps_left = None
        self._start()
        program = self.program
        assert program is not None
        program.look()
        while program.recorder.batch(1):
            program.push(self.daemon, answered=True)
        return program

    def _xid(self, at: float) -> XidEvent:
        while True:
            index, code = self.chance.randrange(8), self.chance.choice(TOLD_BY_BOTH + TOLD_BY_THE_KERNEL)
            if code in TOLD_BY_THE_KERNEL or at - self._busy.get((index, code), -1e9) > 2 * SAME_WITHIN_SECONDS + 1:
                self._busy[index, code] = at
                return XidEvent(index, f"GPU-{index}", code)

    def _does(self, at: float, _order: int, what: str, told: Any) -> None:  # noqa: ANN401  a line, or an event
        self._until(at)
        if what == "line":
            with self.log.open("a") as file:
                file.write(f"3,0,{int((at + 50) * 1e6)},-;{told}\n")
            if self.chance.random() < 0.7:
                self._alive(Program.look)
        else:
            xid, life = told
            if life == self.life:
                self._alive(lambda program: program.look((xid,)))

    def _until(self, at: float) -> None:
        self.now = max(self.now, at)
        if self.program is None and self.now >= self.starts_at:
            self._start()
        if self.chance.random() < 0.2:
            self._alive(lambda program: program.push(self.daemon, answered=self.chance.random() < 0.8))

    def _start(self) -> None:
        while self.program is None:
            if self.disk.steps_left is not None:
                self.disk.steps_left = self.chance.randrange(60)
            try:
                self.program = Program(self)
            except Killed:
                self.kills += 1
            else:
                self.life += 1

    def _alive(self, does: Callable[[Program], None]) -> None:
        if self.program is None:
            return
        with suppress(Killed):
            does(self.program)
            return
        self.kills += 1
        self.program.gone()
        self.program = None
        self.starts_at = self.now + self.chance.choice((0.0, 1.0, 20.0)) * self.chance.random()


@pytest.mark.parametrize("seed", range(3))
def test_no_fault_is_lost_and_none_counted_or_told_twice(tmp_path: Path, seed: int) -> None:
    node = Node(tmp_path, seed)
    node.disk.steps_left = 0
    with node.disk.played():
        xids, sxids = node.run(FAULTS)
        program = node.settle()
    tally = program.recorder.tally()
    program.gone()
    assert sum(xids.values()) + sum(sxids.values()) == FAULTS
    assert node.kills > 200
    assert tally.xids == xids
    assert tally.sxids == sxids
    told = node.daemon.taken.values()
    assert Counter(XidEvent(one["gpu"], one["uuid"], one["code"]) for one in told if one["kind"] == "xid") == xids
    assert Counter(one["code"] for one in told if one["kind"] == "sxid") == sum_by_code(sxids)
    assert tally.waiting == 0


def sum_by_code(sxids: Counter[SxidEvent]) -> Counter[int]:
    counts: Counter[int] = Counter()
    for one, count in sxids.items():
        counts[one.sxid] += count
    return counts
