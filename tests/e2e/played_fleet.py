"""The nodes of a slurmctld in memory, as a node without a daemon asks for them and writes to them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fleetward.node.local_drain import LocalState, SlurmNode
from fleetward.node.local_state import StateFolder
from fleetward.node.results import ProbeError


@dataclass
class PlayedFleet:
    """A LocalSlurm; `writes` are those that reached it, in order."""

    clock: Callable[[], float]
    nodes_now: dict[str, SlurmNode] = field(default_factory=dict)
    writes: list[tuple[str, ...]] = field(default_factory=list)
    failure: str = ""
    """Why nothing can be asked."""
    looks: int = 0
    """How often the whole fleet was asked for."""
    before_write: Callable[[], None] | None = None
    """What somebody else does between a node's last look and its write."""

    def add(self, *names: str) -> "PlayedFleet":
        self.nodes_now |= {name: SlurmNode(name, frozenset({"idle"}), "", 0) for name in names}
        return self

    def show(self, name: str, state: str, reason: str = "") -> None:
        """Let somebody else change a node; the state as Slurm writes it, `idle+drain`."""
        at = int(self.clock()) if reason else 0
        self.nodes_now[name] = SlurmNode(name, frozenset(state.split("+")), reason, at)

    def fleet(self) -> Mapping[str, SlurmNode]:
        self._ask()
        self.looks += 1
        return dict(self.nodes_now)

    def node(self, name: str) -> SlurmNode:
        self._ask()
        return self.nodes_now[name]

    def drain(self, name: str, reason: str) -> None:
        self._write("drain", name, reason)
        self.show(name, "idle+drain", reason)

    def resume(self, name: str) -> None:
        self._write("resume", name)
        found = self.nodes_now[name]
        if found.state.isdisjoint({"drain", "down"}):
            raise ProbeError("scontrol failed with 1: slurm_update error: Invalid node state specified")
        # the reason stays, as with 24.11.5; 26.05.5 clears it
        self.nodes_now[name] = replace(found, state=found.state - {"drain", "down"} | {"idle", "not_responding"})

    def drained(self) -> set[str]:
        return {name for name, one in self.nodes_now.items() if one.has_drained_itself}

    def _ask(self) -> None:
        if self.failure:
            raise ProbeError(self.failure)

    def _write(self, *write: str) -> None:
        self._ask()
        if self.before_write is not None:
            self.before_write()
        self.writes.append(write)


class KeptInMemory(StateFolder):
    """A state that no disk has to keep."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"))
        self.state = LocalState()

    def read(self) -> LocalState:
        return self.state

    def keep(self, state: LocalState) -> None:
        self.state = state
