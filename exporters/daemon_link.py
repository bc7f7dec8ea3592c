"""What a program on a node needs to speak to the daemon: the node's token, and a connection that ends in time.

A time limit of a socket begins anew with each piece that comes; here one limit holds for all of an exchange. Only the
resolver of names heeds none: who must not wait for it asks in a process of its own. Redirects and proxies are not
followed, so that the token goes to nobody else.
"""

import contextlib
import http.client
import io
import json
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from fleetward.model.errors import OutOfReachError
from fleetward.model.node_settings import DaemonAddress

if TYPE_CHECKING:
    import ssl

    from _typeshed import WriteableBuffer

LONGEST_TOKEN = 1024
MOST_READ_BYTES = 1024 * 1024
"""Of an answer with all its headers; whoever sends more is no daemon."""
PIECE_BYTES = 16 * 1024
_TOKEN = re.compile(rf"[A-Za-z0-9._~+/=-]{{1,{LONGEST_TOKEN}}}")


class DaemonLinkError(OutOfReachError):
    """The daemon cannot be asked, or gave no answer; the text never tells the token."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer over HTTP, whoever gave it."""

    status: int
    body: bytes
    """Empty where it was longer than was to be read."""

    def document(self) -> Mapping[str, object]:
        """Return the body as a JSON object; an empty one where it is something else."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}

    def error(self) -> str:
        """Return the sentence by which the daemon refuses; empty where the body has none: it is another's."""
        said = self.document().get("error")
        return said if isinstance(said, str) else ""


def token_of(file: Path | None) -> str:
    """Return the node's token as its file has it now; DaemonLinkError where there is none."""
    if file is None:
        raise DaemonLinkError("the settings name a daemon and no token_file: the node cannot report")
    try:
        with file.open("rb") as opened:
            token = opened.read(LONGEST_TOKEN + 2).decode("ascii", "replace").strip()
    except OSError as error:
        raise DaemonLinkError(f"the node's token {file} cannot be read: {error.strerror}") from error
    if not _TOKEN.fullmatch(token):
        raise DaemonLinkError(f"{file} holds no token: it is one word of letters and digits")
    return token


def post(
    address: DaemonAddress, token: str, node: str, what: str, body: bytes, seconds: float, most_bytes: int
) -> Answer:
    """Post JSON as a node, `what` being the last word of its path; `most_bytes` of the answer's body are read.

    Raises DaemonLinkError where no answer came within so many seconds, or what came is no HTTP.
    """
    path = f"{urlsplit(address.url).path}/v1/nodes/{quote(node, safe='')}/{what}"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Connection": "close"}
    with contextlib.closing(connection_to(address, seconds)) as connection:
        try:
            try:
                connection.request("POST", path, body, headers)
            except (BrokenPipeError, ConnectionResetError):
                if connection.sock is None:
                    raise
                # who refuses a post need not read all of it, and may have said so before it hung up
            with connection.getresponse() as answer:
                read = answer.read(most_bytes + 1)
                return Answer(answer.status, read if len(read) <= most_bytes else b"")
        except (OSError, http.client.HTTPException, ValueError) as error:
            said = str(error).replace(token, "(the token)")  # it may quote an answer that quotes the request
            raise DaemonLinkError(f"{type(error).__name__}: {said[:200]}") from error


def connection_to(address: DaemonAddress, seconds: float) -> http.client.HTTPConnection:
    """Return a connection for one request, all of which must be over within so many seconds from now.

    Raises DaemonLinkError where there is no daemon, or the certificates to check it by cannot be read.
    """
    parts = urlsplit(address.url)
    if not parts.hostname:
        raise DaemonLinkError("the settings name no daemon")
    if parts.scheme == "http":
        return _Connection(parts.hostname, parts.port, seconds)
    import ssl

    try:
        context = ssl.create_default_context(cafile=address.ca_file and str(address.ca_file))
    except OSError as error:  # also ssl.SSLError
        raise DaemonLinkError(f"{address.ca_file} cannot be read as certificates in PEM: {error}") from error
    return _TlsConnection(parts.hostname, parts.port, seconds, context)


class _Connection(http.client.HTTPConnection):
    """Is over at its time, whatever the other side does."""

    def __init__(self, host: str, port: int | None, seconds: float) -> None:
        # with a port of its own, http.client does not look for one in an IPv6 address
        super().__init__(host, port or self.default_port, timeout=seconds)
        self._seconds = seconds
        self._until = time.monotonic() + seconds

    def connect(self) -> None:
        """Connect to the first of the host's addresses that lets us; each has an equal share of the time left."""
        places = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        failed: OSError = OSError(f"{self.host} has no address")
        for tried, (family, kind, protocol, _, place) in enumerate(places):
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(self._left() / (len(places) - tried))
                connection.connect(place)
            except OSError as error:
                connection.close()
                failed = error
            else:
                self.sock = connection
                return
        raise failed

    def send(self, data: object) -> None:
        """Send bytes, in pieces that must all be gone in time."""
        if not isinstance(data, bytes):
            raise TypeError(f"a request is bytes, not {type(data).__name__}")
        if self.sock is None:
            self.connect()
        for begin in range(0, len(data), PIECE_BYTES):
            self._hurry()
            self.sock.sendall(memoryview(data)[begin : begin + PIECE_BYTES])

    def getresponse(self) -> http.client.HTTPResponse:
        """Return the answer, each piece of which must come in time."""
        answer = http.client.HTTPResponse(self.sock, method="POST")
        answer.fp = io.BufferedReader(_InTime(answer.fp.detach(), self._hurry))
        try:
            answer.begin()
        except BaseException:
            answer.close()
            raise
        return answer

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no answer within {self._seconds:.3g} s")
        return left

    def _hurry(self) -> None:
        self.sock.settimeout(self._left())


class _TlsConnection(_Connection):
    """The same, encrypted, to one who shows the right certificate."""

    default_port = http.client.HTTPS_PORT

    def __init__(self, host: str, port: int | None, seconds: float, context: "ssl.SSLContext") -> None:
        super().__init__(host, port, seconds)
        self._context = context

    def connect(self) -> None:
        """Connect, and agree on TLS."""
        super().connect()
        self._hurry()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)


class _InTime(io.RawIOBase):
    """What comes in on a socket; `hurry` is called before each read, and gives it the time that is left."""

    def __init__(self, raw: io.RawIOBase, hurry: Callable[[], None]) -> None:
        self._raw = raw
        self._hurry = hurry
        self._room = MOST_READ_BYTES

    def readable(self) -> bool:
        """Say that this can be read."""
        return True

    def readinto(self, into: "WriteableBuffer", /) -> int | None:
        """Read what is there; raises http.client.HTTPException where it is more than an answer may have."""
        self._hurry()
        count = self._raw.readinto(into)
        self._room -= count or 0
        if self._room < 0:
            raise http.client.HTTPException(f"the answer is longer than {MOST_READ_BYTES} bytes")
        return count

    def close(self) -> None:
        """Close the socket with it."""
        self._raw.close()
        super().close()
