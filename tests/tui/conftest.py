"""A small fleet in trouble, as a daemon would tell it, and a way to look at the screen as text."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Protocol

import pytest
from textual.pilot import Pilot

from fleetward.model.daemon_views import IncidentView, RunbookStepView, RunbookView
from fleetward.model.fleet_view import DaemonStatus, FleetView, GpuView, JobView, NodeView
from fleetward.model.incidents import Incident, IncidentState, Severity, TimelineEntry
from fleetward.model.runs import Mode, Run, RunState, Step, StepState
from fleetward.tui.app import FleetApp
from fleetward.tui.desk import Hardware
from fleetward.tui.recorded_source import RecordedSource

AT = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
EVIL = "ev\x1b[31mil\x9b2J [bold]red[/] \u202egpj"
PAGE = """\
---
id: gpu-off-bus
title: A GPU fell off the PCIe bus
---
## Meaning
The driver no longer reaches GPU [bold]{{ gpu }}[/].
```step look
node.run: [journalctl, --dmesg]
```
## Mitigation
"""


def gpu(index: int, utilization: float = 0.0, *, up: bool | None = True, job: str = "") -> GpuView:
    return GpuView(index, up, utilization, 0.25, 41.0, 312.0, job)


def node(name: str, state: str = "idle", gpus: tuple[GpuView, ...] = (), **more: object) -> NodeView:
    whole = NodeView(name, state, ("gpu",), 64, 8, 512000, 4096, gpus or tuple(map(gpu, range(8))), ())
    return replace(whole, **more)  # type: ignore[arg-type]  # keywords are fields


def job(job_id: str, name: str, state: str = "RUNNING", user: str = "alice", nodes: tuple[str, ...] = ()) -> JobView:
    reason = "Resources" if state == "PENDING" else ""
    return JobView(
        job_id,
        name,
        user,
        "research",
        "gpu",
        "normal",
        state,
        reason,
        nodes,
        max(1, len(nodes)),
        16,
        75,
        600,
        0,
        AT,
        AT,
    )


def steps(*states: StepState) -> tuple[Step, ...]:
    names = (
        ("look", "Diagnosis", "node.run", ["journalctl", "--dmesg"]),
        ("drain", "Mitigation", "slurm.drain", "gpu002"),
        ("requeue", "Mitigation", "slurm.requeue", "gpu002"),
        ("back", "Verification", "prometheus.expect", 'gpu_up{node="gpu002"} == 1'),
        ("resume", "Verification", "slurm.resume", "gpu002"),
    )
    every = (*states, *(StepState.PENDING,) * 5)
    return tuple(Step(index, *names[index][:3], {"": names[index][3]}, every[index]) for index in range(5))


def run(state: RunState = RunState.PROPOSED, *states: StepState, **more: object) -> Run:
    params = {"node": "gpu002", "gpu": "3"}
    whole = Run(
        7, "gpu-off-bus", "A GPU fell off the PCIe bus", 12, params, "d1ge5t", Mode.PROPOSE, state, "", "fleetward", AT
    )
    return replace(whole, steps=steps(*states), **more)  # type: ignore[arg-type]  # keywords are fields


def incident(number: int = 12, alert: str = "GpuOffBus", severity: Severity = Severity.CRITICAL) -> Incident:
    return Incident(
        number,
        alert,
        severity,
        IncidentState.OPEN,
        f"GPU 3 of gpu002 is gone: {EVIL}",
        "gpu002",
        "3",
        {"node": "gpu002", "gpu": "3"},
        AT,
        firing=1,
        runbook="gpu-off-bus",
    )


def small_fleet() -> FleetView:
    busy = tuple(gpu(index, 0.97, job="41") for index in range(8))
    lost = (*busy[:3], gpu(3, up=False), *busy[4:])
    return FleetView(
        "lab",
        AT,
        (
            node("gpu001", "mixed", busy, jobs=("41",)),
            node("gpu002", "mixed+drain", lost, jobs=("41",), reason=EVIL, claims=("i12",), incidents=(12,)),
            node("gpu003"),
            node("gpu004", "down", tuple(gpu(index, up=None) for index in range(8))),
        ),
        (
            job("41", "digits", nodes=("gpu001", "gpu002")),
            job("42", EVIL, "PENDING"),
            job("43", "other", user="bob", nodes=("gpu003",)),
            job("40", "over", "COMPLETED"),
        ),
        {"nodes": 1.0, "jobs": 1.0, "partitions": 40.0, "prometheus": 2.0},
    )


def recorded(the_run: Run | None = None) -> RecordedSource:
    status = DaemonStatus(
        "0.1.0", AT, {"store": "", "slurm": "", "prometheus": ""}, 0, 1, {"gpu-off-bus": "propose"}, {}
    )
    source = RecordedSource(small_fleet(), status)
    timeline = (
        TimelineEntry(1, 12, AT, "alert", "alertmanager", "GpuOffBus fires"),
        TimelineEntry(2, 12, AT, "note", "carol", EVIL),
    )
    source.views[12] = IncidentView(incident(), timeline, (the_run,) if the_run else ())
    source.views[13] = IncidentView(incident(13, "NodeDrainedWithoutIncident", Severity.WARNING), (), ())
    source.pages["gpu-off-bus"] = RunbookView(
        "gpu-off-bus",
        "A GPU fell off the PCIe bus",
        "critical",
        Mode.PROPOSE,
        ("GpuOffBus",),
        "node",
        ("node", "gpu"),
        (RunbookStepView("look", "Diagnosis", "node.run"),),
        text=PAGE,
    )
    return source


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Shown(Protocol):
    """Waits until texts are on the screen and returns all its lines."""

    async def __call__(self, pilot: Pilot[None], *texts: str) -> str: ...


def picture(app: FleetApp) -> str:
    """Return what the terminal shows, line by line."""
    width, height = app.size
    lines = app.screen._compositor.render_strips(app.size)
    return "\n".join("".join(segment.text for segment in strip)[:width] for strip in lines[:height])


@pytest.fixture
def anyio_backend() -> str:
    """Textual runs on asyncio; the plugin comes with httpx."""
    return "asyncio"


@pytest.fixture
def sample() -> ModuleType:
    """Return this module, for the makers in it."""
    return sys.modules[__name__]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def shown() -> Shown:
    async def wait(pilot: Pilot[None], *texts: str) -> str:
        until = time.monotonic() + 20
        while True:
            await pilot.pause(0.02)
            text = picture(pilot.app)  # type: ignore[arg-type]  # it is ours
            if all(one in text for one in texts):
                return text
            missing = [one for one in texts if one not in text]
            assert time.monotonic() < until, f"not on the screen: {missing}\n{text}"

    return wait


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_app(tmp_path: Path, clock: Clock) -> Callable[..., FleetApp]:
    def make(
        source: RecordedSource, *, read_only: bool = False, user: str = "alice", hardware: Hardware = lambda *_: None
    ) -> FleetApp:
        return FleetApp(
            lambda: source,
            user=user,
            folder=tmp_path,
            read_only=read_only,
            now=clock,
            wall=lambda: AT + timedelta(minutes=12),
            every=0.05,
            hardware=hardware,
        )

    return make


@pytest.fixture
def source() -> RecordedSource:
    """Return a daemon with an incident whose run waits for its approval."""
    return recorded(run())
