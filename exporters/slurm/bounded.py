"""Labels that users choose, within a budget: the largest stay, the rest is one series more, and nothing is lost."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

OTHER = "other"
"""What the rest is called; whoever really bears that name is counted in it."""

K = TypeVar("K", bound=Hashable)


def largest(weights: Mapping[K, float], most: int) -> frozenset[K]:
    """Return the keys of the largest values, at most so many; of equal ones the first in order of their text."""
    ranked = sorted(weights, key=lambda key: (-weights[key], str(key)))
    return frozenset(ranked[:most])


def folded(values: Mapping[K, float], kept: frozenset[K], rest: K) -> dict[K, float]:
    """Return the values of the kept keys, and the sum of the others under `rest`; it is there only if it is needed."""
    found: dict[K, float] = {}
    for key, value in values.items():
        name = key if key in kept else rest
        found[name] = found.get(name, 0.0) + value
    return found
