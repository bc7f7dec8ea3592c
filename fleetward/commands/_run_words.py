"""A run in words: its plan, how far it is, and what a person can do about it."""

import shlex
from collections.abc import Mapping

from fleetward.commands._daemon import moment
from fleetward.commands._table import table
from fleetward.model.errors import ExitCode, FleetwardError
from fleetward.model.runs import Run, RunState, Step, StepState
from fleetward.printable import printable

SHORT_DIGEST = 12
"""Characters of a digest that people see and type."""


class RunAsksError(FleetwardError):
    """A run waits for a person's word."""

    exit_code = ExitCode.FINDINGS


class RunFailedError(FleetwardError):
    """A run ended otherwise than done."""


def overview(run: Run) -> str:
    """Return a run with its steps, what each will do, and below them what is to be said of them and their output."""
    about = f" for i{run.incident}" if run.incident is not None else ""
    lines = [
        f"r{run.id}  {printable(run.title)} ({printable(run.runbook)}){about}",
        "",
        *facts(
            {
                "state": f"{run.state}: {run.why}" if run.why else str(run.state),
                "params": shlex.join(f"{name}={value}" for name, value in sorted(run.params.items())) or "none",
                "mode": f"{run.mode}; may take out: {run.blast}",
                "asked by": f"{run.asked_by} at {moment(run.asked_at)}",
                "approved by": f"{run.approved_by} at {moment(run.approved_at)}" if run.approved_at else "nobody yet",
                "ended": moment(run.ended_at),
                "digest": run.digest[:SHORT_DIGEST],
            }
        ),
        "",
        table(("#", "STEP", "SECTION", "STATE", "WHAT"), [_row(step) for step in run.steps]),
    ]
    for step in run.steps:
        if step.why or step.output.strip():
            why = f": {printable(step.why)}" if step.why else ""
            lines += ["", f"{printable(step.name)} {step.state}{why}"]
            lines += output_lines(step.output) if step.output.strip() else []
    return "\n".join(lines)


def facts(found: Mapping[str, str]) -> list[str]:
    """Return what is known, a line each; nothing is said of what is empty."""
    return [f"  {name:<12} {printable(value)}" for name, value in found.items() if value]


def _row(step: Step) -> tuple[str, ...]:
    return str(step.index), step.name, step.section, str(step.state), what(step)


def what(step: Step) -> str:
    """Return a step's action with all its arguments, as they will be used."""
    rest = (f"{name}={_plain(value)}" for name, value in step.arguments.items() if name)
    return " ".join([step.action, *([_plain(step.arguments[""])] if "" in step.arguments else []), *rest])


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + shlex.join(map(str, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_plain(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    return shlex.quote(value) if isinstance(value, str) else str(value)


def output_lines(text: str) -> list[str]:
    """Return a step's output line by line, made harmless."""
    return [f"  | {printable(line)}" for line in text.rstrip("\n").split("\n")]


def asks(run: Run) -> str:
    """Return what a person is asked and how to answer; empty where the run asks nothing."""
    if run.state is RunState.PROPOSED:
        return f"r{run.id} waits for an approval: `fleetward runbook approve r{run.id}`"
    if run.state is RunState.PLANNED:
        about = f" --incident i{run.incident}" if run.incident is not None else ""
        return (
            f"r{run.id} is only written down, for the page's mode is observe;"
            f" `fleetward runbook run {printable(run.runbook)}{about}` plans one that you can approve"
        )
    if run.state is RunState.WAITING and (step := waiting_approval(run)) is not None:
        question = printable(str(step.arguments.get("", "")))
        return f"r{run.id} asks at its step {step.name}: {question} `fleetward runbook approve r{run.id}`"
    if run.state is RunState.STOPPED:
        return (
            f"r{run.id} has stopped and asks: {printable(run.why)}; look, then"
            f" `fleetward runbook resume r{run.id} done`, `again` or `abort`"
        )
    return ""


def waiting_approval(run: Run) -> Step | None:
    """Return the `approve` step at which a run waits for a person; one just approved waits for the engine alone."""
    return next(
        (
            step
            for step in run.steps
            if (step.action, step.state) == ("approve", StepState.WAITING) and not step.outcome.get("approved_by")
        ),
        None,
    )


def undecided(run: Run) -> Step | None:
    """Return the step that a run is at: the first that has not ended."""
    ended = {StepState.DONE, StepState.FAILED, StepState.SKIPPED}
    return next((step for step in run.steps if step.state not in ended), None)


def check_ending(run: Run) -> None:
    """Return where a run is done; RunFailedError or RunAsksError where it is not."""
    if run.state is RunState.DONE:
        return
    if run.state.ended:
        why = f": {printable(run.why)}" if run.why else ""
        raise RunFailedError(f"r{run.id} {run.state}{why}; `fleetward runbook status r{run.id}` shows its steps")
    raise RunAsksError(asks(run))
