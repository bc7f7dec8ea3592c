"""The `fleet_*` variables of an inventory, validated: what is wrong is reported, and the rest goes on to be checked."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fleetward.model.inventory_schema import FLEET_VARIABLES, FleetDeclaration, error_sentences
from fleetward.model.yaml_files import VaultText

_PLACEHOLDER_CLUSTER = "unnamed"


@dataclass(frozen=True)
class FleetFacts:
    """What holds for the whole fleet, without the entries that are not valid."""

    declared: FleetDeclaration
    refused: Mapping[str, frozenset[str]]
    """By variable, the names of the entries that were left out: they exist, and are not to be missed elsewhere."""


def fleet_facts(variables: Mapping[str, Any], problem: Callable[[str], None]) -> FleetFacts:
    """Validate the variables of the group `all`; each thing that is wrong is told to `problem`."""
    given = {name: value for name, value in variables.items() if name in FLEET_VARIABLES}
    refused: dict[str, set[str]] = {}
    for name, value in list(given.items()):
        for place, sentence in templates((name,), value):
            problem(sentence)
            _leave_out(given, place, refused)
    while True:
        try:
            declared = FleetDeclaration.model_validate(given)
        except ValidationError as error:
            for place, sentence in error_sentences(error):
                problem(sentence)
                _leave_out(given, place, refused)
        else:
            return FleetFacts(declared, {name: frozenset(entries) for name, entries in refused.items()})


def templates(place: tuple[str, ...], value: object) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield place and sentence for each template in a value: facts are literal, to be read without Ansible."""
    if isinstance(value, VaultText):
        yield place, f"{'.'.join(place)}: is encrypted; facts of the fleet are literal, write the value itself"
    elif isinstance(value, str) and ("{{" in value or "{%" in value):
        yield place, f"{'.'.join(place)}: {value!r} is a template; facts are literal, write the value itself"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from templates((*place, str(key)), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from templates((*place, str(index)), item)


def _leave_out(given: dict[str, Any], place: tuple[str, ...], refused: dict[str, set[str]]) -> None:
    """Take the entry that holds a place, or else its whole variable, out of what is given."""
    variable, *rest = place
    value = given.pop(variable, None)
    entries = refused.setdefault(variable, set())
    if isinstance(value, Mapping):
        kept = {key: item for key, item in value.items() if rest and str(key) != rest[0]}
        entries.update(str(key) for key in value if key not in kept)
        if len(kept) < len(value):
            given[variable] = kept
    if variable == "fleet_cluster":
        given[variable] = _PLACEHOLDER_CLUSTER
