"""Serving the GPUs' metrics over HTTP until told to stop."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from fleetward.exporters.gpu.metrics import render
from fleetward.exporters.gpu.reader import GpuReader
from fleetward.exporters.gpu.sampler import Sampler
from fleetward.model.errors import FleetwardError, UsageError


class SnapshotCollector(Collector):
    """Renders the sampler's newest snapshot for each scrape."""

    def __init__(self, sampler: Sampler) -> None:
        """Render what this sampler keeps."""
        self._sampler = sampler

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the snapshot, with its age now."""
        return render(self._sampler.snapshot(), time.monotonic())


def parse_listen(text: str) -> tuple[str, int]:
    """Split `ADDRESS:PORT`, where an IPv6 address is in brackets; raises UsageError for anything else."""
    address, separator, port = text.rpartition(":")
    bare = address.removeprefix("[").removesuffix("]")
    if not separator or not bare or (":" in address) != address.startswith("["):
        raise UsageError(
            f"{text!r} is no address to listen on: write ADDRESS:PORT, such as 127.0.0.1:9400 or [::1]:9400"
        )
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise UsageError(f"{text!r}: the port is not a number from 0 to 65535")
    return bare, int(port)


def serve(reader: GpuReader, listen: str, interval_seconds: float, announce: Callable[[str], None]) -> None:
    """Serve `/metrics` until SIGTERM or SIGINT; raises FleetwardError where the address cannot be had.

    Call it from the main thread: it takes over both signals.
    """
    address, port = parse_listen(listen)
    stopped = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    sampler = Sampler(reader, interval_seconds)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(sampler))
    try:
        server, thread = start_http_server(port, addr=address, registry=registry)
    except OSError as error:
        raise FleetwardError(
            f"cannot listen on {listen}: {error.strerror or error}. Is another exporter running there? "
            "Choose another address with --listen."
        ) from error
    sampler.start()
    announce(f"serving GPU metrics on http://{address}:{server.server_port}/metrics every {interval_seconds:g} s")
    stopped.wait()
    server.shutdown()
    server.server_close()
    thread.join()
    sampler.stop()
