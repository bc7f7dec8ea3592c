"""Runs with their steps, read from their rows."""

from collections.abc import Iterable

from psycopg.rows import DictRow

from fleetward.model.errors import UsageError
from fleetward.model.runs import Mode, Run, RunState, Step, StepState
from fleetward.store.database import Connection


def get(connection: Connection, run_id: int, *, lock: bool = False) -> Run:
    """Return a run, its row locked where asked; UsageError where there is none."""
    select = "select * from runs where id = %s"
    rows = connection.execute(select + " for no key update" if lock else select, [run_id])
    runs = with_steps(connection, rows)
    if not runs:
        raise no_such(run_id)
    return runs[0]


def with_steps(connection: Connection, rows: Iterable[DictRow]) -> tuple[Run, ...]:
    """Return the runs of these rows, in their order."""
    runs = [*rows]
    steps: dict[int, list[Step]] = {row["id"]: [] for row in runs}
    for row in connection.execute("select * from steps where run = any(%s) order by run, index", [[*steps]]):
        steps[row["run"]].append(_read_step(row))
    return tuple(_read(row, tuple(steps[row["id"]])) for row in runs)


def step_of(run: Run, index: int) -> Step:
    """Return one step; UsageError where there is none."""
    for step in run.steps:
        if step.index == index:
            return step
    raise UsageError(f"r{run.id} has no step {index}: it has {len(run.steps)}, counted from 0.")


def no_such(run_id: int) -> UsageError:
    """Return the error for a run that is not there."""
    return UsageError(f"there is no run r{run_id}: `fleetward runbook runs` lists the newest.")


def _read(row: DictRow, steps: tuple[Step, ...]) -> Run:
    return Run(
        id=row["id"],
        runbook=row["runbook"],
        title=row["title"],
        incident=row["incident"],
        params=row["params"],
        digest=row["digest"],
        mode=Mode(row["mode"]),
        state=RunState(row["state"]),
        why=row["why"],
        asked_by=row["asked_by"],
        asked_at=row["asked_at"],
        approved_by=row["approved_by"],
        approved_at=row["approved_at"],
        ended_at=row["ended_at"],
        steps=steps,
        blast=row["blast"],
        change=row["change"],
    )


def _read_step(row: DictRow) -> Step:
    names = ("index", "name", "section", "action", "arguments", "before", "outcome", "output", "why", "attempts")
    return Step(
        state=StepState(row["state"]),
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        **{name: row[name] for name in names},
    )
