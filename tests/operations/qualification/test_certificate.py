"""Certificates: only what passed is vouched for, and only as long as the node is as it was."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from fleetward.operations.qualification.certificate import Certificate, Refusal, Standing, issue, standing
from fleetward.operations.qualification.fingerprint import Fingerprint, GpuPart
from fleetward.operations.qualification.judging import Outcome, Result
from fleetward.operations.qualification.measuring import Measurement, Unit
from fleetward.operations.qualification.workload_list import BY_ID

NOW = datetime(2026, 2, 10, 9, tzinfo=UTC)
MONTH = timedelta(days=30)
FINGERPRINT = Fingerprint(kernel="6.8", driver="570.86.15", gpus=(GpuPart("0000:1b:00.0", "GPU-1", "1", "96", ""),))
REQUIRED = (BY_ID["dcgm_medium"], BY_ID["nccl_pair"])


def result(workload: str, outcome: Outcome, *nodes: str) -> Result:
    return Result(workload, nodes or ("gpu001",), outcome, "slow", measurements=(Measurement("x", 1, Unit.TFLOPS),))


PASSED = (result("dcgm_medium", Outcome.PASSED), result("nccl_pair", Outcome.PASSED, "gpu001", "gpu002"))


def issued(*results: Result) -> Certificate | Refusal:
    return issue("gpu001", "hgx-h100", FINGERPRINT, results, REQUIRED, NOW, MONTH)


def certificate(*results: Result) -> Certificate:
    found = issued(*PASSED, *results)
    assert isinstance(found, Certificate)
    return found


def test_a_node_that_passed_what_is_required_gets_one() -> None:
    found = certificate()
    assert (found.node, found.profile, found.expires_at) == ("gpu001", "hgx-h100", NOW + MONTH)
    assert found.passed == ("dcgm_medium", "nccl_pair")
    assert standing(found, FINGERPRINT, NOW).qualified


def test_what_is_not_required_may_be_unknown_and_is_written_down() -> None:
    found = certificate(result("hpl", Outcome.UNKNOWN))
    assert [one.workload for one in found.results] == ["dcgm_medium", "nccl_pair", "hpl"]
    assert "hpl" not in found.passed


@pytest.mark.parametrize(
    ("results", "why"),
    [
        (PASSED[:1], "nccl_pair unknown: it was not run"),
        ((*PASSED[:1], result("nccl_pair", Outcome.UNKNOWN, "gpu001", "gpu002")), "nccl_pair unknown: slow"),
        ((result("dcgm_medium", Outcome.FAILED), PASSED[1]), "dcgm_medium failed: slow"),
        ((*PASSED, result("fio", Outcome.FAILED)), "fio failed: slow"),
        ((PASSED[0], result("nccl_pair", Outcome.PASSED, "gpu002", "gpu003")), "nccl_pair unknown: it was not run"),
    ],
)
def test_anything_less_gets_none_and_is_told_why(results: tuple[Result, ...], why: str) -> None:
    found = issued(*results)
    assert isinstance(found, Refusal)
    assert found.why == (why,)


def test_a_slow_pair_leaves_open_whose_fault_it_is() -> None:
    found = issued(PASSED[0], result("nccl_pair", Outcome.FAILED, "gpu001", "gpu002"))
    assert isinstance(found, Refusal)
    assert "nobody knows whose fault it is" in found.why[0]
    assert isinstance(issued(*PASSED, result("nccl_pair", Outcome.FAILED, "gpu001", "gpu009")), Certificate)


def test_where_nothing_is_required_nothing_is_certified() -> None:
    assert isinstance(issue("gpu001", "p", FINGERPRINT, PASSED, (), NOW, MONTH), Refusal)


def test_a_changed_fingerprint_voids_it() -> None:
    found = standing(certificate(), replace(FINGERPRINT, driver="580.95.05"), NOW)
    assert found.standing is Standing.VOID
    assert found.why == ("NVIDIA driver was upgraded from 570.86.15 to 580.95.05",)
    assert not found.qualified


def test_what_cannot_be_read_any_more_voids_nothing_and_is_told() -> None:
    found = standing(certificate(), replace(FINGERPRINT, driver=None, gpus=None), NOW)
    assert found.qualified
    assert found.told == ("NVIDIA driver was 570.86.15, and cannot be read now", "GPUs cannot be read now")
    silent = standing(certificate(), None, NOW)
    assert silent.qualified
    assert silent.told == ("its fingerprint could not be read, so nobody knows whether it changed",)


def test_a_part_that_was_unread_for_a_while_is_still_held_against_what_it_was() -> None:
    later = replace(FINGERPRINT, driver="580.95.05")
    assert standing(certificate(), replace(later, driver=None), NOW).qualified
    assert standing(certificate(), later, NOW).standing is Standing.VOID


def test_it_expires_and_there_may_be_none() -> None:
    found = certificate()
    assert standing(found, FINGERPRINT, NOW + MONTH - timedelta(seconds=1)).qualified
    expired = standing(found, FINGERPRINT, NOW + MONTH)
    assert (expired.standing, expired.why) == (Standing.EXPIRED, ("it expired at 2026-03-12 09:00 UTC",))
    assert standing(None, FINGERPRINT, NOW).standing is Standing.MISSING


def test_a_certificate_from_the_future_counts_for_nothing() -> None:
    found = standing(certificate(), FINGERPRINT, NOW - timedelta(seconds=1))
    assert found.standing is Standing.VOID
    assert "look at the clocks" in found.why[0]


def test_another_profile_or_a_new_requirement_voids_it() -> None:
    assert standing(certificate(), FINGERPRINT, NOW, profile="hgx-h200").standing is Standing.VOID
    more = standing(certificate(), FINGERPRINT, NOW, profile="hgx-h100", required=(*REQUIRED, BY_ID["hpl"]))
    assert more.why == ("hpl is required, and was not passed",)


@given(st.timedeltas(timedelta(days=-99), timedelta(days=99)), st.sampled_from(["570.86.15", "580.95.05", "", None]))
def test_it_is_valid_only_in_its_time_and_unchanged(after: timedelta, driver: str | None) -> None:
    found = standing(certificate(), replace(FINGERPRINT, driver=driver), NOW + after)
    assert found.qualified == (timedelta(0) <= after < MONTH and driver in ("570.86.15", None))


def test_it_goes_through_json_unchanged() -> None:
    adapter = TypeAdapter(Certificate)
    found = certificate(result("hpl", Outcome.UNKNOWN))
    assert adapter.validate_json(adapter.dump_json(found)) == found
