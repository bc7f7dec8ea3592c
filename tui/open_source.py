"""Which source a screen gets; imported in a thread once the screen stands, for it brings httpx and pydantic."""

from pathlib import Path

from fleetward.model.settings import read_settings
from fleetward.server.client import DaemonClient
from fleetward.tui.daemon_source import DaemonSource
from fleetward.tui.direct_source import DirectSource

SECONDS = 5.0
"""How long the daemon may take for one answer before the screen says that it is out of reach."""


def open_source(socket: Path | None, backend: str) -> DaemonSource:
    """Return the daemon behind a socket, by default the one of the settings; nothing is connected yet."""
    overrides = {"daemon.socket": str(socket)} if socket is not None else {}
    path = Path(read_settings(overrides).daemon.socket)
    return DaemonSource(DaemonClient(path, SECONDS), DirectSource(backend))
