"""`node.qualify`: have a node pass its burn-in, and go on only where it did.

The record of burn-ins is the daemon's; this asks it to begin one, and looks how it goes. A claim of the run's owner is
lifted while the node is tested, and is back on a node that did not pass before anybody else may use it.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fleetward.model.burn_ins import BurnIn, BurnInNode, BurnInState
from fleetward.model.errors import ConflictError, UsageError
from fleetward.runbooks.actions.base import Call, Done, Failed, NotBegun, Observation, Report, Result, Waiting
from fleetward.runbooks.actions.declared import (
    Declared,
    Kind,
    duration,
    node_name,
    node_of,
    seconds_of,
    since,
    word_list,
)
from fleetward.runbooks.clock import Clock

LOOK_SECONDS = 10.0


class Qualifier(Protocol):
    """Something that burns nodes in."""

    def burn_in(self, node: str, workloads: Sequence[str], seconds: float, owner: str, asked_by: str) -> BurnIn:
        """Return the burn-in that was begun by this name; begin it where there is none.

        `owner` is whose claim is lifted for it. UsageError where the node cannot be burned in, ConflictError where it
        is being burned in by somebody else.
        """


@dataclass(frozen=True)
class NoBurnIns:
    """The qualifier where there is none."""

    why: str = "nodes cannot be burned in here: the daemon has no inventory of the site (provision.inventory)"

    def burn_in(self, node: str, workloads: Sequence[str], seconds: float, owner: str, asked_by: str) -> BurnIn:
        """Refuse."""
        raise UsageError(self.why)


class Qualify(Declared):
    """Burn one node in."""

    declared = Kind(
        "node.qualify",
        changes=True,
        argument=node_name,
        options={"within": duration, "workloads": word_list},
    )

    def __init__(self, qualifier: Qualifier, clock: Clock) -> None:
        self._qualifier = qualifier
        self._clock = clock

    def prepare(self, call: Call) -> Mapping[str, object]:
        """Note the moment, and make up the name under which it is begun once, however often it is asked for."""
        asked_by = f"r{call.run.id} {call.step.name} {secrets.token_hex(6)}"
        return {"at": self._clock.now().isoformat(), "asked_by": asked_by}

    def act(self, call: Call, before: Mapping[str, object], report: Report) -> Result:
        """Begin it where it has not been begun, and look how it goes."""
        node, within = node_of(call), seconds_of(call, "within", "4h")
        listed = call.step.arguments.get("workloads", [])
        workloads = [str(each) for each in listed] if isinstance(listed, list) else []
        try:
            found = self._qualifier.burn_in(node, workloads, within, call.run.owner, str(before["asked_by"]))
        except ConflictError as error:  # somebody else burns it in: his is not ours to wait for
            if since(before, self._clock).total_seconds() < within:
                return Waiting(str(error), LOOK_SECONDS)
            return Failed(str(error))
        return _result(found, node, report)

    def observe(self, call: Call, before: Mapping[str, object]) -> Observation:
        """Leave it to `act`, which finds the burn-in that it began."""
        return NotBegun()


def _result(found: BurnIn, node: str, report: Report) -> Result:
    own = next((one for one in found.nodes if one.name == node), None)
    if own is None:
        return Failed(f"{found.owner} has no node {node}")
    if found.state is BurnInState.RUNNING:
        return Waiting(f"{found.owner} is under way: {_jobs(found)}", LOOK_SECONDS)
    if found.state is BurnInState.ABORTED:
        return Failed(f"{found.owner} was aborted: {found.why}", _outcome(found, own))
    if own.outcome == "passed":
        report(f"{found.owner}: {node} passed\n")
        return Done(_outcome(found, own))
    return Failed(f"{found.owner}: {own.why[0] if own.why else own.outcome}", _outcome(found, own))


def _jobs(found: BurnIn) -> str:
    states = [str(job.state) for job in found.jobs]
    counted = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    return f"jobs: {', '.join(counted)}" if counted else "no job yet"


def _outcome(found: BurnIn, own: BurnInNode) -> Mapping[str, object]:
    return {"burn_in": found.id, "outcome": own.outcome, "why": list(own.why)[:20], "certificate": own.certificate}
