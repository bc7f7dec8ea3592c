"""How `fleetward jobs report` shows what it found: a table, what a person must know of it, and JSON."""

from collections.abc import Iterator, Mapping

from fleetward.commands._jobs_report import MEASURED, Asked, Report, Row, shown
from fleetward.slurm.accounting import Attempt
from fleetward.slurm.verdicts.usage import SECONDS_PER_HOUR, Outcome, money

ENOUGH = 0.9
"""Share of the GPU-hours of which the utilization must be known for nothing to be said about the rest."""

_HEADERS = {
    Outcome.COMPLETED: "DONE",
    Outcome.GOES_ON: "OPEN",
    Outcome.FAILED: "FAILED",
    Outcome.FLEET: "FLEET",
    Outcome.CANCELLED: "CANCEL",
    Outcome.OTHER: "OTHER",
}


def columns(report: Report, asked: Asked) -> tuple[list[str], list[list[str]]]:
    """Return the heads of the table and its rows, in GPU-hours, the total last; numbers are flush right."""
    names = 2 if asked.by == "job" else 1
    lines = [_headers(report, asked), *(_cells(row, report, asked) for row in (*report.rows, report.total))]
    widths = [0 if place < names else max(map(len, column)) for place, column in enumerate(zip(*lines, strict=True))]
    head, *rows = [[cell.rjust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return head, rows


def _headers(report: Report, asked: Asked) -> list[str]:
    measured = ["BUSY", "IDLE"] if asked.by in MEASURED else []
    count = "USER" if asked.by == "job" else "JOBS"
    cost = ["COST"] if asked.prices else []
    return [asked.by.upper(), count, "GPU-H", *measured, *(_HEADERS[one] for one in _outcomes(report)), *cost]


def _cells(row: Row, report: Report, asked: Asked) -> list[str]:
    by_outcome = row.usage.by_outcome()
    measured = [short_hours(row.busy), short_hours(row.idle)] if asked.by in MEASURED else []
    count = str(row.usage.jobs) if asked.by != "job" else row.last.user if row.last else ""
    cost = [money(row.cost)] if row.cost is not None else []
    outcomes = (short_hours(by_outcome[one]) for one in _outcomes(report))
    return [row.name, count, _hours_in_full(row.usage.total), *measured, *outcomes, *cost]


def _outcomes(report: Report) -> list[Outcome]:
    """Return those that have a column: `other` only where there is any."""
    return [one for one in Outcome if one is not Outcome.OTHER or report.total.usage.by_outcome()[one]]


def short_hours(seconds: float | None) -> str:
    """Return GPU-hours in four letters, such as 8.5, 1234 or 56k; `-` where they are not known."""
    if seconds is None:
        return "-"
    hours = seconds / SECONDS_PER_HOUR
    if hours < 99.95:
        return _hours_in_full(seconds)
    if hours < 9999.5:
        return f"{hours:.0f}"
    return f"{hours / 1e3:.0f}k" if hours < 999_500 else f"{hours / 1e6:.1f}M"


def _hours_in_full(seconds: float) -> str:
    hours = seconds / SECONDS_PER_HOUR
    if 0 < hours < 0.05:
        return "<0.1"
    return f"{hours:.{int(hours < 9999.95)}f}" if hours else "0"


def notes(report: Report, asked: Asked) -> Iterator[str]:
    """Yield what a person must know of the numbers."""
    window = asked.window
    yield f"from {shown(window.since)} to {shown(window.until)} UTC"
    if report.problem:
        yield f"how busy the GPUs were is not known: {report.problem}"
    total, known, seen = report.total.usage.total, report.total.known or 0, report.total.seen or 0
    if asked.by in MEASURED and not report.problem and known < ENOUGH * total:
        yield (
            f"Prometheus saw {min(1, seen / total):.0%} of the GPU-hours and knows the utilization of"
            f" {known / total:.0%}; BUSY and IDLE take the rest to be like that"
        )
    if report.without_gpus:
        yield f"jobs without a GPU that are left out: {report.without_gpus}; --all counts them"
    if report.left_out:
        yield f"rows that are left out here, and not in the total: {report.left_out}; --top 0 shows them"


def document(report: Report, asked: Asked, backend: str) -> dict[str, object]:
    """Return the report for programs: nothing is rounded; costs are decimal numbers in quotes."""
    return {
        "backend": backend,
        "since": asked.window.since,
        "until": asked.window.until,
        "by": asked.by,
        "rows": [{asked.by: row.name, **_about(row.last), **_numbers(row)} for row in report.rows],
        "total": _numbers(report.total),
        "rows_left_out": report.left_out,
        "jobs_without_gpus_left_out": report.without_gpus,
        "utilization_problem": report.problem or None,
        "unread": list(report.unread),
    }


def _about(last: Attempt | None) -> dict[str, object]:
    """Return whose a job is: what another row of the same number is told by too."""
    if last is None:
        return {}
    names = ("name", "user", "account", "partition", "qos", "state", "submitted_at", "started_at", "ended_at")
    return {name: getattr(last, name) for name in names}


def _numbers(row: Row) -> dict[str, object]:
    measured = None if row.busy is None or row.idle is None else row.busy + row.idle
    return {
        "jobs": row.usage.jobs,
        "attempts": row.usage.attempts,
        **_amount(row.usage.total),
        "busy_ratio": row.busy / measured if row.busy is not None and measured else None,
        "busy_gpu_hours": _hours(row.busy),
        "idle_gpu_hours": _hours(row.idle),
        "seen_gpu_hours": _hours(row.seen),
        "utilization_known_gpu_hours": _hours(row.known),
        "by_outcome": {
            one: {**_amount(seconds), "by_type": _amounts(row.usage.gpu_seconds.get(one, {}))}
            for one, seconds in row.usage.by_outcome().items()
        },
        "by_type": _amounts(row.usage.by_type()),
        "cost": None if row.cost is None else str(row.cost),
    }


def _amounts(by_type: Mapping[str, int]) -> dict[str, object]:
    return {kind: _amount(seconds) for kind, seconds in by_type.items()}


def _amount(seconds: int) -> dict[str, object]:
    return {"gpu_seconds": seconds, "gpu_hours": seconds / SECONDS_PER_HOUR}


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / SECONDS_PER_HOUR
