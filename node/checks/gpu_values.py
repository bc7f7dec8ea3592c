"""Judgements of one number of each GPU, made from a line of declaration."""

from collections.abc import Callable, Iterator, Mapping

from fleetward.exporters.gpu.readings import GpuReading
from fleetward.model.gpu_faults import Action, Severity
from fleetward.node.checking import ALWAYS, Asked, Check
from fleetward.node.probes.gpus import GPUS, Gpus, value
from fleetward.node.results import Context, ProbeError, Problem, Trouble

Test = Callable[[float, Asked], bool]
"""Says whether a value is wrong."""


def gpu_name(index: int) -> str:
    """Return what a GPU is called in findings."""
    return f"GPU {index}"


def not_answering(gpus: Gpus) -> Iterator[Trouble]:
    """Yield that nothing is known of a GPU that hangs."""
    for index in gpus.hung:
        yield Trouble("the GPU did not answer in time", gpu_name(index), known=False)


def answering(gpus: Gpus) -> tuple[GpuReading, ...]:
    """Return the GPUs with values; raises ProbeError where there are none."""
    if not gpus.up:
        raise ProbeError(gpus.census.failure or "no GPU answers")
    return gpus.up


def values(gpus: Gpus, key: str) -> list[tuple[GpuReading, float]]:
    """Return one number of every GPU that has it; raises ProbeError where none does."""
    found = [(one, number) for one in answering(gpus) if (number := value(one, key)) is not None]
    if not found:
        raise ProbeError(f"no GPU here tells {key}: the model or the driver does not have it")
    return found


def above(limit: str) -> Test:
    """Test for a value over a limit of the check."""
    return lambda number, asked: number > asked.limits[limit]


def at_least(limit: str) -> Test:
    """Test for a value at a limit of the check, or over it."""
    return lambda number, asked: number >= asked.limits[limit]


def present(number: float, _: Asked) -> bool:
    """Test for anything but 0."""
    return number != 0


def gpu_check(
    id: str,
    meaning: str,
    keys: Mapping[str, str],
    wrong: Test,
    severity: Severity,
    action: Action,
    source: str,
    *,
    limits: Mapping[str, float] | None = None,
    contexts: frozenset[Context] = ALWAYS,
    problem: Problem = Problem.NODE,
) -> Check[Gpus]:
    """Make a check of some numbers, given as words for people by key; one that is wrong is enough."""

    def judge(gpus: Gpus, asked: Asked) -> Iterator[Trouble]:
        told = 0
        for key, words in keys.items():
            for reading, number in ((one, value(one, key)) for one in answering(gpus)):
                told += number is not None
                if number is not None and wrong(number, asked):
                    why = f"{words}: {number:g}"
                    yield Trouble(why, gpu_name(reading.identity.index), {key: number, "uuid": reading.identity.uuid})
        yield from not_answering(gpus)
        if not told:
            raise ProbeError(f"no GPU here tells {', '.join(keys)}: the model or the driver does not have it")

    return Check(id, GPUS, severity, action, source, meaning, judge, limits or {}, contexts, problem)
