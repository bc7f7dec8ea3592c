"""Reading the rules of compatibility: the files that are shipped, and what a site says on top.

A site's own stands in the inventory, as the variable `fleet_compatibility` of the group `all`: rows under `rules` that
change, accept or add one, and `generations` for GPUs that the shipped files do not know.
"""

import difflib
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

import fleetward
from fleetward.model.compatibility import Incompatibility, check_compatibility
from fleetward.model.compatibility_schema import RulesFile, SkewDeclaration
from fleetward.model.compatibility_table import Rule, RuleRow, Rules, SiteRules, Skew
from fleetward.model.errors import UsageError
from fleetward.model.fleet import Fleet
from fleetward.model.inventory_schema import error_sentences, nearest
from fleetward.model.software import shown
from fleetward.model.yaml_files import UnreadableFileError, read_yaml

SHIPPED = Path(fleetward.__file__).parent / "model" / "compatibility_rules"
LARGEST_BYTES = 1 << 20
"""A file of rules is some 10 kB; a larger one than this is something else."""
SITE_VARIABLE = "fleet_compatibility"
_OF_A_RULE = ("when", "needs", "because")
"""What a rule cannot do without."""


class CompatibilityRulesError(UsageError):
    """A rule that cannot be used; the message names file or variable, place, and what may stand there."""


def incompatibilities(fleet: Fleet) -> tuple[Incompatibility, ...]:
    """Return what does not go together in a fleet, by the shipped rules and its site's word on them."""
    return tuple(check_compatibility(fleet, read_rules(fleet.site_rules)))


def read_rules(site: SiteRules | None = None) -> Rules:
    """Return the shipped rules with a site's word on them."""
    shipped = read_shipped()
    return with_site(shipped, site) if site is not None and (site.rules or site.generations) else shipped


@cache
def read_shipped(folder: Path = SHIPPED) -> Rules:
    """Return what the shipped files say, read once; CompatibilityRulesError where one of them is damaged."""
    files = sorted(folder.glob("*.yml"))
    if not files:
        raise CompatibilityRulesError(f"{folder}: holds no rules of compatibility; install fleetward again")
    rules: dict[str, tuple[Path, Rule | Skew]] = {}
    generations: dict[str, tuple[str, ...]] = {}
    seen: dict[str, str] = {}
    for file in files:
        content = _content(file)
        for one in _rows(file, content):
            if one.id in rules:
                raise CompatibilityRulesError(f"{file}: {one.id} is in {rules[one.id][0].name} too; rename one of them")
            rules[one.id] = file, one
        _refuse_doubled(f"{file}: generations", content.generations, seen)
        for generation, models in content.generations.items():
            generations[generation] = (*generations.get(generation, ()), *models)
    return Rules(
        tuple(one for _, one in rules.values() if isinstance(one, Rule)),
        tuple(one for _, one in rules.values() if isinstance(one, Skew)),
        MappingProxyType(generations),
    )


def with_site(shipped: Rules, site: SiteRules) -> Rules:
    """Return the rules with a site's rows on top; CompatibilityRulesError names a row that cannot be used."""
    rules = {rule.id: rule for rule in shipped.rules}
    skews = {skew.id: skew for skew in shipped.skews}
    for name, row in site.rules.items():
        place = f"{SITE_VARIABLE}.rules.{name}"
        if name in skews:
            skews[name] = _accepted(place, skews[name], row)
        else:
            rules[name] = _changed(place, name, rules.get(name), row, [*rules, *skews])
    generations = dict(shipped.generations)
    for generation, models in site.generations.items():
        taken = {name: tuple(model for model in of if model not in models) for name, of in generations.items()}
        generations = {**taken, generation: (*taken.get(generation, ()), *models)}
    _refuse_doubled(f"{SITE_VARIABLE}.generations", site.generations, {})
    return Rules(tuple(rules.values()), tuple(skews.values()), MappingProxyType(generations))


def _changed(place: str, name: str, rule: Rule | None, row: RuleRow, known: Collection[str]) -> Rule:
    said = _said(row)
    if not said:
        raise CompatibilityRulesError(f"{place}: changes nothing; say what is different, or `accepted: why`")
    if rule is not None:
        # Whoever changes what is compared is the one who knows it.
        theirs = {"source": SITE_VARIABLE} if said.keys() & {"when", "needs", "undeclared_when"} else {}
        return replace(rule, **(theirs | said))
    if missing := [key for key in _OF_A_RULE if key not in said]:
        close = difflib.get_close_matches(name, known, 1)
        raise CompatibilityRulesError(
            f"{place}: is none of the shipped rules{f', did you mean {close[0]}?' if close else ''}; "
            f"a rule of your own says {', '.join(missing)} too"
        )
    return Rule(id=name, **{"source": SITE_VARIABLE, **said})


def _said(row: RuleRow) -> dict[str, Any]:
    """Return what a row says, without what it leaves."""
    return {field.name: value for field in fields(row) if (value := getattr(row, field.name)) is not None}


def _accepted(place: str, skew: Skew, row: RuleRow) -> Skew:
    if row != RuleRow(accepted=row.accepted) or row.accepted is None:
        raise CompatibilityRulesError(f"{place}: compares hosts with each other, and can only be `accepted: why`")
    return replace(skew, accepted=row.accepted)


def _content(file: Path) -> RulesFile:
    try:
        status = file.stat()
    except OSError as error:
        raise CompatibilityRulesError(f"{file}: cannot be read ({error.strerror}); install fleetward again") from error
    if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_BYTES:
        raise CompatibilityRulesError(f"{file}: is no ordinary file of at most {LARGEST_BYTES} bytes")
    doubled: list[str] = []
    try:
        document = read_yaml(file, doubled.append)
    except UnreadableFileError as error:
        raise CompatibilityRulesError(str(error)) from error
    if doubled:
        raise CompatibilityRulesError(doubled[0])
    if not isinstance(document, dict):
        raise CompatibilityRulesError(f"{file}: is {shown(type(document).__name__)}; write sources, rules and skews")
    try:
        return RulesFile.model_validate(document)
    except ValidationError as error:
        _, sentence = next(error_sentences(error))
        raise CompatibilityRulesError(f"{file}: {sentence}") from error


def _rows(file: Path, content: RulesFile) -> Iterator[Rule | Skew]:
    """Yield the rules of one file, each with the document's name for its source."""
    for name, declared in content.rules.items():
        row = declared.row()
        for key in (*_OF_A_RULE, "source"):
            if getattr(row, key) is None:
                raise CompatibilityRulesError(f"{file}: rules.{name}.{key}: is missing; add it")
        yield Rule(id=name, **_said(row) | {"source": _source(file, f"rules.{name}", content, declared.source or "")})
    for name, skew in content.skews.items():
        yield _skew(name, skew, _source(file, f"skews.{name}", content, skew.source))


def _skew(name: str, declared: SkewDeclaration, source: str) -> Skew:
    return Skew(
        id=name,
        fact=declared.fact,
        of=declared.of,
        against=declared.against,
        because=declared.because,
        source=source,
        remedy=declared.remedy,
        minors_behind=declared.minors_behind,
        compatible=declared.releases(),
    )


def _source(file: Path, place: str, content: RulesFile, name: str) -> str:
    if name not in content.sources:
        raise CompatibilityRulesError(
            f"{file}: {place}.source: {shown(name)} is none of the file's sources; {nearest(name, content.sources)}"
        )
    return content.sources[name]


def _refuse_doubled(place: str, generations: Mapping[str, tuple[str, ...]], seen: dict[str, str]) -> None:
    """Raise where a model has two generations; `seen` are those of other files, and gets these."""
    for generation, models in generations.items():
        for model in models:
            if model in seen:
                raise CompatibilityRulesError(
                    f"{place}: {model} is of {seen[model]} and again of {generation}; leave one of them"
                )
            seen[model] = generation
