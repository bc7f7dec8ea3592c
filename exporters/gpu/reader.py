"""How GPUs are looked at: a Protocol, and the implementation that plays recorded sweeps."""

import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

from fleetward.exporters.gpu.readings import Sweep, XidEvent


class GpuReader(Protocol):
    """The GPUs of this node; `sweep` and `wait_xid` are called from two threads."""

    def sweep(self) -> Sweep:
        """Look at all GPUs; one that does not answer is in the result without values, and nothing is raised for it."""

    def wait_xid(self, timeout_seconds: float) -> XidEvent | None:
        """Wait for the next XID; None where none came in time."""

    def close(self) -> None:
        """Let go of the driver."""


class RecordedReader:
    """Plays sweeps one after the other, staying at the last, and the XIDs that are put into `events`."""

    def __init__(self, sweeps: Sequence[Sweep], before_sweep: Callable[[], None] = lambda: None) -> None:
        """Take at least one sweep, and what to do before each (a test blocks here to play a hanging driver)."""
        self.events: SimpleQueue[XidEvent] = SimpleQueue()
        self.sweeps_made = 0
        self._sweeps = tuple(sweeps)
        self._before_sweep = before_sweep

    def sweep(self) -> Sweep:
        """Return the next recorded sweep."""
        self._before_sweep()
        sweep = self._sweeps[min(self.sweeps_made, len(self._sweeps) - 1)]
        self.sweeps_made += 1
        return sweep

    def wait_xid(self, timeout_seconds: float) -> XidEvent | None:
        """Return the next event that was put."""
        try:
            return self.events.get(timeout=timeout_seconds)
        except Empty:
            return None

    def close(self) -> None:
        """Have nothing to let go of, but give up the processor as a real one would."""
        time.sleep(0)
