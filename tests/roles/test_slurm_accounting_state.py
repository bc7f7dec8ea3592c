"""What sacctmgr lists and what the inventory renders are read into states that compare."""

from typing import Any

import pytest

from fleetward.roles.slurm_controller.module_utils.slurm_accounting_fields import ACCOUNT_FIELDS, QOS_FIELDS
from fleetward.roles.slurm_controller.module_utils.slurm_accounting_plan import Account, Busy, User, plan
from fleetward.roles.slurm_controller.module_utils.slurm_accounting_state import (
    association_list,
    busy_state,
    declared_state,
    found_state,
    known_tres,
)

# Listed by Slurm 24.11.5 and, the same, by 26.05.5 for the lab's declaration below, November 2026.
QOS = """\
normal||00:00:00|||||||||||||||||||||||||||cluster|100|1.000000|
high||00:00:00|||||||||||||||||||||||||||cluster|1000|1.000000|
low||00:00:00|||||||||||||||||||||||||||cluster|10|1.000000|
"""
ACCOUNTS = """\
research|lab|research
root|root|default root account
sub|research|an account without an association | on this cluster
"""
ASSOCIATIONS = """\
root||||normal||1|||||||||||||||
root||root||||1|||||||||||||||
research|root|||high,low,normal|normal|1|||||||||||||||
research||researcher||||1|||||||||||||||
"""
USERS = "researcher|research\nroot|root\n"
TRES = "cpu|\nmem|\nfs|disk\ngres|gpu\ngres|gpu:h100\n"

LAB: dict[str, Any] = {
    "cluster": "lab",
    "qos": {"normal": {"Priority": "100"}, "high": {"Priority": "1000"}, "low": {"Priority": "10"}},
    "accounts": {
        "research": {
            "parent": "root",
            "description": "Research",
            "organization": "lab",
            "qos": ["normal", "high", "low"],
            "default_qos": "normal",
            "limits": {},
        }
    },
    "users": {"researcher": {"accounts": ["research"], "default_account": "research"}},
}


def with_account(**changes: object) -> dict[str, Any]:
    return {**LAB, "accounts": {"research": {**LAB["accounts"]["research"], **changes}}}


def test_the_listing_of_what_was_declared_needs_no_change() -> None:
    found = found_state(QOS, ACCOUNTS, ASSOCIATIONS, USERS)
    made = plan("lab", declared_state(LAB), found, known_tres=known_tres(TRES), prune=True, busy=Busy())
    assert (made.operations, made.undeclared, made.deferred) == ((), (), ())


def test_only_accounts_and_users_of_the_cluster_are_found() -> None:
    found = found_state(QOS, ACCOUNTS, ASSOCIATIONS, USERS)
    assert set(found.accounts) == {"root", "research"}
    assert found.users["researcher"] == User("research", frozenset({"research"}))
    assert found.accounts["research"] == Account(
        "root", "research", "lab", {"QOS": "high,low,normal", "DefaultQOS": "normal"}
    )


def test_a_users_association_with_one_partition_is_left_to_people() -> None:
    own = "research||researcher|debug|||1|||||||||||||||\nother||bob|debug|||1|||||||||||||||\n"
    found = found_state(QOS, ACCOUNTS, ASSOCIATIONS + own, USERS)
    assert set(found.users) == {"root", "researcher"}


def test_a_listing_with_other_columns_is_refused_rather_than_misread() -> None:
    with pytest.raises(ValueError, match="listed 3 columns and not 33: normal"):
        found_state("normal|0|cluster\n", ACCOUNTS, ASSOCIATIONS, USERS)


def test_the_columns_asked_for_are_the_columns_read() -> None:
    columns = association_list("lab")[-1].removeprefix("format=").split(",")
    assert columns[4:] == [field.name for field in ACCOUNT_FIELDS]
    assert len(ASSOCIATIONS.splitlines()[0].split("|")) == len(columns)
    assert len(QOS.splitlines()[0].split("|")) == 1 + len(QOS_FIELDS)


def test_tres_are_known_by_the_names_that_limits_use() -> None:
    assert known_tres(TRES) == {"cpu", "mem", "fs/disk", "gres/gpu", "gres/gpu:h100"}


def test_who_has_jobs_is_read_from_squeue() -> None:
    busy = busy_state("research|ada|high\nvision|ada|normal\n")
    assert busy == Busy(frozenset({"research", "vision"}), frozenset({"ada"}), frozenset({"high", "normal"}))
    assert busy_state("") == Busy()


def test_a_description_is_kept_as_slurm_keeps_it() -> None:
    state = declared_state(with_account(description='It\'s the "Big|Lab"\n'))
    assert state.accounts["research"].description == "it s the big lab"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (with_account(limits={"MaxGPUs": "1"}), "account research: there is no limit 'MaxGPUs'"),
        (with_account(limits={"GrpTRES": "cpu=many"}), "account research: GrpTRES is NAME=COUNT"),
        (with_account(parent="root where"), "'root where' cannot be the name of the account"),
        ({**LAB, "qos": {"a,b": {}}}, "'a,b' cannot be the name of the QOS"),
        (
            {**LAB, "users": {"ada set": {"accounts": ["research"], "default_account": "research"}}},
            "'ada set' cannot be the name of the user",
        ),
        ({**LAB, "users": {"ada": {"accounts": ["nope"], "default_account": "research"}}}, "user ada is in nope"),
    ],
)
def test_what_cannot_be_is_refused_by_name(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}"):
        declared_state(wrong)
