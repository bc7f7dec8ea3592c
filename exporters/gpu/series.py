"""What one number of a GPU is: its name on the page, its labels, and the one question to NVML that gives it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class FieldValue:
    """A field of nvmlDeviceGetFieldValues: all of them together are one call."""

    id: int
    link: int | None = None
    """The NVLink that it is asked for."""

    def __str__(self) -> str:
        return f"nvmlDeviceGetFieldValues {self.id}"


@dataclass(frozen=True, slots=True)
class Call:
    """A function of NVML that takes the GPU and some numbers; the same question is asked once."""

    function: str
    arguments: tuple[int, ...] = ()
    take: str | int = ""
    """Which member of what it returns, or which item; empty for the whole."""

    def __str__(self) -> str:
        words = ", ".join(map(str, self.arguments))
        return f"{self.function}({words})" if words else self.function


@dataclass(frozen=True, slots=True)
class Gpm:
    """A metric of NVML's GPU performance monitoring (Hopper and later): the mean between two looks."""

    id: int

    def __str__(self) -> str:
        return f"nvmlGpmMetricsGet {self.id}"


Source: TypeAlias = FieldValue | Call | Gpm

Labelled: TypeAlias = Mapping[str, Source]
"""Sources by the value of the label that tells them apart."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name with the unit at its end, what it means, and whether it only grows."""

    name: str
    help: str
    counter: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """One number of each GPU."""

    family: Family
    source: Source
    scale: float = 1.0
    """What NVML's number is multiplied with to get base units."""
    labels: tuple[tuple[str, str], ...] = field(default=())
    """Beside those of the GPU itself."""
    bit: int = 0
    """Where NVML's number is a mask: the bits of it that make this one 1."""

    @property
    def key(self) -> str:
        """Return its name within one GPU, such as `gpu_ecc_errors_total.corrected`."""
        return ".".join((self.family.name, *(value for _, value in self.labels)))


def one(name: str, help_text: str, source: Source, scale: float = 1.0, *, counter: bool = False) -> Iterator[Series]:
    """Yield a metric with one number a GPU."""
    yield Series(Family(name, help_text, counter), source, scale)


def some(
    name: str, help_text: str, label: str, sources: Labelled, scale: float = 1.0, *, counter: bool = False
) -> Iterator[Series]:
    """Yield a metric with several numbers a GPU, told apart by a label."""
    family = Family(name, help_text, counter)
    for value, source in sources.items():
        yield Series(family, source, scale, ((label, value),))
