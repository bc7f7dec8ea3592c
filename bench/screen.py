"""How soon the screen is there, and how quickly its table shows a large queue."""

import asyncio
import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import sys
import termios
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import Figure
from fleetward.model.fleet_view import FleetView, GpuView, JobView, NodeView
from fleetward.tui.app import FleetApp
from fleetward.tui.background import Arrived
from fleetward.tui.picture import Picture
from fleetward.tui.recorded_source import RecordedSource
from fleetward.tui.widgets.heatmap import HeatMap

ROWS = 50_000
TIMES = 9
SECONDS = 20.0
"""After which a screen that has not come is given up."""
RECORDING = Path(__file__).parent.parent / "tests" / "slurm" / "recordings" / "slurm-26.05"


def measure() -> list[Figure]:
    """Measure all of it."""
    return [*tui_ready(), *tui_table_50k(), *tui_heatmap_300()]


def tui_table_50k() -> list[Figure]:
    """Give the jobs' screen (200x50) 50,000 jobs and wait until they are painted; then others, as a refresh does."""
    first, again = zip(*(asyncio.run(_paint()) for _ in range(TIMES)), strict=True)
    return [
        Figure(f"table of {ROWS} jobs, first paint", statistics.median(first) * 1000, 150, "ms"),
        Figure(f"table of {ROWS} jobs, next paint", statistics.median(again) * 1000, 150, "ms"),
    ]


def tui_ready() -> list[Figure]:
    """Start `fleetward tui` on a terminal (80x24) and wait for its keys, and for what Slurm says."""
    keys, nodes = zip(*(_start() for _ in range(TIMES)), strict=True)
    return [
        Figure("fleetward tui, from start to keys on the screen", statistics.median(keys) * 1000, 500, "ms"),
        Figure("fleetward tui, from start to nodes on the screen", statistics.median(nodes) * 1000, 1500, "ms"),
    ]


def tui_heatmap_300() -> list[Figure]:
    """Give the fleet's heat map (200x50) other loads of 300 nodes with 8 GPUs each, and wait until it is painted."""
    spent = asyncio.run(_repaint())
    return [Figure("heat map of 300 nodes with 8 GPUs, repaint, CPU", statistics.median(spent) * 1000, 20, "ms")]


async def _repaint() -> list[float]:
    app = FleetApp(lambda: RecordedSource(_queue(0)), user="user7", folder=Path.cwd(), every=3600)
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.pause()
        heat_map, spent = app.screen.query_one(HeatMap), []
        for turn in range(TIMES):
            nodes, painted = _nodes(turn), asyncio.Event()
            began = time.process_time()  # of the wall's clock Textual takes up to a 60th of a second to gather changes
            heat_map.show(nodes)
            app.call_after_refresh(painted.set)
            await painted.wait()
            spent.append(time.process_time() - began)
            if not _shows(app, nodes[0].name):
                raise RuntimeError("the heat map was not painted")
    return spent


def _nodes(turn: int) -> tuple[NodeView, ...]:
    gpus = tuple(GpuView(index, True, (turn + index) % 8 / 7) for index in range(8))
    return tuple(NodeView(f"t{turn}n{number:03}", "mixed", ("gpu",), 64, 8, 1, 1, gpus, ()) for number in range(300))


async def _paint() -> tuple[float, float]:
    empty, now = _queue(0), time.monotonic
    app = FleetApp(lambda: RecordedSource(empty), user="user7", folder=Path.cwd(), every=3600)
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.press("j")
        await pilot.pause()
        spent = []
        for turn in range(2):
            queue, painted = _queue(turn + 1), asyncio.Event()
            began = now()
            app.post_message(Arrived(Picture(fleet=queue, fleet_at=began)))
            while not _shows(app, queue.jobs[0].name):
                painted.clear()
                app.call_after_refresh(painted.set)
                await painted.wait()
            spent.append(now() - began)
    return spent[0], spent[1]


def _shows(app: FleetApp, text: str) -> bool:
    lines = app.screen._compositor.render_strips(app.size)
    return any(text in segment.text for strip in lines for segment in strip)


def _queue(turn: int) -> FleetView:
    now = datetime.now(UTC)
    jobs = (
        JobView(
            id=str(1000 + number),
            name=f"train-{turn}-{number}",
            user=f"user{number % 50}",
            account="research",
            partition="gpu",
            qos="normal",
            state="RUNNING" if number % 3 else "PENDING",
            reason="" if number % 3 else "Resources",
            nodes=(f"gpu{number % 2000:04}",) if number % 3 else (),
            node_count=1,
            gpus=8,
            elapsed=number % 9000,
            time_limit=36000,
            restarts=0,
            submitted_at=now,
        )
        for number in range(ROWS if turn else 0)
    )
    return FleetView("bench", now, (), tuple(jobs), {"slurm": 0.0})


def _start() -> tuple[float, float]:
    """Return the seconds until the keys and until the first node stand on a terminal of its own."""
    argv = [
        str(Path(sys.executable).with_name("fleetward")),
        "tui",
        "--backend",
        "recorded",
        "--socket",
        "/nonexistent",
    ]
    began = time.monotonic()
    child, terminal = pty.fork()
    if child == 0:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEETWARD_")}
        os.execve(argv[0], argv, kept | {"TERM": "xterm-256color", "FLEETWARD_SLURM_RECORDING": str(RECORDING)})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    try:
        return _seen(terminal, began, b"quit"), _seen(terminal, began, b"gpu003")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


def _seen(terminal: int, began: float, text: bytes) -> float:
    output = b""
    while text not in output:
        left = SECONDS - (time.monotonic() - began)
        if left <= 0 or not select.select([terminal], [], [], left)[0]:
            raise RuntimeError(f"the screen did not show {text!r} within {SECONDS:.0f} s; it wrote {output[-500:]!r}")
        output += os.read(terminal, 65536)
    return time.monotonic() - began
