"""YAML inside a page: plain data only, with the line of every key, and bounded before anything is built.

Narrower than YAML 1.1 on purpose: `on` is a word and no boolean, nothing becomes a date or a base-60 number, and
there are no anchors, aliases or tags, so that a page means what it looks like and cannot blow up.
"""

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from fleetward.model.errors import UsageError

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML without libyaml reads the same, ten times slower
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

MAX_CHARACTERS = 16_384
MAX_DEPTH = 12
"""Levels of lists and mappings; also what keeps libyaml's recursive composer from running out of stack."""

_PLAIN = (
    ("tag:yaml.org,2002:bool", re.compile(r"true|false"), "tf"),
    ("tag:yaml.org,2002:null", re.compile(r"~|null|"), ["~", "n", ""]),
    ("tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})"), "-+0123456789"),
    ("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{1,18}"), "-+0123456789"),
)


class PageYamlError(UsageError):
    """A block of a page that is not what a page may hold."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.line = line
        self.sentence = sentence


class _PageLoader(_Loader):
    """Safe YAML with the few plain scalars of YAML 1.2's core."""


_PageLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _PLAIN:
    _PageLoader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern.pattern})\Z"), list(_first))


@dataclass(frozen=True, slots=True)
class Block:
    """The mapping that a block holds, and the page's line of each key at its top."""

    values: Mapping[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)


def read_block(text: str, first_line: int) -> Block:
    """Read a block whose first line is `first_line` of its page; PageYamlError where it is not one plain mapping."""
    if len(text) > MAX_CHARACTERS:
        raise PageYamlError(first_line, f"holds more than {MAX_CHARACTERS} characters; shorten it")
    try:
        _check_events(text, first_line)
        loader = _PageLoader(text)
        try:
            node = loader.get_single_node()
            if not isinstance(node, yaml.MappingNode):
                raise PageYamlError(first_line, "is no mapping; write `key: value` lines")
            _check_keys(node, first_line)
            values: dict[Hashable, Any] = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = first_line + (mark.line if mark else 0)
        raise PageYamlError(line, f"is not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise PageYamlError(first_line, f"is not valid YAML: {' '.join(str(error).split())}") from error
    lines = {key.value: first_line + key.start_mark.line for key, _ in node.value}
    return Block({str(key): value for key, value in values.items()}, lines)


def _check_events(text: str, first_line: int) -> None:
    """Refuse what a page may not hold, before anything is built from it."""
    depth = 0
    for event in yaml.parse(text, Loader=_PageLoader):
        line = first_line + (event.start_mark.line if event.start_mark else 0)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise PageYamlError(line, "uses an anchor or alias; write the value out")
        if tag := getattr(event, "tag", None):
            raise PageYamlError(line, f"uses the tag {tag}; write plain values")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise PageYamlError(line, f"is nested deeper than {MAX_DEPTH} levels; flatten it")


def _check_keys(node: yaml.Node, first_line: int) -> None:
    """Refuse keys that are no words or are there twice, at every level."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, first_line)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        line = first_line + key.start_mark.line
        if not isinstance(key, yaml.ScalarNode) or not key.value:
            raise PageYamlError(line, 'has a key that is no word; quote placeholders: "{{ node }}"')
        if key.value in seen:
            raise PageYamlError(line, f"has the key {key.value!r} twice; remove one")
        seen.add(key.value)
        key.tag = "tag:yaml.org,2002:str"
        _check_keys(value, first_line)
