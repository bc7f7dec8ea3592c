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
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from fleetward.model.errors import ExitCode, FleetwardError
from fleetward.model.guardrails import Guardrail
from fleetward.model.settings import ProvisionSettings, Settings
from fleetward.operations.node_runner import AnsibleNodeRunner
from fleetward.operations.player import AnsiblePlayer
from fleetward.runbooks.actions.ansible_play import NoPlays, Player
from fleetward.runbooks.actions.node_run import NodeRunner, NoNodes
from fleetward.runbooks.actions.registry import World, all_actions
from fleetward.runbooks.clock import SystemClock
from fleetward.runbooks.engine import Engine
from fleetward.runbooks.nodes import NodeKeeper
from fleetward.runbooks.prometheus import HttpPrometheus, Prometheus
from fleetward.server.app import Secrets, local_app, public_app
from fleetward.server.autopilot import MOST_INCIDENTS, NOT_CLOSED, Autopilot, Hands
from fleetward.server.changes import ChangeService
from fleetward.server.conductor import Baton, Conductor
from fleetward.server.declared import Declared
from fleetward.server.executor import Executor
from fleetward.server.intake import Intake
from fleetward.server.listen import serve, tcp_socket, unix_socket
from fleetward.server.look import PROMETHEUS_SECONDS, QUEUE_INTEREST, PrometheusLooker, SeenQueue, SlurmLooker
from fleetward.server.metrics import DaemonCollector, Legs, Reports
from fleetward.server.node_reports import NodeReports, Records
from fleetward.server.node_tokens import read_keys
from fleetward.server.service import Backing, Service
from fleetward.server.shelf import Shelf
from fleetward.server.watch import Asked, Interest, Source
from fleetward.slurm.backends import connect
from fleetward.slurm.client import SlurmClient
from fleetward.store.changes import Changes
from fleetward.store.claims import Claims
from fleetward.store.database import Database
from fleetward.store.embedded import EmbeddedPostgres
from fleetward.store.events import Events
from fleetward.store.health_reports import HealthReports
from fleetward.store.incidents import Incidents
from fleetward.store.modes import Modes
from fleetward.store.runs import Runs

STOP_SECONDS = 6.0
"""How long runs have to write down the step at hand; with the listeners' own grace it stays below 10."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Made:
    """What was put together from settings and a database, not yet at work."""

    service: Service
    changes: ChangeService
    intake: Intake
    autopilot: Autopilot
    executor: Executor
    sources: tuple[Source[Any], ...]
    registry: CollectorRegistry
    reports: NodeReports


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
            local_app(made.service, made.changes),
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


@dataclass(frozen=True)
class Outside:
    """What the daemon reaches beside its database."""

    acting: SlurmClient
    """For claims and steps; used by many threads at once."""
    looking: SlurmClient
    """For the picture; used by one."""
    prometheus: Prometheus
    runner: NodeRunner
    clock: SystemClock
    player: Player = field(default_factory=NoPlays)


def outside(settings: Settings, stack: ExitStack) -> Outside:
    """Return the ways to Slurm, Prometheus and the nodes; nothing is asked of them yet."""
    inventory = Path(settings.daemon.inventory) if settings.daemon.inventory else None
    return Outside(
        # What acts speaks through Slurm's own programs: each call is a process of its own.
        acting=stack.enter_context(connect("command-line", log.warning)),
        looking=stack.enter_context(connect(os.environ.get("FLEETWARD_SLURM_BACKEND", "auto"), log.warning)),
        prometheus=HttpPrometheus(settings.daemon.prometheus_url),
        runner=AnsibleNodeRunner(inventory) if inventory else NoNodes(),
        clock=SystemClock(),
        player=_player(settings.provision),
    )


def _player(settings: ProvisionSettings) -> Player:
    """Return what plays playbooks; the vault's password stays in its file."""
    if not settings.inventory:
        return NoPlays()
    vault = settings.vault_password_file
    return AnsiblePlayer(Path(settings.inventory), environment={"ANSIBLE_VAULT_PASSWORD_FILE": vault} if vault else {})


def make(settings: Settings, database: Database, still_alone: Callable[[], None], out: Outside) -> Made:
    """Put the parts together; none is at work yet."""
    guardrail = Guardrail(settings.guardrails.absolute, settings.guardrails.share)
    incidents, runs, claims, modes = Incidents(database), Runs(database), Claims(database), Modes(database)
    shelf = Shelf([Path(folder) for folder in settings.runbooks.folders], modes)
    keeper = NodeKeeper(out.acting, claims, guardrail, out.clock)
    declared = Declared(Path(settings.daemon.inventory) if settings.daemon.inventory else None)
    interest, queue_interest = Interest(), Interest(seconds=QUEUE_INTEREST)
    slurm = Source("slurm", SlurmLooker(out.looking, interest, queue_interest))
    gpus = Source("prometheus", Asked(PrometheusLooker(out.prometheus, interest), PROMETHEUS_SECONDS))
    registry = CollectorRegistry()
    legs = Legs(registry)
    for kind in (ProcessCollector, PlatformCollector, GCCollector):
        kind(registry=registry)
    world = World(
        out.acting,
        keeper,
        out.prometheus,
        out.runner,
        out.clock,
        out.player,
        seen_jobs=SeenQueue(slurm, queue_interest),
    )
    engine = Engine(runs, all_actions(world), out.clock, shelf.pages)
    news = threading.Event()
    executor = Executor(engine, runs, news.set)
    hands = Hands(
        incidents=incidents,
        runs=runs,
        claims=claims,
        shelf=shelf,
        executor=executor,
        keeper=keeper,
        legs=legs,
        guardrail=guardrail,
        slurm=slurm,
        declared=declared.racks,
    )
    changes = Changes(database)
    baton = Baton(changes, runs, executor, keeper, out.acting, hands.policy)
    autopilot = Autopilot(hands, Conductor(baton), still_alone, news)
    events = Events(database)
    backing = Backing(
        database, modes, events, gpus, interest, declared.racks, settings.cluster.name, settings.daemon.pages_url
    )
    service = Service(hands, backing, autopilot)
    change_service = ChangeService(baton, shelf, declared.leaves, autopilot.hurry)
    intake = Intake(incidents, HealthReports(database), shelf, autopilot, legs)

    def nodes() -> frozenset[str]:
        look = slurm.reading.value
        return frozenset(declared.racks()) | frozenset(node.name for node in (look.nodes if look else ()))

    registry.register(
        DaemonCollector(
            service.status,
            lambda: incidents.list(NOT_CLOSED, MOST_INCIDENTS),
            claims.open,
            lambda: [node.name for node in slurm.reading.value.nodes] if slurm.reading.value else [],
            changes.going,
        )
    )
    reports = NodeReports(Records(events, intake, Reports(registry)), nodes)
    return Made(service, change_service, intake, autopilot, executor, (slurm, gpus), registry, reports)


def start(made: Made, stopping: threading.Event) -> list[threading.Thread]:
    """Set all to work; the autopilot's first round takes up the runs that are under way."""
    work = {source.name: source.run for source in made.sources} | {"autopilot": made.autopilot.run}
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
