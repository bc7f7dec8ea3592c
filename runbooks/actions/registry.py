"""All kinds of action, by their names on a page."""

from collections.abc import Callable
from dataclasses import dataclass, field

from fleetward.runbooks.actions.ansible_play import AnsiblePlay, NoPlays, Player
from fleetward.runbooks.actions.base import Action
from fleetward.runbooks.actions.declared import Declared, Kind
from fleetward.runbooks.actions.node_qualify import NoBurnIns, Qualifier, Qualify
from fleetward.runbooks.actions.node_reboot import Reboot
from fleetward.runbooks.actions.node_run import NodeRun, NodeRunner
from fleetward.runbooks.actions.pauses import Approve, Wait
from fleetward.runbooks.actions.prometheus_expect import Expect
from fleetward.runbooks.actions.slurm_nodes import Drain, Resume
from fleetward.runbooks.actions.slurm_requeue import Requeue
from fleetward.runbooks.actions.slurm_wait import WaitForJobs
from fleetward.runbooks.clock import Clock
from fleetward.runbooks.nodes import NodeKeeper
from fleetward.runbooks.prometheus import Prometheus
from fleetward.slurm.answers import Job
from fleetward.slurm.client import SlurmClient
from fleetward.slurm.snapshot import Part

_ALL: tuple[type[Declared], ...] = (
    Drain,
    Resume,
    Requeue,
    WaitForJobs,
    NodeRun,
    Reboot,
    Qualify,
    AnsiblePlay,
    Expect,
    Approve,
    Wait,
)


@dataclass(frozen=True, slots=True)
class World:
    """All that actions reach."""

    slurm: SlurmClient
    keeper: NodeKeeper
    prometheus: Prometheus
    node_runner: NodeRunner
    clock: Clock
    player: Player = field(default_factory=NoPlays)
    qualifier: Qualifier = field(default_factory=NoBurnIns)
    seen_jobs: Callable[[], Part[Job]] = Part
    """The jobs as a picture has them that is taken anyway, by time.monotonic; without one Slurm is asked each time."""


def kinds() -> dict[str, Kind]:
    """Return what each kind of action takes; lint needs no world."""
    return {action.declared.name: action.declared for action in _ALL}


def all_actions(world: World) -> dict[str, Action]:
    """Return every action, ready to act."""
    actions: tuple[Action, ...] = (
        Drain(world.keeper),
        Resume(world.keeper),
        Requeue(world.slurm, world.clock, world.seen_jobs),
        WaitForJobs(world.slurm, world.clock, world.seen_jobs),
        NodeRun(world.node_runner, world.clock),
        Reboot(world.node_runner, world.clock),
        Qualify(world.qualifier, world.clock),
        AnsiblePlay(world.player, world.clock),
        Expect(world.prometheus, world.clock),
        Approve(),
        Wait(world.clock),
    )
    return {action.kind: action for action in actions}
