"""`prometheus.expect`: wait until Prometheus has shown something for a while."""

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

from fleetward.model.errors import OutOfReachError
from fleetward.runbooks.actions.base import Call, Done, Failed, NotBegun, Observation, Report, Result, Waiting
from fleetward.runbooks.actions.declared import Declared, Kind, duration, seconds_of, since, text
from fleetward.runbooks.clock import Clock
from fleetward.runbooks.prometheus import Prometheus, Sample

PAUSE = 2.0
"""Seconds between two looks."""


class Expect(Declared):
    """Wait until an expression has held for `for`, and fail where it has not after `within`.

    It holds as an alert's does: where the answer has a sample. `up{node="a"} == 1` holds as soon as one series of
    several is 1; `min(up{node="a"}) == 1` where all are.
    """

    declared = Kind("prometheus.expect", changes=False, argument=text, options={"for": duration, "within": duration})

    def __init__(self, prometheus: Prometheus, clock: Clock) -> None:
        self._prometheus = prometheus
        self._clock = clock
        # Since when it has held, per run and step. It is lost with the daemon: the new one counts from its own looks.
        self._held: dict[tuple[int, int], datetime] = {}
        self._lock = threading.Lock()

    def prepare(self, call: Call) -> Mapping[str, object]:
        """Note the beginning."""
        return {"at": self._clock.now().isoformat()}

    def act(self, call: Call, before: Mapping[str, object], report: Report) -> Result:
        """Look once."""
        key = (call.run.id, call.step.index)
        expression = str(call.step.arguments[""])
        try:
            samples = self._prometheus.query(expression)
        except OutOfReachError:
            self._forget(key)  # nobody looked meanwhile
            raise
        now = self._clock.now()
        began = self._held_since(key, now, holds=bool(samples))
        wanted = timedelta(seconds=seconds_of(call, "for", "30s"))
        if began is not None and now - began >= wanted:
            self._forget(key)
            report(f"held for {wanted.total_seconds():.0f} s: {_shown(samples)}\n")
            return Done({"samples": _shown(samples), "held_since": began.isoformat()})
        within = timedelta(seconds=seconds_of(call, "within", "1h"))
        # What holds already may finish: the limit is for what does not come to hold.
        if began is None and since(before, self._clock) >= within:
            return Failed(f"`{expression}` did not come to hold within {within.total_seconds():.0f} s")
        if began is None:
            return Waiting(f"`{expression}` does not hold yet", PAUSE)
        held = (now - began).total_seconds()
        return Waiting(f"`{expression}` has held for {held:.0f} of {wanted.total_seconds():.0f} s", PAUSE)

    def observe(self, call: Call, before: Mapping[str, object]) -> Observation:
        """Leave it to `act`, which only looks."""
        return NotBegun()

    def _held_since(self, key: tuple[int, int], now: datetime, *, holds: bool) -> datetime | None:
        if not holds:
            self._forget(key)
            return None
        with self._lock:
            return self._held.setdefault(key, now)

    def _forget(self, key: tuple[int, int]) -> None:
        with self._lock:
            self._held.pop(key, None)


def _shown(samples: tuple[Sample, ...]) -> str:
    """Return the first few samples as Prometheus writes them."""
    shown = [
        "{" + ", ".join(f"{name}={value!r}" for name, value in sorted(sample.labels.items())) + f"}} {sample.value:g}"
        for sample in samples[:5]
    ]
    more = f" and {len(samples) - 5} more" if len(samples) > 5 else ""
    return "; ".join(shown) + more
