"""A node that pushes events, and what may answer it."""

import json
import ssl
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from played_exporter import wait_until
from played_receiver import Daemon, says, serving

from fleetward.exporters.events.push import Push
from fleetward.model.node_settings import DaemonAddress

TOKEN = "ab" * 32
Answers = Callable[[BaseHTTPRequestHandler], None]


class Kept:
    """An outbox in memory, in the order in which events were put in."""

    def __init__(self, *keys: str) -> None:
        self.changed = threading.Condition()
        self.waiting = {key: json.dumps({"key": key, "line": "é"}, ensure_ascii=False).encode() for key in keys}
        self.taken: list[str] = []
        self.refused: dict[str, str] = {}
        self.asked_for: list[int] = []

    def put(self, key: str, event: bytes) -> None:
        with self.changed:
            self.waiting[key] = event
            self.changed.notify_all()

    def wait(self, seconds: float) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: bool(self.waiting), min(seconds, 0.02))

    def batch(self, most: int) -> Mapping[str, bytes]:
        with self.changed:
            self.asked_for.append(most)
            return dict(list(self.waiting.items())[:most])

    def done(self, taken: Collection[str], refused: Mapping[str, str]) -> None:
        with self.changed:
            self.taken += taken
            self.refused.update(refused)
            for key in {*taken, *refused}:
                del self.waiting[key]


class Rests(threading.Event):
    """Says stop; notes the rests that were taken, and makes them short."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.taken.append(timeout or 0)
        return super().wait(0.001)


@dataclass
class Node:
    """One node's push, and what it told."""

    token: Path
    outbox: Kept
    told: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=Rests)
    now: float = 0.0
    push: Push = field(init=False)

    @contextmanager
    def pushing(self, url: str, ca_file: Path | None = None, node: str = "gpu001") -> Iterator[None]:
        address = DaemonAddress(url, self.token, ca_file)
        self.push = Push(address, node, self.outbox, self.told.append, lambda: self.now, lambda: 1.0)
        thread = threading.Thread(target=self.push.run, args=(self.stop,), daemon=True)
        thread.start()
        try:
            yield
            assert thread.is_alive(), "nothing ends it"
        finally:
            self.stop.set()
            thread.join(10)
        assert not thread.is_alive()

    def change_token(self, token: str) -> None:
        new = self.token.with_suffix(".new")
        new.write_text(token)
        new.replace(self.token)

    def has_failed(self, times: int = 1) -> None:
        wait_until(lambda: self.push.failures >= times)

    def is_empty(self) -> None:
        wait_until(lambda: not self.outbox.waiting)


Judge = Callable[[list[dict[str, Any]]], tuple[int, object]]


@contextmanager
def daemon_that(judge: Judge, context: ssl.SSLContext | None = None) -> Iterator[Daemon]:
    """Serve what answers each post by the events in it."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        status, said = judge(daemon.posts[-1][2]["events"])
        says(status, json.dumps(said).encode())(handler)

    with serving(answer, context) as daemon:
        yield daemon


def takes(events: list[dict[str, Any]]) -> tuple[int, object]:
    return 200, {"taken": [event["key"] for event in events], "refused": {}}


def raw(data: bytes) -> Answers:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(data)
        handler.close_connection = True

    return answer


def never_ends(begin: bytes, piece: bytes) -> Answers:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(begin)
        while True:
            handler.wfile.write(piece)

    return answer


OK = b"HTTP/1.1 200 OK\r\n"
