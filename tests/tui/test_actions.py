"""What a person does: nothing is changed without a question that was read, and the digest goes with the answer."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import pytest
from textual.pilot import Pilot

from fleetward.model.errors import OutOfReachError, RefusedError
from fleetward.model.incidents import Incident, IncidentState
from fleetward.model.runs import Run, RunState, StepState
from fleetward.tui.app import FleetApp
from fleetward.tui.recorded_source import RecordedSource

pytestmark = pytest.mark.anyio

OpenApp = Callable[..., FleetApp]
Shown = Callable[..., object]


def put(source: RecordedSource, *runs: Run) -> None:
    """Let the incident have these runs from now on."""
    source.views[12] = replace(source.views[12], runs=runs)


async def open_runbook(pilot: Pilot[None], shown: Shown) -> None:
    await pilot.press("i")
    await shown(pilot, "GpuOffBus fires")
    await pilot.press("enter")
    await shown(pilot, "Meaning")


async def test_a_run_is_approved_by_its_digest_after_yes(
    open_app: OpenApp, source: RecordedSource, shown: Shown, sample: ModuleType
) -> None:
    source.answers["approve"] = lambda *_: sample.run(RunState.RUNNING)
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runbook(pilot, shown)
        await shown(pilot, "r7 ? proposed")
        await pilot.press("p")
        await shown(pilot, "drain: slurm.drain gpu002", "job 41 digits of alice", "holds 0 of the 1")
        assert source.wishes == []
        await pilot.press("y")
        await shown(pilot, "approved r7")
        assert source.wishes == [("approve", 7, "d1ge5t")]


@pytest.mark.parametrize("key", ["escape", "n", "q", "5", "p"])
async def test_any_other_key_approves_nothing(
    open_app: OpenApp, source: RecordedSource, shown: Shown, key: str
) -> None:
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runbook(pilot, shown)
        await shown(pilot, "r7 ? proposed")
        await pilot.press("p")
        await shown(pilot, "[y] yes, approve")
        await pilot.press(*((key,) if key == "escape" else (key, "escape")))
        text = str(await shown(pilot, "pending requeue", "journalctl"))
        assert "[y]" not in text
        assert source.wishes == []
        assert app.is_running


async def test_the_step_that_asks_is_told_and_approved(
    open_app: OpenApp, source: RecordedSource, shown: Shown, sample: ModuleType
) -> None:
    waiting = sample.run(RunState.WAITING, StepState.DONE, StepState.WAITING)
    steps = list(waiting.steps)
    steps[1] = replace(steps[1], action="approve", arguments={"": "Was the GPU reseated?"})
    put(source, replace(waiting, steps=tuple(steps), why="waits for an answer"))
    source.answers["approve"] = lambda *_: waiting
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runbook(pilot, shown)
        await shown(pilot, "◌ waiting", "waits for an answer")
        await pilot.press("p")
        await shown(pilot, "The run asks: Was the GPU reseated?")
        await pilot.press("y")
        await shown(pilot, "approved r7")
        assert source.wishes == [("approve", 7, "d1ge5t")]


async def test_a_run_that_waits_for_prometheus_asks_for_nothing(
    open_app: OpenApp, source: RecordedSource, shown: Shown, sample: ModuleType
) -> None:
    put(source, sample.run(RunState.WAITING, *(StepState.DONE,) * 3, StepState.WAITING, why="gpu_up is still 0"))
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runbook(pilot, shown)
        await shown(pilot, "gpu_up is still 0")
        await pilot.press("p")
        await shown(pilot, "nothing waits for an approval")


@pytest.mark.parametrize(("key", "decision"), [("d", "done"), ("a", "again"), ("x", "abort")])
async def test_a_stopped_run_is_decided(
    open_app: OpenApp, source: RecordedSource, shown: Shown, sample: ModuleType, key: str, decision: str
) -> None:
    put(source, sample.run(RunState.STOPPED, StepState.DONE, StepState.UNKNOWN, why="cannot tell"))
    source.answers["decide"] = lambda *_: sample.run(RunState.RUNNING)
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runbook(pilot, shown)
        await shown(pilot, "■ stopped", "? unknown")
        await pilot.press("d")
        await shown(pilot, "Step drain (slurm.drain) is unknown")
        await pilot.press(key)
        await shown(pilot, f"r7: drain {decision}")
        assert source.wishes == [("decide", 7, 1, decision)]


async def test_an_abort_is_asked_for_twice(
    open_app: OpenApp, source: RecordedSource, shown: Shown, sample: ModuleType
) -> None:
    source.answers["abort"] = lambda *_: sample.run(RunState.ABORTED)
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runbook(pilot, shown)
        await shown(pilot, "r7 ? proposed")
        await pilot.press("x")
        await shown(pilot, "is not undone")
        assert source.wishes == []
        await pilot.press("y")
        await shown(pilot, "r7 is aborted")
        assert source.wishes == [("abort", 7)]


async def test_without_a_run_one_is_planned_with_the_alerts_values(
    open_app: OpenApp, source: RecordedSource, shown: Shown, sample: ModuleType
) -> None:
    put(source)
    source.answers["propose"] = lambda *_: sample.run()
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runbook(pilot, shown)
        await shown(pilot, "no run yet")
        await pilot.press("p")
        await shown(pilot, "planned r7; p approves it")
        assert source.wishes == [("propose", "gpu-off-bus", {"node": "gpu002", "gpu": "3"}, 12)]


async def test_nothing_is_planned_before_it_is_known_whether_there_is_a_run(
    open_app: OpenApp, source: RecordedSource, shown: Shown
) -> None:
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("i")
        await shown(pilot, "GpuOffBus fires")
        source.trouble["incident"] = OutOfReachError("the daemon went away")
        await pilot.press("enter")
        await shown(pilot, "Meaning", "not renewed")
        await pilot.press("p")
        await shown(pilot, "nothing can be approved: the daemon went away")
        assert source.wishes == []


async def test_a_refusal_is_told_and_the_screen_goes_on(
    open_app: OpenApp, source: RecordedSource, shown: Shown
) -> None:
    source.trouble["approve"] = RefusedError("1 of 1 nodes is held already")
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runbook(pilot, shown)
        await shown(pilot, "r7 ? proposed")
        await pilot.press("p")
        await pilot.press("y")
        await shown(pilot, "1 of 1 nodes is held already")
        await pilot.press("escape")
        await shown(pilot, "GpuOffBus fires")


async def test_output_grows_and_the_cursor_follows_the_run_until_a_person_moves_it(
    open_app: OpenApp, source: RecordedSource, shown: Shown, sample: ModuleType
) -> None:
    running = sample.run(RunState.RUNNING, StepState.RESERVED)
    put(source, replace(running, steps=(replace(running.steps[0], output="NVRM: first"), *running.steps[1:])))
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runbook(pilot, shown)
        await shown(pilot, "NVRM: first", "▶ acting")
        put(source, sample.run(RunState.RUNNING, StepState.DONE, StepState.DONE, StepState.RESERVED))
        await shown(pilot, "requeue: slurm.requeue")
        await pilot.press("up")
        await shown(pilot, "drain: slurm.drain")
        put(source, sample.run(RunState.RUNNING, *(StepState.DONE,) * 3, StepState.WAITING))
        await shown(pilot, "◌ waiting", "drain: slurm.drain")


async def test_a_daemon_that_goes_away_leaves_the_run_on_the_screen(
    open_app: OpenApp, source: RecordedSource, shown: Shown
) -> None:
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runbook(pilot, shown)
        await shown(pilot, "slurm.requeue")
        source.trouble["incident"] = OutOfReachError("the daemon went away")
        await shown(pilot, "not renewed: the daemon went away", "slurm.requeue")


async def test_incidents_are_acknowledged_one_or_those_marked(
    open_app: OpenApp, source: RecordedSource, shown: Shown
) -> None:
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("i")
        await shown(pilot, "GpuOffBus fires")
        await pilot.press("a")
        await shown(pilot, "acknowledged i12")
        await pilot.press("space", "space", "a")
        await shown(pilot, "acknowledged i12, i13")
        assert source.wishes == [("acknowledge", 12), ("acknowledge", 12), ("acknowledge", 13)]


async def test_the_worst_incident_is_under_the_cursor_when_enter_is_pressed(
    open_app: OpenApp, source: RecordedSource, shown: Shown
) -> None:
    worst = source.views.pop(12)
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("i")
        await shown(pilot, "NodeDrainedWithoutI")
        source.views[12] = worst
        await shown(pilot, "GpuOffBus")
        await pilot.press("enter")
        await shown(pilot, "i12 ! critical GpuOffBus")


async def test_only_ones_own_living_jobs_are_cancelled(open_app: OpenApp, source: RecordedSource, shown: Shown) -> None:
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j")
        await shown(pilot, "other")
        await pilot.press("space", "space", "space", "x")
        text = str(await shown(pilot, "Cancel these jobs?", "41  digits"))
        assert "43  other" not in text
        await pilot.press("y")
        await shown(pilot, "cancelled 41, 42")
        assert source.wishes == [("cancel", "41"), ("cancel", "42")]


async def test_an_incident_is_closed_with_a_reason_and_can_be_seen_afterwards(
    open_app: OpenApp, source: RecordedSource, shown: Shown
) -> None:
    def close(number: int, _: str) -> Incident:
        closed = replace(source.views[number].incident, state=IncidentState.CLOSED)
        source.views[number] = replace(source.views[number], incident=closed)
        return closed

    source.answers["close_incident"] = close
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("i")
        await shown(pilot, "GpuOffBus fires")
        await pilot.press("c", "enter")
        await shown(pilot, "Its run ends where it stands")
        assert source.wishes == []
        await pilot.press(*"was a test", "enter")
        await shown(pilot, "closed i12", "Incidents (1)")
        assert source.wishes == [("close_incident", 12, "was a test")]
        await pilot.press("e")
        await shown(pilot, "✓ closed", "i12")
        await pilot.press("e")
        text = str(await shown(pilot, "no incidents that are closed"))
        assert "i12 " not in text


async def test_nodes_are_drained_with_a_reason_and_resumed(
    open_app: OpenApp, source: RecordedSource, shown: Shown
) -> None:
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("n")
        await shown(pilot, "gpu003")
        await pilot.press("d")
        await shown(pilot, "Their jobs go on")
        await pilot.press(*"fans", "escape", "space", "space", "d")
        await shown(pilot, "gpu001 gpu002")
        await pilot.press(*"new fans", "enter")
        await shown(pilot, "gpu001: drained; gpu002: drained")
        assert source.wishes == [("drain", "gpu001", "new fans"), ("drain", "gpu002", "new fans")]
        await pilot.press("escape", "u")
        await shown(pilot, "stays drained")
        await pilot.press("y")
        await shown(pilot, "gpu003: resumed")
        assert source.wishes[2:] == [("resume", "gpu003")]


async def test_read_only_changes_nothing(open_app: OpenApp, source: RecordedSource, shown: Shown) -> None:
    app = open_app(source, read_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("i")
        await shown(pilot, "GpuOffBus fires", "read-only")
        await pilot.press("a")
        await shown(pilot, "this screen is read-only")
        await pilot.press("enter")
        await shown(pilot, "r7 ? proposed")
        await pilot.press("p", "y")
        await shown(pilot, "this screen is read-only")
        assert source.wishes == []


async def test_quitting_closes_the_source(open_app: OpenApp, source: RecordedSource, shown: Shown) -> None:
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(pilot, "gpu004")
        await pilot.press("q")
    until = time.monotonic() + 10
    while not source.closed and time.monotonic() < until:
        await asyncio.sleep(0.02)
    assert source.closed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_an_error_that_nobody_foresaw_ends_the_screen(
    open_app: OpenApp, source: RecordedSource, shown: Shown
) -> None:
    source.answers["acknowledge"] = lambda *_: 1 / 0
    app = open_app(source)
    with pytest.raises(ZeroDivisionError):
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("i")
            await shown(pilot, "GpuOffBus fires")
            await pilot.press("a")
            await asyncio.sleep(2)
