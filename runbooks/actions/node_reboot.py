"""`node.reboot`: reboot a node, and wait until it is back.

A node says how long it has been up: one that came up after the step was reserved has been rebooted. So a reboot that
was asked for twice is one, and after a crash there is nothing to guess.
"""

import secrets
from collections.abc import Mapping

from fleetward.model.errors import FleetwardError, UsageError
from fleetward.runbooks.actions.base import Call, Done, Failed, NotBegun, Observation, Report, Result, Waiting
from fleetward.runbooks.actions.declared import Declared, Kind, duration, node_name, node_of, seconds_of, since
from fleetward.runbooks.actions.node_run import BOOT_SLACK, NodeRunner, NodeStepState
from fleetward.runbooks.clock import Clock

ARGV = ("systemctl", "reboot")
LOOK_SECONDS = 10.0


class Reboot(Declared):
    """Reboot one node by its own systemd; nothing here forces it."""

    declared = Kind("node.reboot", changes=True, argument=node_name, options={"within": duration})

    def __init__(self, runner: NodeRunner, clock: Clock) -> None:
        self._runner = runner
        self._clock = clock

    def prepare(self, call: Call) -> Mapping[str, object]:
        """Note the moment, and make up a marker: the program is begun once, however often it is asked for."""
        marker = f"{call.run.owner}-r{call.run.id}-{call.step.index}-{secrets.token_hex(6)}"
        return {"at": self._clock.now().isoformat(), "node": node_of(call), "marker": marker}

    def act(self, call: Call, before: Mapping[str, object], report: Report) -> Result:
        """Ask for it where it has not been, and look whether the node has come up since."""
        node, marker, age = str(before["node"]), str(before["marker"]), since(before, self._clock).total_seconds()
        within = seconds_of(call, "within", "30m")
        try:
            found = self._runner.observe(node, marker)
            if found.up_for + BOOT_SLACK < age:
                report(f"{node} came up {found.up_for:.0f} s ago\n")
                return Done({"up_for": found.up_for})
            if found.state is NodeStepState.ABSENT:
                # Not where it has come up since that look: its trace would have gone with that.
                found = self._runner.run(node, ARGV, marker, 60, found.up_for)
        except UsageError:
            raise
        except FleetwardError as error:  # also what asks it, killed by the shutdown itself
            return self._late(node, age, within, str(error)) or Waiting(f"{node} is away: {error}", LOOK_SECONDS)
        if found.state is NodeStepState.ENDED and found.exit != 0:
            return Failed(f"{node} does not reboot: exit status {found.exit}: {found.output.strip()[:200]}")
        said = "it is still up"
        return self._late(node, age, within, said) or Waiting(f"{node} was told to reboot, {said}", LOOK_SECONDS / 2)

    def observe(self, call: Call, before: Mapping[str, object]) -> Observation:
        """Leave it to `act`: it looks before it asks."""
        return NotBegun()

    @staticmethod
    def _late(node: str, age: float, within: float, why: str) -> Failed | None:
        return Failed(f"{node} was not back within {within:.0f} s of its reboot: {why}") if age > within else None
