"""What a workload's output says: numbers with units, faults that it names itself, or why it cannot be read.

Output is what strange programs wrote on a node that may be broken. Whatever it holds, it is read, or UnreadableError
says why not; a number that is not finite is none.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any

LONGEST = 240
"""Characters of a line that is shown to people."""
_NUMBER = re.compile(r"[0-9]{1,18}(?:\.[0-9]{0,18})?(?:[eE][+-]?[0-9]{1,3})?")
_OBJECT = re.compile(r"^\{", re.MULTILINE)


class Unit(StrEnum):
    """What a number counts; a unit of data is decimal (1 GB is 10^9 bytes)."""

    GBYTES_PER_SECOND = "GB/s"
    TFLOPS = "TFLOP/s"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number that a workload measured."""

    name: str
    value: float
    unit: Unit
    entity: str = ""
    """The part that it is of: `GPU 3`, `mlx5_0`; empty for all that the workload ran on."""

    def __str__(self) -> str:
        """Write it for people."""
        return f"{self.name}{f' of {self.entity}' if self.entity else ''}: {self.value:.4g} {self.unit}"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that the workload itself says is wrong."""

    why: str
    entity: str = ""

    def __str__(self) -> str:
        """Write it for people."""
        return f"{self.entity}: {self.why}" if self.entity else self.why


@dataclass(frozen=True, slots=True)
class Reading:
    """What an output says."""

    measurements: tuple[Measurement, ...] = ()
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    """What else a person may want to know, such as a test that was left out."""


class UnreadableError(ValueError):
    """An output from which nothing follows, and why."""


def number(value: object) -> float | None:
    """Return a number that is finite and not below 0, from text or from JSON; None for anything else."""
    if isinstance(value, str):
        text = value.strip()
        value = float(text) if _NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if isfinite(found) and found >= 0 else None


def complete_lines(text: str) -> list[str]:
    """Return the lines that have their end; the last one may have been cut off, and half a number is another number."""
    return [line.rstrip("\r") for line in text.split("\n")[:-1]]


def shown(text: object) -> str:
    """Return one line that is fit for people and terminals, cut where it is long."""
    words = " ".join("".join(char if char.isprintable() else " " for char in str(text)[: 4 * LONGEST]).split())
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 3]}..."


def last_words(text: str) -> str:
    """Return the last line that says something, for people."""
    return next((words for line in reversed(text.split("\n")[-50:]) if (words := shown(line))), "it says nothing")


def json_object(text: str, what: str) -> Mapping[str, Any]:
    """Return the object that begins at the start of a line; UnreadableError where there is none that is whole."""
    begin = _OBJECT.search(text)
    if begin is None:
        raise UnreadableError(f"{what} gave no JSON: {last_words(text)}")
    try:
        found, _ = json.JSONDecoder(parse_constant=_refuse).raw_decode(text, begin.start())
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"the JSON of {what} is not whole: {shown(error)}") from error
    assert isinstance(found, dict)  # noqa: S101  it begins with a brace
    return found


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def items(value: object, where: str) -> list[Any]:
    """Return a list of JSON; UnreadableError where it is something else."""
    if not isinstance(value, list):
        raise UnreadableError(f"{where} is no list")
    return value


def fields(value: object, where: str) -> Mapping[str, Any]:
    """Return an object of JSON; UnreadableError where it is something else."""
    if not isinstance(value, dict):
        raise UnreadableError(f"{where} is no object")
    return value
