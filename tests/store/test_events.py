"""Events: each fault is on record once, and in the timelines that it belongs to."""

import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from played_events import fault_event as event

from fleetward.model.gpu_faults import FaultKind, Severity
from fleetward.model.incidents import Alert
from fleetward.store import event_telling
from fleetward.store import events as module
from fleetward.store.database import Database
from fleetward.store.events import Events
from fleetward.store.incidents import Incidents

AlertMaker = Callable[..., Alert]
Fails = Callable[[str, str], None]
NUMBERS = itertools.count()


@pytest.fixture
def events(database: Database) -> Events:
    return Events(database)


def told(incidents: Incidents, incident_id: int) -> list[str]:
    return [entry.text for entry in incidents.timeline(incident_id) if entry.kind == "event"]


def test_it_is_kept_as_it_was_told(events: Events) -> None:
    told_at = time.time()
    (new,), full = events.take("gpu002", [event(at=told_at)])
    assert full == frozenset()
    assert events.list() == (new,)
    assert (new.node, new.key, new.code, new.gpu, new.severity) == ("gpu002", "b:1", 79, "3", Severity.FATAL)
    assert new.at.timestamp() == pytest.approx(told_at, abs=1e-3)
    assert (new.action, new.blame, new.line) == ("reboot", "hardware", event().line)


def test_the_same_key_is_the_same_event_on_one_node_and_another_on_the_next(events: Events) -> None:
    assert len(events.take("gpu002", [event(), event()])[0]) == 1
    assert events.take("gpu002", [event(code=31)]) == ((), frozenset())
    assert len(events.take("gpu003", [event()])[0]) == 1
    assert [one.node for one in events.list()] == ["gpu003", "gpu002"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=6))
def test_posts_repeated_and_in_any_order_give_the_same_record(events: Events, posts: list[list[int]]) -> None:
    name = f"n{next(NUMBERS)}"
    for post in posts:
        events.take(name, [event(f"k:{number}") for number in post])
    assert sorted(one.key for one in events.list(name)) == sorted({f"k:{number}" for post in posts for number in post})


def test_what_is_asked_for_is_what_is_listed(events: Events) -> None:
    events.take(
        "gpu002", [event("a", at=time.time() - 7200), event("b", gpu=4), event("c", severity=Severity.INFO, gpu=None)]
    )
    hour = datetime.fromtimestamp(time.time() - 3600, UTC)
    assert {one.key for one in events.list(gpu="3")} == {"a"}
    assert {one.key for one in events.list(since=hour)} == {"b", "c"}
    assert {one.key for one in events.list(severities=[Severity.FATAL])} == {"a", "b"}
    assert [one.key for one in events.list(limit=1)] == ["c"]
    assert events.list("gpu009") == ()


def test_it_is_told_once_in_each_incident_that_it_belongs_to(
    events: Events, incidents: Incidents, alert: AlertMaker
) -> None:
    of_gpu = incidents.take([alert()])[0].incident.id
    of_other = incidents.take([alert(gpu="5")])[0].incident.id
    of_node = incidents.take([alert(alertname="NodeDown", gpu="")])[0].incident.id
    events.take("gpu002", [event(), event("b:2", code=45, parent="b:1", severity=Severity.INFO)])
    events.take("gpu002", [event()])
    assert (
        told(incidents, of_gpu)
        == told(incidents, of_node)
        == [
            "XID 79 on GPU 3 (fatal): it fell off the bus",
            "XID 45 on GPU 3 (info): it fell off the bus, which follows from an earlier one",
        ]
    )
    assert told(incidents, of_other) == []
    events.take("gpu002", [event("b:3", kind=FaultKind.SXID, code=20034, gpu=None)])
    assert told(incidents, of_other) == ["SXID 20034 on 0000:61:00 (fatal): it fell off the bus"], (
        "it may be of any GPU"
    )


def test_what_came_shortly_before_an_incident_is_put_into_it_once(
    events: Events, incidents: Incidents, alert: AlertMaker
) -> None:
    switch = event("b:3", at=time.time() - 60, kind=FaultKind.SXID, gpu=None, code=20034, address="0000:c1:00")
    events.take("gpu002", [event("old", at=time.time() - 7200), event("b:1"), event("b:2", gpu=5), switch])
    opened = incidents.take([alert()])[0].incident
    incidents.take([alert(), alert(fingerprint="another", minutes=1)])
    events.take("gpu002", [event("b:1"), switch])
    assert told(incidents, opened.id) == [
        "SXID 20034 on 0000:c1:00 (fatal): it fell off the bus",
        "XID 79 on GPU 3 (fatal): it fell off the bus",
    ]


def test_a_closed_incident_is_told_nothing(events: Events, incidents: Incidents, alert: AlertMaker) -> None:
    closed = incidents.take([alert()])[0].incident.id
    incidents.close(closed, "ada", "")
    events.take("gpu002", [event()])
    assert told(incidents, closed) == []


def test_a_flood_is_dammed_up_and_leaves_room_for_what_is_worse(
    events: Events, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_AN_HOUR", 2)
    mild = [event(key, severity=Severity.WARNING) for key in "abc"]
    new, full = events.take("gpu002", mild)
    assert ([one.key for one in new], full) == (["a", "b"], frozenset({"c"}))
    new, full = events.take("gpu002", [mild[0], mild[2], event("d")])
    assert ([one.key for one in new], full) == (["d"], frozenset({"c"}))
    assert len(events.take("gpu003", mild[:1])[0]) == 1
    with database.transaction() as connection:
        connection.execute("alter table events disable trigger append_only")
        connection.execute("update events set taken_at = taken_at - interval '61 minutes'")
    assert [one.key for one in events.take("gpu002", mild)[0]] == ["c"]


def test_posts_of_one_node_at_once_are_no_way_round_that(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_AN_HOUR", 5)
    barrier = threading.Barrier(6)

    def post(number: int) -> None:
        barrier.wait()
        events.take("gpu002", [event(f"{number}:{index}") for index in range(5)])

    threads = [threading.Thread(target=post, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(events.list("gpu002")) == 5


def test_of_a_node_that_tells_too_much_the_newest_are_kept(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    events.take("gpu003", [event("a")])
    for number in range(5):
        events.take("gpu002", [event(f"k:{number}", at=time.time() - number)])
    assert {one.key for one in events.list("gpu002")} == {"k:2", "k:3", "k:4"}
    assert [one.key for one in events.list("gpu003")] == ["a"]


@pytest.mark.parametrize("statement", ["update events set severity = 'info'", "delete from events", "truncate events"])
def test_it_is_only_ever_added_to(events: Events, database: Database, statement: str) -> None:
    events.take("gpu002", [event()])
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation), database.transaction() as connection:
        connection.execute(statement.encode())
    assert len(events.list()) == 1


def test_a_post_is_taken_whole_or_not_at_all(
    events: Events, incidents: Incidents, fails: Fails, alert: AlertMaker
) -> None:
    of_gpu = incidents.take([alert()])[0].incident.id
    fails("events", "new.key = 'b'")
    with pytest.raises(psycopg.Error, match="the disk is full"):
        events.take("gpu002", [event("a"), event("b"), event("c")])
    assert (events.list(), told(incidents, of_gpu)) == ((), [])


def test_a_timeline_stays_one_that_a_person_can_read(
    events: Events, incidents: Incidents, alert: AlertMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_telling, "MOST_TOLD", 3)
    of_gpu = incidents.take([alert()])[0].incident.id
    for number in range(3):
        events.take("gpu002", [event(f"{number}:a"), event(f"{number}:b")])
    lines = told(incidents, of_gpu)
    assert len(lines) == 4
    assert lines[-1] == "and more; `fleetward events --node gpu002` lists them"


def test_events_and_incidents_that_come_at_once_find_each_other_once(
    events: Events, incidents: Incidents, alert: AlertMaker
) -> None:
    barrier = threading.Barrier(4)

    def at_once(work: Callable[[], object]) -> None:
        barrier.wait()
        work()

    for number in range(12):
        node, told_of = f"gpu{number:03}", [event("a"), event("b")]
        works: list[Callable[[], object]] = [
            lambda node=node: incidents.take([alert(node=node)]),  # type: ignore[misc]
            lambda node=node, of=told_of: events.take(node, of),  # type: ignore[misc]
            lambda node=node, of=told_of[::-1]: events.take(node, of),  # type: ignore[misc]
            lambda node=node: incidents.take([alert(node=node, fingerprint="other")]),  # type: ignore[misc]
        ]
        threads = [threading.Thread(target=at_once, args=[work]) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for incident in incidents.list():
        assert len(told(incidents, incident.id)) == 2
    assert len(incidents.list()) == 12


def test_a_gpu_is_known_by_its_address_as_it_was_told_last(events: Events) -> None:
    events.take("gpu002", [event("a", gpu=2, at=time.time() - 9), event("b"), event("c", gpu=None, at=time.time() + 1)])
    events.take("gpu003", [event("a", gpu=7)])
    assert events.gpus_at("gpu002", ["0000:61:00", "0000:62:00"]) == {"0000:61:00": "3"}


def test_hostile_text_is_kept_harmless(events: Events) -> None:
    (new,), _ = events.take("n" * 400, [event(line="a\0b", meaning="\ud800", uuid="x" * 2000)])
    assert (new.line, new.meaning) == ("a\ufffdb", "\ufffd")
    assert len(events.list("n" * 400)) == 1
