"""The exporters' HTTP server with passwords and TLS, asked over real sockets by friend and foe."""

import base64
import gzip
import http.client
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest
from certificates import Authority
from played_exporter import running, wait_until
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fleetward.exporters import web
from fleetward.exporters.passwords import crypt
from fleetward.exporters.serving import serve_until
from fleetward.exporters.web import WebServer, open_gate, serving
from fleetward.model.errors import FleetwardError, UsageError

if TYPE_CHECKING:
    from played_nvml import PlayedNode

PAGE = b"up 1\n"
KIND = "text/plain; version=0.0.4"


def hash_of(password: bytes) -> str:
    return crypt(password, b"$2y$04$abcdefghijklmnopqrstuu").decode()


USERS = {"basic_auth_users": {"prometheus": hash_of(b"secret")}}


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


RIGHT = basic("prometheus", "secret")


@dataclass
class Site:
    """A folder with a file for --web-config and certificates, and what the exporter said of them."""

    folder: Path
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.authority = Authority(self.folder, "ca")
        self.authority.sign("node", "localhost", "127.0.0.1")
        self.file = self.folder / "web.yml"

    def tls(self, **more: object) -> dict[str, object]:
        return {"tls_server_config": {"cert_file": "node.crt", "key_file": "node.key", **more}}

    def configure(self, document: object) -> None:
        """Replace the file as a configuration management does, by rename."""
        new = self.folder / "web.yml.new"
        new.write_text(document if isinstance(document, str) else json.dumps(document))
        new.replace(self.file)

    @contextmanager
    def serving(self, document: object, *, packs: bool = False) -> Iterator["Client"]:
        self.configure(document)
        gate = open_gate(self.file, self.told.append)
        server = WebServer("127.0.0.1:0", "Test's", lambda _: (KIND, PAGE), gate, packs=packs)
        with serving(server) as url:
            scheme, _, rest = url.partition("://")
            yield Client(rest.partition("/")[0], scheme == "https", self.authority.file)


@dataclass(frozen=True)
class Client:
    """Asks the server; TLS where it speaks that."""

    address: str
    encrypted: bool
    ca_file: Path

    @property
    def place(self) -> tuple[str, int]:
        host, _, port = self.address.rpartition(":")
        return host, int(port)

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)

    def connect(self, context: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        if self.encrypted:
            return http.client.HTTPSConnection(self.address, timeout=10, context=context or self.context())
        return http.client.HTTPConnection(self.address, timeout=10)

    def get(
        self, path: str = "/metrics", headers: dict[str, str] | None = None, context: ssl.SSLContext | None = None
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        connection = self.connect(context)
        try:
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def say(self, text: bytes) -> bytes:
        """Send bytes as they are, and return all that comes back until the other end closes."""
        with socket.create_connection(self.place, timeout=10) as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def serial_number(self) -> str:
        """Return which certificate a new connection gets."""
        with (
            socket.create_connection(self.place, timeout=10) as connection,
            self.context().wrap_socket(connection, server_hostname="localhost") as encrypted,
        ):
            return str((encrypted.getpeercert() or {})["serialNumber"])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_without_a_file_everybody_may_look() -> None:
    server = WebServer("127.0.0.1:0", "Test's", lambda accept: (KIND, accept.encode()))
    with serving(server) as url:
        client = Client(url.split("/")[2], False, Path())
        assert client.get(headers={"Accept": "text/plain"})[:2] == (200, b"text/plain")
        assert client.get("/metrics?x=1")[0] == 200
        assert client.get("/")[1] == b"Test's metrics are at /metrics\n"
        assert client.get("/other")[0] == 404


def test_it_listens_on_an_ipv6_address() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this host has no IPv6")
    with serving(WebServer("[::1]:0", "Test's", lambda _: (KIND, PAGE))) as url:
        assert url.startswith("http://[::1]:")
        assert Client(url.split("/")[2], False, Path()).get()[0] == 200


def test_an_address_that_cannot_be_had_is_told() -> None:
    with pytest.raises(FleetwardError, match=r"cannot listen on 203\.0\.113\.1:9400: .*--listen"):
        WebServer("203.0.113.1:9400", "Test's", lambda _: (KIND, PAGE))


def test_the_right_password_gets_the_page_and_any_other_gets_nothing(site: Site) -> None:
    with site.serving(USERS) as client:
        assert client.get(headers=RIGHT)[:2] == (200, PAGE)
        wrong = [{}, basic("prometheus", "wrong"), basic("nobody", "secret"), {"Authorization": "Bearer secret"}]
        for headers in wrong:
            for path in ("/metrics", "/", "/other"):
                status, body, answered = client.get(path, headers)
                assert status == 401
                assert answered["WWW-Authenticate"] == "Basic"
                assert PAGE not in body
    assert site.told == [f"{site.file}: passwords go through the network unencrypted; add tls_server_config"]


@pytest.mark.parametrize(
    "line",
    [
        b"Authorization: Basic \xff\xfe\x00\x80",
        b"Authorization: " + b"A" * 10_000,
        b"Authorization: Basic " + base64.b64encode(b"\xff:\xfe"),
        b"Authorization\x00: Basic x",
        b"Authorization:",
        b": Basic x",
        b"Authorization: Basic cHJvbWV0aGV1czpzZWNyZXQ=\r\n Basic x",
    ],
)
def test_a_malformed_header_is_no_key(site: Site, line: bytes) -> None:
    with site.serving(USERS) as client:
        answer = client.say(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + line + b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert client.get(headers=RIGHT)[0] == 200


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", b"431"),
        (b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n", b"431"),
        (b"GET /metrics HTTP/1.1\r\n" + b"X: %s\r\n" % (b"a" * 1000) * 50 + b"\r\n", b"431"),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"501"),
        (b"GET /metrics HTTP/9.9\r\n\r\n", b"505"),
        (b"\x00\x01\x02\xff\r\n\r\n", b"400"),
    ],
)
def test_a_hostile_request_is_refused_and_the_next_one_answered(
    site: Site, capfd: pytest.CaptureFixture[str], request_text: bytes, status: bytes
) -> None:
    with site.serving(USERS) as client:
        with socket.create_connection(client.place, timeout=10) as connection:
            connection.sendall(request_text)
            assert status in connection.recv(4096).split(b"\r\n")[0]
        assert client.get(headers=RIGHT)[0] == 200
    assert capfd.readouterr().err == "", "a client's faults are not written to the log"


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_client_that_leaves_in_the_middle_is_no_news(
    site: Site, capfd: pytest.CaptureFixture[str], encrypted: bool
) -> None:
    with site.serving({**USERS, **(site.tls() if encrypted else {})}) as client:
        for text in (b"", b"GET /met", b"\x16\x03\x01\x02", b"\x16garbage" * 100):
            with socket.create_connection(client.place, timeout=10) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # ends with a reset
                connection.sendall(text)
        assert client.get(headers=RIGHT)[0] == 200
    assert capfd.readouterr().err == ""


def test_several_requests_share_a_connection_and_one_with_a_body_ends_it(site: Site) -> None:
    with site.serving(USERS) as client:
        connection = client.connect()
        for headers, status in ((RIGHT, 200), ({}, 401), (RIGHT, 200)):
            connection.request("GET", "/metrics", headers=headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status
        connection.close()
        smuggled = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
        text = b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(smuggled) + smuggled
        assert client.say(text).count(b"HTTP/1.1 ") == 1


def test_the_headers_of_the_file_go_with_each_answer(site: Site) -> None:
    headers = {"X-Frame-Options": "deny", "X-Content-Type-Options": "nosniff"}
    with site.serving({**USERS, "http_server_config": {"headers": headers}}) as client:
        for asked in (RIGHT, {}):
            answered = client.get(headers=asked)[2]
            assert {name: answered[name] for name in headers} == headers


def test_a_page_is_packed_for_one_who_can_unpack_it(site: Site) -> None:
    with site.serving({}, packs=True) as client:
        assert client.get()[1] == PAGE
        _, body, headers = client.get(headers={"Accept-Encoding": "gzip"})
        assert headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(body) == PAGE


def test_over_tls_the_page_is_the_same(site: Site) -> None:
    with site.serving({**site.tls(), **USERS}) as client:
        assert client.encrypted
        status, body, headers = client.get(headers=RIGHT)
        assert (status, body, headers["Content-Type"]) == (200, PAGE, KIND)
        assert client.get()[0] == 401
    assert site.told == []


def test_one_who_speaks_plain_http_is_told_and_the_connection_ends(site: Site) -> None:
    with site.serving(site.tls()) as client:
        answer = client.say(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.0 400 ")
        assert b"https://" in answer
        assert PAGE not in answer


def test_clients_that_say_nothing_hold_nobody_up(site: Site) -> None:
    with site.serving(site.tls()) as client:
        silent = [socket.create_connection(client.place, timeout=10) for _ in range(50)]
        for connection in silent[::2]:
            connection.sendall(b"\x16\x03")  # half a greeting
        assert client.get()[0] == 200
        for connection in silent:
            connection.close()


def test_one_that_says_nothing_for_long_is_turned_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetward.exporters.web_tls.HANDSHAKE_SECONDS", 0.2)
    with site.serving(site.tls()) as client, socket.create_connection(client.place, timeout=10) as silent:
        silent.sendall(b"\x16\x03\x01")
        assert silent.recv(1) == b""


def test_two_hundred_scrapes_at_once_are_all_answered(site: Site) -> None:
    with site.serving({**site.tls(), **USERS}) as client, ThreadPoolExecutor(200) as pool:
        assert list(pool.map(lambda _: client.get(headers=RIGHT)[0], range(200))) == [200] * 200


def test_who_comes_on_top_of_all_is_turned_away_and_finds_room_later(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "MOST_CONNECTIONS", 3)
    with site.serving({}) as client:
        holding = [socket.create_connection(client.place, timeout=10) for _ in range(3)]
        for connection in holding:
            connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        with socket.create_connection(client.place, timeout=10) as refused:
            assert refused.recv(1) == b""
        holding.pop().close()
        wait_until(lambda: answers(client))
        for connection in holding:
            connection.close()


def answers(client: Client) -> bool:
    try:
        return client.get()[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def shown(client: Client, pair: tuple[Path, Path] | None = None, **limits: ssl.TLSVersion) -> bool:
    """Return whether a client with such a certificate, and such versions of TLS, gets the page."""
    context = client.context()
    for name, value in limits.items():
        setattr(context, name, value)
    if pair:
        context.load_cert_chain(*pair)
    try:
        return client.get(context=context)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_only_a_client_with_a_certificate_of_our_authority_gets_in(site: Site, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    ours, theirs = site.authority.sign("prometheus"), Authority(tmp_path / "other", "ca").sign("prometheus")
    checked = site.tls(client_auth_type="RequireAndVerifyClientCert", client_ca_file="ca.pem")
    with site.serving(checked) as client:
        assert shown(client, ours)
        assert not shown(client, theirs)
        assert not shown(client)
    if_shown = site.tls(client_auth_type="VerifyClientCertIfGiven", client_ca_file="ca.pem")
    with site.serving(if_shown) as client:
        assert shown(client, ours)
        assert not shown(client, theirs)
        assert shown(client)


@pytest.mark.parametrize(
    ("certificate_for", "allowed", "gets_in"),
    [
        (["prometheus.example"], ["prometheus.example"], True),
        (["prometheus.example"], ["grafana.example", "prometheus.example"], True),
        (["prometheus.example"], ["prometheus"], False),
        (["evil-prometheus.example"], ["prometheus.example"], False),
        (["10.0.0.7"], ["10.0.0.7"], True),
        (["10.0.0.70"], ["10.0.0.7"], False),
        (["2001:db8::7"], ["2001:0db8:0:0::7"], True),
        (["spiffe://site/prometheus"], ["spiffe://site/prometheus"], True),
        (["a.example", "b.example"], ["b.example"], True),
    ],
)
def test_a_client_needs_one_of_the_names(
    site: Site, certificate_for: list[str], allowed: list[str], gets_in: bool
) -> None:
    pair = site.authority.sign("client", *certificate_for)
    config = site.tls(
        client_auth_type="RequireAndVerifyClientCert", client_ca_file="ca.pem", client_allowed_sans=allowed
    )
    with site.serving(config) as client:
        assert shown(client, pair) == gets_in


def test_versions_of_tls_are_kept_to(site: Site) -> None:
    old, new = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    with site.serving(site.tls()) as client:
        assert shown(client, maximum_version=old)
        assert shown(client, minimum_version=new)
    with site.serving(site.tls(min_version="TLS13")) as client:
        assert not shown(client, maximum_version=old)
        assert shown(client, minimum_version=new)
    with site.serving(site.tls(max_version="TLS12")) as client:
        assert shown(client, maximum_version=old)
        assert not shown(client, minimum_version=new)


def test_suites_are_kept_to(site: Site) -> None:
    only = site.tls(max_version="TLS12", cipher_suites=["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"])
    with site.serving(only) as client:
        context = client.context()
        assert client.get(context=context)[0] == 200
        context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        with pytest.raises(OSError, match="handshake"):
            client.get(context=context)


def test_a_renewed_certificate_is_taken_without_a_restart(site: Site) -> None:
    with site.serving(site.tls()) as client:
        kept = client.connect()
        kept.request("GET", "/metrics")
        kept.getresponse().read()
        before = client.serial_number()
        site.authority.sign("node", "localhost", "127.0.0.1")
        after = client.serial_number()
        assert after != before
        assert client.serial_number() == after
        kept.request("GET", "/metrics")
        assert kept.getresponse().status == 200, "who is connected stays so"
        kept.close()
    assert site.told == []


def test_while_a_certificate_is_half_replaced_the_old_one_serves_and_that_is_told_once(site: Site) -> None:
    with site.serving(site.tls()) as client:
        before, key = client.serial_number(), (site.folder / "node.key").read_bytes()
        site.authority.sign("node", "localhost", "127.0.0.1")
        new_key = (site.folder / "node.key").read_bytes()
        (site.folder / "node.key").write_bytes(key)
        assert [client.serial_number() for _ in range(3)] == [before] * 3
        (site.folder / "node.key").unlink()
        assert client.serial_number() == before
        (site.folder / "node.key").write_bytes(new_key)
        assert client.serial_number() != before
    assert len(site.told) == 2
    assert "no certificate and its key" in site.told[0]
    assert "cannot be read" in site.told[1]


def test_another_password_is_taken_without_a_restart_and_a_wrong_file_changes_nothing(site: Site) -> None:
    with site.serving({**site.tls(), **USERS}) as client:
        assert client.get(headers=RIGHT)[0] == 200
        site.configure("basic_auth_users: [")
        assert client.get(headers=RIGHT)[0] == 200
        assert client.get()[0] == 401
        site.configure({**site.tls(), "basic_auth_users": {"prometheus": hash_of(b"new")}})
        assert client.get(headers=RIGHT)[0] == 401
        assert client.get(headers=basic("prometheus", "new"))[0] == 200
    assert len(site.told) == 1
    assert site.told[0].endswith("until then what was there before stays in force")
    assert "is not YAML" in site.told[0]


@pytest.mark.parametrize("before_is_tls", [True, False])
def test_tls_is_never_switched_by_a_changed_file(site: Site, before_is_tls: bool) -> None:
    with_tls, without = {**site.tls(), **USERS}, USERS
    with site.serving(with_tls if before_is_tls else without) as client:
        site.configure(without if before_is_tls else with_tls)
        assert client.get(headers=RIGHT)[0] == 200
        assert client.get()[0] == 401
    assert "restart the exporter" in site.told[-1]


def test_a_file_that_went_wrong_is_taken_again_when_what_it_names_is_there(site: Site) -> None:
    with site.serving(site.tls()) as client:
        before = client.serial_number()
        site.configure({"tls_server_config": {"cert_file": "next.crt", "key_file": "next.key"}})
        assert client.serial_number() == before
        site.authority.sign("next", "localhost")
        assert client.serial_number() != before


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"cert_file": "gone.crt"}, r"gone\.crt: cannot be read \(No such file or directory\)"),
        (
            {"cert_file": "locked.crt", "key_file": "locked.key"},
            r"locked\.key are no certificate and its key in PEM, unencrypted",
        ),
        ({"cert_file": "ca.pem"}, "key values mismatch"),
        ({"key_file": "."}, "is no ordinary file"),
        ({"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "node.key"}, "has no certificate in PEM"),
    ],
)
def test_what_is_wrong_at_the_start_is_told_by_file(site: Site, broken: dict[str, object], says: str) -> None:
    site.authority.sign("locked", password=b"locked")
    site.configure(site.tls(**broken))
    with pytest.raises(UsageError, match=says):
        open_gate(site.file, site.told.append)


def test_the_gpu_exporter_serves_its_page_to_who_may_see_it(site: Site, played: "PlayedNode") -> None:
    site.configure({**site.tls(), **USERS})
    with running(played, "--web-config", str(site.file)) as exporter:
        client = Client(exporter.address, True, site.authority.file)
        status, body, headers = client.get(headers={**RIGHT, "Accept": "application/openmetrics-text"})
        assert status == 200
        assert headers["Content-Type"].startswith("application/openmetrics-text")
        assert body.count(b"\ngpu_up{") == 8
        assert client.get()[0] == 401
        before = client.serial_number()
        site.authority.sign("node", "localhost")
        assert client.serial_number() != before


@pytest.mark.parametrize("command", ["gpu", "slurm"])
def test_a_wrong_file_ends_an_exporter_before_it_asks_anybody(site: Site, command: str) -> None:
    site.configure({"rate_limit": {}})
    done = subprocess.run(
        [sys.executable, "-m", "fleetward", "exporter", command, "--web-config", site.file],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"fleetward: {site.file}: rate_limit is not supported here")
    assert done.stderr.count("\n") == 1


class Fixed(Collector):
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("fixed", "Always 1.", 1)


def test_what_prometheus_client_renders_is_served_the_same_way(site: Site) -> None:
    site.configure({**site.tls(), **USERS})
    stopped, urls = threading.Event(), SimpleQueue[str]()
    gate = open_gate(site.file, site.told.append)
    serve = partial(serve_until, stopped, Fixed(), "127.0.0.1:0", "Test's", urls.put, gate)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        client = Client(urls.get(timeout=10).split("/")[2], True, site.authority.file)
        assert client.get()[0] == 401
        text, openmetrics = (
            client.get(headers={**RIGHT, "Accept": accept})
            for accept in ("text/plain", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
        )
        assert b"\nfixed 1.0\n" in text[1]
        assert b"process_cpu_seconds_total" in text[1]
        assert text[2]["Content-Type"].startswith("text/plain")
        assert openmetrics[1].endswith(b"# EOF\n")
        assert openmetrics[2]["Content-Type"].startswith("application/openmetrics-text")
        packed = client.get(headers={**RIGHT, "Accept-Encoding": "gzip"})
        assert b"\nfixed 1.0\n" in gzip.decompress(packed[1])
    finally:
        stopped.set()
        thread.join(10)
    assert not thread.is_alive()


def test_no_thread_is_left_behind(site: Site) -> None:
    before = threading.active_count()
    with site.serving(site.tls()) as client:
        assert client.get()[0] == 200
    wait_until(lambda: threading.active_count() <= before)
