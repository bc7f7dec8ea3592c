"""Handing a report to the daemon, within a time limit that nothing on the other side can stretch."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from fleetward.exporters.daemon_link import Answer, DaemonLinkError, post, token_of
from fleetward.model.node_settings import DaemonAddress
from fleetward.node.children import begun, collect
from fleetward.node.reports import clean
from fleetward.node.results import ProbeError

POST_SECONDS = 2.0
MOST_ANSWER_BYTES = 64 * 1024


class Kind(StrEnum):
    """What is reported: the last word of the path."""

    HEALTH = "health"
    FINGERPRINT = "fingerprint"


_REFUSED = frozenset({400, 401, 403, 413})
"""By these the daemon says that it will not have this report; to ask again would not help."""
_REFUSED_OF: Mapping[Kind, frozenset[int]] = {
    # by this it may also be another program that answers: then the node may have to drain itself
    Kind.HEALTH: _REFUSED,
    Kind.FINGERPRINT: _REFUSED | {404},
}
_SIGN_OF: Mapping[Kind, tuple[str, type]] = {Kind.HEALTH: ("incidents", list), Kind.FINGERPRINT: ("changed", bool)}
"""What an answer of the daemon has in it."""


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


def send(
    address: DaemonAddress, node: str, report: bytes, within_seconds: float = POST_SECONDS, kind: Kind = Kind.HEALTH
) -> Sent:
    """Post a report, in a process of its own: the resolver of names, for one, heeds no time limit of ours."""
    if not address.url:
        return Sent(Reception.NOT_SENT)
    seconds = min(POST_SECONDS, within_seconds)
    sent = collect({"post": begun(partial(_post, address, node, report, seconds, kind), seconds)})["post"]
    return Sent(Reception.AWAY, f"{address.url}: {sent}") if isinstance(sent, ProbeError) else sent


def _post(address: DaemonAddress, node: str, report: bytes, seconds: float, kind: Kind) -> Sent:
    try:
        token = token_of(address.token_file)
    except DaemonLinkError as error:
        return Sent(Reception.REFUSED, str(error))
    try:
        return _told(post(address, token, node, kind, report, max(0.1, seconds), MOST_ANSWER_BYTES), kind)
    except DaemonLinkError as error:
        raise ProbeError(clean(str(error), 250)) from error


def _told(answer: Answer, kind: Kind) -> Sent:
    """Read an answer; one that is not the daemon's comes from something that stands in its place."""
    if answer.status in _REFUSED_OF[kind]:
        why = clean(answer.error(), 200) or "it does not say why"
        return Sent(Reception.REFUSED, f"the daemon refuses the report ({answer.status}): {why}")
    if answer.status != 200:
        raise ProbeError(f"the answer is {answer.status}")
    name, shape = _SIGN_OF[kind]
    if not isinstance(answer.document().get(name), shape):
        raise ProbeError("the answer is not the daemon's")
    return Sent(Reception.TAKEN)
