"""Looking at the GPUs at an interval, apart from whoever asks: a thread that sweeps, and two that wait for XIDs."""

import threading
import time
from collections import Counter
from collections.abc import Callable

from fleetward.exporters.gpu.kernel_log import KernelLog, KernelXid, bus_address
from fleetward.exporters.gpu.reader import GpuReader
from fleetward.exporters.gpu.readings import CallError, Snapshot, XidEvent
from fleetward.exporters.gpu.xids import Source, XidCounts

EVENT_WAIT_SECONDS = 1.0
"""How long one wait for an XID lasts at most, and so how long stopping takes."""


class Sampler:
    """Keeps the newest snapshot; a driver that hangs makes it old and stops nobody from reading it."""

    def __init__(
        self,
        reader: GpuReader,
        interval_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        kernel_log: KernelLog | None = None,
    ) -> None:
        """Make the first sweep, so that there is always a snapshot."""
        self._reader = reader
        self._kernel_log = kernel_log
        self._interval = interval_seconds
        self._clock = clock
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._xids = XidCounts()
        self._strange_xids = 0
        self._errors: Counter[CallError] = Counter()
        self._sweeps = 0
        self._snapshot = self._sweep()
        self._threads = (
            threading.Thread(target=self._sweep_until_stopped, name="gpu-sweep", daemon=True),
            threading.Thread(target=self._count_xids_until_stopped, name="gpu-xid", daemon=True),
            threading.Thread(target=self._read_kernel_log_until_stopped, name="kernel-log", daemon=True),
        )

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the threads and let go of the driver; one that hangs in a call is left behind with it."""
        self._stop.set()
        deadline = time.monotonic() + 2 * EVENT_WAIT_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if not any(thread.is_alive() for thread in self._threads):
            self._reader.close()

    def snapshot(self) -> Snapshot:
        """Return the last sweep together with the counts as they are now."""
        with self._lock:
            last = self._snapshot
            return Snapshot(
                sweep=last.sweep,
                taken_at=last.taken_at,
                duration_seconds=last.duration_seconds,
                sweeps=last.sweeps,
                xids=self._xids.counts(),
                errors=last.errors,
                kernel_log_readable=self._kernel_log is not None and self._kernel_log.readable,
                strange_xids=self._strange_xids,
            )

    def _sweep(self) -> Snapshot:
        begun = self._clock()
        sweep = self._reader.sweep()
        ended = self._clock()
        self._sweeps += 1
        self._errors.update(sweep.errors)
        return Snapshot(sweep, ended, ended - begun, self._sweeps, errors=dict(self._errors))

    def _sweep_until_stopped(self) -> None:
        while not self._stop.wait(self._interval):
            snapshot = self._sweep()
            with self._lock:
                self._snapshot = snapshot

    def _count_xids_until_stopped(self) -> None:
        while not self._stop.is_set():
            event = self._reader.wait_xid(EVENT_WAIT_SECONDS)
            if event is not None:
                with self._lock:
                    self._xids.add(event, Source.NVML, self._clock())

    def _read_kernel_log_until_stopped(self) -> None:
        if self._kernel_log is None:
            return
        while not self._stop.is_set():
            found = self._kernel_log.wait(EVENT_WAIT_SECONDS)
            if found is not None:
                with self._lock:
                    self._take(found)
        self._kernel_log.close()

    def _take(self, found: KernelXid) -> None:
        identities = (gpu.identity for gpu in self._snapshot.sweep.gpus)
        known = (one for one in identities if one.pci_bus_id and bus_address(one.pci_bus_id) == found.address)
        identity = next(known, None)
        if identity is None:
            self._strange_xids += 1
        else:
            source = Source.KERNEL_WORDS if found.implied else Source.KERNEL
            self._xids.add(XidEvent(identity.index, identity.uuid, found.xid), source, self._clock())
