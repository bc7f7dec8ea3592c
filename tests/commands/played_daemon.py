"""A daemon that plays the HTTP contract on a real unix socket, from what a test puts into it."""

import dataclasses
import json
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from pydantic_core import to_jsonable_python
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fleetward.model.claims import Claim, ClaimClass
from fleetward.model.daemon_views import IncidentView, NodeAnswer, RunbookStepView, RunbookView
from fleetward.model.errors import FleetwardError, RefusedError, UsageError
from fleetward.model.fleet_view import DaemonStatus, FleetView
from fleetward.model.incidents import Incident, IncidentState, Severity, TimelineEntry
from fleetward.model.runs import Mode, Run, RunState, Step, StepState

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
DIGEST = "5f" * 32


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
class PlayedDaemon:
    """What the daemon holds; a list of runs or views is told one per look, the last for ever."""

    socket: Path
    incidents: list[Incident] = field(default_factory=lambda: [incident()])
    timeline: list[TimelineEntry] = field(
        default_factory=lambda: [entry(1, "GpuOffBus fires", "alert", "alertmanager")]
    )
    looks_at_run: list[Run] = field(default_factory=lambda: [run()])
    looks_at_incident: list[IncidentView] = field(default_factory=list)
    pages: list[RunbookView] = field(default_factory=lambda: [PAGE])
    modes: dict[str, Mode] = field(default_factory=lambda: {"gpu-off-bus": Mode.PROPOSE, "node-down": Mode.AUTO})
    claims: list[Claim] = field(default_factory=list)
    refuses: FleetwardError | None = None
    """Raised at whatever is asked next."""
    says: Response | None = None
    """Answered to whatever is asked next, in place of what the contract has."""
    delay: float = 0
    """Seconds before each answer."""
    asked: list[Asked] = field(default_factory=list)

    def posted(self) -> list[tuple[str, Any]]:
        """Return path and body of everything that wanted a change."""
        return [(asked.path, asked.body) for asked in self.asked if asked.method == "POST"]

    def app(self) -> Starlette:
        """Return the application."""
        table = (
            ("GET", "/v1/status", self._status),
            ("GET", "/v1/fleet", self._fleet),
            ("GET", "/v1/incidents", self._incidents),
            ("GET", "/v1/incidents/{id:int}", self._incident),
            ("POST", "/v1/incidents/{id:int}/ack", self._ack),
            ("POST", "/v1/incidents/{id:int}/close", self._close),
            ("GET", "/v1/runbooks", lambda _: [dataclasses.replace(page, text="", digest="") for page in self.pages]),
            ("GET", "/v1/runbooks/{id}", self._page),
            ("POST", "/v1/runs", self._propose),
            ("GET", "/v1/runs", lambda request: [self._look(7)][: int(request.query_params.get("limit", "50"))]),
            ("GET", "/v1/runs/{id:int}", lambda request: self._look(request.path_params["id"])),
            ("POST", "/v1/runs/{id:int}/approve", self._approve),
            ("POST", "/v1/runs/{id:int}/decide", lambda request: self._look(request.path_params["id"])),
            ("POST", "/v1/runs/{id:int}/abort", lambda _: run(RunState.ABORTED)),
            ("GET", "/v1/modes", lambda _: self.modes),
            ("POST", "/v1/modes", self._set_mode),
            ("POST", "/v1/nodes/{node}/drain", self._drain),
            ("POST", "/v1/nodes/{node}/resume", self._resume),
        )
        return Starlette(routes=[Route(path, self._answering(what), methods=[how]) for how, path, what in table])

    def _answering(self, what: Callable[[Request], object]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            text = await request.body()
            body = json.loads(text) if text else None
            request.state.body = body
            self.asked.append(Asked(request.method, request.url.path, dict(request.query_params), body))
            time.sleep(self.delay)
            if self.says is not None:
                said, self.says = self.says, None
                return said
            try:
                if self.refuses is not None:
                    refusal, self.refuses = self.refuses, None
                    raise refusal
                return JSONResponse(to_jsonable_python(what(request)))
            except FleetwardError as error:
                return JSONResponse({"error": str(error), "exit_code": error.exit_code}, 400)

        return answer

    def _status(self, _: Request) -> DaemonStatus:
        reaches = {"store": "", "slurm": "", "prometheus": "since 12:00: connection refused"}
        return DaemonStatus("0.1.0", NOON, reaches, 1, 2, dict(self.modes), {"running": 1})

    def _fleet(self, _: Request) -> FleetView:
        return FleetView("lab", NOON, (), (), {"slurm": 0.5})

    def _incidents(self, request: Request) -> list[Incident]:
        wanted = request.query_params.get("state")
        if wanted in {None, ""}:
            return [one for one in self.incidents if one.state is not IncidentState.CLOSED]
        return [one for one in self.incidents if wanted in {"all", one.state}]

    def _find(self, request: Request) -> Incident:
        number = request.path_params["id"]
        for one in self.incidents:
            if one.id == number:
                return one
        raise UsageError(f"there is no incident i{number}")

    def _incident(self, request: Request) -> IncidentView:
        found = self._find(request)
        if self.looks_at_incident:
            return self.looks_at_incident.pop(0) if len(self.looks_at_incident) > 1 else self.looks_at_incident[0]
        return IncidentView(found, tuple(self.timeline), (self._look(7),), "http://head:9720/runbooks/gpu-off-bus")

    def _ack(self, request: Request) -> Incident:
        return self._change(self._find(request), state=IncidentState.ACKNOWLEDGED, acknowledged_by="ada")

    def _close(self, request: Request) -> Incident:
        return self._change(self._find(request), state=IncidentState.CLOSED, closed_by="ada", closed_at=NOON)

    def _change(self, one: Incident, **changes: object) -> Incident:
        changed = dataclasses.replace(one, **changes)
        self.incidents[self.incidents.index(one)] = changed
        return changed

    def _page(self, request: Request) -> RunbookView:
        for page in self.pages:
            if page.id == request.path_params["id"]:
                return page
        raise UsageError(f"there is no page {request.path_params['id']}")

    def _propose(self, request: Request) -> Run:
        body = request.state.body
        return run(params=body["params"], incident=body["incident"], runbook=body["runbook"])

    def _look(self, number: int) -> Run:
        if number != 7:
            raise UsageError(f"there is no run r{number}")
        return self.looks_at_run.pop(0) if len(self.looks_at_run) > 1 else self.looks_at_run[0]

    def _approve(self, request: Request) -> Run:
        if request.state.body["digest"] != DIGEST:
            raise UsageError("r7 is not what you approved: look at it again")
        return run(RunState.RUNNING, approved_by="ada", approved_at=NOON)

    def _set_mode(self, request: Request) -> dict[str, Mode]:
        body = request.state.body
        for page in self.modes if body["runbook"] == "all" else [body["runbook"]]:
            self.modes[page] = Mode(body["mode"])
        return self.modes

    def _drain(self, request: Request) -> NodeAnswer:
        node, body = request.path_params["node"], request.state.body
        if node == "gpu999":
            raise RefusedError("gpu999: 2 of 2 nodes are held already")
        self.claims.append(Claim(1, node, "p-ada", ClaimClass(body["class"]), body["why"], "ada", NOON))
        return NodeAnswer(node, "drained", tuple(claim for claim in self.claims if claim.node == node))

    def _resume(self, request: Request) -> NodeAnswer:
        node = request.path_params["node"]
        left = tuple(claim for claim in self.claims if claim.node == node and claim.owner != "p-ada")
        return NodeAnswer(node, "still held by i12" if left else "resumed", left)


class Served:
    """Serves a daemon in a thread from entering to leaving."""

    def __init__(self, daemon: PlayedDaemon) -> None:
        config = uvicorn.Config(daemon.app(), uds=str(daemon.socket), log_level="critical", lifespan="off")
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
