"""What a node's exporter pushes, and what the daemon makes of it: both as they are, over a real socket."""

import json
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import uvicorn
from played_events import fault_event
from whole_daemon import NODE_KEYS, Daemon, eventually

from fleetward.exporters.events.push import MOST_ANSWER_BYTES, MOST_BYTES, Push
from fleetward.model.gpu_faults import Action, Scope, Severity
from fleetward.model.node_reports import LONGEST_LINE, MOST_EVENTS
from fleetward.model.node_settings import DaemonAddress
from fleetward.server import node_posts
from fleetward.server.node_tokens import token_of

NODE = "gpu002"


class Kept:
    """An outbox in memory."""

    def __init__(self, waiting: Mapping[str, bytes]) -> None:
        self.waiting = dict(waiting)
        self.taken: set[str] = set()
        self.refused: dict[str, str] = {}

    def wait(self, seconds: float) -> bool:
        time.sleep(0 if self.waiting else 0.02)
        return bool(self.waiting)

    def batch(self, most: int) -> Mapping[str, bytes]:
        return dict(list(self.waiting.items())[:most])

    def done(self, taken: Collection[str], refused: Mapping[str, str]) -> None:
        self.taken |= set(taken)
        self.refused |= refused
        for key in {*taken, *refused}:
            del self.waiting[key]


def event(key: str, **changes: object) -> bytes:
    made = fault_event(
        key,
        code=13,
        severity=Severity.WARNING,
        action=Action.RESTART_APP,
        blame=Scope.APP,
        line="é\0\x1b" * (LONGEST_LINE // 3),
    )
    return json.dumps(asdict(made) | changes).encode()


@contextmanager
def pushing(daemon: Daemon, outbox: Kept, folder: Path, node: str = NODE) -> Iterator[list[str]]:
    """Serve the daemon on a free port, push to it, and give what was told."""
    token = folder / "node.token"
    token.write_text(token_of(NODE, NODE_KEYS))
    server = uvicorn.Server(uvicorn.Config(daemon.public.app, host="127.0.0.1", port=0, http="h11", log_config=None))
    told: list[str] = []
    stop = threading.Event()
    serves = threading.Thread(target=server.run, daemon=True)
    serves.start()
    eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    push = Push(DaemonAddress(f"http://127.0.0.1:{port}", token), node, outbox, told.append)
    pushes = threading.Thread(target=push.run, args=(stop,), daemon=True)
    pushes.start()
    try:
        yield told
    finally:
        stop.set()
        pushes.join(10)
        server.should_exit = True
        serves.join(10)


def test_among_as_many_as_a_post_may_have_only_those_that_are_none_are_refused(daemon: Daemon, tmp_path: Path) -> None:
    keys = [f"b:{number}" for number in range(MOST_EVENTS)]
    outbox = Kept({key: event(key) for key in keys})
    outbox.waiting["b:7"] = event("b:7", code="many")
    outbox.waiting["b:40"] = event("no key, and so the whole post is refused")
    with pushing(daemon, outbox, tmp_path) as told:
        eventually(lambda: not outbox.waiting)
    assert set(outbox.refused) == {"b:7", "b:40"}
    assert "code" in outbox.refused["b:7"]
    assert ".key" in outbox.refused["b:40"]
    assert outbox.taken == set(keys) - {"b:7", "b:40"}
    on_record = daemon.get(f"/v1/events?limit={MOST_EVENTS}")
    assert {one["key"] for one in on_record} == outbox.taken
    assert {one["node"] for one in on_record} == {NODE}
    assert len(told) == 1


def test_the_most_bytes_of_a_post_are_taken(daemon: Daemon, tmp_path: Path) -> None:
    assert MOST_BYTES < node_posts.MOST_BYTES
    outbox = Kept({key: event(key, more="x" * 89_000) for key in map(str, range(20))})
    with pushing(daemon, outbox, tmp_path) as told:
        eventually(lambda: not outbox.waiting)
    assert (len(outbox.taken), outbox.refused, told) == (20, {}, [])


def test_an_answer_that_refuses_all_with_the_longest_words_is_read(daemon: Daemon, tmp_path: Path) -> None:
    longest = MOST_EVENTS * (128 + node_posts.LONGEST_ERROR * len("\\u0001") + len('"":"",'))
    assert longest < MOST_ANSWER_BYTES
    keys = [f"{number:0128}" for number in range(MOST_EVENTS)]
    outbox = Kept({key: event(key, kind="cpu") for key in keys})
    with pushing(daemon, outbox, tmp_path):
        eventually(lambda: not outbox.waiting)
    assert set(outbox.refused) == set(keys)


def test_where_the_token_is_anothers_the_daemons_words_are_told(daemon: Daemon, tmp_path: Path) -> None:
    outbox = Kept({"a": event("a")})
    with pushing(daemon, outbox, tmp_path, node="gpu003") as told:
        eventually(lambda: told)
    assert "401: the token is missing, or is not that of gpu003" in told[0]
    assert list(outbox.waiting) == ["a"]
