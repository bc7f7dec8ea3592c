"""What the daemon does by itself: a run for each incident with a page, closing what is over, reconciling claims.

Everything here may be done again after a crash at any line: what was done is seen in the store and not done twice.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from fleetward.model.errors import ConflictError, FleetwardError, OutOfReachError, RefusedError, UsageError
from fleetward.model.guardrails import Guardrail
from fleetward.model.incidents import Incident, IncidentState
from fleetward.model.runs import Mode, Run, RunState
from fleetward.runbooks.nodes import NodeKeeper, held_by_fleetward
from fleetward.runbooks.page import Page
from fleetward.runbooks.page_front import Blast
from fleetward.runbooks.plan import plan
from fleetward.server.conductor import Conductor
from fleetward.server.executor import Executor
from fleetward.server.look import SlurmLook
from fleetward.server.metrics import Legs
from fleetward.server.shelf import Shelf
from fleetward.server.watch import Source
from fleetward.store.claims import Claims
from fleetward.store.incidents import Incidents
from fleetward.store.runs import Runs

WHO = "fleetward"
SECONDS = 2.0
"""Between two rounds; news makes one come at once."""
RECONCILE_SECONDS = 10.0
STALE_SECONDS = 30.0
"""Nothing is reconciled by a picture of Slurm that is older."""
OVER = "no alert fires, no run is under way, no node is held"
NOT_CLOSED = (IncidentState.OPEN, IncidentState.ACKNOWLEDGED)
MOST_INCIDENTS = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hands:
    """What the autopilot works with."""

    incidents: Incidents
    runs: Runs
    claims: Claims
    shelf: Shelf
    executor: Executor
    keeper: NodeKeeper
    legs: Legs
    guardrail: Guardrail
    slurm: Source[SlurmLook]
    declared: Callable[[], Collection[str]]
    """Names of the hosts in the inventory."""

    def policy(self) -> dict[str, object]:
        """Return what the guardrails allow, as it is pinned to a run."""
        return {"guardrails": {"absolute": self.guardrail.absolute, "share": self.guardrail.share}}


class Autopilot:
    """Looks after incidents; one thread goes round, and whoever brings news may have an incident looked at at once."""

    def __init__(
        self, hands: Hands, conductor: Conductor, still_alone: Callable[[], None], news: threading.Event
    ) -> None:
        """`still_alone` raises where another daemon has taken over; whoever sets `news` has a round come at once."""
        self._hands = hands
        self._conductor = conductor
        self._still_alone = still_alone
        self._lock = threading.Lock()
        self._news = news
        self._settled: set[tuple[int, str]] = set()
        """Incidents, and whose they are, that need no more thought: they have a run, or no page with steps."""
        self._noted: dict[int, str] = {}
        self._told: set[str] = set()
        self._began = datetime.now(UTC)
        self._timed: set[int] = set()
        """Claims whose leg was counted."""
        self._reconciled = float("-inf")
        self._reconcile_lock = threading.Lock()

    def run(self, stopping: threading.Event) -> None:
        """Go round until `stopping` is set and `hurry` is called once more.

        Raises what `still_alone` raises: a daemon that is not alone must not go on.
        """
        while not stopping.is_set():
            self._news.clear()
            try:
                self._still_alone()
                self.round()
            except OutOfReachError as error:
                self._tell(str(error))
            self._news.wait(SECONDS)

    def hurry(self) -> None:
        """Have the next round now."""
        self._news.set()

    def round(self) -> None:
        """Look at every incident once."""
        hands = self._hands
        hands.executor.take_up()
        incidents = hands.incidents.list(NOT_CLOSED, MOST_INCIDENTS)
        self._settled &= {(incident.id, incident.alert_name) for incident in incidents}
        for incident in incidents:
            if incident.firing:
                self.consider(incident)
            elif closed := hands.incidents.close_if_settled(incident.id, WHO, OVER):
                hands.legs.closed(closed)
        self._time_claims(incidents)
        for claim in hands.claims.of_closed():
            hands.keeper.release(claim.node, claim.owner, WHO)
        self._conductor.round()
        if time.monotonic() - self._reconciled >= RECONCILE_SECONDS:
            self._reconciled = time.monotonic()
            self.reconcile()

    def consider(self, incident: Incident) -> None:
        """Give an incident its run where it has none yet, as far as the page's mode goes."""
        with self._lock:
            if (incident.id, incident.alert_name) in self._settled:
                return
            page = self._hands.shelf.pages().page_for_alert(incident.alert_name)
            if page is None or not page.steps:
                self._settled.add((incident.id, incident.alert_name))
                return
            mine = [run for run in self._hands.runs.of_incident(incident.id) if run.runbook == page.id]
            if mine:
                self._begin_where_auto(mine[-1], incident)
                self._settled.add((incident.id, incident.alert_name))
                return
            self._propose(incident, page)

    def _propose(self, incident: Incident, page: Page) -> None:
        hands = self._hands
        if self._cannot_tell_nodes(incident):
            return
        try:
            if problem := self._problem(incident, page):
                raise UsageError(problem)
            new = plan(page, {}, incident, hands.shelf.modes()[page.id], hands.policy())
        except UsageError as error:
            self._note_once(incident, f"no run of {page.id}: {error}")
            return
        if new.mode is Mode.AUTO:
            new = replace(new, state=RunState.PROPOSED)  # begun below, as a step of its own that a crash cannot split
        try:
            run = hands.runs.create(new)
        except ConflictError as error:
            log.info("%s", error)  # a person was faster, or a worse alert
            return
        self._begin_where_auto(run, incident)
        self._settled.add((incident.id, incident.alert_name))

    def _begin_where_auto(self, run: Run, incident: Incident) -> None:
        """Begin a proposed run of mode auto inside the guardrails; one that a guardrail held up waits for a person."""
        if run.state is not RunState.PROPOSED or run.mode is not Mode.AUTO or run.why or run.asked_by != WHO:
            return
        hands = self._hands
        try:
            if run.blast != Blast.NONE and (look := hands.slurm.reading.value) is not None:
                held = held_by_fleetward(look.nodes, hands.claims.open())
                hands.guardrail.check(incident.node, held, len(look.nodes))
        except RefusedError as error:
            hands.runs.set_run_state(run.id, RunState.PROPOSED, str(error))
            hands.incidents.note(incident.id, "run", WHO, f"r{run.id} was not begun: {error}", {"run": run.id})
            return
        try:
            hands.runs.approve(run.id, run.digest, WHO)
        except ConflictError as error:
            log.info("%s", error)
            return
        hands.executor.wake(run.id)

    def _cannot_tell_nodes(self, incident: Incident) -> bool:
        return bool(incident.node) and self._hands.slurm.reading.value is None and not self._hands.declared()

    def _problem(self, incident: Incident, page: Page) -> str:
        """Say why a page is not run for an incident; empty where it may be."""
        if problems := self._hands.shelf.problems(page):
            return f"the page has problems: {problems[0]}"
        look = self._hands.slurm.reading.value
        known = {node.name for node in look.nodes} if look else set()
        if incident.node and incident.node not in known and incident.node not in self._hands.declared():
            return f"neither Slurm nor the inventory knows a node {incident.node[:100]!r}"
        return ""

    def _note_once(self, incident: Incident, text: str) -> None:
        if self._noted.get(incident.id) == text:
            return
        entries = self._hands.incidents.timeline(incident.id)
        if not any(entry.kind == "note" and entry.text == text for entry in entries):
            self._hands.incidents.note(incident.id, "note", WHO, text)
        self._noted[incident.id] = text

    def _time_claims(self, incidents: Iterable[Incident]) -> None:
        """Count how long incidents took to their claims; what was claimed before this start was counted then."""
        owners = {incident.owner: incident for incident in incidents}
        claims = [claim for claim in self._hands.claims.open() if claim.made_at > self._began]
        for claim in claims:
            if claim.id not in self._timed and claim.owner in owners:
                self._hands.legs.drained(owners[claim.owner].opened_at, claim.made_at)
        self._timed = {claim.id for claim in claims}

    def reconcile(self) -> None:
        """Bring Slurm and the claims together where they differ, and tell it."""
        look = self._hands.slurm.reading.value
        if look is None or self._hands.slurm.age > STALE_SECONDS:
            return
        with self._reconcile_lock:
            try:
                drifts = self._hands.keeper.reconcile(look.nodes)
            except OutOfReachError as error:
                self._tell(str(error))
                return
            except FleetwardError as error:
                self._tell(f"claims could not be brought together with Slurm: {error}")
                return
        for drift in drifts:
            self._tell(f"{drift.node}: {drift.kind}: {drift.done}")

    def _tell(self, text: str) -> None:
        """Write to the log what has not just been written."""
        if text not in self._told:
            self._told = {text} if len(self._told) > 100 else self._told | {text}
            log.warning("%s", text)
