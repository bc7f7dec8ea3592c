"""What people decide about a run: each within the transaction of `Runs`, on a row that is locked first."""

from typing import Literal

from fleetward.model.errors import ConflictError, UsageError
from fleetward.model.runs import Run, RunState, Step, StepState
from fleetward.store import run_rows, timeline, words
from fleetward.store.database import Connection

Decision = Literal["done", "again", "abort"]

APPROVE = "approve"
"""The action that waits for a person; its step's outcome names who approved."""
_ENDED_STEP = (StepState.DONE, StepState.FAILED, StepState.SKIPPED)
_TOLD = {RunState.STOPPED, RunState.DONE, RunState.FAILED, RunState.ABORTED}
"""States that the timeline tells of; running and waiting take turns too often."""


def approve(connection: Connection, run_id: int, digest: str, who: str) -> None:
    """Approve a proposed run, or the `approve` step that it waits at."""
    run = run_rows.get(connection, run_id, lock=True)
    if digest != run.digest:
        raise UsageError(
            f"r{run_id} is not what was approved: its digest is {run.digest[:12]}, the approval names"
            f" {digest[:12] or 'none'}. Look at it again with `fleetward runbook status r{run_id}`."
        )
    if run.state is RunState.PROPOSED:
        connection.execute(
            "update runs set state = 'running', approved_by = %s, approved_at = clock_timestamp(), why = ''"
            " where id = %s",
            [words.text(who), run_id],
        )
        tell(connection, run.incident, run_id, who, f"r{run_id} approved")
        return
    waiting = next((step for step in run.steps if _asks(run, step)), None)
    if waiting is None:
        raise ConflictError(f"r{run_id} is {run.state} and waits for no approval.")
    _approve_step(connection, run, waiting, who)


def approve_step(connection: Connection, run_id: int, index: int, who: str) -> None:
    """Approve one `approve` step."""
    run = run_rows.get(connection, run_id, lock=True)
    step = run_rows.step_of(run, index)
    if not _asks(run, step):
        raise ConflictError(f"step {index} ({step.name}) of r{run_id} is {step.state} and waits for no approval.")
    _approve_step(connection, run, step, who)


def decide(connection: Connection, run_id: int, index: int, decision: Decision, who: str) -> None:
    """Settle the step at which a run stopped."""
    run = run_rows.get(connection, run_id, lock=True)
    if run.state is not RunState.STOPPED:
        raise ConflictError(f"r{run_id} is {run.state}: only a run that has stopped waits for a decision.")
    step = run_rows.step_of(run, index)
    first = next((one for one in run.steps if one.state not in _ENDED_STEP), None)
    if first is not step:
        at = f"it stopped at step {first.index} ({first.name})" if first else "none of its steps is open"
        raise ConflictError(f"step {index} ({step.name}) of r{run_id} is {step.state}: {at}.")
    if decision == "done":
        connection.execute(
            "update steps set state = 'done', why = '', outcome = %s, ended_at = clock_timestamp()"
            " where run = %s and index = %s",
            [words.json({**step.outcome, "decided_by": who}), run_id, index],
        )
        verdict = "was done"
    elif decision == "again":
        connection.execute(
            "update steps set state = 'pending', why = '' where run = %s and index = %s", [run_id, index]
        )
        verdict = "is to be done again"
    else:
        raise UsageError(f"there is no decision {decision!r}: it is `done`, `again` or `abort`.")
    connection.execute("update runs set state = 'running', why = '' where id = %s", [run_id])
    tell(connection, run.incident, run_id, who, f"r{run_id} goes on: step {index} ({step.name}) {verdict}")


def abort(connection: Connection, run_id: int, who: str) -> None:
    """End a run here."""
    run = run_rows.get(connection, run_id, lock=True)
    if run.state.ended:
        raise ConflictError(f"r{run_id} has ended already: it is {run.state}.")
    set_state(connection, run, RunState.ABORTED, f"aborted by {who}", who)


def set_state(connection: Connection, run: Run, state: RunState, why: str, who: str) -> None:
    """Record where a run stands; its row is locked. Where it ends, what was not begun is skipped."""
    connection.execute(
        "update runs set state = %(state)s, why = %(why)s, ended_at = case when %(ended)s then clock_timestamp() end"
        " where id = %(run)s",
        {"run": run.id, "state": str(state), "why": words.text(why), "ended": state.ended},
    )
    if state.ended:
        connection.execute(
            "update steps set state = 'skipped' where run = %s and state in ('pending', 'waiting')", [run.id]
        )
    if state in _TOLD and state is not run.state:
        tell(connection, run.incident, run.id, who, f"r{run.id} {state}: {why}" if why else f"r{run.id} {state}")


def tell(connection: Connection, incident: int | None, run_id: int, who: str, text: str) -> None:
    """Write into the timeline of the run's incident, where it has one."""
    if incident is not None:
        timeline.add(connection, incident, "run", who, text, {"run": run_id})


def _asks(run: Run, step: Step) -> bool:
    """Whether this step waits for a person's approval."""
    waits = step.action == APPROVE and step.state is StepState.WAITING and not run.state.ended
    return waits and "approved_by" not in step.outcome


def _approve_step(connection: Connection, run: Run, step: Step, who: str) -> None:
    connection.execute(
        "update steps set outcome = %s where run = %s and index = %s",
        [words.json({**step.outcome, "approved_by": who}), run.id, step.index],
    )
    tell(connection, run.incident, run.id, who, f"r{run.id}: step {step.name} approved")
