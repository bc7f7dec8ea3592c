"""Carries changes on: begins the nodes whose turn has come, and winds up what was aborted.

Each round reads where everything stands and does what follows; it may be cut off at any line, and the next one goes on.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from fleetward.model.changes import Change, ChangeNode, ChangeState, NodeState
from fleetward.model.claims import is_burn_in, owned_reason
from fleetward.model.errors import ConflictError, FleetwardError, UsageError
from fleetward.model.runs import Mode, Run, RunState, StepState
from fleetward.operations.change.batches import why_not
from fleetward.operations.change.moves import Moves, moves
from fleetward.runbooks.nodes import NodeKeeper
from fleetward.runbooks.page import parse
from fleetward.runbooks.plan import plan
from fleetward.server.executor import MOST_AT_ONCE, Executor
from fleetward.slurm.answers import Node
from fleetward.slurm.client import SlurmClient
from fleetward.store.changes import Changes
from fleetward.store.runs import Runs

NODE = "node"
"""The parameter of a change's page that names the node."""
_BEGUN = frozenset({StepState.RESERVED, StepState.DONE, StepState.FAILED, StepState.UNKNOWN})
_HARMLESS = frozenset({"slurm.drain", "slurm.wait_for_jobs", "wait", "approve", "prometheus.expect"})
"""Actions after which a node is as it was, once its claim is released."""
MOST_RUNS = MOST_AT_ONCE // 2
"""Of changes under way at once: each waits in a thread for its jobs, and incidents must find one that is free."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Baton:
    """What the conductor works with."""

    changes: Changes
    runs: Runs
    executor: Executor
    keeper: NodeKeeper
    slurm: SlurmClient
    policy: Callable[[], dict[str, object]]


class Conductor:
    """Advances changes; one round at a time."""

    def __init__(self, baton: Baton) -> None:
        self._baton = baton
        self._told: dict[int, str] = {}
        self._room = 0

    def round(self) -> None:
        """Look at every change that has not ended once."""
        going = self._baton.changes.going()
        self._room = MOST_RUNS - sum(node.state is NodeState.UNDER_WAY for change in going for node in change.nodes)
        for change in going:
            try:
                self._advance(change)
            except ConflictError as error:  # a person was faster: the next round sees what was said
                log.info("%s", error)
            except FleetwardError as error:
                self._tell(change, f"{change.owner} does not go on: {error}")

    def _advance(self, change: Change) -> None:
        baton = self._baton
        if change.state is ChangeState.ABORTED:
            self._wind_up(change)
            return
        found: Moves = moves(change, baton.changes.runs(change.id))
        if found.nodes or (found.state, found.why) != (change.state, change.why):
            baton.changes.record(change, found.nodes, found.state, found.why)
        if found.begin:
            nodes = {node.name: node for node in baton.slurm.nodes().items}
            for name in found.begin:
                if self._room <= 0:
                    break  # the others' turn comes once these have their end
                self._begin(change, name, nodes.get(name))
        self._told.pop(change.id, None)

    def _begin(self, change: Change, name: str, node: Node | None) -> None:
        baton = self._baton
        why = f"{name} is gone from Slurm" if node is None else self._why_not(change, node)
        if why:
            baton.changes.leave_out(change.id, name, why)
            return
        page = parse(baton.changes.text(change.id), change.page)
        new = plan(page, {**change.params, NODE: name}, None, Mode.AUTO, baton.policy(), asked_by=change.approved_by)
        run = baton.changes.begin(change.id, name, new)
        if run is not None:
            self._room -= 1
            baton.executor.wake(run)

    def _why_not(self, change: Change, node: Node) -> str:
        """Say why a node whose turn has come is left as it is; one that this very change holds is taken up again.

        Its reason may name a burn-in that it failed in the change's own run, which is what the second turn is for.
        """
        own = owned_reason(node.reason)
        if own is not None and own.owner == change.owner:
            return ""
        if own is not None and is_burn_in(own.owner):
            owners = {claim.owner for claim in self._baton.keeper.claims_on(node.name)}
            if change.owner in owners:
                return ""
        return why_not(node)

    def _wind_up(self, change: Change) -> None:
        """End the runs of an aborted change, and give back the nodes to which nothing was done yet."""
        for node in change.nodes:
            if node.run is not None and not node.state.ended:
                self._leave(change, node, node.run)

    def _leave(self, change: Change, node: ChangeNode, run_id: int) -> None:
        baton = self._baton
        run = baton.runs.run(run_id)
        if not run.state.ended:
            run = baton.runs.abort(run_id, change.why.removeprefix("aborted by ") or "fleetward")
        if run.state is RunState.DONE:
            baton.changes.settle(change.id, node.name, NodeState.DONE, "")
            return
        if done := changed_by(run):
            aborted = f"aborted in the middle: {', '.join(done)} was begun or done"
            why = run.why if run.state is RunState.FAILED else aborted
            baton.changes.settle(change.id, node.name, NodeState.FAILED, f"{why}; look at the node, then give it back")
            return
        baton.keeper.release(node.name, change.owner, "fleetward")
        baton.changes.settle(change.id, node.name, NodeState.GIVEN_BACK, "aborted before anything was done to it")

    def _tell(self, change: Change, text: str) -> None:
        """Write to the log what has not just been written."""
        if self._told.get(change.id) != text:
            self._told[change.id] = text
            log.warning("%s", text)


def changed_by(run: Run) -> tuple[str, ...]:
    """Return the steps of a run that were begun and may have left a node otherwise than it was.

    What comes before the drain is done while jobs run there, and is no reason to keep a node from them.
    """
    drained = next((step.index for step in run.steps if step.action == "slurm.drain"), 0)
    return tuple(
        step.name
        for step in run.steps
        if step.index >= drained and step.state in _BEGUN and step.action not in _HARMLESS
    )


def page_problem(params: Collection[str]) -> None:
    """Refuse a page that a change cannot carry out: it must name its node by a parameter."""
    if NODE not in params:
        raise UsageError(f"a change carries out a page with the parameter `{NODE}`; this one has none")
