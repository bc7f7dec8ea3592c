"""The time that a whole run may take."""

import time
from collections.abc import Callable
from math import inf


class Deadline:
    """A moment on the monotonic clock, by which everything has to be done."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to count."""
        self._clock = clock
        self._begun = clock()
        self._until = self._begun + seconds

    def left(self, most: float = inf) -> float:
        """Return the seconds that are left, but at most so many; 0 where none are."""
        return max(0.0, min(most, self._until - self._clock()))

    def spent(self) -> float:
        """Return the seconds since it began."""
        return self._clock() - self._begun
