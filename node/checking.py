"""What a check is: the probe that it reads, its limits, what follows from a trouble, and its judgement."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from fleetward.model.gpu_fault_files import read_catalogue
from fleetward.model.gpu_faults import Action, FaultCatalogue, Severity
from fleetward.node.profile import Profile
from fleetward.node.results import STATUS_OF, Context, Finding, ProbeError, Problem, Status, Trouble
from fleetward.node.surroundings import Surroundings

T = TypeVar("T")

ALWAYS = frozenset(Context)
BETWEEN_JOBS = frozenset({Context.PROLOG, Context.EPILOG})
"""For what is only wrong where no job runs."""
NOT_IN_JOBS_WAY = frozenset({Context.PERIODIC, Context.HAND})
"""For what takes too long to have a job wait for it."""


@dataclass(frozen=True)
class Probe(Generic[T]):
    """Something that reads one source of facts."""

    name: str
    read: Callable[[Surroundings], T]
    """Raises ProbeError; what it returns goes from one process to another."""
    limit_seconds: float = 2.0
    last: bool = False
    """Begun when the others have answered, so that what they found wrong stands in it already."""


CatalogueReader: TypeAlias = Callable[[], FaultCatalogue]
"""Gives the catalogue of faults as it holds at this site; raises ProbeError where it cannot be read."""


@dataclass(frozen=True)
class Asked:
    """What a judgement is made by."""

    profile: Profile = field(default_factory=Profile)
    limits: Mapping[str, float] = field(default_factory=dict)
    catalogue: CatalogueReader = read_catalogue
    """Called only where there is a fault to judge: most nodes, most of the time, have none."""


Judge: TypeAlias = Callable[[T, Asked], Iterable[Trouble]]
"""Yields what is wrong, or raises ProbeError where nothing can be said."""


@dataclass(frozen=True)
class Check(Generic[T]):
    """One check, as declared."""

    id: str
    reads: Probe[T]
    severity: Severity
    action: Action
    source: str
    """The project that has such a check."""
    meaning: str
    judge: Judge[T]
    limits: Mapping[str, float] = field(default_factory=dict)
    """Name, with the unit, and value where the site gives no other."""
    contexts: frozenset[Context] = ALWAYS
    problem: Problem = Problem.NODE

    def findings(
        self, reading: T | ProbeError, profile: Profile, catalogue: CatalogueReader = read_catalogue
    ) -> tuple[Finding, ...]:
        """Judge what the probe read; one finding at least, in which unknown is told from unhealthy."""
        if isinstance(reading, ProbeError):
            return (self._unknown(str(reading)),)
        asked = Asked(profile, {**self.limits, **profile.limits.get(self.id, {})}, catalogue)
        try:
            found = tuple(map(self._finding, self.judge(reading, asked)))
        except ProbeError as error:
            return (self._unknown(str(error)),)
        return found or (Finding(self.id, Status.HEALTHY, "", problem=self.problem, source=self.source),)

    def _finding(self, trouble: Trouble) -> Finding:
        if not trouble.known:
            return self._unknown(trouble.why, trouble.entity)
        severity = trouble.severity or self.severity
        return Finding(
            self.id,
            STATUS_OF[severity],
            trouble.why,
            trouble.entity,
            trouble.evidence,
            severity,
            trouble.action or self.action,
            trouble.problem or self.problem,
            self.source,
        )

    def _unknown(self, why: str, entity: str = "") -> Finding:
        return Finding(self.id, Status.UNKNOWN, why, entity, problem=self.problem, source=self.source)


AnyCheck: TypeAlias = Check[Any]


def check(
    id: str,
    meaning: str,
    reads: Probe[T],
    severity: Severity,
    action: Action,
    source: str,
    *,
    limits: Mapping[str, float] | None = None,
    contexts: frozenset[Context] = ALWAYS,
    problem: Problem = Problem.NODE,
) -> Callable[[Judge[T]], Check[T]]:
    """Make a check of a judgement; `meaning` says what is wrong where it finds something."""

    def declared(judge: Judge[T]) -> Check[T]:
        return Check(id, reads, severity, action, source, meaning, judge, limits or {}, contexts, problem)

    return declared
