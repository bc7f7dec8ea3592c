"""The daemon from start to stop: what is made in which order, and what ends in which.

It starts by holding the database alone, then goes on with every run that is under way by the record, then listens. It
stops by no longer listening, then lets each run write down the step at hand. It may be killed at any line.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from fleetward.model.errors import ExitCode, FleetwardError
from fleetward.model.settings import Settings
from fleetward.server.app import Secrets, local_app, public_app
from fleetward.server.assembly import Made, make, outside
from fleetward.server.listen import serve, tcp_socket, unix_socket
from fleetward.server.node_tokens import read_keys
from fleetward.store.database import Database
from fleetward.store.embedded import EmbeddedPostgres

STOP_SECONDS = 6.0
"""How long runs have to write down the step at hand; with the listeners' own grace it stays below 10."""

log = logging.getLogger(__name__)


def run_daemon(settings: Settings, *, embedded: bool, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    UsageError for settings that cannot be, StoreOutOfReachError where the database does not answer, AnotherDaemonError
    (exit code 4) where another daemon works on it.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a client or a reader of the log that goes away does not end it
    with ExitStack() as stack:
        address = _address(settings, embedded, stack)
        database = Database(address)
        stack.callback(database.close)
        database.migrate()
        alone = stack.enter_context(database.hold_alone())
        made = make(settings, database, alone.ensure, outside(settings, stack))
        local = stack.enter_context(_listening(Path(settings.daemon.socket)))
        public = stack.enter_context(tcp_socket(settings.daemon.listen))
        failed = stack.enter_context(_ended_by_a_mistake())
        stopping = threading.Event()
        threads = start(made, stopping)

        def ready() -> None:
            announce(
                f"serving {settings.daemon.socket} and http://{settings.daemon.listen}, record in {database.place}"
            )
            _tell_systemd("READY=1")

        secrets = Secrets(settings.webhook_token(), read_keys(settings.node_keys(), settings.daemon.node_key_file))
        apps = (
            local_app(made.service, made.changes, made.burn_ins),
            public_app(made.service, made.intake, made.reports, secrets, made.registry),
        )
        try:
            serve(apps[0], local, apps[1], public, ready)
        finally:
            _tell_systemd("STOPPING=1")
            is_clean = stop(made, stopping, threads)
    if failed:
        raise failed[0]
    if not is_clean:
        # A step still waits for a node or for Slurm. It is reserved in the record, which is all that a kill leaves too;
        # Python would wait for its thread.
        log.warning("stopped with a step still under way; the next start looks what became of it")
        logging.shutdown()
        os._exit(ExitCode.DONE)


def start(made: Made, stopping: threading.Event) -> list[threading.Thread]:
    """Set all to work; the autopilot's first round takes up the runs that are under way."""
    work = {source.name: source.run for source in made.sources} | {
        "autopilot": made.autopilot.run,
        "burner": made.burner.run,
    }
    threads = [threading.Thread(target=run, args=(stopping,), name=name, daemon=True) for name, run in work.items()]
    for thread in threads:
        thread.start()
    return threads


def stop(made: Made, stopping: threading.Event, threads: list[threading.Thread]) -> bool:
    """Let everything come to rest; return whether it did."""
    stopping.set()
    is_clean = made.executor.stop(STOP_SECONDS)
    for source in made.sources:
        source.hurry()
    made.autopilot.hurry()
    made.burner.hurry()
    for thread in threads:
        thread.join(1)
    return is_clean


def _address(settings: Settings, embedded: bool, stack: ExitStack) -> str:
    """Return the database's address; starts one of our own where that is asked for, or none is named."""
    address = settings.database()
    if address and not embedded:
        return address
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    folder = settings.daemon.embedded_folder or Path(state) / "fleetward/postgresql"
    return stack.enter_context(EmbeddedPostgres(Path(folder))).address


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """Listen on the unix socket, and remove it at the end."""
    with unix_socket(path) as listener:
        yield listener
    path.unlink(missing_ok=True)


@contextmanager
def _ended_by_a_mistake() -> Iterator[list[BaseException]]:
    """End the daemon where one of its threads ends with an error: half a daemon would look like a whole one."""
    failed: list[BaseException] = []
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        error = args.exc_value if args.exc_value is not None else args.exc_type()
        log.critical("%s ended: %s", args.thread.name if args.thread else "a thread", error, exc_info=_shown(error))
        failed.append(error)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.excepthook = hook
    try:
        yield failed
    finally:
        threading.excepthook = before


def _shown(error: BaseException) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
    """Return what the log shows beside the sentence: nothing where the sentence is meant for a person."""
    return None if isinstance(error, FleetwardError) else (type(error), error, error.__traceback__)


def _tell_systemd(state: str) -> None:
    """Tell systemd how the daemon stands, where systemd started it (sd_notify)."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect("\0" + place[1:] if place.startswith("@") else place)
        channel.sendall(state.encode())
