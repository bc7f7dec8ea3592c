"""A run of checks as the daemon is told of it: bounded, and nothing in it that JSON or a database would refuse."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from fleetward.model.node_reports import LONGEST_LINE, HealthReport, ReportedFinding
from fleetward.node.results import Context, Evidence, Finding, Status

MOST_FINDINGS = 200
"""The worst are told; what a node with more of them has is not told apart by the rest."""
LONGEST_WHY = 500
LONGEST_NAME = 128
"""Of an entity, or of a piece of evidence."""
MOST_EVIDENCE = 20
"""Pieces of one finding."""
MOST_BYTES = 240 * 1024
"""Of a whole report; the daemon takes a little more."""


def health_report(findings: Sequence[Finding], context: Context, at: float, job: str = "") -> HealthReport:
    """Return what a run found, the worst first as it comes; `at` is Unix time."""
    wrong = [one for one in findings if one.status is not Status.HEALTHY]
    return HealthReport(context, at, tuple(map(_reported, wrong[:MOST_FINDINGS])), passed(findings), job)


def passed(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Return the checks that found nothing wrong on any part of the node, in order."""
    worst: dict[str, bool] = {}
    for one in findings:
        worst[one.check] = worst.get(one.check, True) and one.status is Status.HEALTHY
    return tuple(sorted(check for check, healthy in worst.items() if healthy))


def as_json(report: HealthReport) -> bytes:
    """Return the report as it is sent; where it would be too long, the findings at its end are left out."""
    document = asdict(report)
    while len(sent := json.dumps(document, allow_nan=False).encode()) > MOST_BYTES and document["findings"]:
        document["findings"] = document["findings"][: len(document["findings"]) // 2]
    return sent


def clean(text: str, longest: int) -> str:
    """Return text without lone surrogates and zero bytes, and not longer than that many characters."""
    whole = text[: longest + 1].encode("utf-8", "replace").decode().replace("\0", " ")
    return whole if len(whole) <= longest else f"{whole[: longest - 1]}…"


def _reported(one: Finding) -> ReportedFinding:
    return ReportedFinding(
        one.check,
        one.status,
        clean(one.why, LONGEST_WHY),
        clean(one.entity, LONGEST_NAME),
        one.severity or "",
        one.action or "",
        one.problem,
        _evidence(one.evidence),
    )


def _evidence(evidence: Evidence) -> dict[str, str | int | float]:
    return {clean(name, LONGEST_NAME): _plain(value) for name, value in list(evidence.items())[:MOST_EVIDENCE]}


def _plain(value: str | int | float) -> str | int | float:
    """Return a value that JSON has: no number of it is infinite or none."""
    if isinstance(value, str):
        return clean(value, LONGEST_LINE)
    return value if isinstance(value, int) or math.isfinite(value) else str(value)
