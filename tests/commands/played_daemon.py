"""The daemon's own HTTP on a real unix socket, in front of a service that is played from what a test puts into it."""

import asyncio
import dataclasses
import json
import os
import pwd
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleetward.model.changes import (
    Change,
    ChangeEntry,
    ChangeNode,
    ChangeState,
    ChangeView,
    Forecast,
    LeftOut,
    PlannedChange,
)
from fleetward.model.claims import Claim, ClaimClass
from fleetward.model.daemon_views import EventView, IncidentView, NodeAnswer, RunbookStepView, RunbookView
from fleetward.model.errors import FleetwardError, RefusedError, UsageError
from fleetward.model.fleet_view import DaemonStatus, FleetView
from fleetward.model.incidents import Incident, IncidentState, Severity, TimelineEntry
from fleetward.model.runs import Mode, Run, RunState, Step, StepState
from fleetward.server.app import local_app
from fleetward.server.burn_ins import BurnInService
from fleetward.server.changes import ChangeService
from fleetward.server.peer import PeerProtocol
from fleetward.server.service import Service

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
DIGEST = "5f" * 32
ME = pwd.getpwuid(os.getuid()).pw_name
"""Who asks in a test, as the kernel tells the daemon."""


def incident(number: int = 12, **changes: object) -> Incident:
    made = Incident(
        id=number,
        alert_name="GpuOffBus",
        severity=Severity.CRITICAL,
        state=IncidentState.OPEN,
        summary="GPU 3 of gpu002 fell off the bus",
        node="gpu002",
        gpu="3",
        labels={"node": "gpu002", "gpu": "3"},
        opened_at=NOON,
        firing=1,
        runbook="gpu-off-bus",
    )
    return dataclasses.replace(made, **changes)


def entry(number: int, text: str, kind: str = "note", who: str = "fleetward") -> TimelineEntry:
    return TimelineEntry(number, 12, NOON, kind, who, text)


STEPS = (
    Step(0, "look", "Diagnosis", "node.run", {"": ["true"], "on": "gpu002"}),
    Step(1, "drain", "Mitigation", "slurm.drain", {"": "gpu002", "why": "GPU 3 off the bus"}),
    Step(2, "sure", "Verification", "approve", {"": "Was it repaired?"}),
)


def run(state: RunState = RunState.PROPOSED, *steps: StepState, why: str = "", **changes: object) -> Run:
    """Return run 7 of incident 12; `steps` are the states of its steps in order, pending where there are fewer."""
    states = [*steps, *[StepState.PENDING] * len(STEPS)]
    made = Run(
        id=7,
        runbook="gpu-off-bus",
        title="A GPU fell off the PCIe bus",
        incident=12,
        params={"gpu": "3", "node": "gpu002"},
        digest=DIGEST,
        mode=Mode.PROPOSE,
        state=state,
        why=why,
        asked_by="fleetward",
        asked_at=NOON,
        steps=tuple(dataclasses.replace(step, state=now) for step, now in zip(STEPS, states, strict=False)),
    )
    return dataclasses.replace(made, **changes)


def change(state: ChangeState = ChangeState.PLANNED, *nodes: ChangeNode, **changes: object) -> Change:
    """Return change 3: two batches of two nodes, all waiting where none are given."""
    made = Change(
        id=3,
        page="change-site",
        title="Bring a node to what the inventory declares",
        params={"patience": "24h"},
        digest=DIGEST,
        budget=1,
        state=state,
        why="",
        made_by="ada",
        made_at=NOON,
        forecast=Forecast(5400.0, 12.25, 900.0),
        nodes=nodes or tuple(ChangeNode(f"gpu{number:03}", (number + 1) // 2) for number in range(1, 5)),
    )
    return dataclasses.replace(made, **changes)


def change_view(
    state: ChangeState = ChangeState.PLANNED, *nodes: ChangeNode, history: Sequence[str] = (), **changes: object
) -> ChangeView:
    """Return that change with what was said and done about it."""
    entries = tuple(ChangeEntry(NOON, "fleetward", text) for text in ("planned for 4 nodes", *history))
    return ChangeView(change(state, *nodes, **changes), entries)


PAGE = RunbookView(
    id="gpu-off-bus",
    title="A GPU fell off the PCIe bus",
    severity="critical",
    mode=Mode.PROPOSE,
    alerts=("GpuOffBus",),
    blast="node",
    params=("node", "gpu"),
    steps=tuple(RunbookStepView(step.name, step.section, step.action) for step in STEPS),
    text="---\nid: gpu-off-bus\n---\n## Meaning\nIt fell off.\n",
    digest=DIGEST,
)


@dataclass(frozen=True)
class Asked:
    """One request as it came over the socket."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any


@dataclass
class PlayedService:
    """What the daemon holds; a list of runs or views is told one per look, the last for ever."""

    incidents_held: list[Incident] = field(default_factory=lambda: [incident()])
    timeline: list[TimelineEntry] = field(
        default_factory=lambda: [entry(1, "GpuOffBus fires", "alert", "alertmanager")]
    )
    events_held: list[EventView] = field(default_factory=list)
    looks_at_run: list[Run] = field(default_factory=lambda: [run()])
    looks_at_incident: list[IncidentView] = field(default_factory=list)
    pages: list[RunbookView] = field(default_factory=lambda: [PAGE])
    modes_held: dict[str, Mode] = field(default_factory=lambda: {"gpu-off-bus": Mode.PROPOSE, "node-down": Mode.AUTO})
    claims: list[Claim] = field(default_factory=list)

    def status(self) -> DaemonStatus:
        reaches = {"store": "", "slurm": "", "prometheus": "since 12:00: connection refused"}
        modes = {page: str(mode) for page, mode in self.modes_held.items()}
        return DaemonStatus("0.1.0", NOON, reaches, 1, 2, modes, {"running": 1})

    def fleet(self) -> FleetView:
        return FleetView("lab", NOON, (), (), {"slurm": 0.5})

    def incidents(self, state: str = "") -> tuple[Incident, ...]:
        if not state:
            return tuple(one for one in self.incidents_held if one.state is not IncidentState.CLOSED)
        return tuple(one for one in self.incidents_held if state in {"all", one.state})

    def events(self, node: str, gpu: str, seconds: int, severity: str, limit: int) -> tuple[EventView, ...]:
        return tuple(self.events_held)

    def _find(self, number: int) -> Incident:
        for one in self.incidents_held:
            if one.id == number:
                return one
        raise UsageError(f"there is no incident i{number}")

    def incident(self, number: int) -> IncidentView:
        found = self._find(number)
        if self.looks_at_incident:
            return self.looks_at_incident.pop(0) if len(self.looks_at_incident) > 1 else self.looks_at_incident[0]
        return IncidentView(found, tuple(self.timeline), (self.run(7),), "http://head:9720/runbooks/gpu-off-bus")

    def acknowledge(self, number: int, note: str, who: str) -> Incident:
        return self._change(self._find(number), state=IncidentState.ACKNOWLEDGED, acknowledged_by=who)

    def close(self, number: int, why: str, who: str) -> Incident:
        return self._change(self._find(number), state=IncidentState.CLOSED, closed_by=who, closed_at=NOON)

    def _change(self, one: Incident, **changes: object) -> Incident:
        changed = dataclasses.replace(one, **changes)
        self.incidents_held[self.incidents_held.index(one)] = changed
        return changed

    def runbooks(self) -> tuple[RunbookView, ...]:
        return tuple(dataclasses.replace(page, text="", digest="") for page in self.pages)

    def runbook(self, page_id: str) -> RunbookView:
        for page in self.pages:
            if page.id == page_id:
                return page
        raise UsageError(f"there is no page {page_id}")

    def propose(self, page_id: str, params: Mapping[str, str], incident_id: int | None, who: str) -> Run:
        return run(params=params, incident=incident_id, runbook=page_id, asked_by=who)

    def runs(self, limit: int) -> tuple[Run, ...]:
        return (self.run(7),)[:limit]

    def run(self, number: int) -> Run:
        if number != 7:
            raise UsageError(f"there is no run r{number}")
        return self.looks_at_run.pop(0) if len(self.looks_at_run) > 1 else self.looks_at_run[0]

    def approve(self, number: int, digest: str, who: str) -> Run:
        if digest != DIGEST:
            raise UsageError("r7 is not what you approved: look at it again")
        return run(RunState.RUNNING, approved_by=who, approved_at=NOON)

    def decide(self, number: int, step: int, decision: str, who: str) -> Run:
        return self.run(number)

    def abort(self, number: int, who: str) -> Run:
        return run(RunState.ABORTED, why=f"aborted by {who}")

    def modes(self) -> dict[str, Mode]:
        return self.modes_held

    def set_mode(self, page_id: str, mode: Mode, who: str) -> dict[str, Mode]:
        for page in self.modes_held if page_id == "all" else [page_id]:
            self.modes_held[page] = mode
        return self.modes_held

    def drain(self, node: str, why: str, kind: ClaimClass, who: str) -> NodeAnswer:
        if node == "gpu999":
            raise RefusedError("gpu999: 2 of 2 nodes are held already")
        self.claims.append(Claim(1, node, f"p-{who}", kind, why, who, NOON))
        return NodeAnswer(node, "drained", tuple(claim for claim in self.claims if claim.node == node))

    def resume(self, node: str, who: str) -> NodeAnswer:
        left = tuple(claim for claim in self.claims if claim.node == node and claim.owner != f"p-{who}")
        return NodeAnswer(node, "still held by i12" if left else "resumed", left)


@dataclass
class PlayedChanges:
    """The changes that the daemon holds; a list of views is told one per look, the last for ever."""

    looks: list[ChangeView] = field(default_factory=lambda: [change_view()])
    left_out: tuple[LeftOut, ...] = ()

    def plan(self, asked: object, who: str) -> PlannedChange:
        return PlannedChange(change(made_by=who), self.left_out)

    def list(self, limit: int) -> tuple[Change, ...]:
        return tuple(view.change for view in self.looks)[:limit]

    def show(self, number: int) -> ChangeView:
        if number != 3:
            raise UsageError(f"there is no change c{number}")
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def approve(self, number: int, digest: str, who: str) -> Change:
        if digest != DIGEST:
            raise UsageError("c3 is not what you approved: look at it again")
        return change(ChangeState.RUNNING, approved_by=who, approved_at=NOON)

    def pause(self, number: int, who: str) -> Change:
        return change(ChangeState.PAUSED)

    def resume(self, number: int, budget: int | None, *, retry: bool, who: str) -> Change:
        return change(ChangeState.RUNNING)

    def abort(self, number: int, who: str) -> Change:
        return change(ChangeState.ABORTED, why=f"aborted by {who}", ended_at=NOON)

    def give_back(self, number: int, node: str, why: str, who: str) -> Change:
        return change(ChangeState.STOPPED)


@dataclass
class PlayedDaemon(PlayedService):
    """That service behind the daemon's HTTP, which may also be slow, refuse, or answer nonsense."""

    socket: Path = Path("/nonexistent")
    refuses: FleetwardError | None = None
    """Raised at whatever is asked next."""
    says: Response | None = None
    """Answered to whatever is asked next, in place of what the daemon has."""
    delay: float = 0
    """Seconds before each answer."""
    asked: list[Asked] = field(default_factory=list)
    changes: PlayedChanges = field(default_factory=PlayedChanges)

    def posted(self) -> list[tuple[str, Any]]:
        """Return path and body of everything that wanted a change."""
        return [(asked.path, asked.body) for asked in self.asked if asked.method == "POST"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note what is asked and hand it on to the daemon's own application."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        content = await request.body()
        body = json.loads(content) if content else None
        self.asked.append(Asked(request.method, request.url.path, dict(request.query_params), body))
        await asyncio.sleep(self.delay)
        said, self.says = self.says, None

        async def again() -> Message:
            return {"type": "http.request", "body": content, "more_body": False}

        service = self._next()
        changes = self.changes if service is self else service
        app = local_app(cast("Service", service), cast("ChangeService", changes), cast("BurnInService", service))
        await (said or app)(scope, again, send)

    def _next(self) -> object:
        """Return the service, or for one time one that refuses."""
        refusal, self.refuses = self.refuses, None
        return self if refusal is None else _Refusing(refusal)


@dataclass(frozen=True)
class _Refusing:
    error: FleetwardError

    def __getattr__(self, name: str) -> object:
        """Whatever is called raises the error."""

        def refuse(*_: object, **__: object) -> None:
            raise self.error

        return refuse


class Served:
    """Serves an application on a unix socket, in a thread, from entering to leaving."""

    def __init__(self, app: ASGIApp, socket: Path) -> None:
        config = uvicorn.Config(
            app,
            uds=str(socket),
            http=PeerProtocol,
            log_level="critical",
            lifespan="off",
            ws="none",
            proxy_headers=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()
        until = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < until
            time.sleep(0.01)

    def __exit__(self, *error: object) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()
