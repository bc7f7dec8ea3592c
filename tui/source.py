"""Where the screen's picture comes from: one Protocol, so that every screen also runs on recorded answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fleetward.model.daemon_views import IncidentView, NodeAnswer, RunbookView
from fleetward.model.errors import OutOfReachError
from fleetward.model.fleet_view import DaemonStatus, FleetView
from fleetward.model.incidents import Incident
from fleetward.model.runs import Run

if TYPE_CHECKING:
    from fleetward.slurm.jobs.spec import JobSpec


class NoDaemonError(OutOfReachError):
    """There is no daemon here to ask."""


class Source(Protocol):
    """What a screen reads and asks for; called from threads, never from the one that draws.

    Every method raises FleetwardErrors that a person can read: OutOfReachError where nobody answers, RefusedError
    where a guardrail says no. Only `check`, `submit` and `cancel` work without a daemon, on the user's own jobs.
    """

    def fleet(self) -> FleetView:
        """Return nodes and jobs."""

    def status(self) -> DaemonStatus:
        """Return how the daemon is."""

    def incidents(self) -> tuple[Incident, ...]:
        """Return the incidents that are not closed."""

    def incident(self, incident: int) -> IncidentView:
        """Return one incident with its timeline and its runs."""

    def runbook(self, page: str) -> RunbookView:
        """Return one page with its text."""

    def runs(self) -> tuple[Run, ...]:
        """Return the newest runs."""

    def acknowledge(self, incident: int) -> Incident:
        """Say that this user looks after an incident."""

    def close_incident(self, incident: int, why: str) -> Incident:
        """Close an incident by hand; its run ends, and what it held is released."""

    def closed_incidents(self) -> tuple[Incident, ...]:
        """Return the incidents that are closed, newest first."""

    def drain(self, node: str, why: str) -> NodeAnswer:
        """Claim a node for this user (maintenance) and drain it."""

    def resume(self, node: str) -> NodeAnswer:
        """Release this user's claim on a node."""

    def propose(self, page: str, params: Mapping[str, str], incident: int) -> Run:
        """Plan a run; it begins once it is approved."""

    def approve(self, run: int, digest: str) -> Run:
        """Approve a run's start or the step it waits at."""

    def decide(self, run: int, step: int, decision: str) -> Run:
        """Tell a stopped run about a step: done, again or abort."""

    def abort(self, run: int) -> Run:
        """End a run where it stands."""

    def check(self, job: "JobSpec", script: str, working_directory: Path) -> tuple[str, ...]:
        """Hold a job against the cluster; returns what a person wants to know of it before it is in the queue.

        UnfitJobError names the fields that the cluster would refuse, or that would wait for ever.
        """

    def submit(self, script: str, working_directory: Path) -> str:
        """Hand a batch script to Slurm as this user; returns the job's id."""

    def cancel(self, job: str) -> None:
        """Cancel a job as this user."""

    def close(self) -> None:
        """End what was started."""
