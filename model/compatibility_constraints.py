"""What a rule asks of one fact: `>=580.65.06`, `<6.15`, `open`, `[debian-12, debian-13]`, `any`, `{same_as: ...}`.

A text may have several terms, which must all hold (`>=570 <575`); of a list any one must.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from fleetward.model.software import SOFTWARE, Fact, OperatingSystem, Version, shown

ANY = "any"
"""A constraint that holds wherever the fact is declared."""
_TERM = re.compile(r"(?P<operator>>=|<=|<|)(?P<value>[A-Za-z0-9].*)")
_WORD = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


class Kind(StrEnum):
    """What values a fact can have, in words that fit behind `is no`."""

    VERSION = "version"
    SYSTEM = "system"
    WORD = "word"
    FLAG = "flag"


_OTHER_KINDS = {"os": Kind.SYSTEM, "nvidia_modules": Kind.WORD}
KINDS: Mapping[str, Kind] = MappingProxyType(
    {name: _OTHER_KINDS.get(name, Kind.VERSION) for name in SOFTWARE}
    | {
        "gpu_model": Kind.WORD,
        "gpu_generation": Kind.WORD,
        "nvswitch": Kind.FLAG,
        "infiniband_rate": Kind.VERSION,
    }
)
"""Every fact that a rule can look at."""
_LABELS = {
    "gpu_model": "gpu.model",
    "gpu_generation": "gpu.generation",
    "nvswitch": "gpu.nvswitch",
    "infiniband_rate": "infiniband.rate_gbits_per_second",
}


@dataclass(frozen=True)
class Bound:
    """One term: an operator, none for `is`, and what the fact is compared with."""

    operator: str
    value: Fact

    def holds(self, fact: Fact) -> bool | None:
        """Say whether it holds; None where the fact is told too little to know."""
        value = self.value
        if isinstance(fact, Version) and isinstance(value, Version):
            compare = {">=": fact.at_least, "<": fact.below, "<=": fact.at_most}.get(self.operator, fact.is_of)
            return compare(value)
        if isinstance(fact, OperatingSystem) and isinstance(value, OperatingSystem):
            return fact.is_of(value)
        return fact == value

    def __str__(self) -> str:
        """Say it in words."""
        value = words_of(self.value)
        return {">=": f"{value} or later", "<": f"before {value}", "<=": f"{value} or earlier"}.get(
            self.operator, value
        )


@dataclass(frozen=True)
class Constraint:
    """What must hold of a fact: all terms of any one alternative."""

    alternatives: tuple[tuple[Bound, ...], ...] = ()
    same_as: str = ""
    """The name of another fact that it must be the same as; there are no alternatives then."""

    def holds(self, fact: Fact, facts: Mapping[str, Fact]) -> bool | None:
        """Say whether it holds of a fact, among all facts of its host; None where that cannot be known."""
        if self.same_as:
            other = facts.get(self.same_as)
            return None if other is None else Bound("", other).holds(fact)
        return _any(_all(bound.holds(fact) for bound in bounds) for bounds in self.alternatives)

    def __str__(self) -> str:
        """Say it in words."""
        if self.same_as:
            return f"the same as {label(self.same_as)}"
        return " or ".join(" and ".join(map(str, bounds)) or "declared" for bounds in self.alternatives)


def _all(answers: Iterable[bool | None]) -> bool | None:
    found = set(answers)
    return False if False in found else None if None in found else True


def _any(answers: Iterable[bool | None]) -> bool | None:
    found = set(answers)
    return True if True in found else None if None in found else False


def parse_constraint(fact: str, written: object) -> Constraint:
    """Return the constraint that is written for a fact; ValueError says what is wrong and what may stand there."""
    if fact not in KINDS:
        raise ValueError(f"{shown(fact)} is no fact; there are: {', '.join(KINDS)}")
    if isinstance(written, Mapping):
        return _same_as(fact, written)
    items = written if isinstance(written, list) else [written]
    if not items:
        raise ValueError(f"{fact}: an empty list never holds; write what may be")
    return Constraint(tuple(_terms(fact, item) for item in items))


def _same_as(fact: str, written: Mapping[object, object]) -> Constraint:
    other = written.get("same_as")
    if len(written) != 1 or not isinstance(other, str) or other == fact or KINDS.get(other) is not KINDS[fact]:
        raise ValueError(f"{fact}: {shown(dict(written))} is no constraint; write same_as: and another such fact")
    return Constraint(same_as=other)


def _terms(fact: str, written: object) -> tuple[Bound, ...]:
    kind = KINDS[fact]
    if kind is Kind.FLAG:
        if not isinstance(written, bool):
            raise ValueError(f"{fact}: {shown(written)} is no flag; write true or false")
        return (Bound("", written),)
    if not isinstance(written, str):
        raise ValueError(f"{fact}: YAML reads {shown(written)} as something else than text; put it in quotes")
    if written == ANY:
        return ()
    terms = tuple(_bound(fact, kind, term) for term in written.split())
    if not terms:
        raise ValueError(f"{fact}: is empty; write what it must be, or any")
    return terms


def _bound(fact: str, kind: Kind, term: str) -> Bound:
    match = _TERM.fullmatch(term)
    if match is None or (match["operator"] and kind is not Kind.VERSION):
        raise ValueError(f"{fact}: {shown(term)} is no {kind}; write such as {_examples(kind)}")
    try:
        return Bound(match["operator"], _value(kind, match["value"]))
    except ValueError as error:
        raise ValueError(f"{fact}: {error}") from None


def _value(kind: Kind, text: str) -> Fact:
    if kind is Kind.VERSION:
        return Version.parse(text)
    if kind is Kind.SYSTEM:
        return OperatingSystem.parse(text)
    if not _WORD.fullmatch(text):
        raise ValueError(f"{shown(text)} is no word; write lower-case letters and digits")
    return text


def _examples(kind: Kind) -> str:
    return {Kind.VERSION: "6.12, >=580.65.06 or <6.15", Kind.SYSTEM: "debian-13"}.get(kind, "a word")


def label(fact: str) -> str:
    """Return how the inventory names a fact."""
    return _LABELS.get(fact) or f"fleet_{fact}"


def words_of(fact: Fact) -> str:
    """Return a fact as the inventory writes it."""
    return str(fact).lower() if isinstance(fact, bool) else str(fact)
