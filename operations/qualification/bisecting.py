"""Which node, or which link between nodes, makes an all-reduce over a group slow: what to test next, or the verdict.

`plan` is a pure function of what was tested so far, so that a bisection goes on after a crash from what is on record.
First the whole group; where that is slow, its halves, down to pairs; then each suspect with two partners that are known
to be fast; and what is left once more as a whole. Nodes are halved along their leaf switches. All groups of one round
are disjoint, and may run at the same time.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, log2

from fleetward.operations.qualification.bisecting_search import Search
from fleetward.operations.qualification.bisecting_words import Member, Trial, Verdict
from fleetward.operations.qualification.judging import Outcome


@dataclass(frozen=True, slots=True)
class Bisection:
    """A group of nodes that is slow or failed together, and what was found of it so far."""

    members: tuple[Member, ...]
    partners: tuple[Member, ...] = ()
    """Others that are known to be fast and may be taken for tests."""
    trials: tuple[Trial, ...] = ()

    def after(self, results: Iterable[tuple[Iterable[str], Outcome]], round: int) -> "Bisection":
        """Return it with results of one round added; a round need not be complete."""
        new = tuple(Trial(frozenset(nodes), outcome, round) for nodes, outcome in results)
        return replace(self, trials=self.trials + new)


@dataclass(frozen=True, slots=True)
class NextRound:
    """Groups to be tested next, none of which shares a node with another."""

    round: int
    """From 0; to be recorded with the results."""
    groups: tuple[tuple[str, ...], ...]


def plan(bisection: Bisection, rounds: int | None = None) -> NextRound | Verdict:
    """Return what to test next, or what is known once there is no more to find out.

    After `rounds` rounds (by default `most_rounds`) the verdict is what is known by then. A test whose outcome is
    unknown is asked for once more.
    """
    round = max((one.round for one in bisection.trials), default=-1) + 1
    most = most_rounds(len(bisection.members)) if rounds is None else rounds
    search = Search(bisection.members, bisection.partners, bisection.trials, exhausted=round >= most)
    verdict = search.run()
    if verdict is not None:
        return verdict
    return NextRound(round, tuple(tuple(search.in_order(group)) for group in _disjoint(search.wanted)))


def most_rounds(members: int) -> int:
    """Return a number of rounds that is enough for so many nodes, however many of them are bad.

    One bad node takes log2 of it and four more. The worst is where nearly all are bad: a fast pair may be the last one
    that is tried, and the two then check all others.
    """
    return 3 * members + 2 * ceil(log2(max(members, 2))) + 8


def _disjoint(groups: Sequence[frozenset[str]]) -> Iterator[frozenset[str]]:
    busy: set[str] = set()
    for group in groups:
        if busy.isdisjoint(group):
            busy |= group
            yield group
