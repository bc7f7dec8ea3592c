"""A reader of Ansible's YAML inventories that does not need Ansible.

What it reads: a file, or a folder with one or more `*.yml`, `*.yaml` or `*.json` files in alphabetical order;
groups with `hosts`, `vars` and `children`; ranges in host names (`gpu[0001:1000]`, `rack[a:d]`, `[1:9:2]`);
`ansible_group_priority`; `group_vars/` and `host_vars/` beside the file, each a file or a folder. Variables get
Ansible's default precedence, from weak to strong:

1. `vars` of the group `all`, then of other groups: parents before children, then by priority, then by name;
2. `group_vars/all`, then `group_vars/` of the other groups in the same order;
3. variables of the host in the inventory file, then `host_vars/`.

What it does not read, and reports: INI files, scripts and inventory plugins, sub-folders of sources, ports in host
names, and folders of variables beside a playbook. Templates are not evaluated.
"""

import re
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleetward.model.yaml_files import read_yaml

Variables = Mapping[str, Any]
Problem = Callable[[str], None]

_SOURCE_SUFFIXES = (".yml", ".yaml", ".json")
_IGNORED_SUFFIXES = (
    ".pyc",
    ".pyo",
    ".swp",
    ".bak",
    "~",
    ".rpm",
    ".md",
    ".txt",
    ".rst",
    ".orig",
    ".cfg",
    ".retry",
)
_NOT_SOURCES = ("group_vars", "host_vars", "vars_plugins")
_GROUP_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_HOSTS_OF_A_RANGE = 100_000


@dataclass(frozen=True)
class Host:
    """A host with the variables that Ansible would give it."""

    name: str
    groups: tuple[str, ...]
    """All its groups with `all` first, from weak to strong."""
    variables: Variables


@dataclass(frozen=True)
class AnsibleInventory:
    """What an inventory says, merged; `fleet_variables` are those of the group `all`."""

    hosts: Mapping[str, Host]
    groups: Mapping[str, tuple[str, ...]]
    all_variables: Variables


@dataclass
class _Group:
    name: str
    variables: dict[str, Any] = field(default_factory=dict)
    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)
    parents: dict[str, None] = field(default_factory=dict)
    priority: int = 1
    depth: int = 0


def read_inventory(path: Path, problem: Problem) -> AnsibleInventory:
    """Read an inventory file or folder; what is wrong with it goes to `problem`, and the rest is still read."""
    builder = _Builder(problem)
    for source in _sources(path, problem):
        builder.add_source(source)
    folder = path if path.is_dir() else path.parent
    return builder.merged(folder)


def expand_host_range(pattern: str) -> list[str]:
    """Expand Ansible's ranges in a host name; ValueError where a range is malformed."""
    if "[" not in pattern:
        return [pattern]
    head, _, rest = pattern.partition("[")
    bounds, bracket, tail = rest.partition("]")
    if not bracket:
        raise ValueError("a range needs a closing bracket")
    return [head + item + end for item in _range_items(bounds) for end in expand_host_range(tail)]


def _range_items(bounds: str) -> list[str]:
    begin, *others = bounds.split(":")
    if len(others) not in (1, 2) or not others[0]:
        raise ValueError("a range is [first:last] or [first:last:step]")
    begin, end, step = begin or "0", others[0], int(others[1]) if len(others) == 2 else 1
    if step < 1:
        raise ValueError("the step of a range is 1 or more")
    letters = string.ascii_letters
    if begin in letters and end in letters:
        items = list(letters[letters.index(begin) : letters.index(end) + 1 : step])
    else:
        width = len(begin) if len(begin) > 1 and begin[0] == "0" else 0
        if width and len(end) != width:
            raise ValueError("first and last of a padded range are equally long")
        numbers = range(int(begin), int(end) + 1, step)
        if len(numbers) > _MOST_HOSTS_OF_A_RANGE:
            raise ValueError(f"a range has at most {_MOST_HOSTS_OF_A_RANGE} hosts")
        items = [str(number).zfill(width) for number in numbers]
    if not items:
        raise ValueError("the first of a range comes before its last")
    return items


def _sources(path: Path, problem: Problem) -> Iterator[Path]:
    if not path.exists():
        problem(f"{path}: there is no such inventory; name a file or a folder of YAML files")
        return
    if path.is_file():
        yield path
        return
    found = False
    for entry in sorted(path.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith(".") or entry.name in _NOT_SOURCES or entry.name.endswith(_IGNORED_SUFFIXES):
            continue
        if entry.is_dir():
            problem(f"{entry}: Ansible would read this folder as another inventory; move its files up or away")
        elif entry.suffix not in _SOURCE_SUFFIXES:
            problem(f"{entry}: only YAML inventories ({', '.join(_SOURCE_SUFFIXES)}) are read; convert or remove it")
        else:
            found = True
            yield entry
    if not found:
        problem(f"{path}: holds no inventory file; write hosts.yml")


class _Builder:
    """Collects groups and hosts from the files, then merges their variables."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._groups = {"all": _Group("all"), "ungrouped": _Group("ungrouped")}
        self._host_variables: dict[str, dict[str, Any]] = {}

    def add_source(self, path: Path) -> None:
        """Add what one inventory file declares."""
        document = read_yaml(path, self._problem)
        if document is None:
            return
        if not isinstance(document, dict) or "plugin" in document:
            self._problem(f"{path}: is not an inventory: at its top level it needs groups, such as `all:`")
            return
        for name, body in document.items():
            self._add_group(path, name, body)

    def _add_group(self, path: Path, name: object, body: object) -> str | None:
        if not isinstance(name, str) or not _GROUP_NAME.fullmatch(name):
            self._problem(f"{path}: {name!r} is not a name for a group; use letters, digits and underscores")
            return None
        group = self._groups.setdefault(name, _Group(name))
        if body is None:
            return name
        if not isinstance(body, dict):
            self._problem(f"{path}: group {name}: needs `hosts`, `vars` or `children`, not {body!r}")
            return name
        for section, content in body.items():
            if section not in ("hosts", "vars", "children"):
                self._problem(f"{path}: group {name}: {section!r} is none of `hosts`, `vars` and `children`")
            elif isinstance(content, str) and section != "vars":
                self._add_section(path, group, section, {content: None})
            elif content is not None and not isinstance(content, dict):
                self._problem(f"{path}: group {name}: `{section}` needs a mapping, not {type(content).__name__}")
            elif content:
                self._add_section(path, group, section, content)
        return name

    def _add_section(self, path: Path, group: _Group, section: str, content: dict[Any, Any]) -> None:
        if section == "vars":
            self._set_group_variables(path, group, content)
        elif section == "children":
            for name, body in content.items():
                child = self._add_group(path, name, body)
                if child is not None:
                    self._add_child(path, group.name, child)
        else:
            seen: set[str] = set()
            for pattern, variables in content.items():
                self._add_hosts(path, group, pattern, variables, seen)

    def _set_group_variables(self, path: Path, group: _Group, content: dict[Any, Any]) -> None:
        for name, value in content.items():
            if name != "ansible_group_priority":
                group.variables[name] = value
            elif isinstance(value, int | str) and str(value).lstrip("-").isdecimal():
                group.priority = int(value)
            else:
                self._problem(f"{path}: group {group.name}: ansible_group_priority is a number, not {value!r}")

    def _add_child(self, path: Path, parent: str, child: str) -> None:
        if parent == child or parent in self._descendants(child):
            self._problem(f"{path}: group {child} is both above and below group {parent}; remove one of the two")
            return
        self._groups[parent].children[child] = None
        self._groups[child].parents[parent] = None

    def _add_hosts(self, path: Path, group: _Group, pattern: object, variables: object, seen: set[str]) -> None:
        if not isinstance(pattern, str):
            self._problem(f"{path}: group {group.name}: host {pattern!r} is not text; put it in quotes")
            return
        if variables is not None and not isinstance(variables, dict):
            self._problem(f"{path}: host {pattern}: needs a mapping of variables, not {variables!r}")
            return
        try:
            names = expand_host_range(pattern)
        except ValueError as error:
            self._problem(f"{path}: group {group.name}: host {pattern!r}: {error}")
            return
        doubled = [name for name in names if name in seen]
        if doubled:
            self._problem(
                f"{path}: group {group.name}: duplicate host {doubled[0]} (in {pattern!r} and before); list it once"
            )
        seen.update(names)
        for name in names:
            group.hosts[name] = None
            own = self._host_variables.setdefault(name, {})
            if variables:
                own.update(variables)

    def _descendants(self, name: str) -> dict[str, None]:
        found: dict[str, None] = {}
        level = [name]
        while level:
            level = [child for parent in level for child in self._groups[parent].children if child not in found]
            found.update(dict.fromkeys(level))
        return found

    def merged(self, folder: Path) -> AnsibleInventory:
        """Return the inventory with the variables of groups and hosts merged."""
        self._reconcile()
        ranked = sorted(self._groups.values(), key=lambda group: (group.depth, group.priority, group.name))
        files = _VariableFiles(folder, self._problem)
        from_groups = {group.name: files.read("group_vars", group.name) for group in ranked}
        groups_of = self._groups_of_hosts(ranked)
        bases: dict[tuple[str, ...], dict[str, Any]] = {}
        hosts: dict[str, Host] = {}
        members = {group.name: self._members(group.name) for group in ranked}
        for name in members["all"]:
            groups = groups_of[name]
            if groups not in bases:
                bases[groups] = self._group_base(groups, from_groups)
            variables = {**bases[groups], **self._host_variables[name], **files.read("host_vars", name)}
            hosts[name] = Host(name, groups, variables)
        return AnsibleInventory(hosts, members, self._group_base(("all",), from_groups))

    def _group_base(self, groups: tuple[str, ...], from_files: Mapping[str, Variables]) -> dict[str, Any]:
        base: dict[str, Any] = {}
        for group in groups:
            base.update(self._groups[group].variables)
        for group in groups:
            base.update(from_files[group])
        return base

    def _reconcile(self) -> None:
        """Put every group below `all`, hosts of no group into `ungrouped`, and find each group's depth."""
        for group in self._groups.values():
            if group.name != "all" and not group.parents:
                self._groups["all"].children[group.name] = None
                group.parents["all"] = None
        grouped = {
            name for group in self._groups.values() if group.name not in ("all", "ungrouped") for name in group.hosts
        }
        ungrouped = self._groups["ungrouped"]
        ungrouped.hosts = {name: None for name in self._host_variables if name not in grouped}
        for group in self._in_topological_order():
            group.depth = max((self._groups[parent].depth + 1 for parent in group.parents), default=0)

    def _in_topological_order(self) -> list[_Group]:
        order: list[_Group] = []
        waiting = {name: len(group.parents) for name, group in self._groups.items()}
        ready = [name for name, count in waiting.items() if not count]
        while ready:
            group = self._groups[ready.pop()]
            order.append(group)
            for child in group.children:
                waiting[child] -= 1
                if not waiting[child]:
                    ready.append(child)
        return order

    def _members(self, name: str) -> tuple[str, ...]:
        members: dict[str, None] = dict(self._groups[name].hosts)
        for group in self._descendants(name):
            members.update(self._groups[group].hosts)
        return tuple(members)

    def _groups_of_hosts(self, ranked: list[_Group]) -> dict[str, tuple[str, ...]]:
        groups: dict[str, list[str]] = {name: [] for name in self._host_variables}
        for group in ranked:
            for name in self._members(group.name):
                groups[name].append(group.name)
        return {name: tuple(names) for name, names in groups.items()}


class _VariableFiles:
    """Reads `group_vars/` and `host_vars/`; a folder of a name wins over a file of that name."""

    def __init__(self, folder: Path, problem: Problem) -> None:
        self._folder = folder
        self._problem = problem
        self._entries: dict[str, frozenset[str]] = {}

    def read(self, kind: str, name: str) -> Variables:
        """Return the merged variables of one group or host."""
        entries = self._entries.get(kind)
        if entries is None:
            folder = self._folder / kind
            entries = frozenset(entry.name for entry in folder.iterdir()) if folder.is_dir() else frozenset()
            self._entries[kind] = entries
        variables: dict[str, Any] = {}
        for suffix in ("", *_SOURCE_SUFFIXES):
            if name + suffix in entries:
                path = self._folder / kind / (name + suffix)
                for file in _variable_files(path) if path.is_dir() else [path]:
                    variables.update(self._read_file(file))
                break
        return variables

    def _read_file(self, path: Path) -> dict[str, Any]:
        document = read_yaml(path, self._problem)
        if document is None:
            return {}
        if not isinstance(document, dict):
            self._problem(f"{path}: needs variables as `name: value`, not {type(document).__name__}")
            return {}
        return document


def _variable_files(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith(".") or entry.name.endswith("~"):
            continue
        if entry.is_dir() and not entry.suffix:
            yield from _variable_files(entry)
        elif entry.is_file() and entry.suffix in ("", *_SOURCE_SUFFIXES):
            yield entry
