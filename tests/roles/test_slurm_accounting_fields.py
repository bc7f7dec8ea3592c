"""Two ways to write the same limit compare equal, and what sacctmgr lists compares equal to what was set."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.roles.slurm_controller.module_utils.slurm_accounting_fields import (
    ACCOUNT_FIELDS,
    QOS_FIELDS,
    Field,
    Kind,
    canonical,
    field_named,
    setting,
    tres,
)

# What was set and what `sacctmgr --parsable2 show qos` then listed: Slurm 24.11.5 and 26.05.5, November 2026.
SET_AND_LISTED = [
    ("GraceTime", "120", "00:02:00"),
    ("GrpJobs", "1", "1"),
    ("GrpTRES", "node=2000,cpu=1000000,mem=1500", "cpu=1000000,mem=1500M,node=2000"),
    ("GrpTRES", "gres/gpu=16,cpu=4,mem=4G", "cpu=4,gres/gpu=16,mem=4G"),
    ("GrpTRESMins", "gres/gpu:h100=4,cpu=123456789", "cpu=123456789,gres/gpu:h100=4"),
    ("GrpWall", "100", "01:40:00"),
    ("LimitFactor", "2.5", "2.500000"),
    ("MaxWall", "2-03", "2-03:00:00"),
    ("MaxWall", "1-00:00:00", "1-00:00:00"),
    ("MaxSubmitJobsPerUser", "9", "9"),
    ("Flags", "NoReserve,DenyOnLimit", "DenyOnLimit,NoReserve"),
    ("Preempt", "normal,low", "low,normal"),
    ("PreemptExemptTime", "90", "01:30:00"),
    ("PreemptMode", "REQUEUE", "requeue"),
    ("UsageFactor", "2", "2.000000"),
    ("UsageFactor", "1", ""),
    ("Priority", "0", "0"),
]


@pytest.mark.parametrize(("name", "given_text", "listed"), SET_AND_LISTED)
def test_what_is_listed_means_what_was_set(name: str, given_text: str, listed: str) -> None:
    field = field_named(name, QOS_FIELDS)
    assert canonical(field, given_text) == canonical(field, listed)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("MaxWall", "60", "61"),
        ("MaxWall", "1:00", "60"),  # a minute and an hour
        ("GrpTRES", "cpu=4", "cpu=4,gres/gpu=1"),
        ("GrpTRES", "mem=4G", "mem=4M"),
        ("Preempt", "low", "low,normal"),
        ("UsageFactor", "0.5", "0.25"),
    ],
)
def test_what_differs_compares_as_different(name: str, one: str, other: str) -> None:
    field = field_named(name, QOS_FIELDS)
    assert canonical(field, one) != canonical(field, other)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("GrpJobs", "many"),
        ("GrpJobs", "-2"),
        ("GrpJobs", "²"),
        ("MaxWall", "soon"),
        ("MaxWall", "1:2:3:4"),
        ("GrpTRES", "gpu"),
        ("GrpTRES", "gres/gpu=lots"),
        ("UsageFactor", "nan"),
        ("Preempt", "low, DefaultQOS=x"),
        ("PreemptMode", "requeue where name"),
    ],
)
def test_a_value_that_is_none_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is ") as refused:
        canonical(field_named(name, QOS_FIELDS), text)
    assert text in str(refused.value)


def test_a_limit_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match=r"no limit 'MaxGPUs'; there are .*GrpTRES"):
        field_named("MaxGPUs", ACCOUNT_FIELDS)


@pytest.mark.parametrize("name", ["maxwall", "MAXWALL", "MaxWallDurationPerJob"])
def test_a_limit_goes_by_any_of_its_names_in_any_case(name: str) -> None:
    assert field_named(name, QOS_FIELDS).name == "MaxWall"


@pytest.mark.parametrize("field", [*QOS_FIELDS, *ACCOUNT_FIELDS], ids=lambda field: field.name)
def test_a_lifted_limit_reads_as_unset(field: Field) -> None:
    lifted = "cpu=-1" if field.kind is Kind.TRES else field.lifted
    assert canonical(field, lifted) == field.unset


@given(st.integers(min_value=0, max_value=10**8))
def test_a_duration_survives_being_set_and_listed(seconds: int) -> None:
    field = field_named("MaxWall", QOS_FIELDS)
    assert canonical(field, setting(field, str(seconds))) == str(seconds)


@given(st.dictionaries(st.sampled_from(["cpu", "mem", "node", "gres/gpu", "gres/gpu:h100"]), st.integers(0, 10**12)))
def test_a_tres_list_survives_in_any_order(counts: dict[str, int]) -> None:
    forwards = ",".join(f"{name}={count}" for name, count in counts.items())
    backwards = ",".join(f"{name}={count}" for name, count in reversed(counts.items()))
    assert tres(forwards) == tres(backwards) == counts
