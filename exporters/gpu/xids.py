"""XIDs that several sources tell of: each fault is counted once, each repetition of it too."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from fleetward.exporters.gpu.readings import XidEvent

SAME_WITHIN_SECONDS = 5.0
"""Two sources that tell of the same XID on the same GPU no further apart than this tell of the same fault."""


class Source(Enum):
    """Who tells of a fault."""

    NVML = "nvml"
    KERNEL = "kernel log"
    KERNEL_WORDS = "kernel log, without a number"
    """The driver writes a second line for a GPU that fell off the bus."""


@dataclass
class _Fault:
    first_seen: float
    seen_by: set[Source] = field(default_factory=set)


class XidCounts:
    """Counts faults by GPU and XID.

    What one source tells twice happened twice. What a second source tells within SAME_WITHIN_SECONDS is taken for the
    oldest fault that it has not told of yet.
    """

    def __init__(self) -> None:
        """Begin with no fault."""
        self._counts: Counter[XidEvent] = Counter()
        self._last: dict[str, int] = {}
        self._recent: dict[XidEvent, list[_Fault]] = {}

    def add(self, event: XidEvent, source: Source, now: float) -> bool:
        """Take what a source tells at a time in seconds; return whether it is a fault not counted before."""
        recent = [one for one in self._recent.get(event, []) if now - one.first_seen <= SAME_WITHIN_SECONDS]
        self._recent[event] = recent
        known = next((one for one in recent if source not in one.seen_by), None)
        if known is not None:
            known.seen_by.add(source)
            return False
        recent.append(_Fault(now, {source}))
        self._counts[event] += 1
        self._last[event.uuid] = event.xid
        return True

    def counts(self) -> Mapping[XidEvent, int]:
        """Return a copy of the counts."""
        return dict(self._counts)

    def last(self) -> Mapping[str, int]:
        """Return the XID that was counted last on each GPU, by its uuid."""
        return dict(self._last)
