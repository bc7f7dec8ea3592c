"""Who is at the other end of the unix socket: asked of the kernel, never of the request."""

import asyncio
import pwd
import socket
import struct
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_UCRED = struct.Struct("3i")  # pid, uid, gid: struct ucred of Linux


def user_of(connection: socket.socket) -> str:
    """Return the user's name behind a connection (SO_PEERCRED), or `uid-N` where the number has no name."""
    _, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


class PeerProtocol(H11Protocol):
    """HTTP over a unix socket whose ASGI scope names the user in `client`, where TCP has an address."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn itself has it
        """Take the connection and ask who made it."""
        super().connection_made(transport)
        connection: Any = transport.get_extra_info("socket")
        self.client = (user_of(connection), 0)
