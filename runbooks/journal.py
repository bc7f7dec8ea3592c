"""Where a run's progress is written before and after each act, as the engine needs it.

`fleetward.store.runs` keeps it in PostgreSQL; every method commits before it returns. StoreOutOfReachError is raised
where the database does not answer: the engine then waits, it never goes on unrecorded. ConflictError is raised where
a person or another engine was first, such as a run that was aborted meanwhile: read the run again. The answer to a
commit can get lost, so every method may be called again with the same words.

The journal itself tells the incident's timeline that a run was made, approved, decided, aborted, stopped or ended.
"""

from collections.abc import Mapping
from typing import Protocol

from fleetward.model.runs import Run, RunState, Step, StepState


class RunJournal(Protocol):
    """The durable record of runs."""

    def run(self, run_id: int) -> Run:
        """Return a run with its steps in order; UsageError where there is none."""

    def page(self, run_id: int) -> str:
        """Return the text of the page as it was when the run was planned; UsageError where there is no such run."""

    def set_run_state(self, run_id: int, state: RunState, why: str = "") -> None:
        """Record where a run stands; an ended state also records when, and skips the steps not begun.

        Only a person's approval or decision takes a run out of PLANNED, PROPOSED or STOPPED: not left here.
        """

    def reserve(self, run_id: int, index: int, before: Mapping[str, object]) -> None:
        """Record that a step is about to act, with what its action read before; counts an attempt.

        Refused unless the run is running or waiting, all steps before are done or skipped, and this one is not ended.
        """

    def set_step_state(
        self, run_id: int, index: int, state: StepState, *, outcome: Mapping[str, object] | None = None, why: str = ""
    ) -> Step:
        """Record what became of a step; `outcome` None leaves what is there. An ended or unknown step stays so."""

    def append_output(self, run_id: int, index: int, text: str) -> None:
        """Add to what a person sees of a step while it runs."""

    def note(self, run_id: int, kind: str, who: str, text: str, data: Mapping[str, object] | None = None) -> None:
        """Add an entry to the timeline of the run's incident; nothing happens for a run without one."""
