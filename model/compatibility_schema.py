"""What people write about compatibility, in the shipped files and in `fleet_compatibility`, as pydantic models."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, StringConstraints, model_validator

from fleetward.model.compatibility_constraints import KINDS, Constraint, Kind, parse_constraint
from fleetward.model.compatibility_table import Release, RuleRow, SiteRules
from fleetward.model.software import Version, shown


def _constraints(value: object) -> object:
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{shown(value)} names no fact; write at least one as `fact: what it must be`")
    return {str(fact): parse_constraint(str(fact), written) for fact, written in value.items()}


def _constraints_or_none_needed(value: object) -> object:
    """Take an empty map too: it holds everywhere."""
    return {} if value == {} else _constraints(value)


def _release(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(f"YAML reads {shown(value)} as something else than text; put it in quotes")
    version = Version.parse(value)
    if len(version.numbers) != 2:
        raise ValueError(f"{shown(value)} is no major release; write two numbers, such as 25.11")
    return version.numbers


def _versioned(value: object) -> object:
    if not isinstance(value, str) or KINDS.get(value) is not Kind.VERSION:
        versions = ", ".join(fact for fact, kind in KINDS.items() if kind is Kind.VERSION)
        raise ValueError(f"{shown(value)} is no fact with a version; there are: {versions}")
    return value


Sentence = Annotated[
    str, StringConstraints(strict=True, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f]$", max_length=600)
]
Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=63)]
GroupName = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$", max_length=63)]
_Constraints = Annotated[dict[str, InstanceOf[Constraint]], BeforeValidator(_constraints)]
_MaybeNone = Annotated[dict[str, InstanceOf[Constraint]], BeforeValidator(_constraints_or_none_needed)]
_Release = Annotated[tuple[int, ...], BeforeValidator(_release)]
Models = Annotated[tuple[Name, ...], Field(min_length=1)]


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RuleDeclaration(_Declared):
    """One value of `rules`."""

    when: _Constraints | None = None
    needs: _Constraints | None = None
    because: Sentence | None = None
    source: Sentence | None = None
    remedy: Sentence | None = None
    undeclared_when: _MaybeNone | None = None
    accepted: Sentence | None = None

    def row(self) -> RuleRow:
        """Return it as the rules are put together from it."""
        return RuleRow(**{name: getattr(self, name) for name in type(self).model_fields})


class SkewDeclaration(_Declared):
    """One value of `skews`."""

    fact: Annotated[str, BeforeValidator(_versioned)]
    of: GroupName
    against: GroupName
    because: Sentence
    source: Sentence
    remedy: Sentence
    minors_behind: Annotated[int, Field(strict=True, ge=0, le=99)] | None = None
    compatible: dict[_Release, tuple[_Release, ...]] = {}

    @model_validator(mode="after")
    def _says_how_far(self) -> "SkewDeclaration":
        if (self.minors_behind is None) is (not self.compatible):
            raise ValueError("needs minors_behind or compatible, and not both")
        return self

    def releases(self) -> Mapping[Release, frozenset[Release]]:
        """Return `compatible` as the rules hold it."""
        return MappingProxyType({newer: frozenset(older) for newer, older in self.compatible.items()})


class RulesFile(_Declared):
    """One shipped file."""

    sources: dict[Name, Sentence] = {}
    """Documents by a short name that rows of this file give as their `source`."""
    generations: dict[Name, Models] = {}
    rules: dict[Name, RuleDeclaration] = {}
    skews: dict[Name, SkewDeclaration] = {}


class CompatibilityDeclaration(_Declared):
    """The variable `fleet_compatibility`."""

    rules: dict[Name, RuleDeclaration] = {}
    generations: dict[Name, Models] = {}

    def site_rules(self) -> SiteRules:
        """Return it as the rules are put together from it."""
        rows = {name: rule.row() for name, rule in self.rules.items()}
        return SiteRules(MappingProxyType(rows), MappingProxyType(dict(self.generations)))


ALLOWED_KEYS: Mapping[str, Mapping[str, Any]] = {
    "rules": RuleDeclaration.model_fields,
    "skews": SkewDeclaration.model_fields,
    "fleet_compatibility": CompatibilityDeclaration.model_fields,
}
"""Keys below a key of this name, for what a wrong one may have meant."""
