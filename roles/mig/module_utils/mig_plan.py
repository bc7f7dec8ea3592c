"""Whether a MIG layout adds up on GPUs of a model, and where its instances go: pure functions."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

_RANGES = re.compile(r"[0-9]{1,2}(?:-[0-9]{1,2})?(?:,[0-9]{1,2}(?:-[0-9]{1,2})?)*")
ALL = "all"
"""What stands for every GPU of a node in a layout."""

Profiles = Mapping[str, int]
"""How many instances of each profile one GPU is to have."""


class LayoutError(ValueError):
    """A layout that does not add up; the message has a sentence for each reason."""


@dataclass(frozen=True)
class Profile:
    """What one instance takes of a GPU, in slices."""

    name: str
    compute: int
    memory: int
    most: int
    starts: tuple[int, ...] | None = None
    """The memory slices that one may begin at; None where that is not known."""


@dataclass(frozen=True)
class Gpu:
    """What a model of GPUs can be divided into."""

    name: str
    compute: int
    memory: int
    profiles: Mapping[str, Profile]


@dataclass(frozen=True, order=True)
class Instance:
    """A GPU instance, and the memory slice that it begins at; None leaves that to the driver."""

    profile: str
    start: int | None


def read_gpu(name: str, row: Mapping[str, object]) -> Gpu:
    """Return a row of the table of GPUs; LayoutError says what is wrong with it."""
    profiles = row.get("profiles")
    if not isinstance(profiles, Mapping) or not profiles:
        raise LayoutError(f"{name}: has no profiles: name them, each with compute, memory and most")
    read = {str(profile): _read_profile(f"{name}: {profile}", str(profile), of) for profile, of in profiles.items()}
    return Gpu(name, _count(name, row, "compute"), _count(name, row, "memory"), read)


def _read_profile(place: str, name: str, row: object) -> Profile:
    if not isinstance(row, Mapping):
        raise LayoutError(f"{place}: is {row!r}: write compute, memory and most")
    starts = row.get("starts")
    if starts is not None and (
        not isinstance(starts, Sequence) or isinstance(starts, str) or not all(_whole(one, 0) for one in starts)
    ):
        raise LayoutError(
            f"{place}: starts is {starts!r}: write the slices that an instance may begin at, such as [0, 4]"
        )
    return Profile(
        name,
        _count(place, row, "compute"),
        _count(place, row, "memory"),
        _count(place, row, "most"),
        None if starts is None else tuple(starts),
    )


def _count(place: str, row: Mapping[str, object], key: str) -> int:
    value = row.get(key)
    if not _whole(value, 1):
        raise LayoutError(f"{place}: {key} is {value!r}: write a number from 1 to 64")
    assert isinstance(value, int)
    return value


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= 64


def choose_gpu(table: Mapping[str, Mapping[str, object]], wanted: str, model: str, memory_mib: int) -> Gpu:
    """Return the row that is asked for, or the one of a model whose memory comes nearest to what a GPU has.

    LayoutError where there is none, or where several would do and nobody has said how much memory a GPU has.
    """
    if wanted:
        if wanted not in table:
            raise LayoutError(f"there is no MIG table for {wanted!r}: {_nearest(wanted, table)}")
        return read_gpu(wanted, table[wanted])
    rows = {name: row for name, row in table.items() if row.get("model") == model}
    if not rows:
        raise LayoutError(
            f"there is no MIG table for GPUs of the model {model or '(none)'!r}, only for {', '.join(sorted(table))}: "
            "name one of these in mig_gpu, or add the site's own to mig_gpus"
        )
    if len(rows) > 1 and memory_mib <= 0:
        raise LayoutError(
            f"GPUs of the model {model} are {' or '.join(sorted(rows))}: say which in mig_gpu, or give gpu.memory_mib "
            "in the hardware profile"
        )
    nearest = min(rows, key=lambda name: abs(_memory_gb(rows[name]) - memory_mib / 1024))
    return read_gpu(nearest, rows[nearest])


def _memory_gb(row: Mapping[str, object]) -> float:
    memory = row.get("memory_gb")
    return float(memory) if isinstance(memory, int | float) else 0.0


def plan(layout: Mapping[str, object], gpu: Gpu, count: int) -> dict[int, dict[str, int]]:
    """Return how many instances of which profile each GPU of a node is to have; a GPU that is not named has no MIG.

    LayoutError has a sentence for everything that does not add up.
    """
    reasons: list[str] = []
    wanted: dict[int, dict[str, int]] = {}
    for where, profiles in layout.items():
        place = f"mig_layout[{str(where)!r}]"
        numbers = _numbers(str(where), count)
        if isinstance(numbers, str):
            reasons.append(f"{place}: {numbers}")
            continue
        if doubled := sorted(set(numbers) & set(wanted)):
            reasons.append(f"{place}: GPU {_listed(doubled)} stands in another row too: leave it in one of them")
        found = list(_against(profiles, gpu))
        reasons += [f"{place}: {reason}" for reason in found]
        if not found:
            assert isinstance(profiles, Mapping)
            wanted |= {number: dict(profiles) for number in numbers}
    if reasons:
        raise LayoutError("; ".join(reasons))
    return dict(sorted(wanted.items()))


def _numbers(where: str, count: int) -> list[int] | str:
    """Return the GPUs of a key such as `0-3` or `0,2-3`, or what is wrong with it."""
    if where == ALL:
        return list(range(count))
    if not _RANGES.fullmatch(where):
        return f"is no set of GPUs: write numbers and ranges such as 0-3 or 0,2-3, or {ALL}"
    numbers: list[int] = []
    for part in where.split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
        if int(last or first) < int(first):
            return f"{part} is a range that goes backwards: write {last}-{first}"
    if beyond := sorted({number for number in numbers if number >= count}):
        return f"there is no GPU {_listed(beyond)}: the hardware profile has {count}, numbered from 0"
    if len(set(numbers)) < len(numbers):
        return "names a GPU twice: leave one of them out"
    return numbers


def _against(profiles: object, gpu: Gpu) -> Iterator[str]:
    """Yield why one GPU cannot be divided so."""
    if not isinstance(profiles, Mapping) or not profiles:
        yield f"is {profiles!r}: write profiles and how many of each, or leave the GPUs out, which then have no MIG"
        return
    unusable = False
    for name, many in profiles.items():
        if name not in gpu.profiles:
            yield f"{gpu.name} has no profile {name}: {_nearest(str(name), gpu.profiles)}"
            unusable = True
        elif not _whole(many, 1):
            yield f"{name} is {many!r} times there: write a number from 1 to {gpu.profiles[name].most}"
            unusable = True
        elif many > gpu.profiles[name].most:
            yield f"{name} can be there {gpu.profiles[name].most} times at most on one {gpu.name}, not {many} times"
            unusable = True
    if unusable:
        return
    instances = [gpu.profiles[name] for name, many in profiles.items() for _ in range(many)]
    compute, memory = sum(one.compute for one in instances), sum(one.memory for one in instances)
    if compute > gpu.compute:
        yield f"takes {compute} compute slices, and one {gpu.name} has {gpu.compute}"
    if memory > gpu.memory:
        yield f"takes {memory} memory slices, and one {gpu.name} has {gpu.memory}"
    if compute <= gpu.compute and memory <= gpu.memory and place(instances) is None:
        yield "finds no place on one GPU, since instances begin at certain slices only: take fewer or smaller ones"


def place(instances: Collection[Profile]) -> list[Instance] | None:
    """Return where instances go so that none overlaps another, the largest first; None where they do not fit.

    An instance whose starts are not known is left to the driver.
    """
    placed = _placed(sorted(instances, key=lambda one: (-one.memory, -one.compute, one.name)), frozenset())
    return None if placed is None else list(placed)


def _placed(instances: Sequence[Profile], taken: frozenset[int]) -> tuple[Instance, ...] | None:
    if not instances:
        return ()
    first, *rest = instances
    if first.starts is None:
        behind = _placed(rest, taken)
        return None if behind is None else (Instance(first.name, None), *behind)
    # From the end: where a large one stands there, those of one slice find seven before it.
    for start in sorted(first.starts, reverse=True):
        slices = frozenset(range(start, start + first.memory))
        if not slices & taken and (behind := _placed(rest, taken | slices)) is not None:
            return (Instance(first.name, start), *behind)
    return None


def gres(wanted: Mapping[int, Profiles], gpu_model: str, count: int) -> dict[str, int]:
    """Return what a node has to hand out, by type: instances of each profile, and GPUs that are whole."""
    instances: Counter[str] = Counter()
    for profiles in wanted.values():
        instances.update(profiles)
    whole = {gpu_model: count - len(wanted)} if count > len(wanted) else {}
    return {**dict(sorted(instances.items())), **whole}


def _listed(numbers: Collection[int]) -> str:
    return ", ".join(map(str, numbers))


def _nearest(word: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known))}"
