"""The front matter of a page: what it is about, and how far it may go by itself."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from fleetward.model.incidents import Severity
from fleetward.model.runs import Mode
from fleetward.runbooks.page_params import Param, read_params
from fleetward.runbooks.page_yaml import Block

_KEYS = frozenset({"id", "title", "alerts", "severity", "params", "blast", "mode"})
_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+){0,15}")
_TITLE = re.compile(r"\S.{0,119}")
_ALERT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")

Choice = TypeVar("Choice", bound=StrEnum)


class Blast(StrEnum):
    """What a page may take out of service."""

    NONE = "none"
    GPU = "gpu"
    NODE = "node"
    FLEET = "fleet"


@dataclass(frozen=True, slots=True)
class Front:
    """What a front matter says."""

    id: str
    title: str
    alerts: tuple[str, ...]
    severity: Severity
    params: Mapping[str, Param]
    blast: Blast
    mode: Mode


Wrong = tuple[int, str]
"""A line of the page, and what is wrong there."""


def read_front(block: Block) -> tuple[Front | None, list[Wrong]]:
    """Return what a front matter says, None where something is wrong with it, and all that is wrong."""
    reader = _Reader(block)
    params, wrong = read_params(block.values.get("params", {}))
    reader.wrong += [(block.lines.get("params", 1), sentence) for sentence in wrong]
    found = {
        "id": reader.word("id", _ID, "words of small letters and digits with dashes between"),
        "title": reader.word("title", _TITLE, "a text of at most 120 characters"),
    }
    alerts = reader.alerts()
    severity, blast, mode = (
        reader.choice("severity", Severity),
        reader.choice("blast", Blast),
        reader.choice("mode", Mode),
    )
    reader.keys()
    if reader.wrong or severity is None or blast is None or mode is None:
        return None, reader.wrong
    return Front(found["id"], found["title"], alerts, severity, params, blast, mode), []


class _Reader:
    """One reading of one front matter."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.wrong: list[Wrong] = []

    def keys(self) -> None:
        """Note keys that are not known, and those that are missing."""
        there = self.block.values.keys()
        for key in sorted(there - _KEYS):
            self.wrong.append((self.block.lines[key], f"{key!r} is no key of it; there are {_listed(_KEYS)}"))
        for key in sorted(_KEYS - {"params"} - there):
            self.wrong.append((1, f"{key} is missing"))

    def word(self, key: str, pattern: re.Pattern[str], what: str) -> str:
        """Return a text that matches as a whole, and note where it does not."""
        value = self.block.values.get(key, "")
        if key in self.block.values and not (isinstance(value, str) and pattern.fullmatch(value)):
            self.wrong.append((self.block.lines[key], f"{key} is to be {what}"))
        return str(value)

    def alerts(self) -> tuple[str, ...]:
        """Return the names of the rules that open the page."""
        value = self.block.values.get("alerts", [])
        if isinstance(value, list) and all(isinstance(one, str) and _ALERT.fullmatch(one) for one in value):
            return tuple(value)
        self.wrong.append((self.block.lines["alerts"], "alerts is to be a list of names of rules, such as [GpuOffBus]"))
        return ()

    def choice(self, key: str, choices: type[Choice]) -> Choice | None:
        """Return one of a few words, and note where it is another."""
        value = self.block.values.get(key)
        for one in choices:
            if one.value == value:
                return one
        if key in self.block.values:
            self.wrong.append((self.block.lines[key], f"{key} is to be one of {_listed(choices)}"))
        return None


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
