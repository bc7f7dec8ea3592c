"""Serving the GPUs' metrics over HTTP until told to stop."""

import ctypes
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fleetward.exporters.gpu.dcgm_page import render as render_dcgm
from fleetward.exporters.gpu.job_map import JOB_MAP, JobMap
from fleetward.exporters.gpu.kernel_log import KERNEL_LOG, KernelLog
from fleetward.exporters.gpu.owners import owners as look_up_owners
from fleetward.exporters.gpu.page import OPENMETRICS, TEXT, Page
from fleetward.exporters.gpu.release import RELEASE_FILE, ReleaseFile
from fleetward.exporters.gpu.watch import Watch
from fleetward.exporters.listening import stop_on_signals
from fleetward.exporters.web import Page as WebPage
from fleetward.exporters.web import WebServer, open_gate, serving
from fleetward.model.errors import FleetwardError, OutOfReachError
from fleetward.model.gpu_fault_files import read_catalogue
from fleetward.model.node_settings import GpuNumbers

_M_ARENA_MAX = -8
"""mallopt's name for how many pools of memory threads may open; each keeps what it once had."""


def serve(
    listen: str,
    interval_seconds: float,
    announce: Callable[[str], None],
    kernel_log: Path = KERNEL_LOG,
    job_map: Path = JOB_MAP,
    release_file: Path = RELEASE_FILE,
    *,
    dcgm_names: bool = False,
    web_config: Path | None = None,
    slurm_gpu_numbers: GpuNumbers = GpuNumbers.MINOR,
) -> None:
    """Serve `/metrics` until SIGTERM or SIGINT; with dcgm-exporter's page behind ours, in its format, where asked.

    `web_config` says who may see it. Raises UsageError where that file is wrong, OutOfReachError where NVML or its
    driver is not there, FleetwardError where the address cannot be had. Call it from the main thread, before any
    other is started: it forks, and takes over both signals.
    """
    gate = open_gate(web_config, announce)
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    log = KernelLog(kernel_log)
    stopped, broken = stop_on_signals(), threading.Event()

    def give_up() -> None:
        broken.set()
        stopped.set()

    watch = Watch(interval_seconds, give_up, log, ReleaseFile(release_file, announce))
    if not log.readable:
        announce(f"{kernel_log} cannot be read (is CAP_SYSLOG missing?): XIDs come from NVML alone, it is tried again")
    try:
        census = watch.start()
        if census.failure:
            raise OutOfReachError(census.failure)
        page = _page(watch, JobMap(job_map, slurm_gpu_numbers), dcgm_names=dcgm_names)
        with serving(WebServer(listen, "The GPUs'", page, gate)) as url:
            announce(f"serving GPU metrics on {url} every {interval_seconds:g} s")
            stopped.wait()
    finally:
        watch.stop()
    if broken.is_set():
        raise FleetwardError("the process that looks at the GPUs was killed; started again, all is looked at anew")


def _page(watch: Watch, job_map: JobMap, *, dcgm_names: bool) -> WebPage:
    """Return what makes the page of now, in OpenMetrics for one who takes it."""
    catalogue, hostname = read_catalogue(), socket.gethostname()
    page = Page(catalogue.fatal_xids())

    def made(accept: str) -> tuple[str, bytes]:
        # in OpenMetrics the counters of dcgm-exporter would need other names
        openmetrics = "application/openmetrics-text" in accept and not dcgm_names
        snapshot = watch.snapshot()
        jobs, errors = job_map.look(snapshot.gpus)
        pids = (process.pid for one in snapshot.gpus for process in one.processes)
        owners = look_up_owners(pids) if job_map.whole else None
        snapshot = replace(snapshot, jobs=jobs, job_map_errors=errors, owners=owners)
        text = page.render(snapshot, time.monotonic(), watch.cost(), openmetrics=openmetrics)
        if dcgm_names:
            text += render_dcgm(snapshot, hostname, lambda xid: catalogue.xid(xid).meaning)
        return OPENMETRICS if openmetrics else TEXT, text.encode()

    return made
