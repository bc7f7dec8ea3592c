"""What the daemon is told, over real HTTP: what a report holds, and every way in which it may not be taken."""

import json
import math
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from played_receiver import says, serving

from fleetward.model.gpu_faults import Action, Severity
from fleetward.model.node_settings import DaemonAddress
from fleetward.node.daemon import Kind, Reception, Sent, send
from fleetward.node.reports import MOST_BYTES, MOST_FINDINGS, as_json, health_report
from fleetward.node.results import Context, Finding, Problem, Status

TOKEN = "ab" * 32
TAKES = b'{"incidents": [7]}'
LOST = Finding(
    "gpu_lost",
    Status.UNHEALTHY,
    "GPU is lost",
    "GPU 3",
    {"failure": "GPU is lost", "gpu": 3},
    Severity.FATAL,
    Action.REBOOT,
    source="gpud",
)
FINDINGS = (
    LOST,
    Finding("xid_program", Status.DEGRADED, "XID 13", "0000:1b:00", problem=Problem.USER),
    Finding("raid", Status.UNKNOWN, "no mdadm"),
    Finding("gpu_lost", Status.HEALTHY, ""),
    Finding("disk_full", Status.HEALTHY, ""),
)


def test_a_report_has_what_is_wrong_and_the_checks_that_passed() -> None:
    document = json.loads(as_json(health_report(FINDINGS, Context.EPILOG, 1000.5, "42")))
    assert document["context"] == "epilog"
    assert (document["at"], document["job"], document["passed"]) == (1000.5, "42", ["disk_full"])
    assert document["findings"][0] == {
        "check": "gpu_lost",
        "status": "unhealthy",
        "why": "GPU is lost",
        "entity": "GPU 3",
        "severity": "fatal",
        "action": "reboot",
        "problem": "node_problem",
        "evidence": {"failure": "GPU is lost", "gpu": 3},
    }
    assert [one["problem"] for one in document["findings"]] == ["node_problem", "user_problem", "node_problem"]
    assert document["findings"][2]["severity"] == document["findings"][2]["action"] == ""


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_words(number: float) -> None:
    found = Finding("a", Status.DEGRADED, "b", evidence={"celsius": number})
    told = json.loads(as_json(health_report([found], Context.PERIODIC, 0)), parse_constant=pytest.fail)
    assert told["findings"][0]["evidence"]["celsius"] == str(number)


def test_what_no_database_takes_is_replaced() -> None:
    found = Finding("a", Status.DEGRADED, "x\udcffy\0z", "\ud800", {"\udc80": "\0"})
    told = json.loads(as_json(health_report([found], Context.PERIODIC, 0)))["findings"][0]
    assert (told["why"], told["entity"], told["evidence"]) == ("x?y z", "?", {"?": " "})


def test_a_report_is_never_larger_than_the_daemon_takes_and_keeps_the_worst() -> None:
    much = Finding("a", Status.UNHEALTHY, "w" * 10_000, "e" * 10_000, {f"{key}": "v" * 10_000 for key in range(99)})
    sent = as_json(health_report([LOST, *[much] * 5000], Context.PERIODIC, 0))
    findings = json.loads(sent)["findings"]
    assert len(sent) <= MOST_BYTES
    assert 1 < len(findings) <= MOST_FINDINGS
    assert findings[0]["check"] == "gpu_lost"


# --- over HTTP


def raw(data: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(data)
        handler.close_connection = True

    return answer


def hangs(handler: BaseHTTPRequestHandler) -> None:
    handler.rfile.read(1)


def drips(handler: BaseHTTPRequestHandler) -> None:
    """Send a byte now and then, so that no single read takes long."""
    for _ in range(600):
        handler.wfile.write(b"H")
        time.sleep(0.05)


def never_ends(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        handler.wfile.write(b" " * 65536)


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "node.token"
    file.write_text(f"{TOKEN}\n")
    return file


REPORT = as_json(health_report(FINDINGS, Context.PERIODIC, 1000.5))


def post(url: str, token: Path | None, within: float = 10, **more: Path) -> Sent:
    return send(DaemonAddress(url, token, **more), "gpu001", REPORT, within)


def test_a_report_that_is_taken_came_with_the_nodes_token(token: Path) -> None:
    with serving(says(200, TAKES)) as daemon:
        assert post(daemon.url, token) == Sent(Reception.TAKEN)
    ((path, headers, body),) = daemon.posts
    assert path == "/v1/nodes/gpu001/health"
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["Content-Type"] == "application/json"
    assert body == json.loads(REPORT)


def test_a_daemon_below_a_path_is_found_and_a_name_stays_one_piece_of_it(token: Path) -> None:
    with serving(says(200, TAKES)) as daemon:
        assert send(DaemonAddress(f"{daemon.url}/fleet", token), "a/../b?", REPORT).reception is Reception.TAKEN
    assert daemon.posts[0][0] == "/fleet/v1/nodes/a%2F..%2Fb%3F/health"


@pytest.mark.parametrize(
    ("status", "body", "reception"),
    [
        (200, b'{"changed": false}', Reception.TAKEN),
        (200, TAKES, Reception.AWAY),
        (200, b'{"changed": "no"}', Reception.AWAY),
        (404, b'{"error": "there is no node gpu001 in this fleet"}', Reception.REFUSED),
        (503, b'{"error": "later"}', Reception.AWAY),
    ],
)
def test_a_fingerprint_has_a_path_and_an_answer_of_its_own(
    token: Path, status: int, body: bytes, reception: Reception
) -> None:
    with serving(says(status, body)) as daemon:
        sent = send(DaemonAddress(daemon.url, token), "gpu001", b"{}", 10, Kind.FINGERPRINT)
    assert [path for path, _, _ in daemon.posts] == ["/v1/nodes/gpu001/fingerprint"]
    assert sent.reception is reception


def test_without_a_daemon_nothing_is_sent() -> None:
    assert send(DaemonAddress(), "gpu001", REPORT) == Sent(Reception.NOT_SENT)


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (400, b'{"error": "findings: is no list"}', "findings: is no list"),
        (401, b'{"error": "the token is wrong"}', "the token is wrong"),
        (403, b'{"error": "this is the token of gpu002"}', "the token of gpu002"),
        (413, b"", "it does not say why"),
        (401, b"\xff\xfe", "it does not say why"),
        (403, b'{"error": 7}', "it does not say why"),
        (400, b"[" * 60_000, "it does not say why"),
        (400, b'{"error": "' + b"x" * 5000 + b'"}', "xxx…"),
    ],
)
def test_a_refusal_is_told_and_is_no_absence(token: Path, status: int, body: bytes, why: str) -> None:
    with serving(says(status, body)) as daemon:
        sent = post(daemon.url, token)
    assert sent.reception is Reception.REFUSED
    assert why in sent.why
    assert len(sent.why) < 300


AWAY: list[tuple[str, Callable[[BaseHTTPRequestHandler], None]]] = [
    ("its database is away", says(503, b'{"error": "later"}')),
    ("it fails", says(500, b"")),
    ("it redirects", says(307, b"", Location="/v1/elsewhere")),
    ("it redirects away", says(302, b"", Location="http://127.0.0.1:1/")),
    ("another program", says(404, b"not found")),
    ("another program that is content", says(200, b"<html>welcome</html>")),
    ("an answer of another shape", says(200, b'{"incidents": 7}')),
    ("a list", says(200, b"[]")),
    ("nothing", says(200, b"")),
    ("a huge answer", says(200, b'{"incidents": [' + b"1," * 100_000 + b"1]}")),
    ("deep nesting", says(200, b"[" * 60_000)),
    ("no HTTP", raw(b"SSH-2.0-OpenSSH_9.2\r\n")),
    ("bad bytes", raw(b"\xff\xfe\0" * 1000)),
    ("half an answer", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")),
    ("a length that is none", raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}")),
    ("a huge header", raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000)),
    ("many headers", raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000)),
    ("it hangs up", raw(b"")),
]


@pytest.mark.parametrize("answer", [row[1] for row in AWAY], ids=[row[0] for row in AWAY])
def test_whatever_else_answers_is_no_daemon(token: Path, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
    with serving(answer) as daemon:
        sent = post(daemon.url, token)
    assert sent.reception is Reception.AWAY
    assert sent.why.startswith(daemon.url)
    assert TOKEN not in sent.why
    assert len(daemon.posts) == 1, "it is asked once, and nobody else"


@pytest.mark.parametrize("answer", [hangs, drips, never_ends])
def test_one_that_takes_its_time_is_left_alone(token: Path, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
    begun = time.monotonic()
    with serving(answer) as daemon:
        assert post(daemon.url, token, within=0.5).reception is Reception.AWAY
    assert time.monotonic() - begun < 5


def test_where_nobody_listens_it_is_out_of_reach(token: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        sent = post(f"http://127.0.0.1:{taken.getsockname()[1]}", token)
    assert sent.reception is Reception.AWAY
    assert "refused" in sent.why


def test_a_name_that_nobody_knows_is_out_of_reach(token: Path) -> None:
    assert post("http://no-such-host.invalid:9720", token).reception is Reception.AWAY


@pytest.mark.parametrize(
    "content",
    [None, b"", b"\n", b"two words", b"a\nb", b"\xff" * 64, b"x" * 5000, b"a\r\nX-Evil: 1"],
)
def test_without_a_token_the_daemon_is_not_asked_and_no_error_tells_what_is_in_the_file(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with serving(says(200, TAKES)) as daemon:
        sent = post(daemon.url, file)
    assert sent.reception is Reception.REFUSED
    assert str(file) in sent.why
    assert daemon.posts == []
    assert "Evil" not in sent.why


def test_a_daemon_without_a_token_file_is_told(token: Path) -> None:
    assert "no token_file" in post("http://127.0.0.1:1", None).why


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    names = (folder / "cert.pem", folder / "key.pem")
    subject = ["-subj", "/CN=daemon", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*command, "-out", names[0], "-keyout", names[1], *subject], check=True, capture_output=True)
    return names


def test_over_tls_the_daemons_certificate_is_checked(token: Path, certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with serving(says(200, TAKES), context) as daemon:
        assert post(daemon.url, token, ca_file=certificate[0]) == Sent(Reception.TAKEN)
        stranger = post(daemon.url, token)
        assert stranger.reception is Reception.AWAY
        assert "certificate" in stranger.why.lower()
        assert post(daemon.url, token, ca_file=Path("/none.pem")).reception is Reception.AWAY
    assert len(daemon.posts) == 1, "the token goes to nobody else"
