"""One look per interval at what others tell, kept with its age; a source that does not answer is asked less often."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeAlias, TypeVar

from fleetward.model.errors import FleetwardError

LONGEST_PAUSE = 10.0
"""Seconds between two looks at a source that does not answer, at most: people wait to see it back."""
PATIENCE = 3.0
"""Seconds that a request waits for a look that it asked for; then it gets the last one, with its age."""
INTEREST = 60.0
"""Seconds after a request for the fleet in which jobs and GPUs go on being looked at."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """What a source said last."""

    value: T | None = None
    at: float = 0.0
    """When, by the clock of the source."""
    problem: str = ""
    """Why it does not answer now; empty where it does."""
    since: datetime | None = None
    """Since when it does not."""

    @property
    def reach(self) -> str:
        """Say since when and why it does not answer; empty where it does."""
        return f"since {self.since:%H:%M:%S} UTC: {self.problem}" if self.since else self.problem


Look: TypeAlias = Callable[[Reading[T]], tuple[Reading[T], float]]
"""Looks once: takes the reading from before, and gives the new one and the seconds until the next look."""


class Asked(Generic[T]):
    """Looks at what answers as a whole or raises a FleetwardError; after an answer that took long it looks later."""

    def __init__(self, ask: Callable[[], T], seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        """Ask every so many seconds."""
        self._ask = ask
        self._seconds = seconds
        self._now = now
        self._failures = 0

    def __call__(self, before: Reading[T]) -> tuple[Reading[T], float]:
        """Look once."""
        began = self._now()
        try:
            value = self._ask()
        except FleetwardError as error:
            self._failures += 1
            pause = min(self._seconds * 2.0 ** min(self._failures, 8), LONGEST_PAUSE)
            return Reading(before.value, before.at, str(error), before.since or datetime.now(UTC)), pause
        self._failures = 0
        return Reading(value, began), max(self._seconds, 5 * (self._now() - began))


class Source(Generic[T]):
    """Something that is looked at again and again by a thread of its own."""

    def __init__(self, name: str, look: Look[T], now: Callable[[], float] = time.monotonic) -> None:
        """Look at nothing yet; `now` is the clock of the readings."""
        self.name = name
        self.now = now
        self._look = look
        self._reading: Reading[T] = Reading(problem="it was not asked yet")
        self._changed = threading.Condition()
        self._hurry = threading.Event()
        self._looked_at = float("-inf")

    @property
    def reading(self) -> Reading[T]:
        """The last one."""
        return self._reading

    @property
    def age(self) -> float:
        """Seconds since it answered; infinite where it never did."""
        return self.now() - self._reading.at if self._reading.value is not None else float("inf")

    def look(self) -> float:
        """Look once and return the seconds until the next look."""
        began = self.now()
        reading, pause = self._look(self._reading)
        with self._changed:
            self._reading = reading
            self._looked_at = began
            self._changed.notify_all()
        return pause

    def run(self, stopping: threading.Event) -> None:
        """Look until `stopping` is set and `hurry` is called once more."""
        while not stopping.is_set():
            self._hurry.clear()
            pause = self.look()
            self._hurry.wait(pause)

    def hurry(self) -> None:
        """Have the next look now."""
        self._hurry.set()

    def fresh(self, seconds: float = PATIENCE) -> Reading[T]:
        """Return a reading from a look that began after this call; after `seconds` without one, the last there is."""
        asked = self.now()
        with self._changed:
            self._hurry.set()
            self._changed.wait_for(lambda: self._looked_at >= asked, seconds)
            return self._reading


class Interest:
    """Whether anybody has asked lately."""

    def __init__(self, now: Callable[[], float] = time.monotonic, seconds: float = INTEREST) -> None:
        """Last so many seconds from when somebody asked."""
        self._now = now
        self._seconds = seconds
        self._until = float("-inf")

    def show(self) -> bool:
        """Note that somebody asks; return whether somebody did lately."""
        was = self.there
        self._until = self._now() + self._seconds
        return was

    @property
    def there(self) -> bool:
        """Whether somebody did lately."""
        return self._now() < self._until
