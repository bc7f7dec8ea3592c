"""Reading the file of `--web-config`: as YAML where this host can, else as JSON, which is YAML too."""

import json
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fleetward.model.errors import UsageError

if TYPE_CHECKING:
    from yaml import Node

LARGEST_BYTES = 1 << 18


def read_document(file: Path) -> object:
    """Return what is in the file; raises UsageError where it cannot be read, or has a key twice.

    A GPU node needs no PyYAML. One that has it, as most do, reads YAML.
    """
    text = _text(file)
    try:
        return _yaml(file, text)
    except ImportError:
        return _json(file, text)


def _text(file: Path) -> str:
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_BYTES:
            raise UsageError(f"{file}: is no ordinary file of at most {LARGEST_BYTES} bytes; name another")
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror}); correct its name or permissions") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: is not UTF-8 at byte {error.start}; save it as UTF-8") from error


def _yaml(file: Path, text: str) -> object:
    import yaml

    try:
        loader = yaml.SafeLoader(text)  # the one in C ends the process where lists are nested too deep
        node = loader.get_single_node()
        _refuse_doubled(file, node)
        return loader.construct_document(node) if node else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        raise UsageError(f"{where}: is not YAML: {error.problem or error.context}; correct it there") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{file}: is not YAML: {error}; correct it there") from error


def _refuse_doubled(file: Path, top: "Node | None") -> None:
    """Raise UsageError for a key that stands twice in one mapping: YAML would take the second in silence."""
    from yaml import MappingNode, SequenceNode

    waiting, seen = [top], set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, MappingNode):
            _once(file, (key.value for key, _ in node.value if isinstance(key.value, str)))
            waiting += [value for _, value in node.value]
        elif isinstance(node, SequenceNode):
            waiting += node.value


def _json(file: Path, text: str) -> object:
    def mapping(pairs: list[tuple[str, object]]) -> dict[str, object]:
        _once(file, (name for name, _ in pairs))
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=mapping)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{file}: is not JSON: {error}. This host's Python has no PyYAML, so only JSON is read, which is YAML "
            "too: install PyYAML, or write the file as JSON"
        ) from error


def _once(file: Path, keys: Iterable[str]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise UsageError(f"{file}: {key!r} is there twice; remove one")
        seen.add(key)
