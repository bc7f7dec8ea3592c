"""Handing a report to the daemon, within a time limit that nothing on the other side can stretch."""

import http.client
import json
import re
import ssl
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

from fleetward.model.node_settings import DaemonAddress
from fleetward.node.children import begun, collect
from fleetward.node.reports import clean
from fleetward.node.results import ProbeError

POST_SECONDS = 2.0
MOST_ANSWER_BYTES = 64 * 1024
LONGEST_TOKEN = 1024
_TOKEN = re.compile(rf"[A-Za-z0-9._~+/=-]{{1,{LONGEST_TOKEN}}}")
_REFUSED = frozenset({400, 401, 403, 413})
"""By these the daemon says that it will not have this report; to ask again would not help."""


class Reception(StrEnum):
    """What became of a report."""

    NOT_SENT = "no daemon is configured"
    TAKEN = "the daemon took it"
    REFUSED = "the daemon refused it"
    """It is there, and so it is the one that decides; what is wrong is to be mended by a person."""
    AWAY = "the daemon is out of reach"


@dataclass(frozen=True)
class Sent:
    """What became of a report, and what is wrong where it was not taken."""

    reception: Reception
    why: str = ""


def send(address: DaemonAddress, node: str, report: bytes, within_seconds: float = POST_SECONDS) -> Sent:
    """Post a report, in a process of its own: the resolver of names, for one, heeds no time limit of ours."""
    if not address.url:
        return Sent(Reception.NOT_SENT)
    seconds = min(POST_SECONDS, within_seconds)
    sent = collect({"post": begun(partial(_post, address, node, report, seconds), seconds)})["post"]
    return Sent(Reception.AWAY, f"{address.url}: {sent}") if isinstance(sent, ProbeError) else sent


def _post(address: DaemonAddress, node: str, report: bytes, seconds: float) -> Sent:
    try:
        token = _token(address.token_file)
    except ProbeError as error:
        return Sent(Reception.REFUSED, str(error))
    try:
        connection = _connection(address, max(0.1, seconds))
        path = f"{urlsplit(address.url).path}/v1/nodes/{quote(node, safe='')}/health"
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Connection": "close"}
        connection.request("POST", path, report, headers)
        answer = connection.getresponse()
        return _told(answer.status, answer.read(MOST_ANSWER_BYTES + 1))
    except (OSError, http.client.HTTPException) as error:
        raise ProbeError(f"{type(error).__name__}: {clean(str(error), 200)}") from error


def _connection(address: DaemonAddress, seconds: float) -> http.client.HTTPConnection:
    parts = urlsplit(address.url)
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=seconds)
    context = ssl.create_default_context(cafile=address.ca_file and str(address.ca_file))
    return http.client.HTTPSConnection(host, parts.port, timeout=seconds, context=context)


def _told(status: int, answer: bytes) -> Sent:
    """Read an answer; one that is not the daemon's comes from something that stands in its place."""
    if status in _REFUSED:
        return Sent(Reception.REFUSED, f"the daemon refuses the report ({status}): {_error(answer)}")
    if status != 200:
        raise ProbeError(f"the answer is {status}")
    document = _object(answer)
    if len(answer) > MOST_ANSWER_BYTES or not isinstance(document.get("incidents"), list):
        raise ProbeError("the answer is not the daemon's")
    return Sent(Reception.TAKEN)


def _error(answer: bytes) -> str:
    said = _object(answer).get("error")
    return clean(said, 200) if isinstance(said, str) else "it does not say why"


def _object(answer: bytes) -> dict[str, object]:
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _token(file: Path | None) -> str:
    """Return the node's token; no error tells it, or a part of it."""
    if file is None:
        raise ProbeError("the settings name a daemon and no token_file: the node cannot report")
    try:
        with file.open("rb") as opened:
            token = opened.read(LONGEST_TOKEN + 2).decode("ascii", "replace").strip()
    except OSError as error:
        raise ProbeError(f"the node's token {file} cannot be read: {error.strerror}") from error
    if not _TOKEN.fullmatch(token):
        raise ProbeError(f"{file} holds no token: it is one word of letters and digits")
    return token
