"""Placeholders of a page's steps, filled without any template language.

`{{ node }}` in a text becomes the parameter's value. In a `prometheus.expect` expression `$node`, outside quotes,
becomes a quoted PromQL string, and `{{ node }}` has no place. Values never become code: an argument of a list stays
one argument.
"""

import re
from collections.abc import Callable, Iterator, Mapping

from fleetward.model.errors import UsageError

PROMQL_ACTION = "prometheus.expect"
"""The kind of action whose own argument is a PromQL expression."""

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_BRACES = re.compile(r"\{\{.*?\}\}|\{\{|\{%|\{#")
_PROMQL_PART = re.compile(
    r"""(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)|\$(?P<name>[A-Za-z_][A-Za-z0-9_]*)"""
)


def fill(arguments: Mapping[str, object], action: str, values: Mapping[str, str]) -> Mapping[str, object]:
    """Return a step's arguments with every placeholder filled; UsageError for one that has no value."""
    filled = {key: _filled(value, values) for key, value in arguments.items() if key or action != PROMQL_ACTION}
    if action == PROMQL_ACTION:
        filled[""] = _filled_promql(arguments.get(""), values)
    return filled


def placeholders(arguments: Mapping[str, object], action: str) -> Iterator[tuple[str, str]]:
    """Yield (top-level key, name of the parameter) for every placeholder of a step."""
    for key, value in arguments.items():
        if not key and action == PROMQL_ACTION:
            yield from (("", match["name"]) for match in _PROMQL_PART.finditer(str(value)) if match["name"])
        else:
            yield from ((key, name) for text in texts(value) for name in _PLACEHOLDER.findall(text))


def misused(arguments: Mapping[str, object], action: str) -> Iterator[tuple[str, str]]:
    """Yield (top-level key, sentence) for what looks like a placeholder and will not be filled."""
    for key, value in arguments.items():
        for text in texts(value):
            if not key and action == PROMQL_ACTION:
                if _BRACES.search(text) and "{{" in text:
                    yield key, "an expression takes $name, not {{ name }}, so that the value is quoted"
                for match in _PROMQL_PART.finditer(text):
                    if match["quoted"] and re.search(r"\$[A-Za-z_]", match["quoted"]):
                        yield key, f"{match['quoted']} is not filled within quotes; write $name without them"
                continue
            for braces in _BRACES.findall(text):
                if not _PLACEHOLDER.fullmatch(braces):
                    yield key, f"{braces} is no placeholder; only {{{{ name }}}} is"


def texts(value: object) -> Iterator[str]:
    """Yield every text in a value, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from texts(one)


def _filled(value: object, values: Mapping[str, str]) -> object:
    if isinstance(value, str):
        return _PLACEHOLDER.sub(_lookup(values), value)
    if isinstance(value, Mapping):
        return {key: _filled(one, values) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(one, values) for one in value]
    return value


def _filled_promql(expression: object, values: Mapping[str, str]) -> str:
    from fleetward.runbooks.prometheus import quoted  # brings an HTTP client, which lint does without

    def part(match: re.Match[str]) -> str:
        return match["quoted"] or quoted(_value(match["name"], values))

    return _PROMQL_PART.sub(part, str(expression))


def _lookup(values: Mapping[str, str]) -> Callable[[re.Match[str]], str]:
    return lambda match: _value(match[1], values)


def _value(name: str, values: Mapping[str, str]) -> str:
    if name not in values:
        raise UsageError(f"the placeholder {name} has no value; declare it under params")
    return values[name]
