"""What attempts held of the GPUs within a window of time: GPU-seconds by outcome and type of GPU, and what they cost.

What an attempt held it held from its start to its end, also while it was suspended: Slurm gives the GPUs of a
suspended job to nobody.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum
from operator import attrgetter

from fleetward.model.errors import UsageError
from fleetward.slurm.accounting import REQUEUED, Attempt
from fleetward.slurm.parse import UNTYPED
from fleetward.slurm.verdicts.attempts import runs

SECONDS_PER_HOUR = 3600
GPU_TRES = "gres/gpu"

_SECOND = timedelta(seconds=1)
_AMOUNT = re.compile(r"[0-9]{1,6}", re.ASCII)
_PRICE = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?", re.ASCII)
_CENT = Decimal("0.01")
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
"""Has more digits than any sum of GPU-seconds and prices can have."""


class Outcome(StrEnum):
    """What became of the work of an attempt."""

    COMPLETED = "completed"
    GOES_ON = "goes_on"
    """It runs, or its job may have saved it and go on from there."""
    FAILED = "failed"
    FLEET = "fleet"
    """It was lost to the fleet's own faults."""
    CANCELLED = "cancelled"
    OTHER = "other"
    """It ended in a state that is not known here."""


_OUTCOMES: Mapping[str, Outcome] = {
    "COMPLETED": Outcome.COMPLETED,
    "CANCELLED": Outcome.CANCELLED,
    **dict.fromkeys(("RUNNING", "SUSPENDED", "RESIZING", REQUEUED, "PREEMPTED", "TIMEOUT"), Outcome.GOES_ON),
    **dict.fromkeys(("FAILED", "OUT_OF_MEMORY", "DEADLINE"), Outcome.FAILED),
    **dict.fromkeys(("NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED"), Outcome.FLEET),
}


def outcome(state: str) -> Outcome:
    """Return what became of the work of an attempt that is in this state."""
    return _OUTCOMES.get(state, Outcome.OTHER)


@dataclass(frozen=True, slots=True)
class Window:
    """The time from `since` up to `until`, as it looks at `now`; what runs has run until now."""

    since: datetime
    until: datetime
    now: datetime

    def seconds(self, attempt: Attempt) -> int | None:
        """Return how long an attempt ran within the window; None where it did not, 0 where it ended as it began."""
        if attempt.started_at is None:
            return None
        started, ended = attempt.started_at, max(attempt.started_at, self._end(attempt, attempt.started_at))
        first, last = max(started, self.since), min(ended, self.until)
        if first < last:
            return (last - first) // _SECOND
        return 0 if started == ended and self.since <= started < self.until else None

    def _end(self, attempt: Attempt, started: datetime) -> datetime:
        if attempt.ended_at is not None:
            return attempt.ended_at
        return started + attempt.elapsed * _SECOND if attempt.ended else self.now


@dataclass(frozen=True, slots=True)
class Held:
    """What one attempt held within a window."""

    attempt: Attempt
    run: tuple[str, int]
    """Of which job it is: its number, and how often that had been given out before."""
    seconds: int
    gpus: Mapping[str, int]
    """By type, `gpu` where Slurm knows none; empty where it held none."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What several attempts held together."""

    jobs: int
    """A job that was requeued counts once, one that got the number of an earlier job for itself."""
    attempts: int
    gpu_seconds: Mapping[Outcome, Mapping[str, int]]
    """By outcome and by type of GPU; what would be 0 is left out."""

    @property
    def total(self) -> int:
        """GPU-seconds of all outcomes and types."""
        return sum(self.by_outcome().values())

    def by_outcome(self) -> dict[Outcome, int]:
        """Return GPU-seconds of every outcome, 0 where there are none."""
        return {one: sum(self.gpu_seconds.get(one, {}).values()) for one in Outcome}

    def by_type(self) -> dict[str, int]:
        """Return GPU-seconds by type of GPU."""
        found: Counter[str] = Counter()
        for types in self.gpu_seconds.values():
            found.update(types)
        return dict(sorted(found.items()))


def held(attempts: Iterable[Attempt], window: Window) -> tuple[tuple[Held, ...], tuple[str, ...]]:
    """Return what attempts held within the window, and those whose GPUs cannot be read, as `JOB: ALLOCATED`."""
    found: list[Held] = []
    unread: list[str] = []
    for number, own in _by_number(attempts).items():
        for place, run in enumerate(runs(own)):
            for attempt in run:
                seconds = window.seconds(attempt)
                if seconds is None:
                    continue
                gpus = _gpus(attempt)
                if gpus is None:
                    unread.append(f"{number}: {','.join(f'{key}={value}' for key, value in attempt.allocated.items())}")
                else:
                    found.append(Held(attempt, (number, place), seconds, gpus))
    return tuple(found), tuple(unread)


def usage(parts: Sequence[Held]) -> Usage:
    """Return the sum of what attempts held."""
    sums: dict[Outcome, Counter[str]] = defaultdict(Counter)
    for part in parts:
        if part.seconds and part.gpus:
            sums[outcome(part.attempt.state)].update({kind: n * part.seconds for kind, n in part.gpus.items()})
    return Usage(
        jobs=len({part.run for part in parts}),
        attempts=len(parts),
        gpu_seconds={one: dict(types) for one, types in sums.items()},
    )


def grouped(parts: Sequence[Held], name: Callable[[Held], str]) -> dict[str, tuple[Held, ...]]:
    """Return the parts by a name, such as that of their account; a requeued job can be in several groups."""
    found: dict[str, list[Held]] = defaultdict(list)
    for part in parts:
        found[name(part)].append(part)
    return {key: tuple(own) for key, own in found.items()}


def by_job(parts: Sequence[Held]) -> tuple[tuple[Held, ...], ...]:
    """Return the parts of each job, the oldest attempt first."""
    found: dict[tuple[str, int], list[Held]] = defaultdict(list)
    for part in parts:
        found[part.run].append(part)
    return tuple(tuple(own) for own in found.values())


@dataclass(frozen=True, slots=True)
class Prices:
    """What one GPU costs for an hour, in the currency of whoever asks."""

    by_type: Mapping[str, Decimal]
    general: Decimal | None = None
    """Of every type that has no price of its own; None where such a type must not occur."""

    def cost(self, gpu_seconds: Mapping[str, int]) -> Decimal:
        """Return what GPU-seconds by type cost, not rounded; UsageError, which names them, where types lack a price."""
        priced = {kind: price for kind in gpu_seconds if (price := self.by_type.get(kind, self.general)) is not None}
        missing = sorted(gpu_seconds.keys() - priced.keys())
        if missing:
            typed = " ".join(f"--price {kind}=PRICE" for kind in missing)
            raise UsageError(f"GPUs of type {', '.join(missing)} have no price; add {typed}, or --price PRICE for all")
        total = Decimal(0)
        for kind, price in priced.items():
            total = _EXACT.fma(Decimal(gpu_seconds[kind]), price, total)
        return _EXACT.divide(total, Decimal(SECONDS_PER_HOUR))


def read_prices(texts: Iterable[str]) -> Prices | None:
    """Read prices such as `2.50`, for any type, and `h100=3`; None where there are none, UsageError for a wrong one."""
    found: dict[str, Decimal] = {}
    for text in texts:
        kind, sign, amount = text.rpartition("=")
        if not _PRICE.fullmatch(amount) or bool(sign) != bool(kind):
            raise UsageError(f"{text!r} is no price of a GPU-hour; write 2.50, or h100=3 for one type")
        if kind in found:
            raise UsageError(f"{text!r}: {f'type {kind}' if kind else 'GPUs of any type'} got a price before")
        found[kind] = Decimal(amount)
    general = found.pop("", None)
    return Prices(found, general) if found or general is not None else None


def money(amount: Decimal) -> str:
    """Return an amount of money with two decimals: the one place where it is rounded."""
    return f"{amount.quantize(_CENT, context=_EXACT):f}"


def _by_number(attempts: Iterable[Attempt]) -> dict[str, list[Attempt]]:
    """Return the attempts that began, by their job's number, the oldest first."""
    began = [one for one in attempts if one.started_at is not None]
    found: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in sorted(began, key=attrgetter("started_at", "restarts")):
        found[attempt.job_id].append(attempt)
    return found


def _gpus(attempt: Attempt) -> Mapping[str, int] | None:
    """Return the GPUs of an attempt by type; None where an amount of them is no number."""
    amounts: dict[str, int] = {}
    for name, text in attempt.allocated.items():
        resource, _, kind = name.partition(":")
        if resource == GPU_TRES:
            if not _AMOUNT.fullmatch(text):
                return None
            amounts[kind] = int(text)
    rest = amounts.pop("", 0) - sum(amounts.values())  # Slurm counts GPUs that have a type in the bare amount too
    if rest > 0:
        amounts[UNTYPED] = amounts.get(UNTYPED, 0) + rest
    return {kind: count for kind, count in amounts.items() if count}
