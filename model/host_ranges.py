"""Host names folded into ranges, `gpu[001-008],head`, and expanded again; Ansible's ranges, `gpu[001:008]`.

Only the digits at the end of a name are folded: that is the form every reader of Slurm's files understands.
"""

import re
import string
from collections.abc import Iterable

from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetParseError
from ClusterShell.RangeSet import RangeSet

_MOST_HOSTS_OF_A_RANGE = 100_000
_INTEGER_DIGITS = 18
"""Longer runs of digits are not folded: readers hold an index in 64 bits."""


NaturalKey = tuple[tuple[int, int, str], ...]


def natural_key(name: str) -> NaturalKey:
    """Return a sort key under which `gpu9` comes before `gpu10`."""
    parts = re.split(r"(\d+)", name)
    return tuple((1, int(part), part) if part.isdecimal() and part.isascii() else (0, 0, part) for part in parts)


def fold(names: Iterable[str]) -> str:
    """Fold names into one host list; each name once, in natural order of their stems."""
    indices: dict[str, set[str]] = {}
    for name in names:
        stem, digits = _split(name)
        indices.setdefault(stem, set()).add(digits)
    return ",".join(_fold_stem(stem, indices[stem]) for stem in sorted(indices, key=natural_key))


def expand(pattern: str) -> list[str]:
    """Expand a host list such as `gpu[001-003,007],head`; ValueError where it is malformed."""
    if re.search(r"[@!&^\s]", pattern):  # operators of ClusterShell, which Slurm does not know
        raise ValueError(f"{pattern!r} is not a list of host names")
    try:
        return sorted(NodeSet(pattern, resolver=RESOLVER_NOGROUP), key=natural_key) if pattern else []
    except NodeSetParseError as error:
        raise ValueError(str(error)) from error


def _split(name: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.*?)([0-9]*)", name, re.DOTALL)
    assert match is not None  # noqa: S101  matches every string
    stem, digits = match.groups()
    if len(digits) > _INTEGER_DIGITS:
        return name, ""
    return stem, digits


def _fold_stem(stem: str, indices: set[str]) -> str:
    names = [stem] if "" in indices else []
    numbered = sorted(indices - {""}, key=lambda digits: (len(digits), digits))
    if len(numbered) == 1:
        names.append(stem + numbered[0])
    elif numbered:
        names.append(f"{stem}[{RangeSet.fromlist(numbered)}]")
    return ",".join(names)


def expand_ansible_range(pattern: str) -> list[str]:
    """Expand Ansible's ranges in a host name; ValueError where a range is malformed."""
    if "[" not in pattern:
        return [pattern]
    head, _, rest = pattern.partition("[")
    bounds, bracket, tail = rest.partition("]")
    if not bracket:
        raise ValueError("a range needs a closing bracket")
    return [head + item + end for item in _range_items(bounds) for end in expand_ansible_range(tail)]


def _range_items(bounds: str) -> list[str]:
    begin, *others = bounds.split(":")
    if len(others) not in (1, 2) or not others[0]:
        raise ValueError("a range is [first:last] or [first:last:step]")
    begin, end, step = begin or "0", others[0], int(others[1]) if len(others) == 2 else 1
    if step < 1:
        raise ValueError("the step of a range is 1 or more")
    letters = string.ascii_letters
    if begin in letters and end in letters:
        items = list(letters[letters.index(begin) : letters.index(end) + 1 : step])
    else:
        width = len(begin) if len(begin) > 1 and begin[0] == "0" else 0
        if width and len(end) != width:
            raise ValueError("first and last of a padded range are equally long")
        numbers = range(int(begin), int(end) + 1, step)
        if len(numbers) > _MOST_HOSTS_OF_A_RANGE:
            raise ValueError(f"a range has at most {_MOST_HOSTS_OF_A_RANGE} hosts")
        items = [str(number).zfill(width) for number in numbers]
    if not items:
        raise ValueError("the first of a range comes before its last")
    return items
