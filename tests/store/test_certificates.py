"""Certificates: the newest that was not revoked counts, and who has none is not in the list."""

from datetime import UTC, datetime, timedelta

import pytest

from fleetward.model.burn_ins import NodeOutcome, WorkloadOutcome
from fleetward.store.burn_ins import BurnIns, NewBurnIn
from fleetward.store.certificates import Certificates
from fleetward.store.database import Database

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def certificates(database: Database) -> Certificates:
    return Certificates(database)


@pytest.fixture
def passes(database: Database) -> "Passes":
    return Passes(BurnIns(database))


class Passes:
    """Burn-ins of one node that it passes."""

    def __init__(self, burn_ins: BurnIns) -> None:
        self.burn_ins = burn_ins

    def __call__(self, node: str, days: int = 90, fingerprint: str = "{}") -> int:
        """Return the number of the certificate that is issued for it."""
        made = self.burn_ins.begin(NewBurnIn({node: "hgx-h100"}, ["fio"], 60, "ada"))
        results = {"fio": WorkloadOutcome("passed", "all is well", ("a", "b"))}
        told = NodeOutcome("passed", (), fingerprint, results, NOW, NOW + timedelta(days=days))
        self.burn_ins.finish(made.id, {node: told})
        (found,) = self.burn_ins.get(made.id).nodes
        assert found.certificate is not None
        return found.certificate


def test_without_any_there_is_none(certificates: Certificates) -> None:
    assert certificates.latest() == {}
    assert certificates.revoke("gpu001", "its GPU was replaced") == 0


def test_the_newest_of_each_node_counts_though_another_lasts_longer(certificates: Certificates, passes: Passes) -> None:
    passes("gpu001", days=900)
    newest, other = passes("gpu001", days=1, fingerprint='{"kernel": "6.9"}'), passes("gpu002")
    found = certificates.latest()
    assert {node: one.id for node, one in found.items()} == {"gpu001": newest, "gpu002": other}
    assert found["gpu001"].fingerprint == '{"kernel": "6.9"}'
    assert found["gpu001"].expires_at == NOW + timedelta(days=1)


def test_one_that_has_expired_is_told_all_the_same(certificates: Certificates, passes: Passes) -> None:
    made = passes("gpu001", days=-1)
    assert certificates.latest()["gpu001"].id == made


def test_what_is_revoked_leaves_no_older_one_to_fall_back_on(certificates: Certificates, passes: Passes) -> None:
    passes("gpu001")
    newest = passes("gpu001")
    passes("gpu002")
    assert certificates.revoke("gpu001", "its GPU was replaced") == 2
    found = certificates.latest()
    assert (found["gpu001"].id, found["gpu001"].revoked_why) == (newest, "its GPU was replaced")
    assert found["gpu002"].revoked_at is None
    assert certificates.revoke("gpu001", "once more") == 0


def test_why_and_when_it_was_revoked_is_kept(certificates: Certificates, passes: Passes, database: Database) -> None:
    passes("gpu001")
    certificates.revoke("gpu001", "a\0b")
    certificates.revoke("gpu001", "later")
    with database.transaction() as connection:
        (row,) = connection.execute("select revoked_at, revoked_why from certificates").fetchall()
    assert row["revoked_why"] == "a\ufffdb"
    assert row["revoked_at"] is not None


def test_a_node_that_passes_again_is_certified_again(certificates: Certificates, passes: Passes) -> None:
    passes("gpu001")
    certificates.revoke("gpu001", "its GPU was replaced")
    again = passes("gpu001")
    assert certificates.latest()["gpu001"].id == again


def test_a_name_that_is_too_long_to_be_indexed_is_found_again(certificates: Certificates, passes: Passes) -> None:
    name = "n" * 4000
    made = passes(name)
    (found,) = certificates.latest().values()
    assert found.id == made
    assert certificates.revoke(name, "gone") == 1
