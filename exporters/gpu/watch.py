"""Looking at the GPUs apart from whoever asks: lanes that are watched and replaced, and what they see put together."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from fleetward.exporters.events.faults import Device
from fleetward.exporters.events.kernel_lines import bus_address
from fleetward.exporters.gpu.forks import Forks, ForksGoneError
from fleetward.exporters.gpu.lane import MOST_GPUS, Boards, run_lane
from fleetward.exporters.gpu.lanes import Assign, Kill, Lanes, Order, Start
from fleetward.exporters.gpu.nvml import Nvml
from fleetward.exporters.gpu.own_cost import own_cost
from fleetward.exporters.gpu.page import OwnCost
from fleetward.exporters.gpu.readings import CallError, Census, GpuIdentity, GpuReading, Snapshot
from fleetward.exporters.gpu.release import Absence, ReleaseFile
from fleetward.exporters.gpu.source import OpenSource
from fleetward.exporters.gpu.starving import Waits

STEP_SECONDS = 0.2
STOP_SECONDS = 2.0
SLACK_SECONDS = 2.0
"""How much later than two intervals a look may be until the GPU counts as not answering."""
STARVED_SECONDS = 60.0
"""For how long a GPU is not held to be silent because no processor was given to who looks at it."""
FIRST_LOOK_SECONDS = 10.0
COST_SECONDS = 10.0
_NO_TALLY: tuple[int, tuple[()], dict[int, float], int] = (0, (), {}, 0)


class Watch:
    """Keeps what was seen last; make it before the first thread, for it forks."""

    def __init__(
        self,
        interval_seconds: float,
        broken: Callable[[], None],
        release: ReleaseFile,
        clock: Callable[[], float] = time.monotonic,
        open_source: OpenSource = Nvml,
    ) -> None:
        """Take memory and fork the process that forks; nothing is looked at yet.

        `broken` is called where nothing can be looked at any more, from another thread; `open_source` in each process
        that looks at GPUs.
        """
        self._broken = broken
        self._boards = Boards(interval_seconds)
        self._forks = Forks(lambda lane: run_lane(self._boards, lane, open_source))
        self._lanes = Lanes()
        self._running: dict[int, float] = {}
        """Lanes with a process, and since when."""
        self._stale_after = 2 * interval_seconds + SLACK_SECONDS
        self._waits = Waits()
        self._stepped_at = math.inf
        self._release, self._absence = release, Absence(FIRST_LOOK_SECONDS)
        self._clock = clock
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._looks = 0
        self._errors: Counter[CallError] = Counter()
        """Of lanes that are gone."""
        self._known: dict[str, GpuIdentity] = {}
        self._count = 0
        self._cost, self._cost_until = OwnCost(0, 0, 0, 0), 0.0
        self._thread = threading.Thread(target=self._step_until_stopped, name="gpu-lanes", daemon=True)

    def start(self) -> Census:
        """Start looking, and return what the driver says of itself; empty where it does not answer in time.

        Where the GPUs are released it is not asked.
        """
        self._take_release(self._clock())
        self._thread.start()
        until = self._clock() + FIRST_LOOK_SECONDS
        while self._clock() < until and self._absence.until is None:
            if self._boards.all_seen():
                return Census(*(self._boards.census.read(0) or ()))
            time.sleep(0.01)
        return Census()

    def stop(self) -> None:
        """End thread and processes; a process that hangs in the driver is left to the kernel."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS)
        self._forks.close()

    def snapshot(self) -> Snapshot:
        """Return what was seen last of each GPU, with the counts as they are now."""
        now = self._clock()
        released_until = self._absence.until
        census = Census(*(self._boards.census.read(0) or ())) if released_until is None else Census()
        tallies = [self._boards.tallies.read(lane) or _NO_TALLY for lane in tuple(self._running)]
        with self._lock:
            gpus = self._gpus(census, now) if released_until is None else self._released_gpus()
            errors, looks = Counter(self._errors), self._looks
            for live, failed, _, _ in tallies:
                looks += live
                errors.update({CallError(function, code): count for function, code, count in failed})
            return Snapshot(
                gpus=gpus,
                census=census,
                looks=looks,
                errors=errors,
                killed=self._lanes.killed,
                released_until=released_until,
            )

    @property
    def xids(self) -> int:
        """Return the pipe on which XIDs come: an XidEvent a line, as JSON."""
        return self._boards.xids

    def devices(self) -> Mapping[str, Device]:
        """Return the GPUs that have been seen, by the PCI address that the kernel writes."""
        self.snapshot()
        with self._lock:
            known = tuple(self._known.values())
        return {bus_address(one.pci_bus_id): Device(one.index, one.uuid) for one in known if one.pci_bus_id}

    def cost(self) -> OwnCost:
        """Return what all processes of this exporter take; looked at anew every COST_SECONDS."""
        with self._lock:
            if self._clock() >= self._cost_until:
                tallies = [self._boards.tallies.read(lane) for lane in tuple(self._running)]
                self._cost = own_cost([self._forks.process, *(one[3] for one in tallies if one)])
                self._cost_until = self._clock() + COST_SECONDS
            return self._cost

    def _gpus(self, census: Census, now: float) -> tuple[GpuReading, ...]:
        if not census.failure and census.count:
            self._count = min(census.count, MOST_GPUS)
        readings = [self._reading(index, now) for index in range(self._count)]
        listed = {reading.identity.uuid for reading in readings}
        for reading in readings:
            if reading.identity.uuid:
                self._known[reading.identity.uuid] = reading.identity
        gone = [one for uuid, one in self._known.items() if uuid not in listed]
        readings += [GpuReading(one, None, failure="the driver no longer lists it") for one in gone]
        return tuple(sorted(readings, key=lambda reading: reading.identity.index))

    def _released_gpus(self) -> tuple[GpuReading, ...]:
        known = sorted(self._known.values(), key=lambda one: one.index)
        return tuple(GpuReading(one, None, failure="it is released") for one in known)

    def _reading(self, index: int, now: float) -> GpuReading:
        packed = self._boards.readings.read(index)
        reading = (
            GpuReading.unpacked(packed) if packed else GpuReading(GpuIdentity(index, ""), None, failure="no answer yet")
        )
        identity = reading.identity
        if not identity.uuid:  # a process that has just begun does not know who was there
            identity = next((one for one in self._known.values() if one.index == index), identity)
        age = now - reading.taken_at
        if packed and age > self._stale_after and not self._is_starved(index, reading.taken_at, now):
            return GpuReading(identity, None, failure=f"no answer for {age:.0f} s", taken_at=reading.taken_at)
        return replace(reading, identity=identity)

    def _is_starved(self, index: int, taken_at: float, now: float) -> bool:
        """Return whether a look is late because it, or the thread that watches it, was given no processor."""
        age = now - taken_at
        late = max(0.0, now - self._stepped_at - STEP_SECONDS)
        waited = self._waits.since(self._lanes.lane_of(index), taken_at, now) + late
        return age <= STARVED_SECONDS and age - waited <= self._stale_after

    def _step_until_stopped(self) -> None:
        """Step; where this ends before its time, whatever the reason, so does all."""
        try:
            while not self._stop.is_set():
                self._step(self._clock())
                self._stop.wait(STEP_SECONDS)
        except ForksGoneError:
            return
        finally:
            if not self._stop.is_set():
                self._broken()

    def _step(self, now: float) -> None:
        ended = self._forks.ended()
        for lane in ended:
            self._forget(lane)
        released = self._take_release(now)
        census = self._boards.census.read(0)
        pulses = self._pulses(now)
        seconds: dict[int, float] = {}
        for lane in self._running:
            seconds.update((self._boards.tallies.read(lane) or _NO_TALLY)[2])
        count = Census(*census).count if census else 0
        for order in self._lanes.step(now, count or self._count, pulses, ended, seconds, released=released):
            self._obey(order, now)

    def _pulses(self, now: float) -> Mapping[int, tuple[int, float]]:
        """Return what each lane does, and since when, as if it had been given a processor whenever it was ready."""
        pulses: dict[int, tuple[int, float]] = {}
        with self._lock:
            for lane, started in self._running.items():
                what, since, process = self._boards.pulses.read(lane) or (None, started, None)
                if process is not None or now - started < FIRST_LOOK_SECONDS:
                    self._waits.look(lane, process, now)
                if what is not None:
                    pulses[lane] = (what, since + self._waits.since(lane, since, now))
            self._stepped_at = now
        return pulses

    def _take_release(self, now: float) -> bool:
        """Return whether the GPUs are released now."""
        until = self._release.look()
        if self._absence.step(until, now):
            self._boards.clear_looks()
        if self._absence.returning:
            self._absence.back(self._boards.all_seen(), now)
        return until is not None

    def _obey(self, order: Order, now: float) -> None:
        if isinstance(order, Kill):
            self._forks.kill(order.lane)
        elif isinstance(order, Start):
            self._boards.clear(order.lane)
            self._boards.set_task(order.lane, order.task)
            self._running[order.lane] = now
            self._forks.start(order.lane)
        elif isinstance(order, Assign) and self._boards.task(order.lane) != order.task:
            self._boards.set_task(order.lane, order.task)

    def _forget(self, lane: int) -> None:
        looks, failed, _, _ = self._boards.tallies.read(lane) or _NO_TALLY
        with self._lock:
            self._running.pop(lane, None)
            self._waits.forget(lane)
            self._boards.clear(lane)
            self._looks += looks
            self._errors.update({CallError(function, code): count for function, code, count in failed})
