"""The source that plays answers it was given, and remembers what it was asked to change."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fleetward.model.daemon_views import IncidentView, NodeAnswer, RunbookView
from fleetward.model.errors import FleetwardError, UsageError
from fleetward.model.fleet_view import DaemonStatus, FleetView
from fleetward.model.incidents import Incident, IncidentState
from fleetward.model.runs import Run
from fleetward.tui.source import NoDaemonError

if TYPE_CHECKING:
    from fleetward.slurm.jobs.spec import JobSpec


class RecordedSource:
    """Answers from its attributes, which a test may change at any time; `wishes` holds what was asked for.

    `trouble` maps a method's name to the error that it raises; `answers` maps a method's name to what a changing one
    does and returns.
    """

    def __init__(self, fleet: FleetView, status: DaemonStatus | None = None) -> None:
        """Without `status` there is no daemon."""
        self.fleet_view, self.daemon = fleet, status
        self.views: dict[int, IncidentView] = {}
        self.pages: dict[str, RunbookView] = {}
        self.trouble: dict[str, FleetwardError] = {}
        self.answers: dict[str, Callable[..., object]] = {}
        self.wishes: list[tuple[object, ...]] = []
        self.closed = False

    def _check(self, name: str) -> None:
        if name in self.trouble:
            raise self.trouble[name]

    def _wish(self, name: str, *arguments: object) -> object:
        self._check(name)
        self.wishes.append((name, *arguments))
        return self.answers[name](*arguments) if name in self.answers else None

    def fleet(self) -> FleetView:
        """Return the fleet that was given."""
        self._check("fleet")
        return self.fleet_view

    def status(self) -> DaemonStatus:
        """Return the status that was given."""
        self._check("status")
        if self.daemon is None:
            raise NoDaemonError("recorded: no daemon there")
        return self.daemon

    def incidents(self) -> tuple[Incident, ...]:
        """Return the incidents of the views that are not closed."""
        self._check("incidents")
        return tuple(view.incident for view in self.views.values() if view.incident.state is not IncidentState.CLOSED)

    def closed_incidents(self) -> tuple[Incident, ...]:
        """Return those that are."""
        self._check("closed_incidents")
        return tuple(view.incident for view in self.views.values() if view.incident.state is IncidentState.CLOSED)

    def incident(self, incident: int) -> IncidentView:
        """Return one view."""
        self._check("incident")
        if incident not in self.views:
            raise UsageError(f"i{incident}: there is no such incident")
        return self.views[incident]

    def runbook(self, page: str) -> RunbookView:
        """Return one page."""
        self._check("runbook")
        if page not in self.pages:
            raise UsageError(f"{page}: there is no such page")
        return self.pages[page]

    def runs(self) -> tuple[Run, ...]:
        """Return the runs of all views."""
        self._check("runs")
        return tuple(run for view in self.views.values() for run in view.runs)

    def acknowledge(self, incident: int) -> Incident:
        """Remember the wish; the incident stays as it is unless an answer was given."""
        answer = self._wish("acknowledge", incident)
        return answer if isinstance(answer, Incident) else self.views[incident].incident

    def close_incident(self, incident: int, why: str) -> Incident:
        """Remember the wish; the incident stays as it is unless an answer was given."""
        answer = self._wish("close_incident", incident, why)
        return answer if isinstance(answer, Incident) else self.views[incident].incident

    def drain(self, node: str, why: str) -> NodeAnswer:
        """Remember the wish."""
        self._wish("drain", node, why)
        return NodeAnswer(node, "drained", ())

    def resume(self, node: str) -> NodeAnswer:
        """Remember the wish."""
        self._wish("resume", node)
        return NodeAnswer(node, "resumed", ())

    def propose(self, page: str, params: Mapping[str, str], incident: int) -> Run:
        """Remember the wish."""
        return _run(self._wish("propose", page, dict(params), incident))

    def approve(self, run: int, digest: str) -> Run:
        """Remember the wish."""
        return _run(self._wish("approve", run, digest))

    def decide(self, run: int, step: int, decision: str) -> Run:
        """Remember the wish."""
        return _run(self._wish("decide", run, step, decision))

    def abort(self, run: int) -> Run:
        """Remember the wish."""
        return _run(self._wish("abort", run))

    def check(self, job: "JobSpec", script: str, working_directory: Path) -> tuple[str, ...]:
        """Return what was given, or nothing to tell."""
        self._check("check")
        told = self.answers["check"](job, script, working_directory) if "check" in self.answers else ()
        return told if isinstance(told, tuple) else ()

    def submit(self, script: str, working_directory: Path) -> str:
        """Remember the wish."""
        return str(self._wish("submit", script, working_directory))

    def cancel(self, job: str) -> None:
        """Remember the wish."""
        self._wish("cancel", job)

    def close(self) -> None:
        """Remember that nothing more is asked."""
        self.closed = True


def _run(answer: object) -> Run:
    if not isinstance(answer, Run):
        raise UsageError("nothing was recorded for this wish")
    return answer
