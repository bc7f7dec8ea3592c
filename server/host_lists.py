"""Host lists that somebody has sent: bounded before they are expanded."""

import re

from fleetward.model.errors import UsageError
from fleetward.model.host_ranges import expand

MOST_NODES = 100_000
"""Of one list."""
_PART = re.compile(r"\[([^\[\]]*)\]|,")
"""What tells of how many names a host list is: the inside of brackets, and a comma between two of its items."""
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")


def expanded(text: str) -> list[str]:
    """Return the names of a host list; UsageError where it is none, or is of more than any memory has room for."""
    try:
        many, item = 0, 1
        for part in _PART.finditer(text):
            many, item = (many + item, 1) if part[0] == "," else (many, item * _size(part[1]))
        if many + item > MOST_NODES:
            raise UsageError(f"{text[:100]!r} is of too many nodes; one list has no more than {MOST_NODES}")
        return expand(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _size(inside: str) -> int:
    """Return of how many indices the inside of brackets is at most."""
    return sum(max(1, int(last or first) - int(first) + 1) for first, last in _RANGE.findall(inside))
