"""Serving the GPUs' metrics over HTTP until told to stop."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from fleetward.exporters.gpu.kernel_log import KERNEL_LOG, KernelLog
from fleetward.exporters.gpu.metrics import render
from fleetward.exporters.gpu.reader import GpuReader
from fleetward.exporters.gpu.sampler import Sampler
from fleetward.exporters.serving import serve_until, stop_on_signals


class SnapshotCollector(Collector):
    """Renders the sampler's newest snapshot for each scrape."""

    def __init__(self, sampler: Sampler) -> None:
        """Render what this sampler keeps."""
        self._sampler = sampler

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the snapshot, with its age now."""
        return render(self._sampler.snapshot(), time.monotonic())


def serve(
    reader: GpuReader,
    listen: str,
    interval_seconds: float,
    announce: Callable[[str], None],
    kernel_log: Path = KERNEL_LOG,
) -> None:
    """Serve `/metrics` until SIGTERM or SIGINT; raises FleetwardError where the address cannot be had.

    Call it from the main thread: it takes over both signals.
    """
    stopped = stop_on_signals()
    log = KernelLog(kernel_log)
    if not log.readable:
        announce(f"{kernel_log} cannot be read (is CAP_SYSLOG missing?): XIDs come from NVML alone, it is tried again")
    sampler = Sampler(reader, interval_seconds, kernel_log=log)

    def ready(url: str) -> None:
        sampler.start()
        announce(f"serving GPU metrics on {url} every {interval_seconds:g} s")

    serve_until(stopped, SnapshotCollector(sampler), listen, ready)
    sampler.stop()
