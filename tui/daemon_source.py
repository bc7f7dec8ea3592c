"""The picture as the daemon gives it, with Slurm asked directly while the daemon does not answer."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fleetward.model.claims import ClaimClass
from fleetward.model.daemon_views import IncidentView, NodeAnswer, RunbookView
from fleetward.model.errors import OutOfReachError
from fleetward.model.fleet_view import DaemonStatus, FleetView
from fleetward.model.incidents import Incident
from fleetward.model.runs import Run
from fleetward.server.client import DaemonClient
from fleetward.tui.direct_source import DirectSource
from fleetward.tui.source import NoDaemonError

if TYPE_CHECKING:
    from fleetward.slurm.jobs.spec import JobSpec


class DaemonSource:
    """The daemon behind a socket; the user's own jobs go to Slurm without it, under the user's own name."""

    def __init__(self, client: DaemonClient, direct: DirectSource) -> None:
        self._client, self._direct = client, direct

    def fleet(self) -> FleetView:
        """Return the daemon's fleet, or what Slurm says where the daemon does not answer."""
        if self._client.socket.exists():
            try:
                return self._client.fleet()
            except OutOfReachError:
                return self._direct.fleet()
        return self._direct.fleet()

    def status(self) -> DaemonStatus:
        """Return how the daemon is; NoDaemonError where its socket is not there."""
        if not self._client.socket.exists():
            raise NoDaemonError(
                f"{self._client.socket}: no daemon there; you see what Slurm says, and can change only your own jobs"
            )
        return self._client.status()

    def incidents(self) -> tuple[Incident, ...]:
        """Return the incidents that are not closed."""
        return self._client.incidents()

    def incident(self, incident: int) -> IncidentView:
        """Return one incident with its timeline and its runs."""
        return self._client.incident(incident)

    def runbook(self, page: str) -> RunbookView:
        """Return one page with its text."""
        return self._client.runbook(page)

    def runs(self) -> tuple[Run, ...]:
        """Return the newest runs."""
        return self._client.runs()

    def acknowledge(self, incident: int) -> Incident:
        """Say that this user looks after an incident."""
        return self._client.acknowledge(incident)

    def close_incident(self, incident: int, why: str) -> Incident:
        """Close an incident by hand."""
        return self._client.close_incident(incident, why)

    def closed_incidents(self) -> tuple[Incident, ...]:
        """Return the incidents that are closed."""
        return self._client.incidents("closed")

    def drain(self, node: str, why: str) -> NodeAnswer:
        """Claim a node for this user and drain it."""
        return self._client.drain(node, why, ClaimClass.MAINTENANCE)

    def resume(self, node: str) -> NodeAnswer:
        """Release this user's claim on a node."""
        return self._client.resume(node)

    def propose(self, page: str, params: Mapping[str, str], incident: int) -> Run:
        """Plan a run for an incident."""
        return self._client.propose(page, params, incident)

    def approve(self, run: int, digest: str) -> Run:
        """Approve a run's start or the step it waits at."""
        return self._client.approve(run, digest)

    def decide(self, run: int, step: int, decision: str) -> Run:
        """Tell a stopped run about a step."""
        return self._client.decide(run, step, decision)

    def abort(self, run: int) -> Run:
        """End a run where it stands."""
        return self._client.abort(run)

    def check(self, job: "JobSpec", script: str, working_directory: Path) -> tuple[str, ...]:
        """Hold a job against the cluster, as this user sees it."""
        return self._direct.check(job, script, working_directory)

    def submit(self, script: str, working_directory: Path) -> str:
        """Hand a batch script to Slurm; returns the job's id."""
        return self._direct.submit(script, working_directory)

    def cancel(self, job: str) -> None:
        """Cancel a job."""
        self._direct.cancel(job)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._direct.close()
