"""`slurm.drain` and `slurm.resume`: a claim on a node, and its release."""

from collections.abc import Mapping

from fleetward.model.claims import ClaimClass, owned_reason
from fleetward.model.errors import RefusedError
from fleetward.runbooks.actions.base import Asks, Call, Done, NotBegun, Observation, Report, Result
from fleetward.runbooks.actions.declared import Declared, Kind, node_name, node_of, one_of, text
from fleetward.runbooks.nodes import NodeKeeper, ReleaseResult, is_drained


def _who(call: Call) -> str:
    return call.run.approved_by or "fleetward"


class Drain(Declared):
    """Claim a node for the run's owner and drain it; where a person had drained it, only the claim is added."""

    declared = Kind(
        "slurm.drain", changes=True, argument=node_name, options={"why": text, "class": one_of(*ClaimClass)}
    )

    def __init__(self, keeper: NodeKeeper) -> None:
        self._keeper = keeper

    def prepare(self, call: Call) -> Mapping[str, object]:
        """Read how the node stands."""
        node = self._keeper.node(node_of(call))
        return {"state": "+".join((node.state, *node.flags)), "reason": node.reason, "reason_by": node.reason_by}

    def act(self, call: Call, before: Mapping[str, object], report: Report) -> Result:
        """Hold it."""
        kind = ClaimClass(str(call.step.arguments.get("class", ClaimClass.NODE_PROBLEM)))
        why = str(call.step.arguments.get("why") or call.run.title)
        try:
            held = self._keeper.hold(node_of(call), call.run.owner, kind, why, _who(call))
        except RefusedError as error:
            return Asks(str(error))
        report(f"{held.claim.node}: {held.result}; Slurm shows `{held.reason}` by {held.reason_by or 'nobody'}\n")
        return Done(
            {
                "result": held.result.name.lower(),
                "claim": held.claim.id,
                "reason": held.reason,
                "reason_by": held.reason_by,
            }
        )

    def observe(self, call: Call, before: Mapping[str, object]) -> Observation:
        """Look for the claim on a node that is out of service; holding twice is holding once."""
        node = node_of(call)
        if not self._keeper.holds(node, call.run.owner):
            return NotBegun()
        found = self._keeper.node(node)
        return Done({"result": "seen", "reason": found.reason, "reason_by": found.reason_by})


class Resume(Declared):
    """Release the claim of the run's owner; the node returns where none is left and its drain is Fleetward's."""

    declared = Kind("slurm.resume", changes=True, argument=node_name)

    def __init__(self, keeper: NodeKeeper) -> None:
        self._keeper = keeper

    def prepare(self, call: Call) -> Mapping[str, object]:
        """Read how the node stands."""
        node = self._keeper.node(node_of(call))
        return {"state": "+".join((node.state, *node.flags)), "reason": node.reason, "reason_by": node.reason_by}

    def act(self, call: Call, before: Mapping[str, object], report: Report) -> Result:
        """Release it."""
        released = self._keeper.release(node_of(call), call.run.owner, _who(call))
        owners = [claim.owner for claim in released.claims]
        by = f" by {', '.join(owners)}" if owners else ""
        shown = f"; Slurm shows `{released.reason}` by {released.reason_by}" if released.reason else ""
        said = f"{released.node}: {released.result}{by}{shown}"
        if released.result is ReleaseResult.LATER:
            return Asks(f"{said}; try again once it is back")
        report(said + "\n")
        return Done(
            {
                "result": released.result.name.lower(),
                "claims": owners,
                "reason": released.reason,
                "reason_by": released.reason_by,
            }
        )

    def observe(self, call: Call, before: Mapping[str, object]) -> Observation:
        """Look whether the claim is released and a drain of ours gone; releasing twice is releasing once."""
        node = node_of(call)
        claims = self._keeper.claims_on(node)
        found = self._keeper.node(node)
        left_over = not claims and is_drained(found) and owned_reason(found.reason) is not None
        if left_over or any(claim.owner == call.run.owner for claim in claims):
            return NotBegun()
        owners = [claim.owner for claim in claims]
        return Done({"result": "seen", "claims": owners, "reason": found.reason, "reason_by": found.reason_by})
