"""What every exporter does: serve what a collector yields over HTTP until told to stop."""

import signal
import threading
from collections.abc import Callable
from types import FrameType

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.registry import Collector

from fleetward.model.errors import FleetwardError, UsageError


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


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set from now on; call it from the main thread."""
    stopped = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopped


def serve_until(stopped: threading.Event, collector: Collector, listen: str, ready: Callable[[str], None]) -> None:
    """Serve `/metrics` until the event is set; raises FleetwardError where the address cannot be had.

    What the process itself costs is served too (`process_*`). `ready` gets the URL once it answers.
    """
    address, port = parse_listen(listen)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(port, addr=address, registry=registry)
    except OSError as error:
        raise FleetwardError(
            f"cannot listen on {listen}: {error.strerror or error}. Is another exporter running there? "
            "Choose another address with --listen."
        ) from error
    ready(f"http://{address}:{server.server_port}/metrics")
    stopped.wait()
    server.shutdown()
    server.server_close()
    thread.join()
