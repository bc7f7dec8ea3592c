"""What a burn-in means for a node: a certificate where all that is required passed and the node said what it is."""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.burn_ins import CertificateRow, NodeOutcome
from fleetward.model.errors import UsageError
from fleetward.model.fleet import HardwareProfile
from fleetward.operations.qualification.certificate import Standing, standing
from fleetward.operations.qualification.course import Candidate, Finished
from fleetward.operations.qualification.fingerprint import Fingerprint, FingerprintError, GpuPart
from fleetward.operations.qualification.judging import Outcome, Result
from fleetward.operations.qualification.measuring import Measurement, Unit
from fleetward.operations.qualification.outcomes import certificate_of, outcomes
from fleetward.operations.qualification.workload_list import BY_ID

NOW = datetime(2026, 2, 10, 9, tzinfo=UTC)
MONTH = timedelta(days=30)
SITE = ("dcgm_medium", "nccl_pair")
FINGERPRINT = Fingerprint(kernel="6.8", driver="570.86.15", gpus=(GpuPart("0000:1b:00.0", "GPU-1", "1", "96", ""),))
TOLD = json.dumps(asdict(FINGERPRINT))


def result(workload: str, outcome: Outcome, *nodes: str, why: str = "slow", is_blamed: bool = False) -> Result:
    where = nodes or ("gpu001",)
    measured = (Measurement("bandwidth", 1, Unit.GBYTES_PER_SECOND),)
    return Result(workload, where, outcome, why, ("evidence",), measured, blamed=where if is_blamed else ())


PASSED = (
    result("dcgm_medium", Outcome.PASSED, why="all is well"),
    result("nccl_pair", Outcome.PASSED, "gpu001", "gpu002", why="all is well"),
)


@pytest.fixture
def candidate(hgx: HardwareProfile) -> Candidate:
    return Candidate("gpu001", hgx)


def outcome(candidate: Candidate, *results: Result, told: str | None = TOLD) -> NodeOutcome:
    finished = Finished(results, {} if told is None else {candidate.name: told})
    return outcomes([candidate], finished, SITE, NOW, MONTH)[candidate.name]


def row(found: NodeOutcome) -> CertificateRow:
    assert found.issued_at is not None
    assert found.expires_at is not None
    times = found.issued_at, found.expires_at
    return CertificateRow(5, "gpu001", 2, "hgx-h100", found.fingerprint, found.results, *times)


def test_where_all_passed_there_is_what_a_certificate_is_made_of(candidate: Candidate) -> None:
    found = outcome(candidate, *PASSED, result("hpl", Outcome.UNKNOWN, why="gpu001 lacks xhpl"))
    assert (found.outcome, found.why) == ("passed", ())
    assert (found.fingerprint, found.issued_at, found.expires_at) == (TOLD, NOW, NOW + MONTH)
    assert {id: (one.outcome, one.why) for id, one in found.results.items()} == {
        "dcgm_medium": ("passed", "all is well"),
        "nccl_pair": ("passed", "all is well"),
        "hpl": ("unknown", "gpu001 lacks xhpl"),
    }
    assert found.results["hpl"].evidence == ("evidence",)


def test_each_node_has_an_outcome_of_its_own(candidate: Candidate) -> None:
    others = [candidate, replace(candidate, name="gpu002"), replace(candidate, name="gpu003")]
    bad = result("dcgm_medium", Outcome.FAILED, "gpu002", is_blamed=True)
    told = {"gpu001": TOLD, "gpu002": TOLD}
    found = outcomes(others, Finished((*PASSED, bad), told), iter(SITE), NOW, MONTH)
    assert {node: one.outcome for node, one in found.items()} == {
        "gpu001": "passed",
        "gpu002": "failed",
        "gpu003": "unknown",
    }


@pytest.mark.parametrize("workload", ["dcgm_medium", "hpl"])
def test_a_node_that_failed_anything_has_failed(candidate: Candidate, workload: str) -> None:
    found = outcome(candidate, *PASSED, result(workload, Outcome.FAILED, is_blamed=True))
    assert (found.outcome, found.why) == ("failed", (f"{workload} failed: slow",))
    assert (found.fingerprint, found.issued_at, found.results) == ("", None, {})


def test_what_failed_is_told_before_what_is_unknown(candidate: Candidate) -> None:
    unknown = result("dcgm_medium", Outcome.UNKNOWN, why="gpu001 lacks dcgmi")
    found = outcome(candidate, unknown, result("nccl_pair", Outcome.FAILED, is_blamed=True), told=None)
    assert found.outcome == "failed"
    assert found.why[:2] == ("nccl_pair failed: slow", "dcgm_medium unknown: gpu001 lacks dcgmi")
    assert "did not tell its fingerprint" in found.why[2]


@pytest.mark.parametrize(
    ("results", "why"),
    [
        ((), ("dcgm_medium unknown: it was not run", "nccl_pair unknown: it was not run")),
        (PASSED[:1], ("nccl_pair unknown: it was not run",)),
        (
            (PASSED[0], result("nccl_pair", Outcome.UNKNOWN, why="its job 7 TIMEOUT")),
            ("nccl_pair unknown: its job 7 TIMEOUT",),
        ),
        (
            (PASSED[0], result("nccl_pair", Outcome.FAILED, "gpu001", "gpu002")),
            ("nccl_pair unknown: failed with gpu001, gpu002 together, and nobody knows whose fault it is: slow",),
        ),
    ],
)
def test_what_is_not_known_is_no_fault_and_no_certificate(
    candidate: Candidate, results: tuple[Result, ...], why: tuple[str, ...]
) -> None:
    found = outcome(candidate, *results)
    assert (found.outcome, found.why, found.issued_at) == ("unknown", why, None)


def test_a_partner_that_is_blamed_is_not_held_against_a_node(candidate: Candidate) -> None:
    slow = result("nccl_pair", Outcome.FAILED, "gpu001", "gpu003")
    verdict = result("nccl_pair", Outcome.FAILED, "gpu003", is_blamed=True)
    assert outcome(candidate, *PASSED, slow, verdict).outcome == "passed"


@pytest.mark.parametrize(
    "told",
    [None, "", "no JSON", "[]", '{"kernel": 7}', '{"kernel": "a\\u0000b"}', '{"gpus": {}}', "[" * 100_000, TOLD * 2],
)
def test_without_a_fingerprint_there_is_no_certificate(candidate: Candidate, told: str | None) -> None:
    found = outcome(candidate, *PASSED, told=told)
    assert (found.outcome, found.issued_at) == ("unknown", None)
    (why,) = found.why
    assert "a certificate is of one" in why
    assert len(why) < 500
    assert why.isprintable()


def test_without_a_fingerprint_the_other_reasons_are_told_too(candidate: Candidate) -> None:
    found = outcome(candidate, result("dcgm_medium", Outcome.UNKNOWN, why="its job 7 NODE_FAIL"), told=None)
    assert found.outcome == "unknown"
    assert found.why[:2] == ("dcgm_medium unknown: its job 7 NODE_FAIL", "nccl_pair unknown: it was not run")
    failed = outcome(candidate, result("dcgm_medium", Outcome.FAILED, is_blamed=True), PASSED[1], told="{")
    assert failed.outcome == "failed"
    assert failed.why[0] == "dcgm_medium failed: slow"
    assert "its fingerprint could not be read" in failed.why[1]


def test_the_usual_is_required_where_the_site_says_nothing(candidate: Candidate, hgx: HardwareProfile) -> None:
    found = outcomes([candidate], Finished(PASSED, {"gpu001": TOLD}), None, NOW, MONTH)["gpu001"]
    assert [why.split()[0] for why in found.why] == ["nvbandwidth", "nccl_node", "ib_write"]
    plain = Candidate("cpu001", replace(hgx, name="plain", gpu=None, infiniband=None))
    disk = result("fio", Outcome.PASSED, "cpu001")
    assert outcomes([plain], Finished((disk,), {"cpu001": TOLD}), None, NOW, MONTH)["cpu001"].outcome == "passed"
    with pytest.raises(UsageError, match="leaves nothing to run on nodes of profile plain"):
        outcomes([plain], Finished((disk,), {}), SITE, NOW, MONTH)


def test_a_certificate_is_read_back_as_it_was_issued(candidate: Candidate) -> None:
    read = certificate_of(row(outcome(candidate, *PASSED, result("hpl", Outcome.UNKNOWN))))
    assert (read.node, read.profile, read.fingerprint) == ("gpu001", "hgx-h100", FINGERPRINT)
    assert (read.issued_at, read.expires_at) == (NOW, NOW + MONTH)
    assert read.passed == ("dcgm_medium", "nccl_pair")
    assert [(one.workload, one.nodes, one.outcome, one.why, one.evidence) for one in read.results] == [
        ("dcgm_medium", ("gpu001",), Outcome.PASSED, "all is well", ("evidence",)),
        ("nccl_pair", ("gpu001",), Outcome.PASSED, "all is well", ("evidence",)),
        ("hpl", ("gpu001",), Outcome.UNKNOWN, "slow", ("evidence",)),
    ]
    required = [BY_ID[id] for id in SITE]
    assert standing(read, FINGERPRINT, NOW, profile="hgx-h100", required=required).qualified
    assert standing(read, replace(FINGERPRINT, driver="580"), NOW).standing is Standing.VOID


def test_a_certificate_that_cannot_be_read_says_so(candidate: Candidate) -> None:
    with pytest.raises(FingerprintError):
        certificate_of(replace(row(outcome(candidate, *PASSED)), fingerprint="{"))


whatever = st.builds(
    lambda workload, outcome, node: result(workload, outcome, node, is_blamed=outcome is Outcome.FAILED),
    st.sampled_from([*SITE, "hpl", "fio"]),
    st.sampled_from(Outcome),
    st.sampled_from(["gpu001", "gpu002"]),
)


@given(st.lists(whatever, max_size=6), st.none() | st.text(max_size=3) | st.just(TOLD))
def test_nothing_but_passes_of_all_that_is_required_makes_a_certificate(
    hgx: HardwareProfile, results: list[Result], told: str | None
) -> None:
    found = outcome(Candidate("gpu001", hgx), *results, told=told)
    own = [one for one in results if one.nodes == ("gpu001",)]
    if found.outcome == "passed":
        assert told == TOLD
        assert {one.workload for one in own if one.outcome is Outcome.PASSED}.issuperset(SITE)
        assert found.issued_at == NOW
    else:
        assert found.why
        assert found.issued_at is None
    assert (found.outcome == "failed") == any(one.outcome is Outcome.FAILED for one in own)
