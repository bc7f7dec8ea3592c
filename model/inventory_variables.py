"""Variables of an inventory that nothing knows: no role's argument_specs, no fact of the fleet, no lookup, no template.

Ansible passes over a variable that nobody reads, so a name that is misspelt goes unseen, and what it should have
changed stays as it was. Left alone are variables of Ansible's own (`ansible_*`), those that another variable of the
inventory names in a template, and those under a prefix that the site declares its own (`fleet_own_prefixes` of the
group all).
"""

import ast
import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import fleetward
from fleetward.model.ansible_files import inventory_sources
from fleetward.model.inventory_schema import FLEET_VARIABLES, NODE_VARIABLES
from fleetward.model.yaml_files import UnreadableFileError, read_yaml

OWN_PREFIXES = "fleet_own_prefixes"
"""The variable by which a site says which names are its own."""

_SHIPPED = Path(fleetward.__file__).parent
_ANSIBLES_OWN = "ansible_"
_PRIVATE = "__"
_SUFFIXES = ("", ".yml", ".yaml", ".json")
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class UnknownVariable:
    """A variable that nothing knows."""

    name: str
    places: tuple[str, ...]
    """Files that set it."""
    why: str
    nearest: str
    """The known variable that is written most like it; empty where none is."""

    def __str__(self) -> str:
        """Say where, what, and which name may have been meant, in one line."""
        meant = f"; did you mean {self.nearest}?" if self.nearest else ""
        return f"{', '.join(self.places)}: {self.name}: {self.why}{meant}"


@dataclass(frozen=True, slots=True)
class KnownVariables:
    """Names that something reads."""

    roles: Mapping[str, frozenset[str]]
    """By role, its variables."""
    others: frozenset[str]
    """Facts of the fleet, and what lookups take from variables."""

    @property
    def names(self) -> frozenset[str]:
        """All of them."""
        return self.others.union(*self.roles.values())

    def role_of(self, name: str) -> str:
        """Return the role whose name a variable begins with, the longest; empty where there is none."""
        return max((role for role in self.roles if name.startswith(f"{role}_")), key=len, default="")


def unknown_variables(inventory: Path, known: KnownVariables | None = None) -> tuple[UnknownVariable, ...]:
    """Return the variables of an inventory that nothing knows, by name; files that cannot be read are passed over."""
    known = shipped_variables() if known is None else known
    found: dict[str, dict[str, None]] = {}
    used: set[str] = set()
    own: set[str] = set()
    for place, variables in _written(inventory):
        for name, value in variables.items():
            found.setdefault(str(name), {})[place] = None
            used.update(_named_in(value))
            if name == OWN_PREFIXES:
                own.update(_texts(value))
    names = known.names
    return tuple(
        UnknownVariable(name, tuple(places), *_judged(name, known, names))
        for name, places in sorted(found.items())
        if name not in names and name not in used and not _left_alone(name, own, known)
    )


def _left_alone(name: str, own: Collection[str], known: KnownVariables) -> bool:
    """Say whether a name is nobody's business here; of a site's prefix and a role's name the longer one holds."""
    if name.startswith((_ANSIBLES_OWN, "fleet_")):
        return True  # what begins with fleet_ is refused where the inventory is read
    longest = max((len(prefix) for prefix in own if name.startswith(prefix)), default=0)
    role = known.role_of(name)
    return longest > (len(f"{role}_") if role else 0)


def _judged(name: str, known: KnownVariables, names: Collection[str]) -> tuple[str, str]:
    """Return why a name is unknown, and the nearest known one: of its role, where it begins with a role's name."""
    role = known.role_of(name)
    if name.startswith(_PRIVATE):
        role = known.role_of(name.removeprefix(_PRIVATE))
        return (f"is the role {role}'s own, and what is set here has no effect" if role else _NOBODY), ""
    close = difflib.get_close_matches(name, sorted(known.roles[role] if role else names), n=1, cutoff=0.75)
    return (f"the role {role} has no such variable" if role else _NOBODY), (close[0] if close else "")


_NOBODY = "no role, no fact of the fleet and no template of the inventory knows it"


@lru_cache(maxsize=2)
def shipped_variables(root: Path = _SHIPPED) -> KnownVariables:
    """Return what the roles and lookups below a folder know, and the facts of the fleet."""
    roles = {
        file.parent.parent.name: frozenset(_options(read_yaml(file, lambda _: None)))
        for file in sorted((root / "roles").glob("*/meta/argument_specs.yml"))
    }
    lookups = (_lookup_variables(file) for file in sorted((root / "playbooks/lookup_plugins").glob("*.py")))
    return KnownVariables(roles, frozenset().union(FLEET_VARIABLES, NODE_VARIABLES, {OWN_PREFIXES}, *lookups))


def _options(document: Any) -> Iterator[str]:  # noqa: ANN401  a YAML file may hold anything
    for entry_point in document["argument_specs"].values():
        yield from entry_point.get("options") or {}


def _lookup_variables(file: Path) -> Iterator[str]:
    """Yield the variables from which a lookup takes its options: `vars` in its documentation."""
    import yaml

    for statement in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "DOCUMENTATION":
            for option in (yaml.safe_load(ast.literal_eval(statement.value)).get("options") or {}).values():
                yield from (variable["name"] for variable in option.get("vars") or [])


def _written(inventory: Path) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Yield each place of an inventory that sets variables, with those."""
    folder = inventory if inventory.is_dir() else inventory.parent
    for source in inventory_sources(inventory, lambda _: None):
        for groups in _mapping(source).values():
            for variables in _in_group(groups):
                yield source.name, variables
    for kind in ("group_vars", "host_vars"):
        for file in sorted((folder / kind).rglob("*")):
            if file.is_file() and file.suffix in _SUFFIXES and not file.name.startswith("."):
                yield str(file.relative_to(folder)), _mapping(file)


def _in_group(body: object) -> Iterator[Mapping[Any, Any]]:
    """Yield the variables that a group of an inventory file sets, on itself, its hosts and the groups below it."""
    if not isinstance(body, Mapping):
        return
    if isinstance(body.get("vars"), Mapping):
        yield body["vars"]
    hosts, children = body.get("hosts"), body.get("children")
    if isinstance(hosts, Mapping):
        yield from (variables for variables in hosts.values() if isinstance(variables, Mapping))
    if isinstance(children, Mapping):
        for child in children.values():
            yield from _in_group(child)


def _mapping(file: Path) -> Mapping[Any, Any]:
    try:
        document = read_yaml(file, lambda _: None)
    except UnreadableFileError:
        return {}  # whoever reads the inventory says so
    return document if isinstance(document, Mapping) else {}


def _named_in(value: object) -> Iterator[str]:
    """Yield the words within templates of a value, among them the names of variables."""
    for text in _texts(value):
        for template in _TEMPLATE.findall(text):
            yield from _WORD.findall(template)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
