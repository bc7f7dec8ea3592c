"""From an XID to what is made of it: until the GPU exporter counts it, and until it leaves the node as an event."""

import json
import queue
import re
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench.exporter import GPUS, Exporter, played_nvml, running
from bench.figures import Figure
from fleetward.lab.scenario import Scenario, kernel_lines, xid_event

FAULTS = 200
PORT = 19402
COUNTED_MS, PUSHED_MS = 100.0, 250.0
PAUSE_SECONDS = 0.037
"""Between two faults: no multiple of how often anything is looked at."""


class _Daemon(ThreadingHTTPServer):
    """Takes events, and tells when each came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.came: queue.SimpleQueue[float] = queue.SimpleQueue()


class _Handler(BaseHTTPRequestHandler):
    server: _Daemon

    def do_POST(self) -> None:
        """Take all events of a post."""
        events = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["events"]
        came = time.perf_counter()
        for _ in events:
            self.server.came.put(came)
        answer = json.dumps({"taken": [event["key"] for event in events], "refused": {}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


def measure() -> list[Figure]:
    """Have XIDs happen one after the other, each in the kernel's log and then by NVML, as a driver does."""
    daemon = _Daemon()
    threading.Thread(target=daemon.serve_forever, args=(0.05,), daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="fleetward-bench-") as name:
        folder = Path(name)
        environment = played_nvml(folder)
        (folder / "kmsg").touch()
        (folder / "token").write_text("bench")
        url = f"http://127.0.0.1:{daemon.server_port}"
        (folder / "node.toml").write_text(f'[daemon]\nurl = "{url}"\ntoken_file = "{folder / "token"}"\n')
        options = ["--kernel-log", folder / "kmsg", "--state", folder / "state", "--settings", folder / "node.toml"]
        command = [Path(sys.executable).with_name("fleetward"), "exporter", "gpu", *options]
        with running([*map(str, command), "--listen", f"127.0.0.1:{PORT}"], PORT, environment) as exporter:
            time.sleep(2)
            took = [_fault(exporter, daemon, folder, number) for number in range(FAULTS)]
    daemon.shutdown()
    counted, pushed = (sorted(1000 * one for one in times)[FAULTS * 99 // 100 - 1] for times in zip(*took, strict=True))
    return [
        Figure(f"XID until it is counted, p99 of {FAULTS}", counted, COUNTED_MS, "ms"),
        Figure(f"XID until it leaves the node as an event, p99 of {FAULTS}", pushed, PUSHED_MS, "ms"),
    ]


def _fault(exporter: Exporter, daemon: _Daemon, folder: Path, number: int) -> tuple[float, float]:
    """Return the seconds until the page shows one more XID, and until the daemon has its event."""
    time.sleep(PAUSE_SECONDS)
    before = _xids(exporter)
    gpu, code = number % GPUS, 48
    lines = kernel_lines(Scenario(), gpu, code, time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)
    began = time.perf_counter()
    for file, text in (("kmsg", lines), ("events", xid_event(gpu, code))):
        with (folder / file).open("a") as opened:
            opened.write(text)
    while _xids(exporter) == before:
        time.sleep(0.002)
    counted = time.perf_counter() - began
    return counted, daemon.came.get(timeout=10) - began


def _xids(exporter: Exporter) -> float:
    page = exporter.scrape()[1]
    return sum(float(count) for count in re.findall(r"^gpu_xid_total\{.*\} (\S+)$", page, re.MULTILINE))
