"""The way to the daemon: how long a post may take, tokens, certificates and addresses."""

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from certificates import Authority
from played_exporter import wait_until
from played_push import OK, TOKEN, Answers, Node, Rests, daemon_that, takes
from played_receiver import serving

from fleetward.exporters.daemon_link import DaemonLinkError, connection_to, post
from fleetward.model.node_settings import DaemonAddress

# --- the time limit


def drips(begin: bytes, piece: bytes) -> Answers:
    """Send a little now and then, so that no single read takes long."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(begin)
        for _ in range(200):
            handler.wfile.write(piece)
            time.sleep(0.05)

    return answer


def says_nothing(handler: BaseHTTPRequestHandler) -> None:
    handler.rfile.read(1)


SLOW: list[tuple[str, Answers]] = [
    ("silence", says_nothing),
    ("a status that drips", drips(b"", b"H")),
    ("headers that drip", drips(OK, b"X: y\r\n")),
    ("go on, for ever", drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n")),
    ("a body that drips", drips(OK + b"Content-Length: 5000\r\n\r\n", b" ")),
    ("chunks that drip", drips(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")),
]


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("answer", [row[1] for row in SLOW], ids=[row[0] for row in SLOW])
def test_one_that_takes_its_time_is_left_alone(
    token: Path, answer: Answers, encrypted: bool, certified: tuple[ssl.SSLContext, Path]
) -> None:
    with serving(answer, certified[0] if encrypted else None) as daemon:
        address = DaemonAddress(daemon.url, token, certified[1])
        begun = time.monotonic()
        with pytest.raises(DaemonLinkError) as raised:
            post(address, TOKEN, "gpu001", "events", b"{}", 0.5, 5000)
        assert time.monotonic() - begun < 1
    assert TOKEN not in str(raised.value)


@contextmanager
def accepting(answer: bytes = b"") -> Iterator[str]:
    """Let one client in, read nothing, and send it a byte now and then; give its place."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                while not over.wait(0.05):
                    connection.sendall(answer)

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            thread.join(10)


@pytest.mark.parametrize(
    ("scheme", "answer", "size"),
    [("https", b"", 2), ("https", b"\x16", 2), ("http", b"", 50_000_000)],
    ids=["no TLS", "TLS that drips", "nothing is read"],
)
def test_one_that_never_gets_to_an_answer_is_left_alone(token: Path, scheme: str, answer: bytes, size: int) -> None:
    with accepting(answer) as place:
        begun = time.monotonic()
        with pytest.raises(DaemonLinkError):
            post(DaemonAddress(f"{scheme}://{place}", token), TOKEN, "gpu001", "events", b" " * size, 0.5, 5000)
        assert time.monotonic() - begun < 1.5


def test_an_address_that_swallows_everything_leaves_time_for_the_next(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with daemon_that(takes) as daemon, socket.create_server(("127.0.0.2", 0), backlog=0) as full:
        fills = [socket.socket() for _ in range(4)]
        for fill in fills:  # whoever comes now gets no answer at all
            fill.setblocking(False)
            fill.connect_ex(full.getsockname())
        there = ("127.0.0.1", int(daemon.url.rpartition(":")[2]))
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", place) for place in (full.getsockname(), there)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        begun = time.monotonic()
        answer = post(DaemonAddress(daemon.url, token), TOKEN, "gpu001", "events", b'{"events": []}', 2, 5000)
        assert (answer.status, answer.document()) == (200, {"taken": [], "refused": {}})
        assert 0.9 < time.monotonic() - begun < 2
        for fill in fills:
            fill.close()


# --- tokens, certificates, addresses


def test_a_token_that_is_changed_is_taken_with_the_next_post(node: Node) -> None:
    with daemon_that(takes) as daemon, node.pushing(daemon.url):
        node.is_empty()
        node.change_token("cd" * 32)
        node.outbox.put("b:2", b'{"key": "b:2"}')
        node.is_empty()
    assert [headers["Authorization"] for _, headers, _ in daemon.posts] == [f"Bearer {TOKEN}", f"Bearer {'cd' * 32}"]


def test_without_a_token_nobody_is_asked_and_its_file_is_told(node: Node) -> None:
    node.token.write_text("two words of " + TOKEN)
    with daemon_that(takes) as daemon, node.pushing(daemon.url):
        node.has_failed(3)
        assert daemon.posts == []
        node.token.unlink()
        wait_until(lambda: len(node.told) == 2)
        node.change_token(TOKEN)
        node.is_empty()
        wait_until(lambda: len(node.told) == 3)
    assert f"{node.token} holds no token" in node.told[0]
    assert f"{node.token} cannot be read: No such file or directory" in node.told[1]
    assert "again" in node.told[2]
    assert TOKEN not in "".join(node.told)


def test_where_nobody_listens_events_are_kept(node: Node) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with node.pushing(f"http://127.0.0.1:{taken.getsockname()[1]}"):
            node.has_failed(5)
    assert len(node.told) == 1
    assert "Connection refused" in node.told[0]
    assert list(node.outbox.waiting) == ["b:1"]


def test_a_host_that_can_have_no_address_is_a_failure(node: Node) -> None:
    with node.pushing(f"http://{'a' * 70}.invalid"):
        node.has_failed(2)
    assert "UnicodeError" in node.told[0]


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """Make a daemon's side of TLS, and the file of the authority that vouches for it."""
    authority = Authority(tmp_path_factory.mktemp("tls"), "ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("daemon", "127.0.0.1"))
    return context, authority.file


def test_over_tls_events_go_to_who_shows_the_right_certificate_only(
    node: Node, certified: tuple[ssl.SSLContext, Path], tmp_path: Path
) -> None:
    context, right = certified
    wrong = Authority(tmp_path, "other").file
    with daemon_that(takes, context) as daemon:
        for ca_file, why in ((wrong, "CERTIFICATE_VERIFY_FAILED"), (None, "CERTIFICATE_VERIFY_FAILED")):
            node.stop, node.told = Rests(), []
            with node.pushing(daemon.url, ca_file):
                node.has_failed()
                wait_until(lambda: bool(node.told))
            assert why in node.told[0]
        assert daemon.posts == [], "the token goes to nobody else"
        node.stop, node.told = Rests(), []
        node.outbox.put("big", json.dumps({"key": "big", "line": "x" * 500_000}).encode())
        with node.pushing(daemon.url, right):
            node.is_empty()
    assert sorted(node.outbox.taken) == ["b:1", "big"]
    assert node.told == []


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_without_certificates_is_told_by_name(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DaemonLinkError, match=r"ca\.pem cannot be read as certificates"):
        connection_to(DaemonAddress("https://head", None, file), 1)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://head:9720", "head", 9720),
        ("http://head", "head", 80),
        ("https://head", "head", 443),
        ("http://[::1]/fleet", "::1", 80),
        ("https://[fd00::1]:9720", "fd00::1", 9720),
    ],
)
def test_the_daemon_is_where_its_url_says(url: str, host: str, port: int) -> None:
    connection = connection_to(DaemonAddress(url), 1)
    assert (connection.host, connection.port) == (host, port)


def test_without_a_daemon_nobody_is_asked() -> None:
    with pytest.raises(DaemonLinkError, match="no daemon"):
        connection_to(DaemonAddress(), 1)


def test_the_gpu_exporter_gets_no_module_more_with_it() -> None:
    script = (
        "import sys, fleetward.exporters.gpu.server\n"
        "before = set(sys.modules)\n"
        "import fleetward.exporters.events.push\n"
        "print(*sorted(name for name in set(sys.modules) - before if not name.startswith('fleetward')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == []
