"""A run of checks as metrics, in a file that node_exporter's textfile collector reads."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fleetward.node.reports import clean
from fleetward.node.results import Finding, Status

MOST_SERIES = 300
"""Of findings; the worst come first. A node with more of them needs no more to be looked at."""
LONGEST_LABEL = 128
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_Labels = Mapping[str, str]


@dataclass(frozen=True)
class HealthRun:
    """What there is to tell of one run."""

    findings: Sequence[Finding]
    context: str
    at: float
    """Unix time at its end."""
    seconds: float
    """How long it took."""
    accepted: bool | None = None
    """Whether the daemon took the report; None where none is configured."""
    drained_for: str = ""
    """The check for which the node holds itself out of service."""


def page(run: HealthRun) -> str:
    """Return the metrics in Prometheus' text format."""
    findings = [one for one in run.findings if one.status is not Status.HEALTHY]
    return "".join(
        (
            _family("node_health_checks", "Checks by the worst that they found on any part of the node.", _counts(run)),
            _family("node_health_status", "What is not healthy.", _statuses(findings)),
            _family(
                "node_health_last_run_timestamp_seconds",
                "When the checks were last run, in Unix time.",
                [({"context": run.context}, run.at)],
            ),
            _family("node_health_run_duration_seconds", "How long the last run took.", [({}, run.seconds)]),
            _family(
                "node_health_report_accepted",
                "Whether the daemon took the last report; absent where no daemon is configured.",
                [] if run.accepted is None else [({}, float(run.accepted))],
            ),
            _family(
                "node_health_local_drain",
                "1 while the node holds itself out of service, by the check for which it does.",
                [({"check": run.drained_for}, 1.0)] if run.drained_for else [],
            ),
        )
    )


def _counts(run: HealthRun) -> list[tuple[_Labels, float]]:
    order = list(Status)
    worst: dict[str, Status] = {}
    for one in run.findings:
        worst[one.check] = min(worst.get(one.check, one.status), one.status, key=order.index)
    return [({"status": status}, float(sum(one is status for one in worst.values()))) for status in order]


def _statuses(findings: Iterable[Finding]) -> list[tuple[_Labels, float]]:
    """Return a series for each finding; those whose labels are the same are one."""
    rows: dict[tuple[str, ...], _Labels] = {}
    for one in findings:
        if len(rows) == MOST_SERIES:
            break
        labels = {
            "check": one.check,
            "entity": clean(one.entity, LONGEST_LABEL),
            "status": one.status,
            "severity": one.severity or "",
            "problem": one.problem,
        }
        rows.setdefault(tuple(labels.values()), labels)
    return [(labels, 1.0) for labels in rows.values()]


def _family(name: str, meaning: str, rows: Sequence[tuple[_Labels, float]]) -> str:
    """Return a metric with its rows; one without rows is not there at all."""
    lines = [f"{name}{_labelled(labels)} {value!r}\n" for labels, value in rows]
    return f"# HELP {name} {meaning}\n# TYPE {name} gauge\n{''.join(lines)}" if lines else ""


def _labelled(labels: _Labels) -> str:
    inside = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    return f"{{{inside}}}" if inside else ""
