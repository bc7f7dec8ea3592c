"""Events pushed over real sockets: to a daemon that takes them, refuses them, is away, or is something else."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from played_exporter import wait_until
from played_push import OK, TOKEN, Answers, Kept, Node, Rests, daemon_that, never_ends, raw, takes
from played_receiver import says, serving

from fleetward.exporters.events import push as push_module
from fleetward.exporters.events.push import MOST_BYTES, MOST_REST_SECONDS, TOLD_SECONDS, Push
from fleetward.model.node_reports import MOST_EVENTS
from fleetward.model.node_settings import DaemonAddress

# --- what is taken, and what is refused


def test_events_are_pushed_as_they_come_with_the_nodes_token(node: Node) -> None:
    with daemon_that(takes) as daemon, node.pushing(f"{daemon.url}/fleet", node="a/b"):
        node.is_empty()
        node.outbox.put("b:2", b'{"key": "b:2"}')
        node.is_empty()
    assert node.outbox.taken == ["b:1", "b:2"]
    assert [body for _, _, body in daemon.posts] == [
        {"events": [{"key": "b:1", "line": "é"}]},
        {"events": [{"key": "b:2"}]},
    ]
    path, headers, _ = daemon.posts[0]
    assert path == "/fleet/v1/nodes/a%2Fb/events"
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["Content-Type"] == "application/json"
    assert (node.push.failures, node.told) == (0, [])


def test_a_post_has_no_more_events_than_the_daemon_takes(node: Node) -> None:
    node.outbox = Kept(*(f"b:{number}" for number in range(2 * MOST_EVENTS + 1)))
    with daemon_that(takes) as daemon, node.pushing(daemon.url):
        node.is_empty()
    assert [len(body["events"]) for _, _, body in daemon.posts] == [MOST_EVENTS, MOST_EVENTS, 1]
    assert set(node.outbox.asked_for) == {MOST_EVENTS}


def test_a_post_has_no_more_bytes_than_the_daemon_takes_and_an_event_that_has_is_refused(node: Node) -> None:
    for number in range(5):
        node.outbox.put(f"big:{number}", json.dumps({"key": f"big:{number}", "line": "x" * 400_000}).encode())
    node.outbox.put("huge", b'"' + b"x" * MOST_BYTES + b'"')
    with daemon_that(takes) as daemon, node.pushing(daemon.url):
        node.is_empty()
    assert max(int(headers["Content-Length"]) for _, headers, _ in daemon.posts) <= MOST_BYTES
    assert [len(body["events"]) for _, _, body in daemon.posts] == [3, 2, 1]
    assert list(node.outbox.refused) == ["huge"]
    assert f"{MOST_BYTES} at most" in node.outbox.refused["huge"]
    assert node.push.failures == 0


@pytest.mark.parametrize("status", [400, 413])
@pytest.mark.parametrize("poisoned", [0, 1, 99, 100, 198, 199])
def test_one_event_for_which_a_whole_post_is_refused_is_found_and_the_others_are_taken(
    node: Node, status: int, poisoned: int
) -> None:
    keys = [f"b:{number}" for number in range(MOST_EVENTS)]
    node.outbox, poison = Kept(*keys), keys[poisoned]

    def judge(events: list[dict[str, Any]]) -> tuple[int, object]:
        bad = any(event["key"] == poison for event in events)
        return (status, {"error": "events.7.key: is none"}) if bad else takes(events)

    with daemon_that(judge) as daemon, node.pushing(daemon.url):
        node.is_empty()
        node.outbox.put("b:next", b'{"key": "b:next"}')
        node.is_empty()
    assert node.outbox.refused == {poison: "events.7.key: is none"}
    assert sorted(node.outbox.taken) == sorted({*keys, "b:next"} - {poison})
    assert len(daemon.posts) < 40
    assert node.push.failures == 0
    assert node.told == [f"events that {daemon.url} will not have: 1, such as {poison}: events.7.key: is none"]


@contextmanager
def hanging_up(answer: bytes) -> Iterator[str]:
    """Give each client an answer with its first bytes, and hang up without reading the rest."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(100)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_who_refuses_a_post_without_reading_it_is_heard(node: Node) -> None:
    for number in range(20):
        node.outbox.put(f"big:{number}", b'"' + b"x" * 40_000 + b'"')
    with hanging_up(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n") as url, node.pushing(url):
        wait_until(lambda: 1 in node.outbox.asked_for)
    assert node.outbox.asked_for[:3] == [MOST_EVENTS, 10, 5]


def test_a_proxy_that_refuses_everything_makes_no_event_go_away(node: Node) -> None:
    answer = says(400, b"<html>The plain HTTP request was sent to HTTPS port</html>")
    with serving(answer) as proxy, node.pushing(proxy.url):
        node.has_failed(3)
    assert list(node.outbox.waiting) == ["b:1"]
    assert "the answer is 400: it does not say why" in node.told[0]


def test_what_is_refused_by_name_is_done_and_told_once_in_a_while(node: Node) -> None:
    def judge(events: list[dict[str, Any]]) -> tuple[int, object]:
        return 200, {"taken": [], "refused": {event["key"]: "code: \x1b[31m\nis no number" for event in events}}

    with daemon_that(judge) as daemon, node.pushing(daemon.url):
        node.is_empty()
        for number in range(2, 30):
            node.outbox.put(f"b:{number}", json.dumps({"key": f"b:{number}"}).encode())
            node.is_empty()
        assert len(node.told) == 1
        node.now += TOLD_SECONDS
        node.outbox.put("b:30", b'{"key": "b:30"}')
        node.is_empty()
    assert len(node.outbox.refused) == 30
    assert node.outbox.refused["b:1"] == "code:  [31m is no number"
    assert ["will not have: 1," in node.told[0], "will not have: 29," in node.told[1]] == [True, True]
    assert node.push.failures == 0


def test_only_what_was_sent_and_named_is_done(node: Node) -> None:
    node.outbox = Kept("a", "b", "c")

    def judge(events: list[dict[str, Any]]) -> tuple[int, object]:
        if len(daemon.posts) == 1:
            return 200, {"taken": ["a", "other", 7, None, ["b"]], "refused": {"a": "why", "b": {"no": "text"}, "z": ""}}
        return takes(events)

    with daemon_that(judge) as daemon, node.pushing(daemon.url):
        node.is_empty()
    assert node.outbox.taken == ["a", "c"]
    assert node.outbox.refused == {"b": "it does not say why"}
    assert [event["key"] for event in daemon.posts[1][2]["events"]] == ["c"]


# --- failures


AWAY: list[tuple[str, Answers]] = [
    ("the token is wrong", says(401, b'{"error": "the token is missing, or is not that of gpu001"}')),
    ("forbidden", says(403, b"")),
    ("no such node", says(404, b'{"error": "there is no node gpu001 in this fleet"}')),
    ("it fails", says(500, b"")),
    ("its database is away", says(503, b'{"error": "later"}')),
    ("it redirects", says(307, b"", Location="/v1/elsewhere")),
    ("it redirects away", says(302, b"", Location="http://127.0.0.1:1/")),
    ("taken, but not by 200", says(204, b"")),
    ("another program", says(200, b"<html>welcome</html>")),
    ("keys of others", says(200, b'{"taken": ["b:2"], "refused": {"b:3": "no"}}')),
    ("nothing named", says(200, b'{"taken": [], "refused": {}}')),
    ("half an answer", says(200, b'{"taken": ["b:1"]}')),
    ("other shapes", says(200, b'{"taken": {"b:1": 1}, "refused": []}')),
    ("a list", says(200, b'["b:1"]')),
    ("nothing", says(200, b"")),
    ("bad UTF-8", says(200, b'{"taken": ["b:1\xff"], "refused": {}}')),
    ("a huge number", says(200, b'{"taken": [' + b"1" * 9999 + b'], "refused": {}}')),
    ("deep nesting", says(200, b"[" * 100_000)),
    ("a huge answer", says(200, b'{"taken": ["b:1"], "refused": {}}' + b" " * 3_000_000)),
    ("no HTTP", raw(b"SSH-2.0-OpenSSH_9.2\r\n")),
    ("bad bytes", raw(b"\xff\xfe\0" * 1000)),
    ("less than it says", raw(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"taken": ["b:1"]')),
    ("a length that is none", raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}")),
    ("chunks that are none", raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}")),
    ("a huge header", raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000)),
    ("many headers", raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000)),
    ("go on", raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 50_000)),
    ("it hangs up", raw(b"")),
    ("a body without end", never_ends(OK + b"\r\n", b" " * 65536)),
    ("headers without end", never_ends(OK, b"X: y\r\n")),
    ("go on without end", never_ends(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)),
]


@pytest.mark.parametrize("answer", [row[1] for row in AWAY], ids=[row[0] for row in AWAY])
def test_whatever_else_answers_is_a_failure_that_is_told_once_and_gone_when_the_daemon_is_back(
    node: Node, answer: Answers
) -> None:
    away = threading.Event()

    def either(handler: BaseHTTPRequestHandler) -> None:
        (says(200, b'{"taken": ["b:1"], "refused": {}}') if away.is_set() else answer)(handler)

    with serving(either) as daemon, node.pushing(daemon.url):
        node.has_failed(3)
        assert list(node.outbox.waiting) == ["b:1"]
        away.set()
        node.is_empty()
        wait_until(lambda: len(node.told) == 2)
    assert node.outbox.taken == ["b:1"]
    assert all(path == "/v1/nodes/gpu001/events" for path, _, _ in daemon.posts), "no redirect is followed"
    wrong, right = node.told
    assert wrong.startswith(f"events of faults are kept, since they cannot be pushed to {daemon.url}: ")
    assert right == f"events of faults are pushed to {daemon.url} again"
    assert len(wrong) < 450
    assert wrong.isprintable()


@pytest.mark.parametrize(
    "answer",
    [
        says(403, json.dumps({"error": f"{'x' * 250} Authorization: Bearer {TOKEN} {TOKEN}"}).encode()),
        says(200, json.dumps({"taken": [], "refused": {"b:1": f"is not for Bearer {TOKEN}"}}).encode()),
        raw(f"{'x' * 150} Authorization: Bearer {TOKEN}\r\n\r\n".encode()),
    ],
)
def test_an_answer_that_quotes_the_token_does_not_make_it_known(node: Node, answer: Answers) -> None:
    with serving(answer) as daemon, node.pushing(daemon.url):
        wait_until(lambda: bool(node.told))
    assert TOKEN[:8] not in "".join([*node.told, *node.outbox.refused.values()])


def test_rests_double_to_half_a_minute_and_begin_anew_after_a_success(node: Node) -> None:
    def judge(events: list[dict[str, Any]]) -> tuple[int, object]:
        return takes(events) if len(daemon.posts) == 11 else (503, {"error": "later"})

    with daemon_that(judge) as daemon, node.pushing(daemon.url):
        node.is_empty()
        node.outbox.put("b:2", b'{"key": "b:2"}')
        node.has_failed(12)
    assert isinstance(node.stop, Rests)
    rests = node.stop.taken
    assert rests[:10] == [pytest.approx(min(MOST_REST_SECONDS, 0.2 * 2**number)) for number in range(10)]
    assert rests[10:12] == [pytest.approx(0.2), pytest.approx(0.4)]


def test_a_part_of_each_rest_is_left_to_chance(token: Path) -> None:
    rests = Rests()

    def failing(jitter: float) -> float:
        rests.clear()
        rests.taken.clear()
        push = Push(DaemonAddress("http://127.0.0.1:1", token), "n", Kept("a"), told.append, jitter=lambda: jitter)
        thread = threading.Thread(target=push.run, args=(rests,), daemon=True)
        thread.start()
        wait_until(lambda: bool(rests.taken))
        rests.set()
        thread.join(10)
        return rests.taken[0]

    told: list[str] = []
    assert [failing(jitter) for jitter in (0.0, 0.5, 1.0)] == [pytest.approx(rest) for rest in (0.1, 0.15, 0.2)]


def test_it_stops_at_once_in_the_middle_of_a_long_rest(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_module, "MOST_REST_SECONDS", 600.0)
    monkeypatch.setattr(push_module, "LEAST_REST_SECONDS", 600.0)
    node.stop = threading.Event()
    with serving(says(503, b"")) as daemon:
        with node.pushing(daemon.url):
            node.has_failed()
            begun = time.monotonic()
        assert time.monotonic() - begun < 0.3


def test_it_stops_while_nothing_is_to_be_pushed(node: Node) -> None:
    node.outbox = Kept()
    begun = time.monotonic()
    with node.pushing("http://127.0.0.1:1"):
        pass
    assert time.monotonic() - begun < 2
