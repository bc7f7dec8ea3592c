"""The daemon's two listeners in one event loop: the unix socket for people, and the TCP port."""

import asyncio
import contextlib
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from fleetward.model.errors import FleetwardError, RefusedError, UsageError
from fleetward.server.peer import PeerProtocol

GRACE_SECONDS = 3
"""How long answers under way may take once the daemon stops."""
SOCKET_MODE = 0o660
BACKLOG = 128


class _Server(uvicorn.Server):
    """A server that leaves signals to the daemon: there are two of them, and more to stop than them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def unix_socket(path: Path) -> socket.socket:
    """Return a listening unix socket that its owner and group may use.

    RefusedError where another daemon listens there; what a dead one left is replaced.
    """
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is no folder: make it, or name another socket with FLEETWARD_DAEMON_SOCKET")
    _remove_dead(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # nobody else may connect between bind and chmod
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise FleetwardError(f"cannot listen on {path}: {error.strerror or error}") from error
    finally:
        os.umask(before)
    path.chmod(SOCKET_MODE)
    listener.listen(BACKLOG)
    return listener


def _remove_dead(path: Path) -> None:
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise UsageError(f"{path} is there and is no socket: remove it, or name another")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
        else:
            raise RefusedError(f"another daemon listens on {path}: stop it, or name another socket for this one")


def tcp_socket(listen: str) -> socket.socket:
    """Return a listening socket for `ADDRESS:PORT`; FleetwardError where it cannot be had."""
    host, _, port = listen.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        listener = socket.socket(found[0], socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found[4])
    except (OSError, OverflowError) as error:
        raise FleetwardError(f"cannot listen on {listen}: {error}; change daemon.listen in the settings") from error
    listener.listen(BACKLOG)
    return listener


def serve(
    local: Starlette,
    local_socket: socket.socket,
    public: Starlette,
    public_socket: socket.socket,
    ready: Callable[[], None],
) -> None:
    """Serve both until SIGTERM or SIGINT; call it from the main thread. `ready` is called once both answer."""
    asyncio.run(_serve(local, local_socket, public, public_socket, ready))


async def _serve(
    local: Starlette,
    local_socket: socket.socket,
    public: Starlette,
    public_socket: socket.socket,
    ready: Callable[[], None],
) -> None:
    servers = (_Server(_config(local, http=PeerProtocol)), _Server(_config(public)))

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    sockets = ([local_socket], [public_socket])
    tasks = [asyncio.create_task(server.serve(sockets=one)) for server, one in zip(servers, sockets, strict=True)]
    while not all(server.started for server in servers):
        if any(task.done() for task in tasks):
            break
        await asyncio.sleep(0.01)
    else:
        ready()
    await asyncio.gather(*tasks)


def _config(app: Starlette, http: type[asyncio.Protocol] | str = "h11") -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=http,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        # A header must never say who asks.
        proxy_headers=False,
        server_header=False,
        limit_concurrency=256,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
