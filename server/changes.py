"""What people may ask of changes: each request of the interface as one method, without HTTP."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from fleetward.model.changes import Change, ChangeView, NodeState, PlannedChange
from fleetward.model.errors import ConflictError, UsageError
from fleetward.operations.change.batches import Seen, Wanted, batches
from fleetward.runbooks.page_params import resolve
from fleetward.server.conductor import NODE, Baton, page_problem
from fleetward.server.host_lists import MOST_NODES, expanded
from fleetward.server.shelf import Shelf
from fleetward.store.changes import NewChange

MOST_CHANGES = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be planned."""

    page: str
    nodes: str
    """A host list such as `gpu[001-008]`."""
    params: Mapping[str, str]
    at_once: int
    budget: int
    work_seconds: float


class ChangeService:
    """Answers requests about changes; safe to use from many threads. `who` is the user's name."""

    def __init__(
        self,
        baton: Baton,
        shelf: Shelf,
        leaves: Callable[[], Mapping[str, str]],
        news: Callable[[], None],
    ) -> None:
        """`leaves` gives the leaf switch of each node; `news` has the conductor's next round come at once."""
        self._baton = baton
        self._shelf = shelf
        self._leaves = leaves
        self._news = news

    def plan(self, asked: Asked, who: str) -> PlannedChange:
        """Plan a change, which begins once it is approved; Slurm is asked how nodes and jobs stand now."""
        page = self._shelf.pages().page(asked.page)
        if problems := self._shelf.problems(page):
            raise UsageError(f"{page.id} cannot be carried out: {problems[0]}")
        if not page.steps:
            raise UsageError(f"{page.id} has no steps to carry out")
        page_problem(page.params)
        _check_budget(asked.budget)
        names = expanded(asked.nodes)
        slurm = self._baton.slurm
        seen = Seen(slurm.nodes().items, slurm.jobs().items, self._leaves(), datetime.now(UTC))
        planned, left_out, forecast = batches(Wanted(names, asked.at_once, asked.work_seconds), seen)
        # Of each node: a page may take some names and not others.
        resolved = [resolve(page.params, {**asked.params, NODE: node.name}, None) for node in planned]
        params = {name: value for name, value in resolved[0].items() if name != NODE}
        pinned = {
            "page": page.text,
            "params": params,
            "nodes": [[node.name, node.batch] for node in planned],
            "budget": asked.budget,
        }
        change = self._baton.changes.create(
            NewChange(
                page=page.id,
                title=page.title,
                text=page.text,
                params=params,
                digest=hashlib.sha256(json.dumps(pinned, sort_keys=True).encode()).hexdigest(),
                budget=asked.budget,
                forecast=forecast,
                nodes=planned,
                made_by=who,
            )
        )
        return PlannedChange(change, left_out)

    def list(self, limit: int) -> tuple[Change, ...]:
        """Return the latest changes, latest first."""
        return self._baton.changes.list(max(1, min(limit, MOST_CHANGES)))

    def show(self, change_id: int) -> ChangeView:
        """Return one change with what was said and done about it."""
        changes = self._baton.changes
        return ChangeView(changes.get(change_id), changes.history(change_id))

    def approve(self, change_id: int, digest: str, who: str) -> Change:
        """Let a change begin; refused where its page is no longer what was planned."""
        changes = self._baton.changes
        before = changes.get(change_id)
        page = self._shelf.pages().get(before.page)
        if page is None or page.text != changes.text(change_id):
            raise ConflictError(
                f"{before.owner}: the page {before.page} was changed since this change was planned: abort it"
                f" (`fleetward change abort {before.owner}`) and plan it again"
            )
        return self._told(changes.approve(change_id, digest, who))

    def pause(self, change_id: int, who: str) -> Change:
        """Begin no other node until it is resumed."""
        return self._told(self._baton.changes.pause(change_id, who))

    def resume(self, change_id: int, budget: int | None, *, retry: bool, who: str) -> Change:
        """Go on with a change that was paused or has stopped."""
        if budget is not None:
            _check_budget(budget)
        return self._told(self._baton.changes.resume(change_id, who, budget, retry=retry))

    def abort(self, change_id: int, who: str) -> Change:
        """Begin no other node, and end what is under way; the conductor gives back what is still as it was."""
        return self._told(self._baton.changes.abort(change_id, who))

    def give_back(self, change_id: int, node: str, why: str, who: str) -> Change:
        """Release the change's claim on a node that failed or asks, once a person has looked after it."""
        if not why.strip():
            raise UsageError("say why the node is fit again, so that others can read it")
        baton = self._baton
        change = baton.changes.get(change_id)
        found = next((one for one in change.nodes if one.name == node), None)
        if found is None:
            raise UsageError(f"{change.owner} has no node {node[:100]!r}; `fleetward change status {change.owner}`")
        if found.state not in {NodeState.FAILED, NodeState.ASKS}:
            raise ConflictError(
                f"{node} is {str(found.state).replace('_', ' ')} in {change.owner}; it is not held back"
            )
        if found.run is not None and not baton.runs.run(found.run).state.ended:
            baton.runs.abort(found.run, who)
        baton.keeper.release(node, change.owner, who)
        return self._told(baton.changes.give_back(change_id, node, who, why))

    def _told(self, change: Change) -> Change:
        self._news()
        return change


def _check_budget(budget: int) -> None:
    if not 0 <= budget <= MOST_NODES:
        raise UsageError(f"a budget of {budget} is none; give 0 or more, and no more than {MOST_NODES}")
