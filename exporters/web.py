"""The HTTP server of all exporters: one page at /metrics, each connection in a thread of its own."""

import gzip
import http.client
import io
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fleetward.exporters.listening import parse_listen
from fleetward.model.errors import FleetwardError

if TYPE_CHECKING:
    from fleetward.exporters.web_gate import Gate

Page = Callable[[str], tuple[str, bytes]]
"""Makes the page of now for a client that accepts such types (`Accept`): the type of it, and the page itself."""

WAITING_CONNECTIONS = 256
MOST_CONNECTIONS = 512
"""At once; who comes on top is turned away, so that no client takes all of a node's memory."""
MOST_HEADER_BYTES = 16384
"""Of one request, all its headers together."""
IDLE_SECONDS = 120.0
"""How long a client may say nothing on a connection that is kept."""
_PLAIN = "text/plain; charset=utf-8"


class WebServer(socketserver.ThreadingTCPServer):
    """Serves a page; answers are made in a thread of the connection's own, and so is TLS agreed on."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = WAITING_CONNECTIONS

    def __init__(self, listen: str, whose: str, page: Page, gate: "Gate | None" = None, *, packs: bool = False) -> None:
        """Listen on `ADDRESS:PORT`; `whose` metrics they are is told to people, `packs` is whether pages are gzipped.

        Raises FleetwardError where the address cannot be had.
        """
        self.whose, self.page, self.gate, self.packs = whose, page, gate, packs
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        address, port = parse_listen(listen)
        self._host = f"[{address}]" if ":" in address else address
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            super().__init__((address, port), _Handler)
        except OSError as error:
            raise FleetwardError(
                f"cannot listen on {listen}: {error.strerror or error}. Is another exporter running there? "
                "Choose another address with --listen."
            ) from error

    @property
    def url(self) -> str:
        """Return where the page is."""
        scheme = self.gate.scheme if self.gate else "http"
        return f"{scheme}://{self._host}:{self.server_address[1]}/metrics"

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  as socketserver has it
        """Start a thread for a connection where there is room for one."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread is to be had: this connection is lost, the next may not be
            self._free.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  as socketserver has it
        """Do all there is to do for a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  as socketserver has it
        """Let a client in, and answer it."""
        if self.gate is None:
            super().finish_request(request, client_address)
            return
        entered = self.gate.enter(request)
        if entered is None:
            return
        try:
            super().finish_request(entered, client_address)
        finally:
            self.gate.leave(entered)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  as socketserver has it
        """Say nothing of a connection that broke: that is the client's affair."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def open_gate(file: Path | None, tell: Callable[[str], None]) -> "Gate | None":
    """Return who may see a page, by the file of `--web-config`; None, for everybody, where there is none.

    Raises UsageError where the file is wrong. `tell` gets a sentence for the log.
    """
    if file is None:
        return None
    from fleetward.exporters.web_gate import Gate

    return Gate(file, tell)


@contextmanager
def serving(server: WebServer) -> Iterator[str]:
    """Answer in a thread for as long as the block lasts, and give it the page's URL."""
    thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Serves `/metrics` to who may see it."""

    protocol_version = "HTTP/1.1"
    server_version = "fleetward"
    timeout = IDLE_SECONDS
    wbufsize: ClassVar[int] = 65536
    disable_nagle_algorithm = True  # TLS sends a page in pieces, and none waits for the client to have the one before
    server: WebServer

    def parse_request(self) -> bool:
        """Read a request's headers; False where they are wrong, and the client has been told."""
        rest, self.rfile = self.rfile, _Headers(self.rfile)
        try:
            return super().parse_request()
        finally:
            self.rfile = rest

    def do_GET(self) -> None:
        """Answer one request."""
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # what comes with a request is not read, and is not the next one
        gate = self.server.gate
        path = self.path.partition("?")[0]
        if gate is not None and not gate.allow(self.headers.get("Authorization")):
            self._answer(HTTPStatus.UNAUTHORIZED, _PLAIN, b"A user's name and password are asked for here\n")
        elif path == "/metrics":
            self._answer_page()
        elif path == "/":
            self._answer(HTTPStatus.OK, _PLAIN, f"{self.server.whose} metrics are at /metrics\n".encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, _PLAIN, b"There is only /metrics here\n")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a scrape every few seconds is no news."""

    def end_headers(self) -> None:
        """Add what goes with each answer."""
        if self.server.gate is not None:
            for name, value in self.server.gate.headers().items():
                self.send_header(name, value)
        super().end_headers()

    def _answer_page(self) -> None:
        kind, body = self.server.page(self.headers.get("Accept", ""))
        packed = self.server.packs and "gzip" in self.headers.get("Accept-Encoding", "")
        self._answer(HTTPStatus.OK, kind, gzip.compress(body) if packed else body, packed=packed)

    def _answer(self, status: HTTPStatus, kind: str, body: bytes, *, packed: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if packed:
            self.send_header("Content-Encoding", "gzip")
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Basic")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Headers(io.BufferedIOBase):
    """A request's headers as they come in, up to a length."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self._left = MOST_HEADER_BYTES

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line; raises http.client.HTTPException where they are too long together."""
        line = self._file.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise http.client.HTTPException(f"they may have {MOST_HEADER_BYTES} bytes together")
        return line
