"""The words of a change: one page of the runbooks carried out on many nodes, a batch at a time.

These are also the read models that the daemon serves as JSON. Times are aware and in UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from fleetward.model.runs import RunState


class ChangeState(StrEnum):
    """Where a change stands."""

    PLANNED = "planned"
    """Waits for a person's approval; nothing was touched."""
    RUNNING = "running"
    PAUSED = "paused"
    """By a person: what is under way goes on, and no other node is begun."""
    STOPPED = "stopped"
    """By itself: more nodes are in trouble than its budget allows; what is under way goes on."""
    DONE = "done"
    """Every node has its end; not all of them need to be well."""
    ABORTED = "aborted"

    @property
    def ended(self) -> bool:
        """Whether no node will be begun any more."""
        return self in {ChangeState.DONE, ChangeState.ABORTED}


class NodeState(StrEnum):
    """Where one node of a change stands."""

    WAITING = "waiting"
    """Its turn has not come."""
    UNDER_WAY = "under_way"
    ASKS = "asks"
    """Its run has stopped and waits for a person."""
    DONE = "done"
    FAILED = "failed"
    """Its run failed, or was aborted; the change holds the node until a person says otherwise."""
    LEFT_OUT = "left_out"
    """It was not touched: somebody else had taken it out of service."""
    GIVEN_BACK = "given_back"
    """It had failed, and a person gave it back, or the change was aborted before anything but its drain was done."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self not in {NodeState.WAITING, NodeState.UNDER_WAY, NodeState.ASKS}

    @property
    def keeps_others(self) -> bool:
        """Whether the next batch waits for it; one that asks a person counts against the budget and keeps nobody."""
        return self in {NodeState.WAITING, NodeState.UNDER_WAY}

    @property
    def in_trouble(self) -> bool:
        """Whether it counts against the budget."""
        return self in {NodeState.ASKS, NodeState.FAILED}


@dataclass(frozen=True, slots=True)
class RunNow:
    """Where a node's run stands."""

    state: RunState
    why: str = ""


@dataclass(frozen=True, slots=True)
class ChangeNode:
    """One node of a change."""

    name: str
    batch: int
    """From 1; nodes of one batch are taken together."""
    state: NodeState = NodeState.WAITING
    run: int | None = None
    """The latest run of the page on this node."""
    why: str = ""
    began_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a change will cost, by what ran when it was planned, as if no other job began."""

    seconds: float | None
    """Until the last node is back; None where a job in the way has no time limit."""
    lost_gpu_hours: float
    """Of GPUs that stand empty because their node is held; what jobs use until then is not lost."""
    work_seconds: float
    """That one node was taken to need without the wait for its jobs."""
    endless: tuple[str, ...] = ()
    """Nodes with a job without a time limit; nobody knows how long those wait."""


@dataclass(frozen=True, slots=True)
class Change:
    """One page carried out on many nodes."""

    id: int
    page: str
    title: str
    params: Mapping[str, str]
    """Of the page, the node's name aside."""
    digest: str
    """SHA-256 over page, parameters, nodes, batches and budget: what an approval is of."""
    budget: int
    """How many nodes may be in trouble until no other is begun."""
    state: ChangeState
    why: str
    made_by: str
    made_at: datetime
    forecast: Forecast
    nodes: tuple[ChangeNode, ...] = ()
    """Batch by batch."""
    approved_by: str = ""
    approved_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def owner(self) -> str:
        """Who owns its claims."""
        return f"c{self.id}"

    @property
    def batch(self) -> int:
        """The batch at hand: the first whose nodes keep others; one past the last where none does."""
        return next((node.batch for node in self.nodes if node.state.keeps_others), self.batches + 1)

    @property
    def batches(self) -> int:
        """How many batches there are."""
        return max((node.batch for node in self.nodes), default=0)

    @property
    def in_trouble(self) -> tuple[ChangeNode, ...]:
        """The nodes that count against the budget."""
        return tuple(node for node in self.nodes if node.state.in_trouble)


@dataclass(frozen=True, slots=True)
class ChangeEntry:
    """One thing that was said or done about a change; entries are only ever added."""

    at: datetime
    who: str
    text: str


@dataclass(frozen=True, slots=True)
class ChangeView:
    """A change with all that belongs to it."""

    change: Change
    history: tuple[ChangeEntry, ...]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A node that was asked for and is no part of the plan."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """A change that was planned just now, and what was left out of it."""

    change: Change
    left_out: tuple[LeftOut, ...] = field(default=())
