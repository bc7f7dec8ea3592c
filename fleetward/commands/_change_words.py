"""A change in words: its plan, what it will cost, how far each node is; and following it."""

import shlex
from collections.abc import Callable, Iterator

from fleetward.commands._daemon import clock, moment
from fleetward.commands._follow import looks
from fleetward.commands._run_words import SHORT_DIGEST, RunAsksError, RunFailedError, facts
from fleetward.commands._table import table
from fleetward.model.changes import Change, ChangeState, ChangeView, Forecast, NodeState
from fleetward.model.host_ranges import fold
from fleetward.printable import length, printable

GLYPHS = {
    NodeState.WAITING: "·",
    NodeState.UNDER_WAY: "▶",
    NodeState.ASKS: "?",
    NodeState.DONE: "✓",
    NodeState.FAILED: "✗",
    NodeState.LEFT_OUT: "-",
    NodeState.GIVEN_BACK: "↩",
}


def overview(change: Change) -> str:
    """Return a change with its nodes, batch by batch."""
    lines = [
        f"{change.owner}  {printable(change.title)} ({printable(change.page)})",
        "",
        *facts(
            {
                "state": f"{change.state}: {change.why}" if change.why else str(change.state),
                "nodes": f"{len(change.nodes)} in {change.batches} batches; it stops beyond {change.budget} in trouble",
                "params": shlex.join(f"{name}={value}" for name, value in sorted(change.params.items())) or "none",
                "forecast": forecast(change.forecast),
                "planned by": f"{change.made_by} at {moment(change.made_at)}",
                "approved by": f"{change.approved_by} at {moment(change.approved_at)}"
                if change.approved_at
                else "nobody yet",
                "ended": moment(change.ended_at),
                "digest": change.digest[:SHORT_DIGEST],
            }
        ),
        "",
    ]
    if change.state is ChangeState.PLANNED:
        rows = [(str(number), fold(_of_batch(change, number))) for number in range(1, change.batches + 1)]
        return "\n".join([*lines, table(("BATCH", "NODES"), rows)])
    headers = ("BATCH", "NODE", "STATE", "RUN", "BEGAN", "ENDED", "WHY")
    return "\n".join([*lines, table(headers, list(_rows(change)))])


def forecast(found: Forecast) -> str:
    """Return what a change will cost, as people say it."""
    work = f"{length(round(found.work_seconds))} of work a node"
    lost = f"{found.lost_gpu_hours:.1f} GPU-hours lost"
    if found.seconds is None:
        return f"no end can be told: jobs without a time limit on {fold(found.endless)}; {lost} beside that, {work}"
    return f"{length(round(found.seconds))} at the latest, {lost}, at {work}; as if no other job began"


def history(view: ChangeView) -> Iterator[str]:
    """Yield what was said and done, a line each."""
    yield ""
    for entry in view.history:
        yield f"{moment(entry.at)}  {printable(entry.who)}: {printable(entry.text)}"


def follow(look: Callable[[], ChangeView], say: Callable[[str], None], note: Callable[[str], None]) -> ChangeView:
    """Tell what happens to a change until it has ended or waits for a person; return it as it is then."""
    told, states = 0, dict[str, tuple[NodeState, str]]()
    for view in looks(look, note):
        for entry in view.history[told:]:
            say(f"{clock(entry.at)} {printable(entry.who)}: {printable(entry.text)}")
        told = len(view.history)
        for node in view.change.nodes:
            now = (node.state, node.why if node.state.in_trouble else "")
            if states.get(node.name, (NodeState.WAITING, "")) != now:
                why = f": {printable(node.why)}" if node.why else ""
                run = f" (r{node.run})" if node.run is not None else ""
                say(f"  {GLYPHS[node.state]} {printable(node.name)} {_word(node.state)}{run}{why}")
            states[node.name] = now
        if _rests(view.change):
            return view
    raise AssertionError("looking never ends by itself")


def asks(change: Change) -> str:
    """Return what a person is asked and how to answer; empty where the change asks nothing."""
    if change.state is ChangeState.PLANNED:
        return f"{change.owner} waits for an approval: `fleetward change approve {change.owner}`"
    if change.state in {ChangeState.STOPPED, ChangeState.PAUSED}:
        why = f": {change.why}" if change.why else ""
        return f"{change.owner} is {change.state}{why}; `fleetward change resume {change.owner}`"
    if change.state is ChangeState.RUNNING and _rests(change):
        node = next(node for node in change.nodes if node.state is NodeState.ASKS)
        more = len(change.in_trouble) - 1
        others = f" (and {more} more in trouble)" if more else ""
        return f"{change.owner}: {node.name} asks{others}: {node.why}; `fleetward runbook status r{node.run}`"
    return ""


def _rests(change: Change) -> bool:
    """Whether nothing more will happen to a change by itself."""
    states = {node.state for node in change.nodes}
    if change.state is ChangeState.RUNNING:
        return NodeState.ASKS in states and not any(state.keeps_others for state in states)
    if change.state is ChangeState.ABORTED:
        return all(state.ended for state in states)
    return NodeState.UNDER_WAY not in states


def check_ending(change: Change) -> None:
    """Raise where a change that was waited for waits itself, or has left nodes behind."""
    if not change.state.ended:
        raise RunAsksError(asks(change))
    failed = [node.name for node in change.nodes if node.state is NodeState.FAILED]
    if failed or change.state is ChangeState.ABORTED:
        what = f": {fold(failed)} failed" if failed else ""
        raise RunFailedError(f"{change.owner} is {change.state}{what}")


def _of_batch(change: Change, number: int) -> list[str]:
    return [node.name for node in change.nodes if node.batch == number]


def _rows(change: Change) -> Iterator[tuple[str, ...]]:
    for node in change.nodes:
        yield (
            str(node.batch),
            node.name,
            f"{GLYPHS[node.state]} {_word(node.state)}",
            "" if node.run is None else f"r{node.run}",
            moment(node.began_at),
            moment(node.ended_at),
            printable(node.why),
        )


def _word(state: NodeState) -> str:
    return str(state).replace("_", " ")
