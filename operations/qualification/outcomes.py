"""What a burn-in means for each of its nodes: a certificate, a fault, or that nothing follows."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from fleetward.model.burn_ins import CertificateRow, NodeOutcome, WorkloadOutcome
from fleetward.model.fleet import HardwareProfile
from fleetward.operations.qualification.certificate import Certificate, Refusal, issue
from fleetward.operations.qualification.course import Candidate, Finished
from fleetward.operations.qualification.fingerprint import Fingerprint, FingerprintError, read_fingerprint
from fleetward.operations.qualification.judging import Outcome, Result
from fleetward.operations.qualification.workload_list import required


def outcomes(
    candidates: Iterable[Candidate],
    finished: Finished,
    site: Iterable[str] | None,
    now: datetime,
    lifetime: timedelta,
) -> Mapping[str, NodeOutcome]:
    """Return what a burn-in means for each node; `site` is its list `qualify_required`, None for the usual ones."""
    listed = None if site is None else tuple(site)
    return {one.name: _outcome(one.name, one.profile, finished, listed, now, lifetime) for one in candidates}


def _outcome(
    node: str,
    profile: HardwareProfile,
    finished: Finished,
    site: tuple[str, ...] | None,
    now: datetime,
    lifetime: timedelta,
) -> NodeOutcome:
    told = finished.fingerprints.get(node)
    read = _fingerprint(told)
    fingerprint, lacks = (Fingerprint(), (read,)) if isinstance(read, str) else (read, ())
    found = issue(node, profile.name, fingerprint, finished.results, required(profile, site), now, lifetime)
    if isinstance(found, Certificate) and not lacks:
        return NodeOutcome("passed", (), told or "", _kept(found.results), found.issued_at, found.expires_at)
    # What failed comes first: it is why the node is taken out of service.
    failed = [f"{one.workload} failed: {one.why}" for one in found.results if one.outcome is Outcome.FAILED]
    others = found.why if isinstance(found, Refusal) else ()
    return NodeOutcome("failed" if failed else "unknown", tuple(dict.fromkeys((*failed, *others, *lacks))))


def _fingerprint(told: str | None) -> Fingerprint | str:
    """Read what a node said of itself, or say why no certificate can be issued."""
    if told is None:
        return "it did not tell its fingerprint, and a certificate is of one: its job's log has why, if there is one"
    try:
        found = read_fingerprint(told)
    except FingerprintError as error:
        return f"its fingerprint could not be read, and a certificate is of one: {error}"
    if not found.kernel:
        return "its fingerprint does not even say which kernel it runs: a change of it could never be seen"
    return found


def _kept(results: Iterable[Result]) -> Mapping[str, WorkloadOutcome]:
    return {one.workload: WorkloadOutcome(str(one.outcome), one.why, one.evidence) for one in results}


def certificate_of(row: CertificateRow) -> Certificate:
    """Return a certificate as it was issued; FingerprintError where what is kept of it cannot be read any more."""
    results = tuple(
        Result(workload, (row.node,), Outcome(told.outcome), told.why, told.evidence)
        for workload, told in row.results.items()
    )
    return Certificate(row.node, row.profile, read_fingerprint(row.fingerprint), results, row.issued_at, row.expires_at)
