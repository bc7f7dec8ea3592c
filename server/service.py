"""What people may ask the daemon: each request of the interface as one method, without HTTP."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from fleetward import __version__
from fleetward.model.claims import Claim, ClaimClass
from fleetward.model.daemon_views import EventView, IncidentView, NodeAnswer, RunbookStepView, RunbookView
from fleetward.model.errors import ConflictError, FleetwardError, OutOfReachError, UsageError
from fleetward.model.fleet_view import DaemonStatus, FleetView
from fleetward.model.gpu_faults import Severity as GpuSeverity
from fleetward.model.incidents import Incident, IncidentState
from fleetward.model.runs import Mode, Run, RunState
from fleetward.runbooks.nodes import ReleaseResult, held_by_fleetward
from fleetward.runbooks.page import Page
from fleetward.runbooks.plan import plan
from fleetward.runbooks.prometheus import Sample
from fleetward.server.autopilot import MOST_INCIDENTS, NOT_CLOSED, Autopilot, Hands
from fleetward.server.look import SlurmLook, slurm_trouble
from fleetward.server.pages import page_url
from fleetward.server.views import Parts, job_views, node_views
from fleetward.server.watch import Interest, Reading, Source
from fleetward.store.database import Database
from fleetward.store.events import Events
from fleetward.store.modes import Modes

MOST_RUNS = 1000
MOST_EVENTS = 10_000
_LISTS: Mapping[str, tuple[IncidentState, ...]] = {
    "": NOT_CLOSED,
    "all": (),
    **{str(state): (state,) for state in IncidentState},
}

Decision = Literal["done", "again", "abort"]


@dataclass(frozen=True)
class Backing:
    """What the service stands on beside the autopilot's hands."""

    database: Database
    modes: Modes
    events: Events
    prometheus: Source[Mapping[str, tuple[Sample, ...]]]
    interest: Interest
    racks: Callable[[], Mapping[str, str]]
    cluster: str
    pages_url: str


class Service:
    """Answers requests; safe to use from many threads. `who` is the user's name, as the kernel says it."""

    def __init__(self, hands: Hands, backing: Backing, autopilot: Autopilot) -> None:
        self._hands = hands
        self._backing = backing
        self._autopilot = autopilot
        self._started_at = datetime.now(UTC)

    def status(self) -> DaemonStatus:
        """Return how the daemon is; never raises because something is out of reach, but says so."""
        hands = self._hands
        store, drained, modes, runs = "", 0, dict[str, Mode](), Counter[str]()
        look = hands.slurm.reading.value
        nodes = look.nodes if look else ()
        try:
            drained = len(held_by_fleetward(nodes, hands.claims.open()))
            modes = hands.shelf.modes()
            runs = Counter(map(str, hands.runs.active().values()))
        except OutOfReachError as error:
            store = str(error)
        return DaemonStatus(
            version=__version__,
            started_at=self._started_at,
            reaches={
                "store": store,
                "slurm": hands.slurm.reading.reach,
                "prometheus": self._backing.prometheus.reading.reach,
            },
            drained=drained,
            drained_allowed=hands.guardrail.allowed(len(nodes)),
            modes={page: str(mode) for page, mode in modes.items()},
            runs=runs,
        )

    def fleet(self) -> FleetView:
        """Return nodes and jobs, each part with its age; what is not told anew stays as it was and leaves a problem."""
        slurm, prometheus, problems = self._readings()
        claims: tuple[Claim, ...] = ()
        incidents: tuple[Incident, ...] = ()
        try:
            claims = self._hands.claims.open()
            incidents = self._hands.incidents.list(NOT_CLOSED, MOST_INCIDENTS)
        except OutOfReachError as error:
            problems.append(str(error))
        look = slurm.value or SlurmLook()
        parts = Parts(
            nodes=look.nodes,
            jobs=look.snapshot.jobs.items,
            details=look.details,
            samples=prometheus.value or {},
            claims=claims,
            incidents=incidents,
            racks=self._backing.racks(),
        )
        ages = {**look.snapshot.ages(self._hands.slurm.now()), "prometheus": self._backing.prometheus.age}
        return FleetView(
            cluster=self._backing.cluster,
            taken_at=datetime.now(UTC),
            nodes=node_views(parts),
            jobs=job_views(parts.jobs),
            ages={name: round(age, 3) for name, age in ages.items() if age != float("inf")},
            problems=tuple(problems),
        )

    def _readings(self) -> tuple[Reading[SlurmLook], Reading[Mapping[str, tuple[Sample, ...]]], list[str]]:
        """Return what was seen last; the first who asks after a while waits for a whole look."""
        backing = self._backing
        if backing.interest.show():
            slurm, prometheus = self._hands.slurm.reading, backing.prometheus.reading
        else:
            backing.prometheus.hurry()
            slurm, prometheus = self._hands.slurm.fresh(), backing.prometheus.fresh()
        problems = list(slurm_trouble(slurm))
        if prometheus.reach:
            problems.append(f"Prometheus does not answer, {prometheus.reach}")
        return slurm, prometheus, problems

    def incidents(self, state: str = "") -> tuple[Incident, ...]:
        """Return incidents, latest first: of one state, `all`, or those not closed."""
        if state not in _LISTS:
            raise UsageError(f"state={state[:40]!r}: there are open, acknowledged, closed and all")
        return self._hands.incidents.list(_LISTS[state], MOST_INCIDENTS)

    def incident(self, incident_id: int) -> IncidentView:
        """Return one incident with all that belongs to it."""
        incident = self._hands.incidents.get(incident_id)
        return IncidentView(
            incident=incident,
            timeline=self._hands.incidents.timeline(incident_id),
            runs=self._hands.runs.of_incident(incident_id),
            page_url=page_url(self._backing.pages_url, incident.runbook, incident) if incident.runbook else "",
        )

    def acknowledge(self, incident_id: int, note: str, who: str) -> Incident:
        """Record that somebody is at it."""
        return self._hands.incidents.ack(incident_id, who, note)

    def close(self, incident_id: int, why: str, who: str) -> Incident:
        """Close an incident by hand: its runs end where they stand, and what it held returns.

        A node that somebody else holds too, or that was drained by hand, stays as it is.
        """
        hands = self._hands
        incident = hands.incidents.get(incident_id)
        if incident.state is IncidentState.CLOSED:
            raise ConflictError(f"i{incident_id} was closed by {incident.closed_by} already.")
        for run in hands.runs.of_incident(incident_id):
            if not run.state.ended and run.state not in {RunState.PLANNED, RunState.PROPOSED}:
                hands.runs.abort(run.id, who)
        # Closed first: a drain that is under way right now finds that its incident cannot claim any more.
        closed = hands.incidents.close(incident_id, who, why)
        for claim in hands.claims.open():
            if claim.owner == incident.owner:
                hands.keeper.release(claim.node, claim.owner, who)
        hands.legs.closed(closed)
        hands.slurm.hurry()
        return closed

    def events(self, node: str, gpu: str, seconds: int, severity: str, limit: int) -> tuple[EventView, ...]:
        """Return what nodes told of faults in the last seconds, latest first; of one severity and what is worse."""
        if severity and severity not in tuple(GpuSeverity):
            raise UsageError(f"severity={severity[:40]!r}: there are {', '.join(GpuSeverity)}")
        wanted = [one for one in GpuSeverity if one >= severity] if severity else []
        since = datetime.now(UTC) - timedelta(seconds=seconds)
        return self._backing.events.list(node or None, gpu or None, since, wanted, max(1, min(limit, MOST_EVENTS)))

    def runbooks(self) -> tuple[RunbookView, ...]:
        """Return every page, without text."""
        modes = self._hands.shelf.modes()
        return tuple(self._view(page, modes[page.id]) for page in self._hands.shelf.pages().values())

    def runbook(self, page_id: str) -> RunbookView:
        """Return one page with its text and digest."""
        page = self._hands.shelf.pages().page(page_id)
        view = self._view(page, self._hands.shelf.modes()[page.id])
        return replace(view, text=page.text, digest=page.digest)

    def _view(self, page: Page, mode: Mode) -> RunbookView:
        return RunbookView(
            id=page.id,
            title=page.title,
            severity=str(page.severity),
            mode=mode,
            alerts=page.alerts,
            blast=str(page.blast),
            params=tuple(page.params),
            steps=tuple(RunbookStepView(step.name, step.section, step.action) for step in page.steps),
            problems=self._hands.shelf.problems(page),
        )

    def propose(self, page_id: str, params: Mapping[str, str], incident_id: int | None, who: str) -> Run:
        """Plan a run, which begins once it is approved."""
        hands = self._hands
        page = hands.shelf.pages().page(page_id)
        if problems := hands.shelf.problems(page):
            raise UsageError(f"{page_id} cannot be run: {problems[0]}")
        incident = None if incident_id is None else hands.incidents.get(incident_id)
        return hands.runs.create(plan(page, params, incident, Mode.PROPOSE, hands.policy(), asked_by=who))

    def runs(self, limit: int) -> tuple[Run, ...]:
        """Return the latest runs, latest first."""
        return self._hands.runs.list(max(1, min(limit, MOST_RUNS)))

    def run(self, run_id: int) -> Run:
        """Return one run."""
        return self._hands.runs.run(run_id)

    def approve(self, run_id: int, digest: str, who: str) -> Run:
        """Approve a run's start, or the step that it waits at; refused where its page is no longer what was planned."""
        hands = self._hands
        before = hands.runs.run(run_id)
        if before.state is RunState.PROPOSED:
            page = hands.shelf.pages().get(before.runbook)
            if page is None or page.text != hands.runs.page(run_id):
                raise ConflictError(
                    f"r{run_id}: the page {before.runbook} was changed since this run was planned: abort it"
                    f" (`fleetward runbook abort r{run_id}`) and plan it again"
                )
        run = hands.runs.approve(run_id, digest, who)
        hands.executor.wake(run_id)
        return run

    def decide(self, run_id: int, step: int, decision: Decision, who: str) -> Run:
        """Settle the step that a run stopped at."""
        run = self._hands.runs.decide(run_id, step, decision, who)
        self._hands.executor.wake(run_id)
        return run

    def abort(self, run_id: int, who: str) -> Run:
        """End a run where it stands."""
        return self._hands.runs.abort(run_id, who)

    def modes(self) -> dict[str, Mode]:
        """Return the mode of every page."""
        return self._hands.shelf.modes()

    def set_mode(self, page_id: str, mode: Mode, who: str) -> dict[str, Mode]:
        """Set the mode of one page, or of `all`."""
        pages = self._hands.shelf.pages()
        for page in pages if page_id == "all" else [pages.page(page_id).id]:
            self._backing.modes.set(page, mode, who)
        return self.modes()

    def drain(self, node: str, why: str, kind: ClaimClass, who: str) -> NodeAnswer:
        """Claim a node for a person, and drain it."""
        if not why.strip():
            raise UsageError("a drain needs a reason that others can read")
        held = self._hands.keeper.hold(node, f"p-{who}", kind, why, who)
        self._hands.slurm.hurry()
        return NodeAnswer(node, str(held.result), self._hands.keeper.claims_on(node))

    def resume(self, node: str, who: str) -> NodeAnswer:
        """Release a person's claim on a node, which returns where no other is left."""
        released = self._hands.keeper.release(node, f"p-{who}", who)
        if released.result is ReleaseResult.GONE:
            raise UsageError(f"Slurm knows no node {node[:100]!r}; `fleetward nodes` lists those that it knows")
        self._hands.slurm.hurry()
        owners = ", ".join(claim.owner for claim in released.claims)
        return NodeAnswer(node, f"{released.result} by {owners}" if owners else str(released.result), released.claims)

    def page(self, page_id: str) -> Page:
        """Return a page to be shown."""
        return self._hands.shelf.pages().page(page_id)

    def is_well(self) -> str:
        """Say what is wrong with the daemon itself; empty where it does its work."""
        try:
            self._backing.database.check()
        except FleetwardError as error:
            return str(error)
        return ""
