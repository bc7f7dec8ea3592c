"""How a bisection looks for what makes a group slow: one pass over what is on record, which ends in a verdict or wants.

A group is taken to be slow where a part of it is, and fast where it is part of a fast one; what was tested itself comes
first. Nothing here remembers anything: each pass begins anew from the record.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain

from fleetward.model.host_ranges import natural_key
from fleetward.operations.qualification.bisecting_words import BadLink, Member, Trial, Verdict, between, sentences
from fleetward.operations.qualification.judging import Outcome

MOST_ATTEMPTS = 2
"""At one group whose outcome is unknown."""
HOPELESS = 8
"""After so many trials, none of which had an outcome, no other one is made."""
PARTNERS = 2
"""That a suspect must be slow with: with one alone it may be the link, or the partner."""

Group = frozenset[str]
Failing = tuple[Group, tuple[str, ...], tuple[str, ...]]
"""A slow group and its halves."""


class Search:
    """One pass; `wanted` are the groups without which it cannot go on."""

    def __init__(
        self, members: Sequence[Member], partners: Sequence[Member], trials: Iterable[Trial], *, exhausted: bool
    ) -> None:
        """Sort what is on record; where it is `exhausted`, nothing more is wanted and what is open is unknown."""
        self.wanted: list[Group] = []
        self.leaf = {one.name: one.leaf_switch for one in (*partners, *members)}
        self.members = sorted({one.name for one in members}, key=self._place)
        self.partners = [one.name for one in partners if one.name not in self.members]
        self.exhausted = exhausted
        self.told: dict[Group, list[Outcome]] = {}
        for one in trials:
            if one.nodes <= self.leaf.keys() and not one.nodes.isdisjoint(self.members):
                self.told.setdefault(one.nodes, []).append(one.outcome)
        self.fast = [group for group in self.told if self._own(group) is Outcome.PASSED]
        self.slow = [group for group in self.told if self._own(group) is Outcome.FAILED]
        self.cleared = frozenset(chain.from_iterable(self.fast))
        self.bad: dict[str, tuple[str, ...]] = {}
        self.unclear: set[str] = set()
        self.links: list[BadLink] = []
        self.together: dict[Group, Outcome] = {}

    def in_order(self, group: Group) -> list[str]:
        """Return nodes along their leaf switches."""
        return sorted(group, key=self._place)

    def _place(self, name: str) -> tuple[object, ...]:
        return natural_key(self.leaf.get(name, "")), natural_key(name)

    def run(self) -> Verdict | None:
        """Return the verdict, or None where something is wanted first."""
        confirmed = False
        if not self.fast and not self.slow and sum(map(len, self.told.values())) >= HOPELESS:
            self.unclear |= set(self.members)
        while True:
            rest = self._rest()
            if len(rest) == 1 and not self._resolve(rest):
                return None
            if len(rest) < 2:
                break
            outcome = self._outcome(frozenset(rest))
            if outcome is None:
                return None
            if outcome is Outcome.PASSED:
                confirmed = True
                break
            if not self._locate(rest):
                return None
            if self._rest() == rest:
                break
        return self._verdict(confirmed)

    def _verdict(self, confirmed: bool) -> Verdict:
        healthy = [one for one in self.members if one in self.cleared and one not in self.bad.keys() | self.unclear]
        unresolved = [one for one in self.members if one not in healthy and one not in self.bad]
        groups = [(self.in_order(group), outcome) for group, outcome in self.together.items()]
        why = sentences(self.bad, self.links, groups, unresolved, self.leaf, self.members)
        bad = tuple(self.in_order(frozenset(self.bad)))
        return Verdict(bad, tuple(self.links), tuple(healthy), tuple(unresolved), confirmed, tuple(why))

    def _rest(self) -> list[str]:
        """Return the members without those that were found, and without one side of each bad link."""
        away = set(self.bad) | self.unclear
        for link in self.links:
            away |= set(self._side_away(link))
        return [name for name in self.members if name not in away]

    def _side_away(self, link: BadLink) -> tuple[str, ...]:
        """Return the side of a link without which the rest is to be fast: the worse one, else the smaller one."""
        if link.worse:
            return link.worse
        sides = sorted((link.other, link.one), key=len)
        return next((side for side in sides if not set(side).isdisjoint(self.members)), ())

    def _own(self, group: Group) -> Outcome | None:
        """Return what tests of this very group say; None while they say nothing."""
        told = self.told.get(group, [])
        decided = [one for one in told if one is not Outcome.UNKNOWN]
        if decided:
            return decided[-1]
        return Outcome.UNKNOWN if len(told) >= MOST_ATTEMPTS else None

    def _outcome(self, group: Group) -> Outcome | None:
        """Return how a group is, from its own tests or those of others; None, and it is wanted, where nothing says."""
        own = self._own(group)
        if own is not None:
            return own
        if any(group <= other for other in self.fast):
            return Outcome.PASSED
        if any(other <= group for other in self.slow):
            return Outcome.FAILED
        return self._want(group)

    def _want(self, group: Group) -> Outcome | None:
        if self.exhausted:
            return Outcome.UNKNOWN
        self.wanted.append(group)
        return None

    def _locate(self, rest: Sequence[str]) -> bool:
        """Look for what makes a group slow; False where something is wanted first."""
        failing: list[Failing] = []
        suspects: list[str] = []
        if not self._split(tuple(rest), failing, suspects) or not self._resolve(suspects):
            return False
        self._find_pairs()
        pending: list[Group] = []
        for group, one, other in sorted(failing, key=lambda entry: len(entry[0])):
            if self._is_explained(group) or any(part <= group for part in pending):
                continue
            if self._outcome(group) is Outcome.UNKNOWN:
                self.together[group] = Outcome.UNKNOWN
            elif not self._cross(one, other):
                pending.append(group)
        return not pending

    def _split(self, group: tuple[str, ...], failing: list[Failing], suspects: list[str]) -> bool:
        """Halve a group that is not fast, down to pairs; their nodes are suspects, and so is one that is left alone."""
        one, other = _halves(group)
        failing.append((frozenset(group), one, other))
        complete = True
        for half in (one, other):
            if len(half) == 1:
                suspects += half
                continue
            outcome = self._outcome(frozenset(half))
            if outcome is None:
                complete = False
            elif outcome is not Outcome.PASSED:
                complete &= self._split(half, failing, suspects)
        return complete

    def _resolve(self, suspects: Sequence[str]) -> bool:
        """Tell bad suspects from fast ones by partners that are known to be fast; False where something is wanted."""
        known = self.cleared | self.bad.keys() | self.unclear
        open_ones = [name for name in dict.fromkeys(suspects) if name not in known]
        good = [*(name for name in self.members if name in self.cleared and name not in self.bad), *self.partners]
        if not good and open_ones:
            return self._find_fast_pair(open_ones)
        busy = set(chain.from_iterable(self.wanted))
        complete = True
        for name in open_ones:  # each of them is to say what it wants
            complete &= self._try(name, good, busy)
        return complete

    def _try(self, name: str, good: Sequence[str], busy: set[str]) -> bool:
        """Judge one suspect by its partners; want another one where they do not say enough yet."""
        seen = {partner: self._own(frozenset((name, partner))) for partner in good}
        slow = [partner for partner, outcome in seen.items() if outcome is Outcome.FAILED]
        silent = [partner for partner, outcome in seen.items() if outcome is Outcome.UNKNOWN]
        all_seen = len(slow) + len(silent) == len(good)
        if len(slow) >= PARTNERS or (slow and all_seen):
            self.bad[name] = tuple(self.in_order(frozenset(slow)))
        elif len(silent) >= PARTNERS or all_seen or self.exhausted:
            self.unclear.add(name)
        else:
            free = [one for one in good if seen[one] is None and one not in busy]
            if free:
                partner = min(free, key=partial(self._preference, name))
                self.wanted.append(frozenset((name, partner)))
                busy |= {name, partner}
            return False
        return True

    def _preference(self, name: str, partner: str) -> tuple[bool, bool]:
        """Prefer a partner at the suspect's own leaf switch, then one elsewhere: a bad uplink is not a bad node."""
        pairs = (group for group in self.slow if len(group) == 2 and name in group)
        been_near = any(self.leaf[one] == self.leaf[name] for pair in pairs for one in pair - {name})
        near = self.leaf[partner] == self.leaf[name]
        return (near == been_near, partner in self.partners)

    def _find_fast_pair(self, names: Sequence[str]) -> bool:
        """Pair nodes of which none is known to be fast with each other, until two are."""
        open_pairs = [pair for pair in _pairs(names) if self._own(pair) is None]
        if open_pairs and not self.exhausted:
            self.wanted += open_pairs
            return False
        self.unclear |= set(names)
        return True

    def _find_pairs(self) -> None:
        """Take down pairs that are slow together though each of the two is fast with others."""
        for group in self.slow:
            if len(group) == 2 and all(self._is_good(name) for name in group):
                one, other = self.in_order(group)
                self._add_link((one,), (other,))

    def _is_good(self, name: str) -> bool:
        return (name in self.cleared or name in self.partners) and name not in self.bad.keys() | self.unclear

    def _add_link(self, one: tuple[str, ...], other: tuple[str, ...], worse: tuple[str, ...] = ()) -> None:
        link = BadLink(one, other, between(one, other, self.leaf), worse)
        if link not in self.links:
            self.links.append(link)

    def _is_explained(self, group: Group) -> bool:
        if not group.isdisjoint(self.bad.keys() | self.unclear):
            return True
        return any(group.issuperset((*link.one, *link.other)) for link in self.links)

    def _cross(self, one: tuple[str, ...], other: tuple[str, ...]) -> bool:
        """Look for what is slow between two sides that are fast by themselves; False where something is wanted."""
        if len(one) == len(other) == 1:
            self._add_link(one, other)
            return True
        meetings = _meetings(one, other)
        seen = [self._outcome(frozenset((*a, *b))) for a, b in meetings]
        if None in seen:
            return False
        slow = [meeting for meeting, outcome in zip(meetings, seen, strict=True) if outcome is Outcome.FAILED]
        if not slow:
            self.together[frozenset((*one, *other))] = Outcome.FAILED
            return True
        if len(slow) == len(meetings):
            worse = self._worse_side(one, other)
            if worse is not None:
                self._add_link(one, other, worse)
            return worse is not None
        complete = True
        for a, b in slow:
            complete &= self._cross(a, b)
        return complete

    def _worse_side(self, one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return which side is slow with third nodes too, empty where neither or both are; None where it is wanted."""
        away = {*one, *other, *self.bad, *self.unclear}
        third = max((self.in_order(group - away) for group in self.fast), key=len, default=[])
        third = third[: 2 * max(len(one), len(other))]
        if len(third) < 2:
            return ()
        # each with nodes of its own, so that both may be tested at the same time
        seen = [self._outcome(frozenset((*side, *third[at::2]))) for at, side in enumerate((one, other))]
        if None in seen:
            return None
        slow = [outcome is Outcome.FAILED for outcome in seen]
        return () if slow[0] == slow[1] else (one if slow[0] else other)


def _halves(group: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    middle = (len(group) + 1) // 2
    return group[:middle], group[middle:]


def _meetings(one: tuple[str, ...], other: tuple[str, ...]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return every half of one side with every half of the other; the first two share no node, nor do the last two."""
    near, far = (_halves(side) if len(side) > 1 else (side,) for side in (one, other))
    places = range(max(len(near), len(far)))
    met = [(near[at % len(near)], far[(at + shift) % len(far)]) for shift in (0, 1) for at in places]
    return list(dict.fromkeys(met))


def _pairs(names: Sequence[str]) -> Iterator[Group]:
    """Yield every pair, in rounds of a tournament: those of one round share no node."""
    ring: list[str | None] = [*names, *([None] if len(names) % 2 else [])]
    for _ in range(len(ring) - 1):
        for at in range(len(ring) // 2):
            one, other = ring[at], ring[-1 - at]
            if one is not None and other is not None:
                yield frozenset((one, other))
        ring = [ring[0], ring[-1], *ring[1:-1]]
