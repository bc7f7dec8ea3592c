"""Serving the GPUs' metrics over HTTP until told to stop."""

import ctypes
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from fleetward.exporters.events.service import Faults
from fleetward.exporters.gpu.job_map import JOB_MAP, JobMap
from fleetward.exporters.gpu.nvml import Nvml
from fleetward.exporters.gpu.owners import owners as look_up_owners
from fleetward.exporters.gpu.page import OPENMETRICS, TEXT, Page
from fleetward.exporters.gpu.readings import Snapshot
from fleetward.exporters.gpu.release import RELEASE_FILE, ReleaseFile
from fleetward.exporters.gpu.source import OpenSource
from fleetward.exporters.gpu.watch import Watch
from fleetward.exporters.listening import stop_on_signals
from fleetward.exporters.web import Page as WebPage
from fleetward.exporters.web import WebServer, open_gate, serving
from fleetward.model.errors import FleetwardError, OutOfReachError
from fleetward.model.gpu_fault_files import read_catalogue
from fleetward.model.gpu_faults import FaultCatalogue
from fleetward.model.node_settings import KERNEL_LOG, NodeSettings

_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3
"""mallopt's names for how many pools of memory threads may open, each of which keeps what it once had, and for the size
from which a block is given back at once; left alone, that grows to the size of a page, and the pool with it."""
_GIVEN_BACK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Options:
    """How the exporter is to be run."""

    listen: str
    """`ADDRESS:PORT`."""
    interval_seconds: float = 1.0
    settings: NodeSettings = field(default_factory=NodeSettings)
    kernel_log: Path = KERNEL_LOG
    state: Path | None = None
    """Folder for what must survive a restart: counts, the place in the kernel's log, events that wait."""
    job_map: Path = JOB_MAP
    release_file: Path = RELEASE_FILE
    web_config: Path | None = None
    """Who may see the page; None: everybody."""
    dcgm_address: str | None = None
    """Where DCGM's host engine tells of the GPUs; None: NVML does."""
    dcgm_names: bool = False
    """Whether dcgm-exporter's page is served behind ours, in its format."""


def serve(options: Options, announce: Callable[[str], None]) -> None:
    """Serve `/metrics` until SIGTERM or SIGINT.

    Raises UsageError where one of the files is wrong, OutOfReachError where neither driver nor host engine is there,
    FleetwardError where the address cannot be had. Call it from the main thread, before any other is started: it
    forks, and takes over both signals.
    """
    catalogue = read_catalogue(options.settings.fault_catalogues)
    gate = open_gate(options.web_config, announce)
    open_source = _source(options.dcgm_address, options.interval_seconds)
    for option, value in ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, _GIVEN_BACK_BYTES)):
        ctypes.CDLL(None).mallopt(option, value)
    stopped, broken = stop_on_signals(), threading.Event()

    def give_up() -> None:
        broken.set()
        stopped.set()

    release_file = ReleaseFile(options.release_file, announce)
    with ExitStack() as ended:
        watch = Watch(options.interval_seconds, give_up, release_file, open_source=open_source)
        ended.callback(watch.stop)
        faults = Faults(options.settings, catalogue, options.kernel_log, options.state, announce)
        ended.callback(faults.stop)
        census = watch.start()
        if census.failure:
            raise OutOfReachError(census.failure)
        faults.start(watch.xids, watch.devices, give_up)
        job_map = JobMap(options.job_map, options.settings.slurm_gpu_numbers)
        page = _page(watch, faults, job_map, catalogue, dcgm_names=options.dcgm_names)
        with serving(WebServer(options.listen, "The GPUs'", page, gate)) as url:
            announce(f"serving GPU metrics on {url} every {options.interval_seconds:g} s")
            stopped.wait()
    if broken.is_set():
        raise FleetwardError("the process that looks at the GPUs was killed; started again, all is looked at anew")


def _source(dcgm_address: str | None, interval_seconds: float) -> OpenSource:
    """Return what tells of the GPUs."""
    if dcgm_address is None:
        return Nvml
    from fleetward.exporters.gpu.dcgm import dcgm_source

    return dcgm_source(dcgm_address, interval_seconds)


def _page(watch: Watch, faults: Faults, job_map: JobMap, catalogue: FaultCatalogue, *, dcgm_names: bool) -> WebPage:
    """Return what makes the page of now, in OpenMetrics for one who takes it."""
    page = Page(catalogue.fatal_xids())
    dcgm_page = _dcgm_renderer(catalogue) if dcgm_names else None

    def made(accept: str) -> tuple[str, bytes]:
        # in OpenMetrics the counters of dcgm-exporter would need other names
        openmetrics = "application/openmetrics-text" in accept and not dcgm_names
        snapshot = watch.snapshot()
        jobs, errors = job_map.look(snapshot.gpus)
        pids = (process.pid for one in snapshot.gpus for process in one.processes)
        owners = look_up_owners(pids) if job_map.whole else None
        snapshot = replace(snapshot, faults=faults.tally(), jobs=jobs, job_map_errors=errors, owners=owners)
        text = page.render(snapshot, time.monotonic(), watch.cost(), openmetrics=openmetrics)
        if dcgm_page:
            text += dcgm_page(snapshot)
        return OPENMETRICS if openmetrics else TEXT, text.encode()

    return made


def _dcgm_renderer(catalogue: FaultCatalogue) -> Callable[[Snapshot], str]:
    from fleetward.exporters.gpu.dcgm_page import render  # memory that only those pay who ask for it

    hostname = socket.gethostname()
    return lambda snapshot: render(snapshot, hostname, lambda xid: catalogue.xid(xid).meaning)
