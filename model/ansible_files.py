"""Which files an Ansible inventory is made of, and what is in them."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fleetward.model.yaml_files import UnreadableFileError, read_yaml

Variables = Mapping[str, Any]
Problem = Callable[[str], None]

_SOURCE_SUFFIXES = (".yml", ".yaml", ".json")
_IGNORED_SUFFIXES = (".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry")
_NOT_SOURCES = ("group_vars", "host_vars", "vars_plugins")


def inventory_sources(path: Path, problem: Problem) -> Iterator[Path]:
    """Yield the files that Ansible would read for a path, in its order; others are told to `problem`."""
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


class YamlFiles:
    """Reads YAML files, and remembers whether any could not be read."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.all_read = True

    def read(self, path: Path) -> object:
        """Return a file's document, None where it is empty or cannot be read."""
        try:
            return read_yaml(path, self._problem)
        except UnreadableFileError as error:
            self._problem(str(error))
            self.all_read = False
            return None


class VariableFiles:
    """Reads `group_vars/` and `host_vars/`; a folder of a name wins over a file of that name."""

    def __init__(self, folder: Path, files: YamlFiles, problem: Problem) -> None:
        self._folder = folder
        self._files = files
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
        document = self._files.read(path)
        if document is None or (isinstance(document, str) and document.startswith("$ANSIBLE_VAULT;")):
            return {}  # encrypted as a whole: Ansible opens it, and facts of the fleet are literal, so none is in there
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
