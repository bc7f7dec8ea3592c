"""An end to waiting for a server that keeps a connection open and says nothing, as one that hangs on its disk does."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg


@dataclass(slots=True)
class Limit:
    """How long one use of a connection may take."""

    connection: psycopg.Connection[Any]
    until: float
    seconds: float
    is_over: bool = False


class Patience:
    """Cuts connections whose use takes too long; whoever waits on one then gets psycopg's OperationalError.

    PostgreSQL's own statement_timeout ends what is slow and says so; this ends what no longer answers at all.
    """

    def __init__(self) -> None:
        """Watch nothing yet; the thread that watches begins with the first use."""
        self._limits: dict[int, Limit] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_idle = False

    @contextlib.contextmanager
    def limit(self, connection: psycopg.Connection[Any], seconds: float) -> Iterator[Limit]:
        """Cut the connection where the body takes longer."""
        limit = Limit(connection, time.monotonic() + seconds, seconds)
        with self._changed:
            self._limits[id(limit)] = limit
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="store-patience", daemon=True)
                self._thread.start()
            if self._is_idle:
                self._changed.notify()
        try:
            yield limit
        finally:
            with self._changed:
                del self._limits[id(limit)]

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                waiting = [limit for limit in self._limits.values() if not limit.is_over]
                for limit in waiting:
                    if limit.until <= now:
                        limit.is_over = True
                        _cut(limit.connection)
                self._is_idle = not waiting
                # One that comes meanwhile is looked at a second late at most; most uses are over long before.
                self._changed.wait(min([1.0, *(limit.until - now for limit in waiting)]) if waiting else None)


def _cut(connection: psycopg.Connection[Any]) -> None:
    """End both directions of a connection's socket, which wakes whoever waits on it."""
    with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as other:
        other.shutdown(socket.SHUT_RDWR)
