"""Ranks find each other: all report to rank 0 on the first node, and learn where the others listen.

Nothing but the first node's name has to resolve. The port follows from the job, its step and its restart count, so
that a requeued job never meets the ranks of its earlier attempt.
"""

import hashlib
import json
import socket
import struct
import time
from dataclasses import dataclass

from allocation import Allocation
from ends import PeerLostError, RankError

HELLO = struct.Struct("!16sIII")  # token, rank, port, length of the node's name, which follows
LENGTH = struct.Struct("!I")
MOST_BYTES = 1 << 20
"""No message of the rendezvous is longer; what claims to be was sent by something else."""
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 10.0
"""Rank 0 may be slow to answer: many ranks that start at once share its processor."""
RETRY_SECONDS = 0.2
PORTS = range(20000, 32000)  # below Linux' ephemeral ports
CANDIDATES = 8


class StrangerError(Exception):
    """What connected, or answered, is not of this job step."""


@dataclass(frozen=True)
class Peer:
    """Where a rank listens; an empty address stands for the node of rank 0."""

    node: str
    address: str
    port: int


@dataclass(frozen=True)
class Links:
    """A rank's connections in the ring, and the node of each rank."""

    before: socket.socket
    after: socket.socket
    nodes: tuple[str, ...]


def connect_ring(place: Allocation, timeout: float) -> Links:
    """Connect to the rank before and the rank after this one; all must arrive within `timeout` seconds.

    Raises PeerLostError where some do not.
    """
    if place.ranks == 1:
        return Links(*socket.socketpair(), (place.node,))
    deadline = time.monotonic() + timeout
    with socket.create_server(("", 0)) as listener:
        port = listener.getsockname()[1]
        meet = _gather if place.rank == 0 else _report
        peers = meet(place, port, deadline)
        following = (place.rank + 1) % place.ranks
        after = _dial(place, peers[following], following, deadline)
        before = _accept_previous(place, listener, deadline)
    for link in (before, after):
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Links(before, after, tuple(peer.node for peer in peers))


def token(place: Allocation) -> bytes:
    """Return 16 bytes that only the ranks of this attempt at this step share."""
    identity = f"{place.job} {place.step} {place.restarts} {place.ranks} {place.first_node}"
    return hashlib.sha256(identity.encode()).digest()[:16]


def candidate_ports(place: Allocation) -> list[int]:
    """Return the ports that rank 0 may listen on, in the order in which they are tried."""
    start = int.from_bytes(token(place)[:8], "big")
    return [PORTS[(start + number) % len(PORTS)] for number in range(CANDIDATES)]


def _gather(place: Allocation, port: int, deadline: float) -> list[Peer]:
    """Be rank 0: wait for all others, then tell each of them where everyone listens."""
    peers = {0: Peer(place.node, "", port)}
    links: dict[int, socket.socket] = {}
    try:
        with _listen(place) as server:
            server.settimeout(RETRY_SECONDS)
            while len(peers) < place.ranks:
                _check_arrived(links, peers)
                missing = sorted(set(range(place.ranks)) - set(peers))
                if time.monotonic() > deadline:
                    raise PeerLostError(f"ranks {', '.join(map(str, missing))} did not arrive in time")
                try:
                    link, address = server.accept()
                except TimeoutError:
                    continue
                try:
                    rank, name, its_port = _read_hello(place, link)
                    link.sendall(token(place))
                except (StrangerError, OSError):
                    link.close()
                    continue
                local = address[0].startswith("127.")
                peers[rank] = Peer(name, "" if local else address[0], its_port)
                link.setblocking(False)
                if rank in links:
                    links[rank].close()
                links[rank] = link
        everyone = [peers[rank] for rank in range(place.ranks)]
        table = json.dumps([[peer.node, peer.address, peer.port] for peer in everyone]).encode()
        for rank, link in links.items():
            link.settimeout(CONNECT_SECONDS)
            try:
                link.sendall(LENGTH.pack(len(table)) + table)
            except OSError as error:
                raise PeerLostError(_ended_early(rank, peers[rank])) from error
    finally:
        for link in links.values():
            link.close()
    return everyone


def _listen(place: Allocation) -> socket.socket:
    for port in candidate_ports(place):
        try:
            return socket.create_server(("", port), backlog=place.ranks)
        except OSError:
            continue  # taken by another program
    raise RankError(f"ports {candidate_ports(place)} of {place.node} are all taken: requeue the job")


def _check_arrived(links: dict[int, socket.socket], peers: dict[int, Peer]) -> None:
    """Raise PeerLostError if a rank has ended while it waited for the others."""
    for rank, link in links.items():
        try:
            gone = link.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            continue
        except OSError:
            gone = True
        if gone:
            raise PeerLostError(_ended_early(rank, peers[rank]))


def _ended_early(rank: int, peer: Peer) -> str:
    return f"rank {rank} on {peer.node} ended before all ranks had met"


def _report(place: Allocation, port: int, deadline: float) -> list[Peer]:
    """Be another rank: tell rank 0 where this one listens, and wait for the table."""
    problem = "no answer yet"
    while time.monotonic() < deadline:
        for candidate in candidate_ports(place):
            try:
                link = socket.create_connection((place.first_node, candidate), CONNECT_SECONDS)
            except OSError as error:
                problem = str(error)
                continue
            with link:
                try:
                    link.settimeout(ANSWER_SECONDS)
                    _send_hello(place, link, port)
                    _read_answer(place, link)
                except (StrangerError, OSError) as error:
                    problem = str(error)
                    continue
                return _read_table(place, link, deadline)
        time.sleep(RETRY_SECONDS)
    raise PeerLostError(f"rank 0 on {place.first_node} was not found in time: {problem}")


def _read_table(place: Allocation, link: socket.socket, deadline: float) -> list[Peer]:
    link.settimeout(max(deadline - time.monotonic(), 0) + CONNECT_SECONDS)  # so that rank 0 gives up first
    try:
        (length,) = LENGTH.unpack(_read(link, LENGTH.size))
        rows = json.loads(_read(link, min(length, MOST_BYTES)))
        peers = [Peer(str(node), str(address), int(port)) for node, address, port in rows]
    except (StrangerError, OSError, ValueError) as error:
        raise PeerLostError(f"rank 0 on {place.first_node} ended before all ranks had met") from error
    return peers


def _dial(place: Allocation, peer: Peer, rank: int, deadline: float) -> socket.socket:
    """Connect to the rank after this one and say who calls."""
    try:
        seconds = max(deadline - time.monotonic(), CONNECT_SECONDS)
        link = socket.create_connection((peer.address or place.first_node, peer.port), seconds)
        _send_hello(place, link, 0)
    except OSError as error:
        raise PeerLostError(f"rank {rank} on {peer.node} cannot be reached: {error}") from error
    return link


def _accept_previous(place: Allocation, listener: socket.socket, deadline: float) -> socket.socket:
    """Wait for the call of the rank before this one; anything else that calls is turned away."""
    previous = (place.rank - 1) % place.ranks
    while (left := deadline - time.monotonic()) > 0:
        listener.settimeout(left)
        try:
            link, _ = listener.accept()
        except TimeoutError:
            break
        try:
            rank, _, _ = _read_hello(place, link)
        except (StrangerError, OSError):
            rank = -1
        if rank == previous:
            return link
        link.close()
    raise PeerLostError(f"rank {previous} did not connect in time")


def _send_hello(place: Allocation, link: socket.socket, port: int) -> None:
    name = place.node.encode()
    link.sendall(HELLO.pack(token(place), place.rank, port, len(name)) + name)


def _read_hello(place: Allocation, link: socket.socket) -> tuple[int, str, int]:
    """Return rank, node and port of who calls. Raises StrangerError if it is not of this step."""
    link.settimeout(CONNECT_SECONDS)
    its_token, rank, port, length = HELLO.unpack(_read(link, HELLO.size))
    if its_token != token(place) or rank >= place.ranks or length > 255:
        raise StrangerError("the caller is not of this job step")
    return rank, _read(link, length).decode(errors="replace"), port


def _read_answer(place: Allocation, link: socket.socket) -> None:
    if _read(link, 16) != token(place):
        raise StrangerError(f"another program listens on {place.first_node}")


def _read(link: socket.socket, length: int) -> bytes:
    """Read exactly `length` bytes. Raises StrangerError if the other end closes first."""
    parts = b""
    while len(parts) < length:
        part = link.recv(length - len(parts))
        if not part:
            raise StrangerError("the connection was closed")
        parts += part
    return parts
