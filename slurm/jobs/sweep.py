"""Sweeps: one specification, many tasks of a job array, each with a point of the parameters of its own.

A value reaches its task as an environment variable, and where a command's argument says `{parameter}`. It is quoted
where it stands in the script and never read by a shell again, so that it may be any text.
"""

import itertools
import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from fleetward.slurm.jobs.spec_fields import SweptValue, Variable
from fleetward.slurm.jobs.spec_parts import Part

USUAL_MOST_TASKS = 1001
"""Slurm's MaxArraySize where slurm.conf says nothing."""
# `${name}` is left to a shell that the command may be, and `{{name}}` is how to write `{name}` itself.
_PLACEHOLDER = re.compile(r"(?<!\$)\{(?P<open>\{)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}(?(open)\})")

Values = Annotated[tuple[SweptValue, ...], Field(min_length=1)]
Point = Mapping[str, str]
"""The value of each parameter, for one task."""


class Sweep(Part):
    """Many tasks of one specification: all combinations of a grid, or points one by one."""

    grid: Annotated[dict[Variable, Values], Field(min_length=1)] | None = None
    """Parameter to list of values; every combination is a task, the last parameter varying fastest."""
    points: Annotated[tuple[dict[Variable, SweptValue], ...], Field(min_length=1)] | None = None
    """In place of `grid`: a list of mappings of parameter to value, one a task."""
    gpu_budget: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] | None = None
    """At most so many GPUs are in use by all tasks together."""
    max_tasks: Annotated[int, Field(ge=1, le=10_000, strict=True)] = USUAL_MOST_TASKS
    """At most so many tasks there may be; more than 1,001 only where the cluster's MaxArraySize allows it."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Return the names of the parameters, in the order in which they are written."""
        return tuple(self.grid if self.grid is not None else (self.points or ({},))[0])

    @property
    def size(self) -> int:
        """Return the number of tasks."""
        if self.grid is not None:
            return math.prod(len(values) for values in self.grid.values())
        return len(self.points or ())

    def each_point(self) -> Iterator[Point]:
        """Yield the points, in the order of the tasks' indices, from 0."""
        if self.grid is None:
            yield from self.points or ()
            return
        for values in itertools.product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if (self.grid is None) == (self.points is None):
            raise ValueError("needs either grid or points, and not both")
        if self.size > self.max_tasks:
            raise ValueError(
                f"has {self.size} tasks, and max_tasks is {self.max_tasks}; take fewer values, or raise max_tasks "
                "where the cluster's MaxArraySize (`scontrol show config`) is more than that"
            )
        for number, point in enumerate(self.points or ()):
            if set(point) != set(self.parameters):
                raise ValueError(
                    f"points.{number} has {_listed(point)}, and points.0 has {_listed(self.parameters)}; "
                    "give every point the same parameters"
                )
        if not self.parameters:
            raise ValueError("points.0 has no parameter; write one, as in {seed: 1}")
        variables = [variable_of(name) for name in self.parameters]
        for name, variable in zip(self.parameters, variables, strict=True):
            if variables.count(variable) > 1:
                raise ValueError(f"{name} is one of two parameters that would both be {variable}; rename one")
        return self


def variable_of(parameter: str) -> str:
    """Return the environment variable that a parameter's value is in."""
    return f"FLEETWARD_SWEEP_{parameter.upper()}"


def unknown_placeholder(arguments: Iterable[str], parameters: Iterable[str]) -> str | None:
    """Return the first placeholder of a command that is no parameter, None where there is none."""
    known = set(parameters)
    for argument in arguments:
        for found in _PLACEHOLDER.finditer(argument):
            if not found["open"] and found["name"] not in known:
                return found["name"]
    return None


def shell_word(argument: str) -> str:
    """Return an argument of a swept command as one word of bash, which expands to it with the task's values in it."""
    word, end = "", 0
    for found in _PLACEHOLDER.finditer(argument):
        literal = argument[end : found.start()] + (f"{{{found['name']}}}" if found["open"] else "")
        word += shlex.quote(literal) if literal else ""
        word += "" if found["open"] else f'"${variable_of(found["name"])}"'
        end = found.end()
    rest = argument[end:]
    return word + (shlex.quote(rest) if rest or not word else "")


def choice_of_point(sweep: Sweep) -> list[str]:
    """Return lines of bash that export the values of the task's own point, and tell of them in the log."""
    lines = ["# Which point of the sweep this task is.", "case $SLURM_ARRAY_TASK_ID in"]
    for index, point in enumerate(sweep.each_point()):
        values = " ".join(f"{variable_of(name)}={shlex.quote(point[name])}" for name in sweep.parameters)
        lines.append(f"  {index}) export {values} ;;")
    told = " ".join(f"{name}=${{{variable_of(name)}@Q}}" for name in sweep.parameters)
    none = "  *) fleetward_say 'the sweep has no such task' >&2; exit 1 ;;"
    return [*lines, none, "esac", f'fleetward_say "{told}"']


def array_option(sweep: Sweep, gpus_of_a_task: int) -> str:
    """Return the value of `--array`; at most as many tasks run at once as the budget of GPUs has room for."""
    at_once = sweep.gpu_budget // gpus_of_a_task if sweep.gpu_budget is not None else sweep.size
    return f"0-{sweep.size - 1}" + (f"%{at_once}" if at_once < sweep.size else "")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
