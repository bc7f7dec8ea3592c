"""Serving Slurm's metrics over HTTP until told to stop."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from fleetward.exporters.listening import stop_on_signals
from fleetward.exporters.serving import serve_until
from fleetward.exporters.slurm.metrics import render
from fleetward.exporters.slurm.sampler import Sampler
from fleetward.exporters.web import open_gate
from fleetward.slurm.client import SlurmClient


class PictureCollector(Collector):
    """Renders the sampler's newest picture for each scrape."""

    def __init__(self, sampler: Sampler) -> None:
        """Render what this sampler keeps."""
        self._sampler = sampler

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the picture, with its age now."""
        return render(self._sampler.picture(), time.monotonic(), datetime.now(UTC))


def serve(
    client: SlurmClient,
    listen: str,
    interval_seconds: float,
    announce: Callable[[str], None],
    web_config: Path | None = None,
) -> None:
    """Serve `/metrics` until SIGTERM or SIGINT, to whom the file lets see it, where there is one.

    Raises UsageError where the file is wrong, FleetwardError where the address cannot be had. Call it from the main
    thread: it takes over both signals.
    """
    gate = open_gate(web_config, announce)
    stopped = stop_on_signals()
    sampler = Sampler(client, interval_seconds, announce)

    def ready(url: str) -> None:
        sampler.start()
        announce(f"serving Slurm metrics on {url} every {interval_seconds:g} s")

    serve_until(stopped, PictureCollector(sampler), listen, "Slurm's", ready, gate)
    sampler.stop()
