"""A measured figure beside its goal."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from fleetward.lab.host import machine_facts


@dataclass(frozen=True)
class Figure:
    """One thing that was measured; lower is better. Without a goal it is a part of another, or a peer's."""

    what: str
    value: float
    goal: float | None
    unit: str = "s"

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.goal is None or self.value <= self.goal


def median_seconds(run: Callable[[], object], *, times: int) -> float:
    """Return the median wall-clock time of several calls."""
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


def print_figures(figures: list[Figure]) -> None:
    """Print the machine's facts, then a line a figure."""
    print(", ".join(f"{name} {value}" for name, value in machine_facts().items()))
    for figure in figures:
        mark = "      " if figure.goal is None else "ok    " if figure.met else "MISSED"
        goal = " " * 11 if figure.goal is None else f"goal {figure.goal:6.1f}"
        print(f"  {mark} {figure.value:8.2f} {figure.unit:<6} {goal}  {figure.what}")
