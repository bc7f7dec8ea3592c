"""Tables of a TOML file with their place, so that what is wrong in one can be told by file, table and key."""

import stat
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from fleetward.model.errors import UsageError

LARGEST_BYTES = 1 << 20
"""A file of faults is some 50 kB; a larger one than this is something else."""
HIGHEST_CODE = 99_999
"""Fault numbers have at most five digits in the kernel's log."""

Word = TypeVar("Word", bound=StrEnum)


@dataclass(frozen=True)
class Table:
    """One table of a file; each method returns the value of a key, or raises UsageError that says what is allowed."""

    place: str
    """File and table, such as `site.toml: xid 109`."""
    values: Mapping[str, object]

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def error(self, key: str, found: object, allowed: str) -> UsageError:
        """Return the error that a key has the wrong value; `allowed` says what may stand there."""
        return UsageError(f"{self.place}: {key} is {shown(found)}; write {allowed}")

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text that is not empty."""
        value = self._value(key, "a text", default)
        if not isinstance(value, str) or (not value.strip() and value is not default):
            raise self.error(key, value, "a text")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, at least one."""
        value = self._value(key, "a list of texts")
        if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
            raise self.error(key, value, "a list of texts")
        return tuple(value)

    def number(self, key: str, least: int = 0, most: int = 1 << 32) -> int:
        """Return a whole number within bounds."""
        allowed = f"a whole number from {least} to {most}"
        value = self._value(key, allowed)
        if type(value) is not int or not least <= value <= most:  # a bool is an int to isinstance
            raise self.error(key, value, allowed)
        return value

    def code(self) -> int:
        """Return the fault number."""
        return self.number("code", 1, HIGHEST_CODE)

    def numbers(self, key: str) -> tuple[int, ...]:
        """Return a list of fault numbers, an empty one where the key is not there."""
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(type(one) is int and 0 < one <= HIGHEST_CODE for one in value):
            raise self.error(key, value, f"a list of numbers from 1 to {HIGHEST_CODE}")
        return tuple(value)

    def flag(self, key: str) -> bool:
        """Return true or false, false where the key is not there."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self.error(key, value, "true or false")
        return value

    def word(self, key: str, words: type[Word]) -> Word:
        """Return one of a set of words."""
        return self._word(key, self._value(key, _one_of(words)), words)

    def words(self, key: str, words: type[Word]) -> tuple[Word, ...]:
        """Return one word of a set, or a list of them without repetition, as it is ordered in the file."""
        value = self._value(key, _one_of(words))
        found = tuple(self._word(key, one, words) for one in (value if isinstance(value, list) else [value]))
        if not found or len(set(found)) < len(found):
            raise self.error(key, value, f"each once, {_one_of(words)}")
        return found

    def _word(self, key: str, value: object, words: type[Word]) -> Word:
        if not isinstance(value, str) or value not in tuple(words):
            raise self.error(key, value, _one_of(words))
        return words(value)

    def _value(self, key: str, allowed: str, default: str | None = None) -> object:
        if key in self.values:
            return self.values[key]
        if default is None:
            raise UsageError(f"{self.place}: {key} is missing; write {allowed}")
        return default


def tables(file: Path, allowed: Mapping[str, Sequence[str]]) -> dict[str, tuple[Table, ...]]:
    """Return the tables of a file by their name; `allowed` maps each name to the keys that it may have.

    Raises UsageError for a file that cannot be read, a name or key that is not allowed, and a number that comes twice.
    """
    tree = _tree(file)
    for name in tree:
        if name not in allowed:
            raise UsageError(
                f"{file}: {shown(name)} is not allowed; write {' or '.join(f'[[{one}]]' for one in allowed)}"
            )
    return {name: tuple(_checked(file, name, tree.get(name, []), keys)) for name, keys in allowed.items()}


def shown(value: object) -> str:
    """Return a value as an error shows it: on one line, and short."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _one_of(words: type[StrEnum]) -> str:
    return f"one of {', '.join(words)}"


def _checked(file: Path, name: str, found: object, keys: Sequence[str]) -> Iterator[Table]:
    """Yield the tables of one name."""
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise UsageError(f"{file}: {name} is {shown(found)}; write it as tables, each headed [[{name}]]")
    seen: set[object] = set()
    for at, values in enumerate(found, 1):
        numbered = Table(f"{file}: [[{name}]] number {at}", values)
        table = Table(f"{file}: {name} {numbered.code()}", values) if "code" in keys else numbered
        for key in values:
            if key not in keys:
                raise UsageError(f"{table.place}: {shown(key)} is no key; write one of {', '.join(keys)}")
        if "code" in keys and table.code() in seen:
            raise UsageError(f"{table.place}: is there twice; leave one of them")
        seen.add(values.get("code"))
        yield table


def _tree(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(content_of(file).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: is not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except ValueError as error:  # also a number of more digits than Python converts
        raise UsageError(f"{file}: is not TOML: {error}; correct it there") from error
    except RecursionError:
        raise UsageError(f"{file}: is not TOML that can be read: it is nested too deep; write flat tables") from None


def content_of(file: Path) -> bytes:
    """Return what is in an ordinary file of a sensible size."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise UsageError(f"{file}: is no ordinary file; name a TOML file")
        with file.open("rb") as opened:
            content = opened.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror}); correct its name or permissions") from error
    if len(content) > LARGEST_BYTES:
        raise UsageError(f"{file}: is larger than {LARGEST_BYTES} bytes; name a TOML file")
    return content
