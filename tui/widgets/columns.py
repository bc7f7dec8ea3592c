"""Columns of a table: what follows from an item, and how much of a line each gets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fleetward.tui.text import cut

T = TypeVar("T")
GAP = 1
"""Cells between two columns."""


@dataclass(frozen=True)
class Column(Generic[T]):
    """One column: how its text, its order and its style follow from an item."""

    title: str
    width: int
    """In cells; the least for one that grows."""
    text: Callable[[T], str]
    grows: bool = False
    right: bool = False
    order: Callable[[T], Any] | None = None
    """What it is sorted by; by its text where there is none."""
    style: Callable[[T], str] | None = None
    rank: int = 0
    """Where the terminal is too narrow, columns of the highest rank go first; rank 0 stays."""


def layout(columns: Sequence[Column[T]], width: int) -> tuple[tuple[Column[T], int], ...]:
    """Return the columns that fit into a width with the cells each gets; what is left over goes to those that grow."""
    shown = list(columns)
    while _least(shown) > width and any(column.rank for column in shown):
        shown.remove(max(reversed(shown), key=lambda column: column.rank))
    growing = [column for column in shown if column.grows]
    spare = max(0, width - _least(shown))
    extra: Mapping[int, int] = {
        id(column): spare // len(growing) + (1 if at < spare % len(growing) else 0) for at, column in enumerate(growing)
    }
    return tuple((column, column.width + extra.get(id(column), 0)) for column in shown)


def _least(columns: Sequence[Column[T]]) -> int:
    return 1 + sum(column.width + GAP for column in columns)


def fitted(text: str, size: int, right: bool) -> str:
    """Return a cell's text in exactly the cells it gets."""
    return text.rjust(size) if right and len(text) < size else cut(text, size)
