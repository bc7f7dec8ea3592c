"""A run in lines: where it stands, what each step left behind, and what an approval would set going."""

import json
import re
from collections.abc import Mapping

from fleetward.model.incidents import Incident
from fleetward.model.runs import Run, RunState, Step, StepState
from fleetward.tui.picture import Picture
from fleetward.tui.screens.details import job_of, node_of
from fleetward.tui.states import RUNS, SEVERITIES
from fleetward.tui.text import Line, clock, plain, plain_lines

_PLACEHOLDER = re.compile(r"\{\{ *(\w+) *\}\}")
_ALONE = re.compile(r"\s*([-*|>]|\d+\.) ?|    ")
"""A line of a list, a table or a quotation, and what is indented: never joined to the line before it."""
_OVER = frozenset({StepState.DONE, StepState.SKIPPED})


def current_step(run: Run) -> Step | None:
    """Return the step that a run stands at: the first that is not over; the last one where all are."""
    return next((step for step in run.steps if step.state not in _OVER), run.steps[-1] if run.steps else None)


def waiting_approval(run: Run) -> Step | None:
    """Return the `approve` step that a run waits at."""
    step = current_step(run)
    waits = run.state is RunState.WAITING and step is not None and step.action == "approve"
    return step if waits and step is not None and step.state is StepState.WAITING else None


def asks(run: Run) -> bool:
    """Say whether a run waits for an approval, of its start or of one step."""
    return run.state is RunState.PROPOSED or waiting_approval(run) is not None


def run_heading(incident: Incident, run: Run | None, trouble: str, *, fetched: bool) -> list[Line]:
    """Return two lines: the incident, and its run with why it waits."""
    look = SEVERITIES[incident.severity]
    about = " ".join(filter(None, (incident.alert_name, incident.node, incident.gpu and f"GPU {incident.gpu}")))
    first: Line = (
        (f" {incident.owner} ", "bold"),
        (f"{look} ", look.style),
        (f"{plain(about)}  {incident.state}  {plain(incident.summary)}", ""),
    )
    if trouble:
        return [first, ((f" ✗ not renewed: {plain(trouble)}", "bold red"),)]
    if run is None:
        return [first, ((" no run yet" if fetched else " asking the daemon ...", "dim"),)]
    state = RUNS[run.state]
    second: Line = (
        (f" r{run.id} ", "bold"),
        (f"{state} ", state.style),
        (f"{run.mode} mode  {plain(why_it_stands(run))}", ""),
    )
    return [first, second]


def why_it_stands(run: Run) -> str:
    """Return what a run waits for, in words."""
    step = current_step(run)
    if run.why or (step is not None and step.why):
        return run.why or (step.why if step else "")
    if run.state is RunState.PROPOSED:
        return "waits for an approval: p"
    if run.state is RunState.STOPPED:
        return "asks a person: d"
    return f"approved by {run.approved_by}" if run.approved_by else ""


def step_lines(run: Run, step: Step) -> list[Line]:
    """Return what is known of a step: when, with what, why, its outcome, its output."""
    lines: list[Line] = []
    if run.why and run.why != step.why and step == current_step(run):
        lines.append(((f"the run: {plain(run.why)}", "yellow"),))
    if step.started_at is not None:
        tries = f", {step.attempts} times" if step.attempts > 1 else ""
        lines.append(((f"{clock(step.started_at)} .. {clock(step.ended_at)}{tries}", "dim"),))
    if step.why:
        lines.append(((f"why: {plain(step.why)}", "yellow"),))
    lines += [((f"{name or step.action} = {text}", "dim"),) for name, text in _values(step.arguments)]
    lines += [((f"-> {name}: {text}", "green"),) for name, text in _values(step.outcome)]
    lines += [((line, ""),) for line in plain_lines(step.output.rstrip("\n"))] if step.output else []
    return lines


def _values(values: Mapping[str, object]) -> list[tuple[str, str]]:
    return [
        (plain(name), plain(value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)))
        for name, value in values.items()
    ]


def what_approval_does(run: Run, incident: Incident, picture: Picture) -> list[Line]:
    """Return what a person should know before saying yes: the question, the steps, and what may be taken out."""
    lines: list[Line] = []
    step = waiting_approval(run)
    if step is not None:
        question = step.arguments.get("", "")
        lines += [((f"The run asks: {plain(str(question))}", "bold"),), (("", ""),)]
    lines.append(((f"{plain(run.title)}  (page {plain(run.runbook)}, digest {plain(run.digest[:12])})", ""),))
    lines += [((f"May take out: {plain(run.blast)}", "bold yellow"),)]
    node = run.params.get("node") or incident.node
    view = node_of(picture.fleet, node) if node else None
    if view is not None:
        lines.append(((f"  {plain(node)} is {plain(view.state)}, with {len(view.jobs)} jobs on it", ""),))
        for job in filter(None, (job_of(picture.fleet, one) for one in view.jobs)):
            lines.append(((f"  job {plain(job.id)} {plain(job.name)} of {plain(job.user)}, {job.gpus} GPUs", ""),))
    if picture.status is not None:
        status = picture.status
        full = status.drained >= status.drained_allowed
        text = f"  Fleetward holds {status.drained} of the {status.drained_allowed} nodes that it may hold"
        lines.append(((text, "bold red" if full else ""),))
    lines.append((("Steps that follow:", "bold"),))
    left = [one for one in run.steps if one.state not in _OVER and one is not step]
    for one in left:
        target = one.arguments.get("", "")
        text = target if isinstance(target, str) else json.dumps(target, default=str)
        lines.append(((f"  {plain(one.name)}: {plain(one.action)} {plain(str(text))}", ""),))
    return lines


def decision_lines(run: Run, step: Step) -> list[Line]:
    """Return what a person should know before deciding about the step that a run stopped at."""
    why = step.why or run.why or "it cannot tell whether this step was done"
    lines: list[Line] = [((f"Step {plain(step.name)} ({plain(step.action)}) is {step.state}", "bold"),)]
    lines.append(((f"why: {plain(why)}", "yellow"),))
    lines += [((f"{name or step.action} = {text}", "dim"),) for name, text in _values(step.arguments)]
    return [*lines, *(((line, ""),) for line in plain_lines(step.output.rstrip("\n"))[-6:] if line)]


def page_lines(text: str, values: Mapping[str, str]) -> list[Line]:
    """Return a page's Markdown with the alert's values in it, headings and steps made visible.

    The front matter is left out, and paragraphs are joined, for the pane has a width of its own.
    """
    lines: list[Line] = []
    front, step, joined = False, False, False
    for number, line in enumerate(plain_lines(_filled(text, values))):
        if (number == 0 and line == "---") or front:
            front = number == 0 or line != "---"
        elif line.startswith("```"):
            step, joined = not step, False
            lines.append(((line[3:].strip() if step else "", "bold cyan"),))
        elif step:
            lines.append(((line, "cyan"),))
        elif line.startswith("#"):
            lines.append(((line.lstrip("# "), "bold underline"),))
            joined = False
        elif joined and line and not _ALONE.match(line):
            lines[-1] = ((f"{lines[-1][0][0]} {line.strip()}", ""),)
        else:
            lines.append(((line, ""),))
            joined = bool(line)
    return lines


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)
