"""YAML files as Ansible reads them, with what it passes over in silence reported: doubled keys, base-60 numbers."""

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import yaml

from fleetward.model.errors import UsageError

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML without libyaml reads the same, ten times slower
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]


class Sexagesimal(int):
    """A number that YAML 1.1 made of something like `24:00:00`; `text` is what the file says."""

    text: str


class VaultText(str):
    """A value that only Ansible Vault can read."""

    __slots__ = ()


class UnreadableFileError(UsageError):
    """A file that is not there, is not text, or is not YAML; the message names file and line."""


def read_yaml(path: Path, problem: Callable[[str], None]) -> object:
    """Return the one document of a file, None where it is empty; UnreadableFileError where it cannot be read.

    Keys that are there twice go to `problem`, each with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFileError(f"{path}: cannot be read: {error}") from error
    loader = _InventoryLoader(text)
    try:
        document = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UnreadableFileError(f"{where}: is not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UnreadableFileError(f"{path}: is not valid YAML: {error}") from error
    finally:
        loader.dispose()
    for line, key in loader.doubled_keys:
        problem(f"{path}:{line}: {key!r} is there twice, and only the second counts; remove one")
    return document


class _InventoryLoader(_Loader):
    """Safe YAML plus Ansible's two tags; remembers doubled keys."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.doubled_keys: list[tuple[int, str]] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping, and note keys that are in it twice."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    self.doubled_keys.append((key_node.start_mark.line + 1, key_node.value))
                seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """Build a number, and keep the text of those written in base 60."""
        value = self.construct_yaml_int(node)
        if ":" not in node.value:
            return value
        number = Sexagesimal(value)
        number.text = node.value
        return number

    def construct_unsafe(self, node: yaml.Node) -> str:
        """Build what `!unsafe` marks: text that is never a template."""
        return str(self.construct_scalar(node))  # type: ignore[arg-type]

    def construct_vault(self, node: yaml.Node) -> VaultText:
        """Build what `!vault` marks."""
        return VaultText(self.construct_scalar(node))  # type: ignore[arg-type]


_InventoryLoader.add_constructor("tag:yaml.org,2002:int", _InventoryLoader.construct_integer)
_InventoryLoader.add_constructor("!unsafe", _InventoryLoader.construct_unsafe)
_InventoryLoader.add_constructor("!vault", _InventoryLoader.construct_vault)
_InventoryLoader.add_constructor("!vault-encrypted", _InventoryLoader.construct_vault)
