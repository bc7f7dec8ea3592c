"""Questions to Prometheus over HTTP: what it answers, what it does not, and values in an expression."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.errors import ExitCode, UsageError
from fleetward.runbooks.prometheus import (
    HttpPrometheus,
    PrometheusOutOfReachError,
    PrometheusRefusedError,
    RecordedPrometheus,
    Sample,
    quoted,
)

AT = datetime(2026, 11, 21, 3, 0, 0, 500000, UTC)
UP = {"resultType": "vector", "result": [{"metric": {"gpu": "3"}, "value": [AT.timestamp(), "1"]}]}


@dataclass
class Web:
    """A server that gives one answer to all."""

    status: int = 200
    body: bytes = b""
    delay: threading.Event | None = None
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            web.asked.append(parse_qs(body) | {"path": [self.path]})
            if web.delay:
                web.delay.wait(10)
            self.send_response(web.status)
            self.end_headers()
            self.wfile.write(web.body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    web.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield web
    finally:
        if web.delay:
            web.delay.set()
        server.shutdown()
        thread.join()
        server.server_close()


def success(data: object) -> bytes:
    return json.dumps({"status": "success", "data": data}).encode()


def test_a_vector_is_read(web: Web) -> None:
    web.body = success(UP)
    assert HttpPrometheus(web.url + "/").query('gpu_up{node="a"} == 1') == (Sample({"gpu": "3"}, 1.0, AT),)
    assert web.asked == [{"query": ['gpu_up{node="a"} == 1'], "timeout": ["5s"], "path": ["/api/v1/query"]}]


def test_a_proxy_of_the_environment_has_no_part_in_it(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    web.body = success(UP)
    assert len(HttpPrometheus(web.url).query("up")) == 1


@pytest.mark.parametrize(("value", "count"), [("1", 1), ("0", 0), ("NaN", 0), ("0.5", 1)])
def test_a_scalar_holds_unless_it_is_0(web: Web, value: str, count: int) -> None:
    web.body = success({"resultType": "scalar", "result": [AT.timestamp(), value]})
    assert len(HttpPrometheus(web.url).query("scalar(up)")) == count


def test_an_expression_that_is_wrong_is_refused_with_what_prometheus_says(web: Web) -> None:
    web.status, web.body = 400, json.dumps({"status": "error", "errorType": "bad_data", "error": "1:3: no"}).encode()
    with pytest.raises(PrometheusRefusedError, match=r"`up{` *: 1:3: no"):
        HttpPrometheus(web.url).query("up{")


@pytest.mark.parametrize("status", [502, 503, 504])
def test_one_that_is_not_well_is_out_of_reach(web: Web, status: int) -> None:
    web.status, web.body = status, b"starting up"
    with pytest.raises(PrometheusOutOfReachError, match=str(status)) as caught:
        HttpPrometheus(web.url).query("up")
    assert caught.value.exit_code == ExitCode.OUT_OF_REACH


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'"x"', success({}), success({"resultType": "vector", "result": [{}]})]
)
def test_what_is_no_prometheus_is_out_of_reach(web: Web, body: bytes) -> None:
    web.body = body
    with pytest.raises(PrometheusOutOfReachError, match="no Prometheus"):
        HttpPrometheus(web.url).query("up")


def test_a_matrix_is_no_answer_to_a_question_about_now(web: Web) -> None:
    web.body = success({"resultType": "matrix", "result": []})
    with pytest.raises(PrometheusOutOfReachError):
        HttpPrometheus(web.url).query("up[5m]")


def test_no_answer_in_time_is_out_of_reach(web: Web) -> None:
    web.delay = threading.Event()
    with pytest.raises(PrometheusOutOfReachError, match="does not answer"):
        HttpPrometheus(web.url, seconds=0.2).query("up")


def test_nobody_there_is_out_of_reach() -> None:
    with pytest.raises(PrometheusOutOfReachError, match=r"http://127\.0\.0\.1:1 does not answer"):
        HttpPrometheus("http://127.0.0.1:1").query("up")


def test_a_password_in_the_address_is_not_shown() -> None:
    with pytest.raises(PrometheusOutOfReachError) as caught:
        HttpPrometheus("http://ada:secret@127.0.0.1:1").query("up")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "head:9090", "ftp://head", "http://"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(UsageError, match="not the address"):
        HttpPrometheus(url)


def test_recorded_answers_come_in_their_order_and_the_last_stays() -> None:
    one = (Sample({}, 1, AT),)
    played = RecordedPrometheus({"up": [(), PrometheusOutOfReachError("down"), one]})
    assert played.query("up") == ()
    with pytest.raises(PrometheusOutOfReachError):
        played.query("up")
    assert played.query("up") == played.query("up") == one
    with pytest.raises(PrometheusRefusedError, match="no answer was recorded"):
        played.query("down")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("gpu001", '"gpu001"'),
        ('a"} or up{x="', '"a\\"} or up{x=\\""'),
        ("a\\", '"a\\\\"'),
        ("a\nb\x00\x1b", '"a\\nb\\u0000\\u001b"'),
        ("ü\udcff", '"ü\\ufffd"'),
    ],
)
def test_a_value_stays_one_string(value: str, written: str) -> None:
    assert quoted(value) == written


@given(st.text())
def test_a_quoted_value_ends_where_it_ends(value: str) -> None:
    inner = quoted(value)[1:-1]
    without_escapes = inner.replace("\\\\", "").replace('\\"', "")
    assert '"' not in without_escapes
    assert not without_escapes.endswith("\\")
    assert inner.isprintable()
