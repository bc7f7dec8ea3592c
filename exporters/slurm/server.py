"""Serving Slurm's metrics over HTTP until told to stop."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from fleetward.exporters.listening import stop_on_signals
from fleetward.exporters.serving import serve_until
from fleetward.exporters.slurm.metrics import Families, render, told
from fleetward.exporters.slurm.picture import Picture
from fleetward.exporters.slurm.sampler import Sampler
from fleetward.exporters.web import open_gate
from fleetward.slurm.client import SlurmClient


class PictureCollector(Collector):
    """Gives each scrape the newest picture, most of which was made into metrics when it was taken."""

    def __init__(self) -> None:
        """Begin without a picture of Slurm."""
        self._held: tuple[Picture, Mapping[str, Families]] = (Picture(), {})

    def take(self, picture: Picture) -> None:
        """Take a new picture."""
        self._held = picture, told(picture, datetime.now(UTC))

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the picture, with its age now."""
        return render(*self._held, time.monotonic())


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
    collector = PictureCollector()
    sampler = Sampler(client, interval_seconds, announce, taken=collector.take)
    collector.take(sampler.picture())

    def ready(url: str) -> None:
        sampler.start()
        announce(f"serving Slurm metrics on {url} every {interval_seconds:g} s")

    serve_until(stopped, collector, listen, "Slurm's", ready, gate)
    sampler.stop()
