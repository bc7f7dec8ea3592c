"""`approve` and `wait`: steps that let time or a person come in."""

from collections.abc import Mapping

from fleetward.runbooks.actions.base import Call, Done, NotBegun, Observation, Report, Result, Waiting
from fleetward.runbooks.actions.declared import Declared, Kind, duration, seconds_of, since, text
from fleetward.runbooks.clock import Clock


class Approve(Declared):
    """Ask a person; the answer comes into the step's outcome from outside, as `approved_by`."""

    declared = Kind("approve", changes=False, argument=text)

    def prepare(self, call: Call) -> Mapping[str, object]:
        """Need nothing."""
        return {}

    def act(self, call: Call, before: Mapping[str, object], report: Report) -> Result:
        """Look for the answer."""
        if call.step.outcome.get("approved_by"):
            return Done(call.step.outcome)
        return Waiting(f"{call.step.arguments['']} (waits for a person's approval)", 1.0)

    def observe(self, call: Call, before: Mapping[str, object]) -> Observation:
        """Look for the answer; asking twice is no harm."""
        return Done(call.step.outcome) if call.step.outcome.get("approved_by") else NotBegun()


class Wait(Declared):
    """Let time pass."""

    declared = Kind("wait", changes=False, argument=duration)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def prepare(self, call: Call) -> Mapping[str, object]:
        """Note the beginning."""
        return {"at": self._clock.now().isoformat()}

    def act(self, call: Call, before: Mapping[str, object], report: Report) -> Result:
        """Look whether it has passed."""
        left = seconds_of(call, "", "") - since(before, self._clock).total_seconds()
        return Waiting(f"{left:.0f} s to go", min(left, 5.0)) if left > 0 else Done()

    def observe(self, call: Call, before: Mapping[str, object]) -> Observation:
        """Leave it to `act`, which only looks at the clock."""
        return NotBegun()
