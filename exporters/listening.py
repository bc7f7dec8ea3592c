"""Where a program listens, and how it is told to stop."""

import signal
import threading
from types import FrameType

from fleetward.model.errors import UsageError


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
    """Return an event that SIGTERM and SIGINT set from now on; call it from the main thread.

    A client that goes away in the middle of an answer no longer ends the program, as SIGPIPE would.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    stopped = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopped
