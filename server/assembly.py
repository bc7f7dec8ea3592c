"""The daemon's parts put together from settings and a database; none is at work yet."""

import getpass
import logging
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from fleetward.model.guardrails import Guardrail
from fleetward.model.settings import ProvisionSettings, Settings
from fleetward.operations.node_runner import AnsibleNodeRunner
from fleetward.operations.player import AnsiblePlayer
from fleetward.operations.qualification.job_logs import JobLogs
from fleetward.runbooks.actions.ansible_play import NoPlays, Player
from fleetward.runbooks.actions.node_run import NodeRunner, NoNodes
from fleetward.runbooks.actions.registry import World, all_actions
from fleetward.runbooks.clock import SystemClock
from fleetward.runbooks.engine import Engine
from fleetward.runbooks.nodes import NodeKeeper
from fleetward.runbooks.prometheus import HttpPrometheus, Prometheus
from fleetward.server.autopilot import MOST_INCIDENTS, NOT_CLOSED, Autopilot, Hands
from fleetward.server.burn_ins import BurnInService
from fleetward.server.burner import Burner
from fleetward.server.changes import ChangeService
from fleetward.server.conductor import Baton, Conductor
from fleetward.server.declared import Declared
from fleetward.server.executor import Executor
from fleetward.server.fence import Kit
from fleetward.server.intake import Intake
from fleetward.server.look import PROMETHEUS_SECONDS, QUEUE_INTEREST, PrometheusLooker, SeenQueue, SlurmLooker
from fleetward.server.metrics import DaemonCollector, Legs, Reports
from fleetward.server.node_reports import NodeReports
from fleetward.server.node_reports import Records as ReportRecords
from fleetward.server.service import Backing, Service
from fleetward.server.shelf import Shelf
from fleetward.server.site import Site
from fleetward.server.standings import Records, Standings
from fleetward.server.watch import Asked, Interest, Source
from fleetward.slurm.backends import connect
from fleetward.slurm.client import SlurmClient
from fleetward.store.burn_ins import BurnIns
from fleetward.store.certificates import Certificates
from fleetward.store.changes import Changes
from fleetward.store.claims import Claims
from fleetward.store.database import Database
from fleetward.store.events import Events
from fleetward.store.fingerprints import Fingerprints
from fleetward.store.health_reports import HealthReports
from fleetward.store.incidents import Incidents
from fleetward.store.modes import Modes
from fleetward.store.runs import Runs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Made:
    """What was put together from settings and a database, not yet at work."""

    service: Service
    changes: ChangeService
    burn_ins: BurnInService
    intake: Intake
    autopilot: Autopilot
    burner: Burner
    executor: Executor
    sources: tuple[Source[Any], ...]
    registry: CollectorRegistry
    reports: NodeReports


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
    burn_ins, burner = _burn_ins(settings, database, out, keeper, guardrail)
    for kind in (ProcessCollector, PlatformCollector, GCCollector):
        kind(registry=registry)
    world = World(
        out.acting,
        keeper,
        out.prometheus,
        out.runner,
        out.clock,
        out.player,
        burn_ins,
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
            burn_ins.standings.recent,
        )
    )
    reports = NodeReports(ReportRecords(events, intake, Reports(registry), Fingerprints(database)), nodes)
    return Made(
        service, change_service, burn_ins, intake, autopilot, burner, executor, (slurm, gpus), registry, reports
    )


def _burn_ins(
    settings: Settings, database: Database, out: Outside, keeper: NodeKeeper, guardrail: Guardrail
) -> tuple[BurnInService, Burner]:
    """Return what answers about burn-ins, and what carries them on."""
    own = settings.qualification
    site = Site(Path(settings.provision.inventory) if settings.provision.inventory else None)
    records = Records(BurnIns(database), Certificates(database), Fingerprints(database), Claims(database))
    news = threading.Event()
    standings = Standings(records, site, own.required or None)
    service = BurnInService(records, standings, site, out.acting, keeper, own.required or None, news.set)
    kit = Kit(
        burn_ins=records.burn_ins,
        claims=records.claims,
        keeper=keeper,
        slurm=out.acting,
        site=site,
        logs=JobLogs(out.runner, own.log_folder),
        settings=own,
        user=getpass.getuser(),
        standings=standings.all,
        void_changed=standings.void_changed,
        most_lapsed=guardrail.allowed,
    )
    burner = Burner(kit, news)
    standings.kept = lambda: burner.kept
    return service, burner
