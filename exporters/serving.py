"""What the exporters do that prometheus_client renders: serve what a collector yields until told to stop."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from fleetward.exporters.web import WebServer, serving

if TYPE_CHECKING:
    from fleetward.exporters.web_gate import Gate


def serve_until(
    stopped: threading.Event,
    collector: Collector,
    listen: str,
    whose: str,
    ready: Callable[[str], None],
    gate: "Gate | None" = None,
) -> None:
    """Serve `/metrics` until the event is set; raises FleetwardError where the address cannot be had.

    What the process itself costs is served too (`process_*`). `ready` gets the URL once it answers, `whose` is as in
    WebServer.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    ProcessCollector(registry=registry)

    def page(accept: str) -> tuple[str, bytes]:
        encode, kind = choose_encoder(accept)
        return kind, encode(registry)

    with serving(WebServer(listen, whose, page, gate, packs=True)) as url:
        ready(url)
        stopped.wait()
