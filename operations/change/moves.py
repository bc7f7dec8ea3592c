"""What a change does next: a pure function of where its nodes and their runs stand.

It is asked anew after every piece of news, and after a crash: nothing is kept between two calls.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fleetward.model.changes import Change, ChangeNode, ChangeState, NodeState, RunNow
from fleetward.model.runs import RunState

_OF_RUN: Mapping[RunState, NodeState] = {
    RunState.PLANNED: NodeState.UNDER_WAY,
    RunState.PROPOSED: NodeState.UNDER_WAY,
    RunState.RUNNING: NodeState.UNDER_WAY,
    RunState.WAITING: NodeState.UNDER_WAY,
    RunState.STOPPED: NodeState.ASKS,
    RunState.DONE: NodeState.DONE,
    RunState.FAILED: NodeState.FAILED,
    RunState.ABORTED: NodeState.FAILED,
}


@dataclass(frozen=True, slots=True)
class Moves:
    """What is to be written down and begun."""

    nodes: tuple[ChangeNode, ...]
    """Those whose record is to be renewed."""
    begin: tuple[str, ...]
    """Those whose turn has come; each is looked at once more before it is begun."""
    state: ChangeState
    why: str


def seen(node: ChangeNode, run: RunNow) -> ChangeNode:
    """Return a node as its run says it stands; what a person has settled stays, also that it is to be done again."""
    if node.state in {NodeState.WAITING, NodeState.GIVEN_BACK, NodeState.LEFT_OUT, NodeState.DONE}:
        return node
    return replace(node, state=_OF_RUN[run.state], why=run.why)


def moves(change: Change, runs: Mapping[int, RunNow]) -> Moves:
    """Return what comes next; `runs` are those that the change's nodes name."""
    nodes = tuple(node if node.run is None else seen(node, runs[node.run]) for node in change.nodes)
    news = tuple(new for new, old in zip(nodes, change.nodes, strict=True) if new != old)
    now = replace(change, nodes=nodes)
    if change.state not in {ChangeState.RUNNING, ChangeState.PAUSED, ChangeState.STOPPED}:
        return Moves(news, (), change.state, change.why)
    if len(now.in_trouble) > change.budget and change.state is not ChangeState.PAUSED:
        return Moves(news, (), ChangeState.STOPPED, spent(now))
    if all(node.state.ended for node in nodes):
        return Moves(news, (), ChangeState.DONE, in_words(now))
    if change.state is not ChangeState.RUNNING:
        return Moves(news, (), change.state, change.why)
    batch = now.batch
    begin = tuple(node.name for node in nodes if node.batch == batch and node.state is NodeState.WAITING)
    return Moves(news, begin, ChangeState.RUNNING, "")


def spent(change: Change) -> str:
    """Say that more nodes are in trouble than the budget allows."""
    troubled = ", ".join(node.name for node in change.in_trouble[:5])
    more = f" and {len(change.in_trouble) - 5} more" if len(change.in_trouble) > 5 else ""
    allowed = "none" if change.budget == 0 else f"no more than {change.budget}"
    return f"{len(change.in_trouble)} nodes are in trouble ({troubled}{more}), and its budget allows {allowed}"


def in_words(change: Change) -> str:
    """Say how the nodes of a change have ended: `7 done, 1 failed`."""
    counts = {state: sum(node.state is state for node in change.nodes) for state in NodeState}
    return ", ".join(f"{count} {str(state).replace('_', ' ')}" for state, count in counts.items() if count)
