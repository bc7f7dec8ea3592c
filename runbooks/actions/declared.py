"""What a kind of action takes: declared once, for lint and for reading the arguments of a step.

A check returns what is wrong with a value, as the rest of a sentence, or nothing. Lint sees values with placeholders
still in them: each stands for a plausible word then.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from fleetward.model.errors import UsageError
from fleetward.runbooks.actions.base import Call
from fleetward.runbooks.clock import Clock

Check = Callable[[object], str]

_PLACEHOLDER = re.compile(r"\{\{[^{}]*\}\}")
_DURATION = re.compile(r"(?P<count>[1-9][0-9]{0,5})(?P<unit>[smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of action: its name, whether it changes anything, its own argument, and its options."""

    name: str
    changes: bool
    argument: Check
    options: Mapping[str, Check] = field(default_factory=dict)
    required: frozenset[str] = frozenset()

    def lint(self, arguments: Mapping[str, object]) -> list[str]:
        """Return what is wrong with a step's arguments; the action's own is under the empty key."""
        found = []
        for key, value in arguments.items():
            check = self.options.get(key) if key else self.argument
            if check is None:
                known = ", ".join(sorted(self.options)) or "none"
                found.append(f"{key} is no option of {self.name}; it has {known}")
            elif problem := check(value):
                found.append(f"{key or self.name} {problem}")
        found += [f"{self.name} needs {key}" for key in sorted(self.required - arguments.keys())]
        return found


class Declared:
    """An action whose kind is declared."""

    declared: ClassVar[Kind]

    @property
    def kind(self) -> str:
        """Its name on a page."""
        return self.declared.name

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return self.declared.changes

    def lint(self, arguments: Mapping[str, object]) -> list[str]:
        """Return what is wrong with a step's arguments."""
        return self.declared.lint(arguments)


def text(value: object) -> str:
    """Take a text that is not empty."""
    return "" if isinstance(value, str) and value.strip() else f"is to be a text, not {value!r}"


def node_name(value: object) -> str:
    """Take the name of one node."""
    fits = isinstance(value, str) and _NODE.fullmatch(_PLACEHOLDER.sub("x", value)) and value.upper() != "ALL"
    return "" if fits else f'is to be the name of one node, such as "{{{{ node }}}}", not {value!r}'


def duration(value: object) -> str:
    """Take a length of time."""
    fits = isinstance(value, str) and _DURATION.fullmatch(_PLACEHOLDER.sub("1h", value))
    return "" if fits else f"is to be a length of time such as 30s, 10m or 24h, not {value!r}"


def truth(value: object) -> str:
    """Take true or false."""
    return "" if isinstance(value, bool) else f"is to be true or false, not {value!r}"


def word_list(value: object) -> str:
    """Take a list of words, none of which could be taken for an option."""
    words = value if isinstance(value, list) else []
    fits = all(isinstance(word, str) and _WORD.fullmatch(_PLACEHOLDER.sub("x", word)) for word in words)
    return "" if words and fits else f"is to be a list of words such as [nvidia_driver], not {value!r}"


def one_of(*words: str) -> Check:
    """Make a check that takes one of these words."""
    return lambda value: "" if value in words else f"is to be one of {', '.join(words)}, not {value!r}"


def node_of(call: Call, key: str = "") -> str:
    """Return the node that a step is about; UsageError where its argument is not one node's name."""
    value = call.step.arguments.get(key)
    problem = node_name(value)
    if problem:
        raise UsageError(f"{key or call.step.action} {problem}")
    return str(value)


def seconds_of(call: Call, key: str, default: str) -> float:
    """Return an argument as seconds; UsageError where it is no length of time."""
    value = call.step.arguments.get(key, default)
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise UsageError(f"{key or call.step.action} {duration(value)}")
    return float(int(match["count"]) * _UNITS[match["unit"]])


def since(before: Mapping[str, object], clock: Clock) -> timedelta:
    """Return how long ago a step was reserved, from the `at` that its action wrote down."""
    return clock.now() - datetime.fromisoformat(str(before["at"]))
