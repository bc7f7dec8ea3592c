"""Claims: one open claim per owner and node, however often it is asked for."""

import threading
from collections.abc import Callable

import pytest

from fleetward.model.claims import ClaimClass
from fleetward.model.errors import ConflictError
from fleetward.model.incidents import Alert
from fleetward.store.claims import Claims
from fleetward.store.incidents import Incidents

PROBLEM = ClaimClass.NODE_PROBLEM


def test_a_claim_is_kept_with_who_and_why(claims: Claims) -> None:
    claim = claims.add("gpu002", "p-alice", ClaimClass.MAINTENANCE, "new cables", "alice")
    assert (claim.node, claim.owner, claim.kind, claim.why, claim.made_by) == (
        "gpu002", "p-alice", ClaimClass.MAINTENANCE, "new cables", "alice",
    )  # fmt: skip
    assert claims.open() == (claim,)


def test_the_same_owner_again_gets_the_claim_there_is(claims: Claims) -> None:
    first = claims.add("gpu002", "r7", PROBLEM, "gone", "fleetward")
    assert claims.add("gpu002", "r7", ClaimClass.MAINTENANCE, "other words", "alice") == first
    assert claims.open() == (first,)


def test_owners_and_nodes_are_held_apart(claims: Claims) -> None:
    mine = claims.add("gpu002", "r7", PROBLEM, "gone", "fleetward")
    hers = claims.add("gpu002", "p-alice", PROBLEM, "mine", "alice")
    other = claims.add("gpu003", "r7", PROBLEM, "gone", "fleetward")
    assert claims.open() == (mine, hers, other)
    assert claims.open("gpu002") == (mine, hers)
    assert claims.open("gpu004") == ()


def test_released_it_is_open_no_more_and_may_be_made_again(claims: Claims) -> None:
    first = claims.add("gpu002", "r7", PROBLEM, "gone", "fleetward")
    released = claims.release("gpu002", "r7", "bob")
    assert released is not None
    assert (released.id, released.released_by) == (first.id, "bob")
    assert released.released_at is not None
    assert claims.open() == ()
    assert claims.release("gpu002", "r7", "bob") is None
    assert claims.add("gpu002", "r7", PROBLEM, "again", "fleetward").id != first.id


def test_releasing_anothers_claim_leaves_it(claims: Claims) -> None:
    claim = claims.add("gpu002", "r7", PROBLEM, "gone", "fleetward")
    assert claims.release("gpu002", "r8", "bob") is None
    assert claims.open() == (claim,)


def test_an_incidents_claims_are_in_its_timeline_once(
    claims: Claims, incidents: Incidents, alert: Callable[..., Alert]
) -> None:
    number = incidents.take([alert()])[0].incident.id
    for _ in range(2):
        claims.add("gpu002", f"i{number}", PROBLEM, "gone", "fleetward")
    claims.release("gpu002", f"i{number}", "bob")
    entries = [entry for entry in incidents.timeline(number) if entry.kind == "claim"]
    assert [(entry.who, entry.text) for entry in entries] == [
        ("fleetward", "claimed gpu002 (node_problem): gone"),
        ("bob", "released gpu002"),
    ]


def test_an_owner_that_only_looks_like_an_incident_is_no_trouble(claims: Claims) -> None:
    owners = ["i999", "i0", "i-1", "i", "i99999999999999999999", "c3"]
    for owner in owners:
        claims.add("gpu002", owner, PROBLEM, "a\0b", "alice")
    assert [claim.owner for claim in claims.open()] == owners
    assert claims.open()[0].why == "a\ufffdb"


def test_a_closed_incident_claims_nothing_more(
    claims: Claims, incidents: Incidents, alert: Callable[..., Alert]
) -> None:
    number = incidents.take([alert()])[0].incident.id
    kept = claims.add("gpu002", f"i{number}", PROBLEM, "gone", "fleetward")
    incidents.close(number, "alice", "")
    assert claims.add("gpu002", f"i{number}", PROBLEM, "gone", "fleetward") == kept
    with pytest.raises(ConflictError, match=f"i{number} is closed"):
        claims.add("gpu003", f"i{number}", PROBLEM, "gone", "fleetward")
    assert claims.open() == (kept,)
    assert claims.release("gpu002", f"i{number}", "alice") is not None


def test_many_at_once_make_one_claim(claims: Claims) -> None:
    barrier = threading.Barrier(4)
    made: list[int] = []

    def add() -> None:
        barrier.wait()
        made.append(claims.add("gpu002", "r7", PROBLEM, "gone", "fleetward").id)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len(set(made)) == 1


def test_what_a_closed_incident_still_claims_is_told(
    claims: Claims, incidents: Incidents, alert: Callable[..., Alert]
) -> None:
    (taken,) = incidents.take([alert()])
    left = claims.add("gpu002", taken.incident.owner, PROBLEM, "gone", "fleetward")
    claims.add("gpu003", "r7", PROBLEM, "gone", "fleetward")
    assert claims.of_closed() == ()
    incidents.close(taken.incident.id, "ada", "cut off")
    assert claims.of_closed() == (left,)
    claims.release("gpu002", taken.incident.owner, "fleetward")
    assert claims.of_closed() == ()
