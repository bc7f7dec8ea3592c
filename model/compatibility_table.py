"""The rules of what goes with what, as they stand after a site has had its say."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fleetward.model.compatibility_constraints import Constraint
from fleetward.model.software import Version

Constraints = Mapping[str, Constraint]
"""By the fact's name."""
Release = tuple[int, ...]
"""The first two numbers of a version: (24, 5) for 24.05.2."""
_PARTS_OF_MODEL = re.compile(r"[-_. ]+")


@dataclass(frozen=True)
class Rule:
    """Where all of `when` holds on a host, all of `needs` must."""

    id: str
    when: Constraints
    needs: Constraints
    because: str
    source: str
    """The document, and where in it."""
    remedy: str = ""
    """Empty where nothing better is to be said than to change one of the facts."""
    undeclared_when: Constraints | None = None
    """Where this holds too, what is needed must also be declared; None: what nobody declared is never missed."""
    accepted: str = ""
    """Why the site does not want it applied; empty where it is."""


@dataclass(frozen=True)
class Skew:
    """How far one version may be behind another across the fleet; it may never be ahead."""

    id: str
    fact: str
    of: str
    """The group whose hosts follow."""
    against: str
    """The group whose hosts lead; the same one where its hosts may only be so far apart."""
    because: str
    source: str
    remedy: str
    minors_behind: int | None = None
    """So many minor releases; None where `compatible` says it."""
    compatible: Mapping[Release, frozenset[Release]] = field(default_factory=lambda: MappingProxyType({}))
    """By release of the leading one, the older releases that it works with."""
    accepted: str = ""

    def allows(self, follows: Version, leads: Version) -> bool | None:
        """Say whether a version may follow another one; None where that is not known."""
        if len(follows.numbers) < 2 or len(leads.numbers) < 2:
            return None
        behind, ahead = follows.numbers[:2], leads.numbers[:2]
        if behind >= ahead:
            return behind == ahead or self.of == self.against
        if self.minors_behind is not None:
            return behind[0] == ahead[0] and ahead[1] - behind[1] <= self.minors_behind
        older = self.compatible.get(ahead)
        return None if older is None else behind in older


@dataclass(frozen=True)
class RuleRow:
    """What a file says of one rule; None where it leaves it as it is."""

    when: Constraints | None = None
    needs: Constraints | None = None
    because: str | None = None
    source: str | None = None
    remedy: str | None = None
    undeclared_when: Constraints | None = None
    accepted: str | None = None


@dataclass(frozen=True)
class SiteRules:
    """What a site says on top of the shipped rules."""

    rules: Mapping[str, RuleRow] = field(default_factory=lambda: MappingProxyType({}))
    generations: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Models of GPUs by their generation."""


@dataclass(frozen=True)
class Rules:
    """Everything that a fleet is held against."""

    rules: tuple[Rule, ...]
    skews: tuple[Skew, ...]
    generations: Mapping[str, tuple[str, ...]]
    """Models of GPUs by their generation."""

    def known_model(self, model: str) -> tuple[str, str] | None:
        """Return model and generation of a GPU as the rules name them, None where they do not know it.

        Slurm's own names are understood too: `nvidia_h100_80gb_hbm3` is an h100. The longest name that fits counts.
        """
        parts = _parts(model)
        fitting = [
            (len(_parts(known)), known, generation)
            for generation, models in self.generations.items()
            for known in models
            if _holds(parts, _parts(known))
        ]
        return max(fitting)[1:] if fitting else None


def _parts(model: str) -> tuple[str, ...]:
    return tuple(part for part in _PARTS_OF_MODEL.split(model.lower()) if part)


def _holds(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    return any(parts[at : at + len(wanted)] == wanted for at in range(len(parts) - len(wanted) + 1))
