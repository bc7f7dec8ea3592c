"""What `fleetward jobs report` puts together: what jobs held by Slurm's records, and how busy it was by Prometheus.

Prometheus records who used GPUs by account, user and partition (`alerting/rules/usage.yml`), not by QOS or job: what
a single job did would have to be joined over every GPU and all of the time, and the number by which a GPU knows a task
of an array is not in Slurm's records.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import click

from fleetward.commands.events import length_of_time
from fleetward.model.errors import FleetwardError, UsageError
from fleetward.runbooks.prometheus import Prometheus, Sample, quoted
from fleetward.slurm.accounting import Attempt
from fleetward.slurm.answers import Listing
from fleetward.slurm.verdicts.usage import (
    Held,
    Prices,
    Usage,
    Window,
    by_job,
    grouped,
    held,
    usage,
)

INTERVAL = 60
"""Seconds between two samples of the recording rules: that of their group."""
RECORDED = {
    "busy": "account:gpu_utilization_ratio:sum",
    "known": "account:gpu_utilization_ratio:count",
    "seen": "account:gpus_allocated:count",
}
"""What Prometheus is asked, by the field of Samples that it fills."""
KEYS: Mapping[str, Callable[[Held], str]] = {
    "account": lambda part: part.attempt.account,
    "user": lambda part: part.attempt.user,
    "partition": lambda part: part.attempt.partition,
    "qos": lambda part: part.attempt.qos,
}
MEASURED = frozenset({"account", "user", "partition"})
TOP_JOBS = 20
TOTAL = "TOTAL"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is to be about."""

    window: Window
    by: str
    """One of KEYS, or `job`."""
    user: str | None = None
    account: str | None = None
    everything: bool = False
    """Whether attempts without a GPU count too."""
    top: int | None = None
    """How many rows at most."""
    prices: Prices | None = None


@dataclass(frozen=True, slots=True)
class Samples:
    """Sums of samples over the window, each GPU of a job counted once in INTERVAL."""

    busy: float = 0.0
    """Of the utilization, where it is known."""
    known: float = 0.0
    """Of GPUs whose utilization is known."""
    seen: float = 0.0
    """Of all GPUs that work for a job."""

    @property
    def ratio(self) -> float | None:
        """The share of the time in which GPUs were busy, 0 to 1; None where that is not known."""
        return min(1.0, max(0.0, self.busy / self.known)) if self.known > 0 else None


@dataclass(frozen=True, slots=True)
class Row:
    """One account, user, partition, QOS or job, or all of them."""

    name: str
    usage: Usage
    busy: float | None
    """GPU-seconds, as are the next three; None where nothing is known of it."""
    idle: float | None
    known: float | None
    seen: float | None
    cost: Decimal | None
    last: Attempt | None = None
    """Of a job, its last attempt in the window."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is shown."""

    rows: tuple[Row, ...]
    """Most GPU-hours first."""
    total: Row
    """Of all rows, those that are left out too."""
    left_out: int
    """Rows behind the last one."""
    without_gpus: int
    """Jobs that held no GPU and are left out."""
    unread: tuple[str, ...] = ()
    problem: str = ""
    """Why it is not known how busy the GPUs were; empty where it is, or was not asked."""


@dataclass(frozen=True, slots=True)
class _Measured:
    by_name: Mapping[str, Samples] = field(default_factory=dict)
    problem: str = ""


def window_of(since: str, until: str | None, now: datetime) -> Window:
    """Return the time that is meant, in whole seconds and UTC; UsageError where it is none."""
    now = now.astimezone(UTC).replace(microsecond=0)
    window = Window(_moment(since, now), now if until is None else _moment(until, now), now)
    if window.since >= window.until:
        raise UsageError(f"--since {since} ({shown(window.since)}) is not before --until ({shown(window.until)})")
    return window


def shown(at: datetime) -> str:
    """Return a time as people read it, in UTC where it is of a window."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _moment(text: str, now: datetime) -> datetime:
    try:
        found = _named_or_ago(text, now).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError, OSError, click.BadParameter):
        raise UsageError(f"{text!r} is no time; write 7d (so long ago), 2026-11-01, or 2026-11-01T08:00Z") from None
    if found.timestamp() < 0:
        raise UsageError(f"{text!r} is before 1970")
    return found


def _named_or_ago(text: str, now: datetime) -> datetime:
    """Return a time of this machine's clock where it names no zone."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return now - timedelta(seconds=length_of_time(text))


def make_report(listing: Listing[Attempt], asked: Asked, prometheus: Prometheus | None, cluster: str = "") -> Report:
    """Return the report; `cluster` says which one is meant where Prometheus has several, None asks no Prometheus."""
    parts, unread = held(listing.items, asked.window)
    parts = tuple(
        part
        for part in parts
        if asked.user in (None, part.attempt.user) and asked.account in (None, part.attempt.account)
    )
    chosen = parts if asked.everything else tuple(part for part in parts if part.gpus)
    used = usage(chosen)
    cost = asked.prices.cost(used.by_type()) if asked.prices else None  # names all types that have no price
    measured = _measure(prometheus, asked, cluster) if prometheus is not None else _Measured()
    if asked.by == "job":
        rows = [_row(own[-1].attempt.job_id, own, asked, None, own[-1].attempt) for own in by_job(chosen)]
    else:
        groups = grouped(chosen, KEYS[asked.by])
        rows = [_row(name, own, asked, measured.by_name.get(name)) for name, own in groups.items()]
    rows.sort(key=lambda row: (-row.usage.total, row.name))
    top = TOP_JOBS if asked.top is None and asked.by == "job" else asked.top
    kept = rows[:top] if top else rows
    return Report(
        rows=tuple(kept),
        total=_total(used, cost, rows),
        left_out=len(rows) - len(kept),
        without_gpus=usage(parts).jobs - used.jobs,
        unread=(*listing.unread, *unread),
        problem=measured.problem,
    )


def _row(name: str, parts: Sequence[Held], asked: Asked, samples: Samples | None, last: Attempt | None = None) -> Row:
    used = usage(parts)
    ratio = samples.ratio if samples else None
    return Row(
        name=name,
        usage=used,
        busy=None if ratio is None else ratio * used.total,
        idle=None if ratio is None else (1 - ratio) * used.total,
        known=samples.known * INTERVAL if samples else None,
        seen=samples.seen * INTERVAL if samples else None,
        cost=asked.prices.cost(used.by_type()) if asked.prices else None,
        last=last,
    )


def _total(used: Usage, cost: Decimal | None, rows: Sequence[Row]) -> Row:
    return Row(
        name=TOTAL,
        usage=used,
        busy=_sum(row.busy for row in rows),
        idle=_sum(row.idle for row in rows),
        known=_sum(row.known for row in rows),
        seen=_sum(row.seen for row in rows),
        cost=cost,
    )


def _sum(amounts: Iterator[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return math.fsum(known) if known else None


def _measure(prometheus: Prometheus, asked: Asked, cluster: str) -> _Measured:
    try:
        answers = {name: prometheus.query(text) for name, text in questions(asked).items()}
        found = samples_by_name(answers, asked.by, cluster)
    except FleetwardError as error:
        return _Measured(problem=str(error))
    if not found:
        return _Measured(problem=f"Prometheus has nothing in {RECORDED['seen']} of this time")
    return _Measured(found)


def questions(asked: Asked) -> dict[str, str]:
    """Return what Prometheus is asked for a report, by the field of Samples: one question for all rows."""
    wanted = (("account", asked.account), ("user", asked.user))
    only = ",".join(f"{label}={quoted(value)}" for label, value in wanted if value is not None)
    window = asked.window
    span = f"[{int((window.until - window.since).total_seconds())}s] @ {int(window.until.timestamp())}"
    return {
        name: f"sum by (cluster, {asked.by}) (sum_over_time({metric}{{{only}}}{span}))"
        for name, metric in RECORDED.items()
    }


def samples_by_name(answers: Mapping[str, Sequence[Sample]], by: str, cluster: str) -> dict[str, Samples]:
    """Return answers to `questions` by row; UsageError where they are of several clusters, none of which is ours."""
    clusters = {sample.labels.get("cluster", "") for samples in answers.values() for sample in samples}
    if len(clusters) > 1 and cluster not in clusters:
        names = ", ".join(sorted(clusters))
        raise UsageError(f"Prometheus has several clusters ({names}); name this one in the setting cluster.name")
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for kind, samples in answers.items():
        for sample in samples:
            ours = len(clusters) == 1 or sample.labels.get("cluster", "") == cluster
            if ours:
                found[sample.labels.get(by, "")][kind] = sample.value
    return {
        name: Samples(**fields) for name, fields in found.items() if all(math.isfinite(one) for one in fields.values())
    }
