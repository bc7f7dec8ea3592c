"""The faults of the last seconds: which one another source tells of again, and of which one another only tells more.

What one source tells twice happened twice. What a second source tells within SAME_WITHIN_SECONDS is taken for the
oldest fault that it has not told of yet.
"""

from collections import defaultdict, deque
from dataclasses import astuple
from typing import Any

from fleetward.exporters.events.faults import Source, XidEvent

SAME_WITHIN_SECONDS = 5.0
"""Two sources that tell of the same XID on the same GPU no further apart than this tell of the same fault."""
PARENT_WITHIN_SECONDS = 10.0
"""An XID that only tells more of another comes no later after it than this."""


class RecentFaults:
    """Remembers XIDs for as long as they matter; times are seconds of one clock, nearly in order.

    Each step takes the same time however many faults there are: a faulty program raises thousands a second.
    """

    def __init__(self) -> None:
        """Begin with no fault."""
        self._untold: defaultdict[tuple[XidEvent, Source], deque[tuple[str, float]]] = defaultdict(deque)
        """Key and time of the faults that a source has not told of, the oldest first."""
        self._newest: defaultdict[tuple[int, str], dict[int, tuple[float, str]]] = defaultdict(dict)
        """Time and key of the newest fault of each number, by index and uuid of the GPU."""

    def told_before(self, event: XidEvent, source: Source, at: float) -> str | None:
        """Return the key of the fault that a source tells of now and another has told of; None where it is new."""
        untold = self._untold[event, source]
        while untold and at - untold[0][1] > SAME_WITHIN_SECONDS:
            untold.popleft()
        return untold[0][0] if untold and untold[0][1] - at <= SAME_WITHIN_SECONDS else None

    def earlier(self, event: XidEvent, at: float) -> dict[int, str]:
        """Return the keys of what happened on the same GPU shortly before, by number, the oldest first."""
        here = sorted((when, xid, key) for xid, (when, key) in self._newest[event.index, event.uuid].items())
        return {xid: key for when, xid, key in here if abs(at - when) <= PARENT_WITHIN_SECONDS}

    def begin(self, event: XidEvent, key: str, at: float, told_by: set[Source]) -> None:
        """Remember a new fault, and forget what no source can mean any more."""
        for source in Source:
            untold = self._untold[event, source]
            while untold and at - untold[0][1] > SAME_WITHIN_SECONDS:
                untold.popleft()
            if source not in told_by:
                untold.append((key, at))
        self._newest[event.index, event.uuid][event.xid] = (at, key)

    def again(self, event: XidEvent, key: str, source: Source) -> None:
        """Remember that a source has told of a fault too; nothing happens where the fault is forgotten."""
        untold = self._untold[event, source]
        while untold:
            if untold.popleft()[0] == key:
                return

    def packed(self) -> dict[str, Any]:
        """Return what `unpack` takes, as JSON."""
        untold = [[*astuple(event), source, list(faults)] for (event, source), faults in self._untold.items() if faults]
        newest = [[*gpu, *([xid, *one] for xid, one in numbers.items())] for gpu, numbers in self._newest.items()]
        return {"untold": untold, "newest": newest}

    def unpack(self, packed: dict[str, Any]) -> None:
        """Go on from what another has packed."""
        for index, uuid, xid, source, faults in packed["untold"]:
            self._untold[XidEvent(index, uuid, xid), Source(source)].extend((key, at) for key, at in faults)
        for index, uuid, *numbers in packed["newest"]:
            self._newest[index, uuid].update({xid: (at, key) for xid, at, key in numbers})
