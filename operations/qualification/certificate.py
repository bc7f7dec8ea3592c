"""The certificate that a node passed its burn-in, and whether it still stands.

It is for the node as it was: a changed part of its fingerprint voids it. A part that cannot be read any more voids
nothing by itself, and is told.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from fleetward.operations.qualification.fingerprint import Fingerprint, Kind, differences
from fleetward.operations.qualification.judging import Outcome, Result, of_node
from fleetward.operations.qualification.workload import Workload


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was found of a node, when, and until when it counts. Times are aware and in UTC."""

    node: str
    profile: str
    fingerprint: Fingerprint
    results: tuple[Result, ...]
    """One for each workload that was run or should have been, unknown ones included."""
    issued_at: datetime
    expires_at: datetime

    @property
    def passed(self) -> tuple[str, ...]:
        """Return the workloads that it vouches for."""
        return tuple(one.workload for one in self.results if one.outcome is Outcome.PASSED)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a node gets no certificate."""

    node: str
    why: tuple[str, ...]
    results: tuple[Result, ...]


class Standing(StrEnum):
    """Whether a node is qualified; only a valid certificate lets it into production partitions."""

    VALID = "valid"
    EXPIRED = "expired"
    VOID = "void"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Judged:
    """How a certificate stands."""

    standing: Standing
    why: tuple[str, ...] = ()
    """What voids it, or that there is none."""
    told: tuple[str, ...] = ()
    """What a person should know of, and that voids nothing."""

    @property
    def qualified(self) -> bool:
        """Say whether the node may work."""
        return self.standing is Standing.VALID


def issue(
    node: str,
    profile: str,
    fingerprint: Fingerprint,
    results: Iterable[Result],
    required: Sequence[Workload],
    now: datetime,
    lifetime: timedelta,
) -> Certificate | Refusal:
    """Return a certificate, or why there is none.

    What is required must have passed: unknown or not run is not enough. What is not required must not have failed.
    """
    by_workload: dict[str, list[Result]] = {}
    for one in results:
        by_workload.setdefault(one.workload, []).append(one)
    own = {id: found for id, told in by_workload.items() if (found := of_node(node, told)) is not None}
    for workload in required:
        if workload.id not in own:
            own[workload.id] = Result(workload.id, (node,), Outcome.UNKNOWN, "it was not run")
    ids = {one.id for one in required}
    why = tuple(
        f"{id} {one.outcome}: {one.why}"
        for id, one in own.items()
        if one.outcome is Outcome.FAILED or (id in ids and one.outcome is not Outcome.PASSED)
    )
    if not ids:
        why = ("nothing is required of it, which says nothing of the node", *why)
    if why:
        return Refusal(node, why, tuple(own.values()))
    return Certificate(node, profile, fingerprint, tuple(own.values()), now, now + lifetime)


def standing(
    certificate: Certificate | None,
    fingerprint_now: Fingerprint | None,
    now: datetime,
    *,
    profile: str | None = None,
    required: Sequence[Workload] = (),
) -> Judged:
    """Return whether a node is qualified.

    `fingerprint_now` is None where nobody could ask the node. `profile` and `required` are as the inventory has them
    now, where the caller knows: a node of another profile is not qualified, nor one that never passed what is required.
    """
    if certificate is None:
        return Judged(Standing.MISSING, ("it has never passed its burn-in",))
    told: list[str] = []
    void: list[str] = []
    if fingerprint_now is None:
        told.append("its fingerprint could not be read, so nobody knows whether it changed")
    else:
        found = differences(certificate.fingerprint, fingerprint_now)
        void += (one.words for one in found if one.kind is Kind.CHANGED)
        told += (one.words for one in found if one.kind is not Kind.CHANGED)
    if profile is not None and profile != certificate.profile:
        void.append(f"its hardware profile is {profile}, and was {certificate.profile}")
    void += (f"{one.id} is required, and was not passed" for one in required if one.id not in certificate.passed)
    if now < certificate.issued_at:
        void.append(f"it was issued at {_clock(certificate.issued_at)}, which is yet to come: look at the clocks")
    if void:
        return Judged(Standing.VOID, tuple(void), tuple(told))
    if now >= certificate.expires_at:
        return Judged(Standing.EXPIRED, (f"it expired at {_clock(certificate.expires_at)}",), tuple(told))
    return Judged(Standing.VALID, (), tuple(told))


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
