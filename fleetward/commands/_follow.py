"""Following a run or an incident: looks at it again and again and prints what has changed."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from fleetward.commands._daemon import clock, moment
from fleetward.commands._run_words import asks, output_lines
from fleetward.model.daemon_views import IncidentView
from fleetward.model.incidents import IncidentState, TimelineEntry
from fleetward.model.runs import Run, RunState, StepState
from fleetward.printable import printable
from fleetward.server.client import DaemonOutOfReachError

SECONDS = 0.5
"""Between two looks."""
PATIENCE = 60.0
"""How many seconds a daemon may be away, as it is while it restarts."""

KNOWN_AGAIN = 200
"""Characters by which the place is found again in an output whose beginning was cut off."""

_DIGITS = re.compile(r"[0-9]+")
"""A length of time that shrinks from look to look is no news."""
_TOLD_BY_TIMELINE = frozenset({StepState.PENDING, StepState.RESERVED, StepState.DONE, StepState.SKIPPED})

Say = Callable[[str], None]
T = TypeVar("T")


def follow_run(look: Callable[[], Run], say: Say, note: Say) -> Run:
    """Tell what happens to a run until it ends or asks a person; return it as it is then."""
    seen = _SeenRun()
    for run in looks(look, note):
        for line in seen.news(run):
            say(line)
        if run.state.ended or asks(run):
            return run
    raise AssertionError("looking never ends by itself")


def follow_incident(look: Callable[[], IncidentView], say: Say, note: Say) -> IncidentView:
    """Tell what happens to an incident until it is closed or a run of it fails or asks; return it as it is then."""
    told = -1
    runs: dict[int, _SeenRun] = {}
    for view in looks(look, note):
        for entry in view.timeline:
            if entry.id > told:
                say(entry_line(entry))
                told = entry.id
        for run in view.runs:
            for line in runs.setdefault(run.id, _SeenRun(brief=True)).news(run):
                say(line)
        if view.incident.state is IncidentState.CLOSED or unfinished(view) is not None:
            return view
    raise AssertionError("looking never ends by itself")


def unfinished(view: IncidentView) -> Run | None:
    """Return the newest run where it needs a person: it asks, or it ended otherwise than done."""
    if not view.runs:
        return None
    newest = view.runs[-1]
    return newest if asks(newest) or (newest.state.ended and newest.state is not RunState.DONE) else None


def entry_line(entry: TimelineEntry, *, dated: bool = False) -> str:
    """Return one line of a timeline."""
    at = moment(entry.at) if dated else clock(entry.at)
    return f"{at}  {printable(entry.kind):<6}  {printable(entry.who):<12}  {printable(entry.text)}"


@dataclass
class _SeenRun:
    """What was told of a run already."""

    brief: bool = False
    """Leave out what the incident's timeline tells."""
    run: tuple[str, str] = ("", "")
    steps: dict[int, tuple[str, str]] = field(default_factory=dict)
    output: dict[int, str] = field(default_factory=dict)

    def news(self, run: Run) -> Iterator[str]:
        """Yield a line for each step, output and state that is new."""
        for step in run.steps:
            shown = (str(step.state), _DIGITS.sub("#", step.why))
            told = self.steps.get(step.index, (str(StepState.PENDING), ""))
            if shown != told and not (self.brief and step.state in _TOLD_BY_TIMELINE):
                yield f"r{run.id} step {step.index} {printable(step.name)}: {_with_why(step.state, step.why)}"
            self.steps[step.index] = shown
            # whole lines only while it runs: the rest comes with the next look
            output = step.output if step.ended_at else step.output[: step.output.rfind("\n") + 1]
            if text := _added(self.output.get(step.index, ""), output):
                yield from (f"  {printable(step.name)}{line[1:]}" for line in output_lines(text))
            self.output[step.index] = output
        state, why = _under_way(run)
        shown = (state, _DIGITS.sub("#", why))
        if self.run != shown and not (self.brief and state != RunState.WAITING):
            yield f"r{run.id} {_with_why(state, why)}"
        self.run = shown


def _with_why(state: str, why: str) -> str:
    return f"{state}: {printable(why)}" if why else str(state)


def _under_way(run: Run) -> tuple[str, str]:
    """Return a run's state and why, for which it counts as running while one of its steps says why it waits."""
    if run.state is RunState.WAITING and any(step.state is StepState.WAITING for step in run.steps):
        return str(RunState.RUNNING), ""
    return str(run.state), run.why


def _added(before: str, now: str) -> str:
    """Return what was added to an output, of which the daemon keeps only the end."""
    if now.startswith(before):
        return now[len(before) :]
    end = before[-KNOWN_AGAIN:]
    at = now.rfind(end)
    return now if at < 0 else now[at + len(end) :]


def looks(look: Callable[[], T], note: Say) -> Iterator[T]:
    """Yield what each look shows; a daemon that is away for a while is waited for, and this is said."""
    away_since: float | None = None
    while True:
        try:
            found = look()
        except DaemonOutOfReachError as error:
            if away_since is None:
                note(f"{error}; waiting for it up to {PATIENCE:.0f} s")
                away_since = time.monotonic()
            if time.monotonic() - away_since > PATIENCE:
                raise
        else:
            if away_since is not None:
                note("the daemon answers again")
                away_since = None
            yield found
        time.sleep(SECONDS)
