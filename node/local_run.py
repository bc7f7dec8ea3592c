"""The local part of a run: a node drains itself, and undoes that; each write to Slurm stands between two looks."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from fleetward.model.node_settings import LocalDrain
from fleetward.node import local_drain as rules
from fleetward.node.local_drain import LocalState, OwnDrain, Standing
from fleetward.node.local_slurm import LocalSlurm
from fleetward.node.local_state import StateError, StateFolder
from fleetward.node.results import Finding, ProbeError

SETTLE_SECONDS = 1.1
"""After a write: then whatever comes later has a later second in Slurm's record."""


@dataclass(frozen=True)
class Outcome:
    """What the local part came to."""

    drained_for: str = ""
    """The check for which the node holds itself out of service now."""
    notes: tuple[str, ...] = ()
    """What was done, and what could not be."""


class LocalRun:
    """One run of it, by a caller who holds the state."""

    def __init__(
        self,
        node: str,
        settings: LocalDrain,
        slurm: LocalSlurm,
        states: StateFolder,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Begin with what was kept of the runs before."""
        self._node = node
        self._settings = settings
        self._slurm = slurm
        self._states = states
        self._sleep = sleep
        self._notes: list[str] = []
        self._state = self._kept()
        self._holds = False

    def after(self, findings: Iterable[Finding], now: float, *, alone: bool) -> Outcome:
        """Do what follows from the findings; only where the node is alone, without a daemon, it may drain itself."""
        own = (self._state.drain.check,) if self._state.drain else ()
        told = rules.standings(findings, (*self._settings.checks, *own))
        standing = {check: one for check, (one, _) in told.items()}
        try:
            if told:
                self._keep(rules.counted(self._state, standing, now))
            if self._state.drain is not None:
                self._look_after(self._state.drain, standing, now)
            check = rules.to_drain_for(self._state, standing, self._settings) if alone else ""
            if check:
                self._drain(check, told[check][1], now)
        except (ProbeError, StateError) as error:
            self._notes.append(str(error))
        drain = self._state.drain
        return Outcome(drain.check if drain and self._holds else "", tuple(self._notes))

    def _kept(self) -> LocalState:
        try:
            return self._states.read()
        except StateError as error:
            self._notes.append(str(error))
            return LocalState()

    def _keep(self, state: LocalState) -> None:
        self._states.keep(state)
        self._state = state

    def _look_after(self, drain: OwnDrain, standing: Mapping[str, Standing], now: float) -> None:
        """See to the drain that this node wrote: forget it, count again, or undo it."""
        self._holds = True  # unless Slurm says otherwise
        mine = self._slurm.node(self._node)
        self._holds = rules.is_own(mine, drain)
        if rules.is_gone(mine, drain, now):
            # What was in force is to be found anew: whoever ended it wants the node in service.
            seen = self._state.begun_anew(drain.check) if drain.settled else self._state
            self._keep(replace(seen, drain=None))
            self._notes.append(f"the drain for {drain.check} is not this node's any more: somebody ended or renamed it")
        elif not self._holds:
            return
        elif not drain.settled:
            self._settle(drain)
        elif rules.may_resume(self._state, standing, self._settings):
            self._undo(drain, "the check passes again")

    def _drain(self, check: str, why: str, now: float) -> None:
        fleet = self._slurm.fleet()
        if self._node not in fleet:
            raise ProbeError(f"Slurm knows no node {self._node}: say in the settings as which it knows this one")
        if not fleet[self._node].is_in_service:
            return
        if not rules.has_room(fleet, self._node, self._settings):
            most = rules.allowed(fleet, self._settings)
            self._notes.append(f"{check}: not drained, {most} of {len(fleet)} nodes have drained themselves already")
            return
        if not self._slurm.node(self._node).is_in_service:  # somebody was faster
            return
        drain = OwnDrain(check, rules.reason_of(check, why), now)
        self._keep(replace(self._state, drain=drain))  # before the write: a drain that nobody remembers would stay
        self._slurm.drain(self._node, drain.reason)
        self._holds = True
        self._notes.append(f"drained: {drain.reason}")
        self._sleep(SETTLE_SECONDS)
        self._settle(drain)

    def _settle(self, drain: OwnDrain) -> None:
        """Look whether there was room for the drain, and undo it where there was not."""
        fleet = self._slurm.fleet()
        if self._node not in fleet or not rules.is_own(fleet[self._node], drain):
            return  # the next run looks what has come of it
        if rules.is_surplus(fleet, self._node, self._settings):
            self._undo(drain, "other nodes had drained themselves before, as many as may")
        else:
            self._keep(replace(self._state, drain=replace(drain, settled=True)))

    def _undo(self, drain: OwnDrain, why: str) -> None:
        mine = self._slurm.node(self._node)
        if not rules.is_own(mine, drain) or not mine.is_resumable:
            return
        self._slurm.resume(self._node)
        if rules.is_own(self._slurm.node(self._node), drain):
            raise ProbeError(f"Slurm took the resume, and still shows `{drain.reason}`")
        self._keep(replace(self._state, drain=None))
        self._notes.append(f"resumed, {why}: {drain.reason}")
