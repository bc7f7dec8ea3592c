"""Fingerprints: the newest of each node is kept, word for word, and a change is told once."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetward.store.database import Database
from fleetward.store.fingerprints import FingerprintRow, Fingerprints

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
A, B = "a" * 64, "b" * 64


def later(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


@pytest.fixture
def fingerprints(database: Database) -> Fingerprints:
    return Fingerprints(database)


def test_a_node_that_never_told_has_none(fingerprints: Fingerprints) -> None:
    assert fingerprints.of("gpu001") is None
    assert fingerprints.all() == {}


def test_the_first_is_a_change_and_the_same_again_is_none(fingerprints: Fingerprints) -> None:
    assert fingerprints.tell("gpu001", '{"kernel": "6.8"}', A, NOON)
    assert not fingerprints.tell("gpu001", '{ "kernel": "6.8" }', A, later(15))
    assert fingerprints.of("gpu001") == FingerprintRow('{ "kernel": "6.8" }', A, later(15), NOON)


def test_another_digest_is_a_change_once_also_where_it_was_there_before(fingerprints: Fingerprints) -> None:
    told = [fingerprints.tell("gpu001", "{}", digest, later(at)) for at, digest in enumerate([A, B, B, A])]
    assert told == [True, True, False, True]
    assert fingerprints.of("gpu001") == FingerprintRow("{}", A, later(3), later(3))


def test_each_node_has_its_own(fingerprints: Fingerprints) -> None:
    fingerprints.tell("gpu002", "{}", B, later(1))
    assert fingerprints.tell("gpu001", "[]", B, NOON)
    assert {node: (row.parts, row.told_at) for node, row in fingerprints.all().items()} == {
        "gpu001": ("[]", NOON),
        "gpu002": ("{}", later(1)),
    }


def test_what_comes_late_changes_nothing(fingerprints: Fingerprints) -> None:
    fingerprints.tell("gpu001", "new", A, NOON)
    assert not fingerprints.tell("gpu001", "old", B, later(-0.001))
    assert fingerprints.of("gpu001") == FingerprintRow("new", A, NOON, NOON)


def test_text_that_no_database_takes_is_kept_without_it(fingerprints: Fingerprints) -> None:
    fingerprints.tell("gpu001", "\0 and \ud800", A, NOON)
    found = fingerprints.of("gpu001")
    assert found is not None
    assert found.parts == "\ufffd and \ufffd"


def test_of_those_told_at_once_one_is_the_change(fingerprints: Fingerprints) -> None:
    barrier = threading.Barrier(6)
    changed: list[bool] = []

    def tell() -> None:
        barrier.wait()
        changed.append(fingerprints.tell("gpu001", "{}", A, NOON))

    threads = [threading.Thread(target=tell) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(changed) == [False] * 5 + [True]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from("abc")), min_size=1, max_size=8))
def test_in_whatever_order_they_come_the_newest_is_kept_and_its_change_is_never_later(
    fingerprints: Fingerprints, posts: list[tuple[int, str]]
) -> None:
    node = f"n{len(fingerprints.all())}"
    newest, kept = -1, ""
    for minute, name in posts:
        changed = fingerprints.tell(node, name, name * 64, later(minute))
        assert changed == (minute >= newest and name != kept)
        if minute >= newest:
            newest, kept = minute, name
    found = fingerprints.of(node)
    assert found is not None
    assert (found.parts, found.told_at) == (kept, later(newest))
    assert found.changed_at <= found.told_at
