"""Runs of runbooks: what each was asked to do, and how far it is, written before and after every act.

Each method is one transaction whose updates name the states they start from, so that of two writers one wins and the
other is told. Said twice, the same thing is recorded once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetward.model.errors import ConflictError, UsageError
from fleetward.model.runs import Mode, Run, RunState, Step, StepState
from fleetward.store import decisions, incident_rows, run_rows, timeline, words
from fleetward.store.database import Connection, Database, the_row
from fleetward.store.decisions import Decision

LONGEST_OUTPUT = 256 * 1024
"""Characters kept of a step's output: the last ones."""
_UNDER_WAY = ("running", "waiting")
_ENDED_STEP = (StepState.DONE, StepState.FAILED, StepState.SKIPPED)


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that was planned and not yet recorded; `page` is the page's whole text, kept with it."""

    runbook: str
    title: str
    incident: int | None
    params: Mapping[str, str]
    page: str
    policy: Mapping[str, object]
    digest: str
    mode: Mode
    state: RunState
    asked_by: str
    blast: str = "node"
    steps: tuple[Step, ...] = field(default=())
    about: str = ""
    """The alert whose page this is; its incident must not have become another's meanwhile. Empty asks for none."""


class Runs:
    """The record of runs; it is what the engine writes to (`fleetward.runbooks.journal`)."""

    def __init__(self, database: Database) -> None:
        """Keep them in this database."""
        self._database = database

    # What people and the daemon ask.

    def create(self, new: NewRun) -> Run:
        """Record a run with all its steps.

        ConflictError where its incident is closed or another alert's by now, or has a run of the same page that is
        proposed or under way.
        """
        with self._database.transaction() as connection:
            if new.incident is not None:
                _refuse_a_second(connection, new, new.incident)
            run_id = insert(connection, new)
            text = f"r{run_id} {new.state}: {new.title} ({new.runbook}, {new.mode})"
            decisions.tell(connection, new.incident, run_id, new.asked_by, text)
            return run_rows.get(connection, run_id)

    def run(self, run_id: int) -> Run:
        """Return a run with its steps in order; UsageError where there is none."""
        with self._database.transaction() as connection:
            return run_rows.get(connection, run_id)

    def page(self, run_id: int) -> str:
        """Return the text of the page as it was when the run was planned; UsageError where there is no such run."""
        with self._database.transaction() as connection:
            row = connection.execute("select page from runs where id = %s", [run_id]).fetchone()
        if row is None:
            raise run_rows.no_such(run_id)
        return str(row["page"])

    def policy(self, run_id: int) -> Mapping[str, object]:
        """Return the policy that the run's digest covers; UsageError where there is no such run."""
        with self._database.transaction() as connection:
            row = connection.execute("select policy from runs where id = %s", [run_id]).fetchone()
        if row is None:
            raise run_rows.no_such(run_id)
        policy: Mapping[str, object] = row["policy"]
        return policy

    def active(self) -> Mapping[int, RunState]:
        """Return the state of each run that has not ended, oldest first; asked often, so nothing else is read."""
        with self._database.transaction() as connection:
            rows = connection.execute("select id, state from runs where ended_at is null order by id")
            return {row["id"]: RunState(row["state"]) for row in rows}

    def of_incident(self, incident_id: int) -> tuple[Run, ...]:
        """Return an incident's runs, oldest first."""
        with self._database.transaction() as connection:
            rows = connection.execute("select * from runs where incident = %s order by id", [incident_id])
            return run_rows.with_steps(connection, rows)

    def list(self, limit: int = 100) -> tuple[Run, ...]:
        """Return the latest runs, latest first."""
        with self._database.transaction() as connection:
            return run_rows.with_steps(
                connection, connection.execute("select * from runs order by id desc limit %s", [limit])
            )

    # What a person decides.

    def approve(self, run_id: int, digest: str, who: str) -> Run:
        """Approve a proposed run, or the `approve` step that it waits at.

        UsageError where the digest is not the run's; ConflictError where there is nothing to approve.
        """
        with self._database.transaction() as connection:
            decisions.approve(connection, run_id, digest, who)
            return run_rows.get(connection, run_id)

    def approve_step(self, run_id: int, index: int, who: str) -> Run:
        """Approve one `approve` step; ConflictError where that step does not wait for it."""
        with self._database.transaction() as connection:
            decisions.approve_step(connection, run_id, index, who)
            return run_rows.get(connection, run_id)

    def decide(self, run_id: int, index: int, decision: Decision, who: str) -> Run:
        """Settle the step at which a run stopped: it was done, it is to be done again, or the run is aborted.

        ConflictError where the run has not stopped, or where the step is not the first that has not ended.
        """
        with self._database.transaction() as connection:
            if decision == "abort":
                decisions.abort(connection, run_id, who)
            else:
                decisions.decide(connection, run_id, index, decision, who)
            return run_rows.get(connection, run_id)

    def abort(self, run_id: int, who: str) -> Run:
        """End a run here; what was begun stays as it is, what was not is skipped. ConflictError where it has ended."""
        with self._database.transaction() as connection:
            decisions.abort(connection, run_id, who)
            return run_rows.get(connection, run_id)

    # What the engine writes.

    def set_run_state(self, run_id: int, state: RunState, why: str = "") -> None:
        """Record where a run stands; an ended state also records when, and skips the steps not begun.

        ConflictError where the run has ended otherwise, or waits for a person's approval or decision.
        """
        with self._database.transaction() as connection:
            run = run_rows.get(connection, run_id, lock=True)
            if run.state is state and (run.state.ended or run.why == why):
                return
            held = run.state in {RunState.PLANNED, RunState.PROPOSED, RunState.STOPPED}
            if run.state.ended or (held and state not in {run.state, RunState.ABORTED}):
                raise ConflictError(f"r{run_id} is {run.state} and cannot become {state} by itself.")
            decisions.set_state(connection, run, state, why, timeline.DAEMON)

    def reserve(self, run_id: int, index: int, before: Mapping[str, object]) -> None:
        """Record that a step is about to act; counts an attempt.

        ConflictError unless the run is running or waiting, all steps before are done or skipped, and this one has not
        ended and is not in doubt.
        """
        with self._database.transaction() as connection:
            reserved = connection.execute(
                "with at as (select id from runs where id = %(run)s and state = any(%(under_way)s) for no key update)"
                " update steps s set state = 'reserved', before = %(before)s, why = '', attempts = attempts + 1,"
                " started_at = coalesce(started_at, clock_timestamp()) from at"
                " where s.run = at.id and s.index = %(index)s and s.state in ('pending', 'reserved', 'waiting')"
                " and not exists (select 1 from steps p where p.run = s.run and p.index < s.index"
                "  and p.state not in ('done', 'skipped'))",
                {"run": run_id, "index": index, "before": words.json(before), "under_way": [*_UNDER_WAY]},
            ).rowcount
            if not reserved:
                run = run_rows.get(connection, run_id)
                step = run_rows.step_of(run, index)
                before_it = ", ".join(one.state for one in run.steps[:index]) or "no others"
                raise ConflictError(
                    f"step {index} ({step.name}) of r{run_id} cannot begin: the run is {run.state}, the step"
                    f" {step.state}, and before it stand {before_it}."
                )

    def set_step_state(
        self, run_id: int, index: int, state: StepState, *, outcome: Mapping[str, object] | None = None, why: str = ""
    ) -> Step:
        """Record what became of a step, also of a run that was aborted meanwhile; `outcome` None leaves what is there.

        ConflictError where the step has ended otherwise or is in doubt, which only a person settles.
        """
        with self._database.transaction() as connection:
            changed = connection.execute(
                "update steps set state = %(state)s, why = %(why)s, outcome = coalesce(%(outcome)s, outcome),"
                " ended_at = case when %(ended)s then clock_timestamp() end"
                " where run = %(run)s and index = %(index)s and state in ('pending', 'reserved', 'waiting')",
                {
                    "run": run_id,
                    "index": index,
                    "state": str(state),
                    "why": words.text(why),
                    "outcome": None if outcome is None else words.json(outcome),
                    "ended": state in _ENDED_STEP,
                },
            ).rowcount
            step = run_rows.step_of(run_rows.get(connection, run_id), index)
            if not changed and step.state is not state:
                raise ConflictError(
                    f"step {index} ({step.name}) of r{run_id} is {step.state} and cannot become {state}."
                )
            return step

    def append_output(self, run_id: int, index: int, text: str) -> None:
        """Add to what a person sees of a step; of very much the end is kept."""
        with self._database.transaction() as connection:
            connection.execute(
                "update steps set output = right(output || %s, %s) where run = %s and index = %s",
                [words.text(text), LONGEST_OUTPUT, run_id, index],
            )

    def note(self, run_id: int, kind: str, who: str, text: str, data: Mapping[str, object] | None = None) -> None:
        """Add an entry to the timeline of the run's incident; nothing happens for a run without one."""
        with self._database.transaction() as connection:
            run = run_rows.get(connection, run_id)
            if run.incident is not None:
                timeline.add(connection, run.incident, kind, who, text, {"run": run_id, **(data or {})})


def _refuse_a_second(connection: Connection, new: NewRun, incident_id: int) -> None:
    state = incident_rows.lock(connection, incident_id)
    if state is None:
        raise UsageError(f"there is no incident i{incident_id}: `fleetward incident list` shows those that are open.")
    if state == "closed":
        raise ConflictError(f"incident i{incident_id} is closed: begin the run without it, or wait for the next alert.")
    incident = incident_rows.get(connection, incident_id)
    if new.about and incident.alert_name != new.about:
        raise ConflictError(f"i{incident_id} goes on as {incident.alert_name}, not {new.about}: look at it again.")
    row = connection.execute(
        "select id, state from runs where incident = %s and runbook = %s"
        " and state in ('proposed', 'running', 'waiting', 'stopped')",
        [incident_id, words.key(new.runbook)],
    ).fetchone()
    if row is not None:
        raise ConflictError(f"i{incident_id} has a run of {new.runbook} already: r{row['id']} is {row['state']}.")


def insert(connection: Connection, new: NewRun, change: int | None = None) -> int:
    """Add a run with its steps; returns its number."""
    row = the_row(
        connection.execute(
            "insert into runs (runbook, title, incident, change, params, page, policy, digest, mode, state, blast,"
            " asked_by, approved_by, approved_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,"
            " case when %s::bigint is not null then clock_timestamp() end) returning id",
            [
                words.key(new.runbook),
                words.text(new.title),
                new.incident,
                change,
                words.json(new.params),
                words.text(new.page),
                words.json(new.policy),
                new.digest,
                str(new.mode),
                str(new.state),
                words.text(new.blast),
                words.text(new.asked_by),
                words.text(new.asked_by) if change is not None else "",
                change,
            ],
        )
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into steps (run, index, name, section, action, arguments) values (%s, %s, %s, %s, %s, %s)",
            [
                [row["id"], step.index, words.text(step.name), words.text(step.section), words.text(step.action),
                 words.json(step.arguments)]
                for step in new.steps
            ],
        )  # fmt: skip
    return int(row["id"])
