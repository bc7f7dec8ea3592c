"""The words of a runbook's run: what it was asked to do, how far it is, and what each step left behind.

These are also the read models that the daemon serves as JSON. Times are aware and in UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Mode(StrEnum):
    """How far the daemon goes by itself with a page."""

    OBSERVE = "observe"
    """The incident is opened, the run is planned and never begun."""
    PROPOSE = "propose"
    """A person approves."""
    AUTO = "auto"
    """Begun by itself, inside the guardrails."""


class RunState(StrEnum):
    """Where a run stands."""

    PLANNED = "planned"
    """Only written down: the page's mode is observe."""
    PROPOSED = "proposed"
    """Waits for a person's approval before its first step."""
    RUNNING = "running"
    WAITING = "waiting"
    """For time, for Prometheus, or for an `approve` step; `why` says for what."""
    STOPPED = "stopped"
    """Asks a person: it cannot tell whether a step was done, a guardrail refused, or the page has changed."""
    DONE = "done"
    FAILED = "failed"
    ABORTED = "aborted"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the run."""
        return self in {RunState.DONE, RunState.FAILED, RunState.ABORTED}


class StepState(StrEnum):
    """Where one step stands."""

    PENDING = "pending"
    RESERVED = "reserved"
    """Written down before it acts; after a crash its action is asked what it sees."""
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It was reserved when the daemon died, and its action cannot tell whether it was done."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run, with its arguments as they will be used: no placeholder is left in them."""

    index: int
    name: str
    section: str
    """The page's heading above it, such as `Mitigation`."""
    action: str
    """Kind of action, such as `slurm.drain`."""
    arguments: Mapping[str, object]
    state: StepState = StepState.PENDING
    before: Mapping[str, object] = field(default_factory=dict)
    """What the action read before it acted; kept with the reservation for a look after a crash."""
    outcome: Mapping[str, object] = field(default_factory=dict)
    output: str = ""
    """What a person wants to see of it; grows while it runs."""
    why: str = ""
    """Why it waits, failed or is unknown."""
    attempts: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one page with its parameters, pinned by digest when it was planned."""

    id: int
    runbook: str
    title: str
    incident: int | None
    params: Mapping[str, str]
    digest: str
    """SHA-256 over page, parameters and policy: an approval names it, so that nobody approves what they did not see."""
    mode: Mode
    state: RunState
    why: str
    """Why it waits, stopped or failed."""
    asked_by: str
    asked_at: datetime
    approved_by: str = ""
    approved_at: datetime | None = None
    ended_at: datetime | None = None
    steps: tuple[Step, ...] = ()
    blast: str = "node"
    """What it may take out: none, gpu, node, or fleet."""
    change: int | None = None
    """The change that it is a part of."""

    @property
    def owner(self) -> str:
        """Who owns what this run claims: its incident or change, or the run itself where it has neither."""
        if self.incident is not None:
            return f"i{self.incident}"
        return f"r{self.id}" if self.change is None else f"c{self.change}"
