"""How long a process stood ready and was given no processor: time that says nothing of the driver.

A node whose jobs take every processor is slow to look at its GPUs, and they are well. The kernel counts the waits of a
process that are over (/proc/PID/schedstat); of one that goes on, its state tells (`R`, and nothing has run since).
"""

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")
READY = "R"
MOST_ENTRIES = 1000
"""Looks at which a process was found to have waited: some minutes of them."""


def waited_seconds(process: int | str = "self", proc: Path = PROC) -> tuple[float, float] | None:
    """Return how long a process has run and has waited for a processor; None where the kernel does not tell."""
    try:
        ran, waited = (proc / str(process) / "schedstat").read_text().split()[:2]
        return int(ran) / 1e9, int(waited) / 1e9
    except (OSError, ValueError):
        return None


def is_ready(process: int, proc: Path = PROC) -> bool:
    """Return whether a process runs or waits for a processor, and not for anything else."""
    try:
        return (proc / str(process) / "stat").read_text(errors="replace").rpartition(")")[2].split()[0] == READY
    except (OSError, IndexError):
        return False


@dataclass
class _Lane:
    """What one lane's process has waited so far."""

    process: int | None
    at: float
    counted: tuple[float, float] | None
    """What the kernel said at the last look."""
    total: float = 0.0
    ahead: float = 0.0
    """Of the total, what the kernel has not counted yet."""
    history: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MOST_ENTRIES))
    """When the total was found to have grown, and to how much."""


class Waits:
    """Follows the waits of all lanes; `look` is to be called several times a second."""

    def __init__(self, proc: Path = PROC) -> None:
        """Begin with no lane."""
        self._proc = proc
        self._lanes: dict[int, _Lane] = {}

    def look(self, lane: int, process: int | None, now: float) -> None:
        """Look at a lane's process; None for one that was started and has not run yet: it waits."""
        counted = None if process is None else waited_seconds(process, self._proc)
        seen = self._lanes.get(lane)
        if seen is None:
            self._lanes[lane] = _Lane(process, now, counted)
            return
        waited = self._waited(seen, process, counted, now)
        seen.process, seen.at, seen.counted = process, now, counted
        if waited > 0:
            seen.total += waited
            seen.history.append((now, seen.total))

    def forget(self, lane: int) -> None:
        """Forget a lane whose process is gone."""
        self._lanes.pop(lane, None)

    def since(self, lane: int | None, moment: float, now: float) -> float:
        """Return how long the lane's process has waited since a moment, 0 where there is none."""
        seen = None if lane is None else self._lanes.get(lane)
        if seen is None:
            return 0.0
        before = 0.0 if len(seen.history) < MOST_ENTRIES else seen.history[0][1]
        for at, total in reversed(seen.history):
            if at <= moment:
                before = total
                break
        return max(0.0, min(seen.total - before, now - moment))

    def _waited(self, seen: _Lane, process: int | None, counted: tuple[float, float] | None, now: float) -> float:
        if process is None:
            return now - seen.at
        if counted is None or seen.counted is None or process != seen.process:
            return 0.0
        ran, waited = (after - before for after, before in zip(counted, seen.counted, strict=True))
        if ran == 0 and waited == 0:
            if not is_ready(process, self._proc):
                return 0.0
            seen.ahead += now - seen.at
            return now - seen.at
        new = max(0.0, waited - seen.ahead)
        seen.ahead = max(0.0, seen.ahead - waited)
        return new
