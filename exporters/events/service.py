"""The faults of a running exporter: sources read, what they tell recorded, and the daemon told."""

import json
import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from fleetward.exporters.events.fault_state import FaultState, folded
from fleetward.exporters.events.faults import Device, FaultTally, XidEvent
from fleetward.exporters.events.journal import Journal
from fleetward.exporters.events.kernel_log import KernelFault, KernelLog, boot_id
from fleetward.exporters.events.outbox import Outbox
from fleetward.exporters.events.recorder import Recorder
from fleetward.model.gpu_faults import FaultCatalogue
from fleetward.model.node_settings import NodeSettings

LOOK_SECONDS = 0.05
"""How often a log is looked at that no call of the kernel waits for."""
WAIT_SECONDS = 1.0
"""How long one wait lasts at most, and so how long stopping takes."""
DEVICES_SECONDS = 10.0
"""How often it is written down which GPU is where, so that one that is lost at the next start still has its name."""


class Faults:
    """Make it after the fork: a child that cannot be killed would keep the state's folder from the next exporter."""

    def __init__(
        self,
        settings: NodeSettings,
        catalogue: FaultCatalogue,
        kernel_log: Path,
        state: Path | None,
        announce: Callable[[str], None],
    ) -> None:
        """Go on from the state in a folder, or from nothing; what is in the kernel's log from now on is a fault.

        Raises FleetwardError where another exporter has the folder. One that cannot be used costs what it is for, and
        nothing else.
        """
        self._announce = announce
        boot = boot_id()
        journal, known = self._open_state(state, boot)
        self._state_lost = state is not None and journal is None
        self._log = KernelLog(kernel_log, boot, known.cursor)
        self._recorder = Recorder(known, journal, catalogue, push=bool(settings.daemon.url))
        self._recorder.tell((), (), self._log.cursor)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._push = None
        if settings.daemon.url:
            from fleetward.exporters.events.push import Push  # memory that only those pay who have a daemon

            node = settings.node or os.uname().nodename.partition(".")[0]
            self._push = Push(settings.daemon, node, self._recorder, announce)
            if state is None:
                announce("events are lost when this program ends: give it a folder for its state by --state")
        if not self._log.readable:
            why = "cannot be read (is CAP_SYSLOG missing?): XIDs come from NVML alone, it is tried again"
            announce(f"{kernel_log} {why}")

    def start(self, nvml: int, devices: Callable[[], Mapping[str, Device]], broken: Callable[[], None]) -> None:
        """Begin: `nvml` is a pipe with an XidEvent a line as JSON, `devices` tells which GPU is at which PCI address.

        `broken` is called from another thread where this ends before its time.
        """
        work: dict[str, Callable[[], None]] = {"gpu-faults": lambda: self._record(nvml, devices)}
        if self._push is not None:
            push = self._push
            work["gpu-events"] = lambda: push.run(self._stop)
        for name, does in work.items():
            thread = threading.Thread(target=self._guarded, args=(does, broken), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End the threads, and put down how far the kernel's log was read."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * WAIT_SECONDS)
        done = not any(thread.is_alive() for thread in self._threads[:1])
        self._recorder.close(self._log.cursor if done else None)  # what was read is recorded, or else read again
        self._log.close()

    def tally(self) -> FaultTally:
        """Return what has been counted so far."""
        tally = self._recorder.tally()
        return replace(
            tally,
            log_readable=self._log.readable,
            log_lost=self._log.lost,
            state_writable=False if self._state_lost else tally.state_writable,
            push_failures=self._push.failures if self._push else 0,
        )

    def _guarded(self, work: Callable[[], None], broken: Callable[[], None]) -> None:
        try:
            work()
        finally:
            if not self._stop.is_set():
                broken()

    def _record(self, nvml: int, devices: Callable[[], Mapping[str, Device]]) -> None:
        rest, devices_until = b"", 0.0
        while not self._stop.is_set():
            log = self._log.selectable()
            files = [nvml] if log is None else [nvml, log]
            ready = select.select(files, [], [], LOOK_SECONDS if log is None else WAIT_SECONDS)[0]
            # NVML's events first into hand, then the kernel's log: its line, which says more, was written before
            told: list[XidEvent] = []
            if nvml in ready:
                *lines, rest = (rest + os.read(nvml, 65536)).split(b"\n")
                told = [XidEvent(*json.loads(line)) for line in lines]
            faults = self._read_log()
            if faults or told or time.monotonic() >= devices_until:
                self._recorder.knows(devices())
                devices_until = time.monotonic() + DEVICES_SECONDS
            self._recorder.tell(faults, told, self._log.cursor)

    def _read_log(self) -> list[KernelFault]:
        faults = self._log.read()
        while not self._log.caught_up and self._log.readable:
            faults += self._log.read()
        return faults

    def _open_state(self, folder: Path | None, boot: str) -> tuple[Journal | None, FaultState]:
        if folder is None:
            return None, FaultState(boot, Outbox())
        try:
            journal = Journal(folder)
            entries, broken = journal.read()
        except OSError as error:
            self._announce(f"{folder}: no state is kept there, and a restart forgets what was seen: {error.strerror}")
            return None, FaultState(boot, Outbox())
        try:
            state = folded(entries, boot, Outbox())
        except ValueError as error:
            state, broken = FaultState(boot, Outbox()), True
            self._announce(f"{folder}: the state there is not used: {error}")
        if broken:
            self._announce(f"{folder}: the journal is damaged; what can be read of it is used, the rest kept aside")
            journal.set_aside()
        return journal, state
