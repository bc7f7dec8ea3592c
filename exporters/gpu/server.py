"""Serving the GPUs' metrics over HTTP until told to stop."""

import ctypes
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from fleetward.exporters.gpu.dcgm_page import render as render_dcgm
from fleetward.exporters.gpu.job_map import JOB_MAP, JobMap
from fleetward.exporters.gpu.kernel_log import KERNEL_LOG, KernelLog
from fleetward.exporters.gpu.page import OPENMETRICS, TEXT, Page
from fleetward.exporters.gpu.watch import Watch
from fleetward.exporters.listening import parse_listen, stop_on_signals
from fleetward.model.errors import FleetwardError, OutOfReachError
from fleetward.model.gpu_fault_files import read_catalogue

WAITING_CONNECTIONS = 256
_M_ARENA_MAX = -8
"""mallopt's name for how many pools of memory threads may open; each keeps what it once had."""


class _Server(ThreadingHTTPServer):
    """Answers each connection in a thread of its own; a scrape takes about a millisecond."""

    daemon_threads = True
    request_queue_size = WAITING_CONNECTIONS
    render: Callable[[bool], str]
    has_openmetrics = True


class _Handler(BaseHTTPRequestHandler):
    """Serves `/metrics`."""

    protocol_version = "HTTP/1.1"
    server_version = "fleetward"
    timeout = 120.0
    wbufsize: ClassVar[int] = 65536
    server: _Server

    def do_GET(self) -> None:
        """Answer one request."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            wanted = "application/openmetrics-text" in self.headers.get("Accept", "")
            openmetrics = wanted and self.server.has_openmetrics
            body = self.server.render(openmetrics).encode()
            self._answer(HTTPStatus.OK, OPENMETRICS if openmetrics else TEXT, body)
        elif path == "/":
            self._answer(HTTPStatus.OK, "text/plain; charset=utf-8", b"The GPUs' metrics are at /metrics\n")
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"There is only /metrics here\n")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a scrape every few seconds is no news."""

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(
    listen: str,
    interval_seconds: float,
    announce: Callable[[str], None],
    kernel_log: Path = KERNEL_LOG,
    job_map: Path = JOB_MAP,
    *,
    dcgm_names: bool = False,
) -> None:
    """Serve `/metrics` until SIGTERM or SIGINT; with dcgm-exporter's page behind ours, in its format, where asked.

    Raises OutOfReachError where NVML or its driver is not there, FleetwardError where the address cannot be had. Call
    it from the main thread, before any other is started: it forks, and takes over both signals.
    """
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    log = KernelLog(kernel_log)
    stopped, broken = stop_on_signals(), threading.Event()

    def give_up() -> None:
        broken.set()
        stopped.set()

    watch = Watch(interval_seconds, give_up, log)
    if not log.readable:
        announce(f"{kernel_log} cannot be read (is CAP_SYSLOG missing?): XIDs come from NVML alone, it is tried again")
    try:
        census = watch.start()
        if census.failure:
            raise OutOfReachError(census.failure)
        server = _listening(listen)
        server.render = _renderer(watch, JobMap(job_map), dcgm_names=dcgm_names)
        server.has_openmetrics = not dcgm_names  # there their counters would need other names
        url = f"http://{listen.rpartition(':')[0]}:{server.server_port}/metrics"
        announce(f"serving GPU metrics on {url} every {interval_seconds:g} s")
        thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
        thread.start()
        stopped.wait()
        server.shutdown()
        server.server_close()
    finally:
        watch.stop()
    if broken.is_set():
        raise FleetwardError("the process that looks at the GPUs was killed; started again, all is looked at anew")


def _renderer(watch: Watch, job_map: JobMap, *, dcgm_names: bool) -> Callable[[bool], str]:
    """Return what makes the page of now, in OpenMetrics or not."""
    catalogue, hostname = read_catalogue(), socket.gethostname()
    page = Page(catalogue.fatal_xids())

    def render(openmetrics: bool) -> str:
        snapshot = watch.snapshot()
        jobs, errors = job_map.look({one.identity.index for one in snapshot.gpus})
        snapshot = replace(snapshot, jobs=jobs, job_map_errors=errors)
        text = page.render(snapshot, time.monotonic(), watch.cost(), openmetrics=openmetrics)
        return text + render_dcgm(snapshot, hostname, lambda xid: catalogue.xid(xid).meaning) if dcgm_names else text

    return render


def _listening(listen: str) -> _Server:
    address, port = parse_listen(listen)
    try:
        return _Server((address, port), _Handler)
    except OSError as error:
        raise FleetwardError(
            f"cannot listen on {listen}: {error.strerror or error}. Is another exporter running there? "
            "Choose another address with --listen."
        ) from error
