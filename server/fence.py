"""Which nodes are kept for burn-ins alone: those under way, and those that the gate keeps from production.

They stand in one reservation of Slurm's, so that they are in service for burn-in jobs and for no others. Whoever is in
it is what is wanted there now: a round that was cut off is made good by the next one.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from fleetward.model.burn_ins import NodeStanding
from fleetward.model.errors import UsageError
from fleetward.model.settings import QualificationSettings
from fleetward.operations.qualification.gate import kept_out
from fleetward.operations.qualification.job_logs import JobLogs
from fleetward.runbooks.nodes import NodeKeeper
from fleetward.server.site import Site
from fleetward.slurm.client import SlurmClient, SlurmRefusedError
from fleetward.store.burn_ins import BurnIns
from fleetward.store.claims import Claims

RESERVATION = "fleetward-burn-in"


@dataclass(frozen=True)
class Kit:
    """What burn-ins work with."""

    burn_ins: BurnIns
    claims: Claims
    keeper: NodeKeeper
    slurm: SlurmClient
    site: Site
    logs: JobLogs
    settings: QualificationSettings
    user: str
    """Whose jobs they are: the daemon's."""
    standings: Callable[[], Collection[NodeStanding]]
    """How each node of the fleet stands; OutOfReachError or UsageError where that cannot be told."""
    void_changed: Callable[[], None]
    """Revokes the certificates of nodes that have changed."""
    most_lapsed: Callable[[int], int]
    """How many nodes whose certificate has lapsed the gate may keep out at once, of so many nodes."""

    @property
    def required(self) -> tuple[str, ...] | None:
        """Return the site's list of what a node must pass; None for the usual."""
        return self.settings.required or None


class Fence:
    """Keeps the reservation as it is wanted."""

    def __init__(self, kit: Kit, tell: Callable[[str], None]) -> None:
        """Say to `tell` what could not be done."""
        self._kit = kit
        self._tell = tell
        self.kept: frozenset[str] = frozenset()
        """Nodes that the gate keeps out, as of the last round."""

    def hold(self, burning: Collection[str]) -> frozenset[str]:
        """Have the reservation hold what is wanted in it, and return the nodes that it holds."""
        kit = self._kit
        found = next((one for one in kit.slurm.reservations().items if one.name == RESERVATION), None)
        holds = frozenset(found.nodes if found else ())
        wanted = frozenset(burning) | self._gated(holds)
        known = frozenset(node.name for node in kit.slurm.nodes().items) if wanted else frozenset()
        wanted &= known
        if wanted == holds:
            return holds
        try:
            if wanted:
                kit.slurm.reserve(RESERVATION, sorted(wanted), kit.user)
            else:
                kit.slurm.unreserve(RESERVATION)
        except SlurmRefusedError as error:  # jobs of it still end; what is held too long is let go in a later round
            self._tell(f"the reservation {RESERVATION} is not what it should be: {error}")
            return holds
        return wanted

    def _gated(self, held: frozenset[str]) -> frozenset[str]:
        """Return the nodes that the gate keeps out; as before where nobody can tell how nodes stand."""
        kit = self._kit
        if not kit.settings.gate:
            self.kept = frozenset()
            return self.kept
        try:
            standings = kit.standings()
        except UsageError as error:
            self._tell(f"the gate keeps whom it kept: {error}")
            self.kept = self.kept or held
            return self.kept
        self.kept = kept_out(standings, held, kit.most_lapsed(len(standings)))
        return self.kept
