"""What the exporters do that prometheus_client renders: serve what a collector yields until told to stop."""

import threading
from collections.abc import Callable

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.registry import Collector

from fleetward.exporters.listening import parse_listen
from fleetward.model.errors import FleetwardError


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
