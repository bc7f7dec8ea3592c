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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleetward.model.ansible_files import Problem, VariableFiles, Variables, YamlFiles, inventory_sources
from fleetward.model.host_ranges import expand_ansible_range

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


@dataclass(frozen=True)
class Host:
    """A host with the variables that Ansible would give it."""

    name: str
    groups: tuple[str, ...]
    """All its groups with `all` first, from weak to strong."""
    variables: Variables


@dataclass(frozen=True)
class AnsibleInventory:
    """What an inventory says, merged."""

    hosts: Mapping[str, Host]
    groups: Mapping[str, tuple[str, ...]]
    """The hosts of every group and the groups below it."""
    all_variables: Variables
    """The variables of the group `all`."""
    is_whole: bool
    """False where a file could not be read, so that what seems to be missing may be in there."""


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
    files = YamlFiles(problem)
    builder = _Builder(files, problem)
    for source in inventory_sources(path, problem):
        builder.add_source(source)
    folder = path if path.is_dir() else path.parent
    return builder.merged(folder)


class _Builder:
    """Collects groups and hosts from the files, then merges their variables."""

    def __init__(self, files: YamlFiles, problem: Problem) -> None:
        self._files = files
        self._problem = problem
        self._groups = {"all": _Group("all"), "ungrouped": _Group("ungrouped")}
        self._host_variables: dict[str, dict[str, Any]] = {}

    def add_source(self, path: Path) -> None:
        """Add what one inventory file declares."""
        document = self._files.read(path)
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
            names = expand_ansible_range(pattern)
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
        for name in sorted(self._groups.keys() & self._host_variables.keys()):
            self._problem(f"{folder}: {name} is a host and a group; give one of the two another name")
        self._reconcile()
        ranked = sorted(self._groups.values(), key=lambda group: (group.depth, group.priority, group.name))
        files = VariableFiles(folder, self._files, self._problem)
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
        return AnsibleInventory(hosts, members, self._group_base(("all",), from_groups), self._files.all_read)

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
