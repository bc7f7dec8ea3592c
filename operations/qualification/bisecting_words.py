"""The words of a bisection: its members, its trials, and the verdict with its sentences."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fleetward.model.claims import ClaimClass
from fleetward.model.host_ranges import fold
from fleetward.operations.qualification.judging import Outcome, Result
from fleetward.operations.qualification.workload import Workload


@dataclass(frozen=True, slots=True)
class Member:
    """A node, and where it is plugged in."""

    name: str
    leaf_switch: str = ""
    """Empty where the inventory does not say."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One test of one group."""

    nodes: frozenset[str]
    outcome: Outcome
    """Failed where it was slow, too."""
    round: int


@dataclass(frozen=True, slots=True)
class BadLink:
    """Nodes that are fast among themselves on either side, and slow where one side meets the other."""

    one: tuple[str, ...]
    other: tuple[str, ...]
    where: str
    """Which switches lie between them, in words."""
    worse: tuple[str, ...] = ()
    """The side that is slow with third nodes too, where that is known."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a bisection found."""

    bad: tuple[str, ...] = ()
    """Nodes that are slow with every partner."""
    links: tuple[BadLink, ...] = ()
    """One node on each side: a bad pair."""
    healthy: tuple[str, ...] = ()
    """Nodes that are fast with others."""
    unresolved: tuple[str, ...] = ()
    """Nodes of which nothing follows."""
    confirmed: bool = False
    """Whether all but those named were fast together at the end."""
    why: tuple[str, ...] = ()

    def results(self, workload: Workload) -> tuple[Result, ...]:
        """Return it as results of a workload, one for each node."""
        return (
            *(self._result(workload, node, Outcome.FAILED) for node in self.bad),
            *(self._result(workload, node, Outcome.PASSED) for node in self.healthy),
            *(self._result(workload, node, Outcome.UNKNOWN) for node in self.unresolved),
        )

    def _result(self, workload: Workload, node: str, outcome: Outcome) -> Result:
        blamed = (node,) if outcome is Outcome.FAILED else ()
        said = {
            Outcome.FAILED: "it makes every group slow that it is in",
            Outcome.PASSED: "it is fast with others",
            Outcome.UNKNOWN: "bisecting could not tell whether it is fast",
        }
        return Result(
            workload.id,
            (node,),
            outcome,
            said[outcome],
            self.why,
            blamed=blamed,
            problem=ClaimClass.NODE_PROBLEM if blamed else None,
            look_next="its InfiniBand ports, cables and GPUs' NVLinks, as for a pair" if blamed else "",
        )


def between(one: Sequence[str], other: Sequence[str], leaf: Mapping[str, str]) -> str:
    """Return which switches lie between two sides, in words."""
    sides = [sorted({leaf.get(name, "") for name in side}) for side in (one, other)]
    if any("" in side for side in sides):
        return "the inventory does not say which switches lie between them"
    if sides[0] == sides[1] and len(sides[0]) == 1:
        return f"both at leaf switch {sides[0][0]}: its ports, and their cables"
    first, second = (f"leaf switch{'es' if len(side) > 1 else ''} {', '.join(side)}" for side in sides)
    return f"from {first} to {second}: their uplinks, and the spine"


def sentences(
    bad: Mapping[str, Sequence[str]],
    links: Iterable[BadLink],
    together: Iterable[tuple[Sequence[str], Outcome]],
    unresolved: Sequence[str],
    leaf: Mapping[str, str],
    members: Sequence[str],
) -> Iterator[str]:
    """Yield what a verdict stands on, for people; `bad` has the partners of each bad node."""
    for name, partners in bad.items():
        yield f"{name} is slow with {' and '.join(partners)}, which {_are(partners)} fast with others"
    for switch in sorted({leaf[name] for name in bad if leaf[name]}):
        all_there = [name for name in members if leaf[name] == switch]
        if len(all_there) > 1 and all(name in bad for name in all_there):
            yield f"all {len(all_there)} nodes at leaf switch {switch} are slow: look at the switch first"
    for link in links:
        side = f"; {fold(link.worse)} are slow with others too, so it is on their side" if link.worse else ""
        yield f"{fold(link.one)} and {fold(link.other)} are fast, and slow with each other: {link.where}{side}"
    for group, outcome in together:
        how = "are slow as a whole" if outcome is Outcome.FAILED else "could not be tested as a whole"
        yield f"{fold(group)} {how}, and every part of them is fast: look at routing, the spine, and the limit itself"
    if unresolved:
        yield f"nothing follows for {fold(unresolved)}: their tests had no outcome, or no two of them are fast together"


def _are(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"
