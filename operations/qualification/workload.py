"""What a workload of a burn-in is, as declared: where it runs, what it needs, and what its numbers are held against."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from fleetward.model.fleet import HardwareProfile
from fleetward.operations.qualification.measuring import Reading, Unit


class Scope(StrEnum):
    """How many nodes one run of a workload is on."""

    NODE = "node"
    PAIR = "pair"
    GROUP = "group"
    """Two nodes or more."""


class Part(StrEnum):
    """What of a node a workload puts to use."""

    GPU = "gpu"
    HCA = "hca"
    """InfiniBand devices."""
    DISK = "disk"


class Each(StrEnum):
    """Of what a workload gives a number."""

    RUN = "run"
    """One for all that it runs on."""
    GPU = "gpu"
    HCA = "hca"


class Better(StrEnum):
    """Which way a number is better; only a worse one ever counts."""

    HIGHER = "higher"
    LOWER = "lower"


class Tasks(StrEnum):
    """Who starts the processes of a workload."""

    ONE = "one"
    """The batch script itself; a program that takes all GPUs into one process."""
    NODE = "node"
    """srun, one on each node."""
    GPU = "gpu"
    """srun with MPI, one for each GPU."""


Expectation = Callable[[HardwareProfile], float | None]
"""Gives what a profile lets one expect; None where it says nothing of it."""


@dataclass(frozen=True)
class Measure:
    """A number that a workload gives, and what is held against it."""

    name: str
    unit: Unit
    each: Each = Each.RUN
    expected: Expectation | None = None
    """None where no profile says anything of it: peers alone judge then."""
    tolerance: float = 0.0
    """The share of the expectation by which a number may be worse."""
    source: str = ""
    """Where expectation and tolerance come from."""
    better: Better = Better.HIGHER
    needed: bool = True
    """Whether the result is unknown where a part has no such number; a node with one GPU has no peers to copy to."""


@dataclass(frozen=True)
class Setting:
    """What the command of a workload depends on."""

    profile: HardwareProfile
    nodes: tuple[str, ...]
    python: str = "python3"
    """A Python that has PyTorch, where the site has one."""


@dataclass(frozen=True)
class Workload:
    """One workload, as declared."""

    id: str
    title: str
    scope: Scope
    programs: tuple[str, ...]
    """What must be on PATH of every node; `{python}` stands for the site's."""
    command: Callable[[Setting], Sequence[str]]
    """The program and its arguments, word by word."""
    seconds: int
    """It is ended after so long; several times what it takes on a healthy node."""
    uses: frozenset[Part]
    parse: Callable[[str], Reading]
    """Reads all that it printed; raises UnreadableError."""
    look_next: str
    """Where to look where it failed."""
    source: str
    """Who measures nodes this way."""
    measures: tuple[Measure, ...] = ()
    tasks: Tasks = Tasks.ONE
    judges_itself: bool = False
    """Whether it says by itself that all is well, so that its numbers need not be compared with anything."""
    files: Callable[[Setting], Mapping[str, str]] = field(default=lambda _: {})
    """What must lie in its folder, by name."""

    def fits(self, profile: HardwareProfile) -> bool:
        """Say whether nodes of this profile have what it puts to use."""
        has = {Part.DISK: True, Part.GPU: profile.gpu is not None, Part.HCA: profile.infiniband is not None}
        return all(has[part] for part in self.uses)


def gpus_of(profile: HardwareProfile) -> int:
    """Return how many GPUs a node has."""
    return profile.gpu.count if profile.gpu else 0


def hcas_of(profile: HardwareProfile) -> tuple[str, ...]:
    """Return the InfiniBand devices of a node."""
    return profile.infiniband.devices if profile.infiniband else ()


def entities_of(each: Each, profile: HardwareProfile) -> tuple[str, ...]:
    """Return the parts of a node that a measure is to have a number of."""
    if each is Each.GPU:
        return tuple(gpu_name(index) for index in range(gpus_of(profile)))
    return hcas_of(profile) if each is Each.HCA else ("",)


def gpu_name(index: int | str) -> str:
    """Return what a GPU is called in results, as in those of checks."""
    return f"GPU {index}"
