"""Sum vectors over all ranks: a ring of TCP connections, reduce-scatter and then all-gather.

Each rank sends 2 (n - 1) / n of the vector, whatever the number of ranks n (Patarasuk and Yuan 2009). Every element is
added up in one fixed order and then copied, so all ranks hold the same bits, in every run of the same size.
"""

import select
import socket
import struct
import time
from types import TracebackType
from typing import Self

import numpy as np
from ends import PeerLostError
from numpy.typing import NDArray
from rendezvous import Links

HEADER = struct.Struct("!II")  # kind, length of what follows
DATA, ABORT, WAITING = 1, 2, 3
MOST_ABORT_BYTES = 2000
ABORT_SECONDS = 2.0
"""How long a rank that cannot go on waits to be told by the others what happened first."""


class Ring:
    """The connections of one rank. Used as a context manager it tells the others why this rank ends."""

    def __init__(self, rank: int, links: Links, timeout: float) -> None:
        self.nodes = links.nodes
        self._rank = rank
        self._ranks = len(links.nodes)
        self._before = links.before
        self._after = links.after
        self._timeout = timeout
        self._mid_frame = False
        for link in (links.before, links.after):
            link.setblocking(False)

    def __enter__(self) -> Self:
        """Return the ring."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections; after an error pass its reason on first."""
        if error is not None:
            reason = str(error) if isinstance(error, PeerLostError) else f"{self._name(self._rank)} ended: {error}"
            self._abort(reason)
        for link in (self._before, self._after):
            link.close()

    def all_reduce(self, vector: NDArray[np.float64]) -> None:
        """Replace `vector`, of the same length on all ranks, by its sum over them.

        Raises PeerLostError if a rank has ended or does not answer in time.
        """
        ends = [len(vector) * part // self._ranks for part in range(self._ranks + 1)]
        chunks = [vector[ends[part] : ends[part + 1]] for part in range(self._ranks)]
        for step in range(self._ranks - 1):
            mine = chunks[(self._rank - step) % self._ranks]
            theirs = chunks[(self._rank - step - 1) % self._ranks]
            theirs += np.frombuffer(self._exchange(mine.tobytes(), theirs.nbytes))
        for step in range(self._ranks - 1):
            mine = chunks[(self._rank - step + 1) % self._ranks]
            theirs = chunks[(self._rank - step) % self._ranks]
            theirs[:] = np.frombuffer(self._exchange(mine.tobytes(), theirs.nbytes))

    def broadcast(self, payload: bytes) -> bytes:
        """Return what rank 0 gave as `payload`; what others give is ignored."""
        if self._rank != 0:
            (length,) = struct.unpack("!Q", self._exchange(None, 8))
            payload = bytes(self._exchange(None, length))
        if self._rank != self._ranks - 1:
            self._exchange(struct.pack("!Q", len(payload)), None)
            self._exchange(payload, None)
        return payload

    def _exchange(self, outgoing: bytes | None, incoming: int | None) -> bytearray:
        """Send to the rank after and receive from the rank before, both at once so that none waits for another.

        `incoming` is the number of bytes expected. None sends, or receives, nothing.
        """
        out = memoryview(b"" if outgoing is None else HEADER.pack(DATA, len(outgoing)) + outgoing)
        expected = bytearray(0 if incoming is None else HEADER.size + incoming)
        into = memoryview(expected)
        checked = incoming is None
        self._mid_frame = bool(out)
        deadline = time.monotonic() + self._timeout
        while True:
            if out:
                out = out[self._send(self._after, out) :]
                self._mid_frame = bool(out)
            if into:
                into = into[self._receive(self._before, into) :]
            if not checked and len(expected) - len(into) >= HEADER.size:
                self._check_header(expected, len(expected) - len(into), incoming or 0)
                checked = True
            if not out and not into:
                return expected[HEADER.size :]
            self._wait(bool(out), bool(into), deadline)

    def _send(self, link: socket.socket, data: memoryview) -> int:
        try:
            return link.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            # The rank after this one may have ended because another did: that news comes round the ring.
            reason = self._told_reason() or f"{self._name(self._rank + 1)} ended"
            raise PeerLostError(reason) from error

    def _receive(self, link: socket.socket, into: memoryview) -> int:
        try:
            received = link.recv_into(into)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise PeerLostError(f"{self._name(self._rank - 1)} ended") from error
        if received == 0:
            raise PeerLostError(f"{self._name(self._rank - 1)} ended")
        return received

    def _wait(self, sending: bool, receiving: bool, deadline: float) -> None:
        poll = select.poll()
        if sending:
            poll.register(self._after, select.POLLOUT)
        if receiving:
            poll.register(self._before, select.POLLIN)
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            silent = self._name(self._rank - 1 if receiving else self._rank + 1)
            raise PeerLostError(self._find_silent() or f"{silent} has not answered for {self._timeout:g} s")

    def _find_silent(self, received: bytes = b"") -> str | None:
        """Return what the others say when the time is over; None where the rank before this one says nothing.

        If one rank hangs all others run out of time together. Each then says that it still lives, so that only the
        one after the rank that hangs takes its neighbour for the culprit.
        """
        if not self._mid_frame:
            try:
                self._after.send(HEADER.pack(WAITING, 0))
            except OSError:
                self._mid_frame = True  # nothing more can be sent
        return self._told_reason(received)

    def _check_header(self, frame: bytearray, received: int, expected: int) -> None:
        kind, length = HEADER.unpack_from(frame)
        if kind == ABORT:
            begun = bytes(frame[HEADER.size : min(received, HEADER.size + length)])
            raise PeerLostError(self._read_reason(begun, min(length, MOST_ABORT_BYTES)))
        if kind == WAITING:
            reason = self._find_silent(bytes(frame[:received]))
            raise PeerLostError(reason or f"{self._name(self._rank - 1)} has run out of time")
        if kind != DATA or length != expected:
            raise PeerLostError(f"{self._name(self._rank - 1)} sent {length} bytes where {expected} were expected")

    def _read_reason(self, begun: bytes, length: int) -> str:
        """Read the rest of an abort message and return its text, without control characters."""
        deadline = time.monotonic() + ABORT_SECONDS
        while len(begun) < length and (left := deadline - time.monotonic()) > 0:
            self._before.settimeout(left)
            try:
                part = self._before.recv(length - len(begun))
            except OSError:
                break
            if not part:
                break
            begun += part
        text = begun.decode(errors="replace")
        return "".join(letter if letter.isprintable() else "?" for letter in text)

    def _told_reason(self, received: bytes = b"") -> str | None:
        """Return the reason in an abort message, if one comes within ABORT_SECONDS; data is passed over.

        A neighbour that says it waits too is given as long again, to learn the reason and pass it on.
        """
        deadline = time.monotonic() + ABORT_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            while len(received) >= HEADER.size:
                kind, length = HEADER.unpack_from(received)
                if kind == ABORT:
                    return self._read_reason(received[HEADER.size :], min(length, MOST_ABORT_BYTES))
                if len(received) < HEADER.size + length:
                    break
                if kind == WAITING:
                    deadline = time.monotonic() + 2 * ABORT_SECONDS
                received = received[HEADER.size + length :]
            self._before.settimeout(left)
            try:
                part = self._before.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError:
                return None
            if not part:
                return None
            received += part
        return None

    def _abort(self, reason: str) -> None:
        if self._mid_frame:  # the message would be taken for the rest of the data
            return
        text = reason.encode()[:MOST_ABORT_BYTES]
        self._after.settimeout(ABORT_SECONDS)
        try:
            self._after.sendall(HEADER.pack(ABORT, len(text)) + text)
        except OSError:
            return  # it has ended too, and needs no telling

    def _name(self, rank: int) -> str:
        rank %= self._ranks
        return f"rank {rank} on {self.nodes[rank]}"
