"""Events that the daemon has not taken yet: bounded, the worst go first, the least are dropped first."""

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping

from fleetward.model.gpu_faults import Severity

MOST_WAITING = 10_000
MOST_BYTES = 8 * 1024 * 1024


class Outbox:
    """Safe to use from many threads."""

    def __init__(self) -> None:
        """Begin with none."""
        self._by_severity: dict[Severity, OrderedDict[str, bytes]] = {one: OrderedDict() for one in Severity}
        self._bytes = 0
        self._unsettled: set[str] = set()
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Return how many wait."""
        return sum(map(len, self._by_severity.values()))

    def put(self, key: str, severity: Severity, event: bytes) -> list[str]:
        """Put in an event, which `batch` does not show before `settle`; return the keys of those dropped for it."""
        with self._changed:
            there = self._by_severity[severity]
            if key in there:
                return []
            there[key] = event
            self._bytes += len(event)
            self._unsettled.add(key)
            return list(self._dropped())

    def settle(self) -> None:
        """Show what was put in: it is on disk."""
        with self._changed:
            self._unsettled.clear()
            self._changed.notify_all()

    def remove(self, keys: Iterable[str]) -> list[str]:
        """Take events out; return the keys of those that were there."""
        with self._changed:
            return [key for key in keys if self._remove(key)]

    def wait(self, seconds: float) -> bool:
        """Wait until there is an event to be sent; False where none came in time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self) > len(self._unsettled), seconds)

    def batch(self, most: int) -> Mapping[str, bytes]:
        """Return the events to be sent next, as JSON by key: the worst first, of these the oldest."""
        with self._changed:
            chosen: dict[str, bytes] = {}
            for severity in reversed(Severity):
                for key, event in self._by_severity[severity].items():
                    if len(chosen) >= most:
                        return chosen
                    if key not in self._unsettled:
                        chosen[key] = event
            return chosen

    def all(self) -> Collection[tuple[str, Severity, bytes]]:
        """Return key, severity and JSON of each event, the oldest first within each severity."""
        with self._changed:
            return [(key, one, event) for one, there in self._by_severity.items() for key, event in there.items()]

    def _dropped(self) -> Iterator[str]:
        while len(self) > MOST_WAITING or self._bytes > MOST_BYTES:
            there = next(one for one in self._by_severity.values() if one)
            key = next(iter(there))
            self._remove(key)
            yield key

    def _remove(self, key: str) -> bool:
        for there in self._by_severity.values():
            event = there.pop(key, None)
            if event is not None:
                self._bytes -= len(event)
                self._unsettled.discard(key)
                return True
        return False
