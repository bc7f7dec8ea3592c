"""Events: each fault is on record once, and in the timelines that it belongs to."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetward.model.gpu_faults import Action, FaultKind, Scope, Severity
from fleetward.model.incidents import Alert
from fleetward.model.node_reports import FaultEvent
from fleetward.store import events as module
from fleetward.store.database import Database
from fleetward.store.events import Events
from fleetward.store.incidents import Incidents

AlertMaker = Callable[..., Alert]
NOW = datetime.now(UTC).timestamp()
NUMBERS = itertools.count()


def event(key: str = "b:1", **changes: object) -> FaultEvent:
    made = FaultEvent(
        key=key,
        at=NOW,
        kind=FaultKind.XID,
        code=79,
        gpu=3,
        uuid="GPU-1",
        address="0000:61:00",
        severity=Severity.FATAL,
        action=Action.REBOOT,
        blame=Scope.HARDWARE,
        meaning="it fell off the bus",
        source="kernel log",
        line="NVRM: Xid (PCI:0000:61:00): 79, GPU has fallen off the bus.",
    )
    return replace(made, **changes)


@pytest.fixture
def events(database: Database) -> Events:
    return Events(database)


def told(incidents: Incidents, incident_id: int) -> list[str]:
    return [entry.text for entry in incidents.timeline(incident_id) if entry.kind == "event"]


def test_it_is_kept_as_it_was_told(events: Events) -> None:
    (new,), full = events.take("gpu002", [event()])
    assert full == frozenset()
    assert events.list() == (new,)
    assert (new.node, new.key, new.code, new.gpu, new.severity) == ("gpu002", "b:1", 79, "3", Severity.FATAL)
    assert new.at.timestamp() == pytest.approx(NOW, abs=1e-3)
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
    events.take("gpu002", [event("a", at=NOW - 7200), event("b", gpu=4), event("c", severity=Severity.INFO, gpu=None)])
    hour = datetime.fromtimestamp(NOW - 3600, UTC)
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


def test_what_came_shortly_before_an_incident_is_put_into_it_once(
    events: Events, incidents: Incidents, alert: AlertMaker
) -> None:
    events.take("gpu002", [event("old", at=NOW - 7200), event("b:1"), event("b:2", gpu=5)])
    opened = incidents.take([alert()])[0].incident
    for _ in range(2):
        events.tell(opened)
    assert told(incidents, opened.id) == ["XID 79 on GPU 3 (fatal): it fell off the bus"]


def test_a_closed_incident_is_told_nothing(events: Events, incidents: Incidents, alert: AlertMaker) -> None:
    closed = incidents.take([alert()])[0].incident.id
    incidents.close(closed, "ada", "")
    events.take("gpu002", [event()])
    assert told(incidents, closed) == []


def test_a_node_cannot_fill_the_record(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OF_A_NODE", 2)
    new, full = events.take("gpu002", [event("a"), event("b"), event("c")])
    assert ([one.key for one in new], full) == (["a", "b"], frozenset({"c"}))
    assert events.take("gpu002", [event("a"), event("d")]) == ((), frozenset({"d"}))
    assert len(events.take("gpu003", [event("a")])[0]) == 1


def test_it_is_never_changed(events: Events, database: Database) -> None:
    events.take("gpu002", [event()])
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation), database.transaction() as connection:
        connection.execute("update events set severity = 'info'")


def test_hostile_text_is_kept_harmless(events: Events) -> None:
    (new,), _ = events.take("n" * 400, [event(line="a\0b", meaning="\ud800", uuid="x" * 2000)])
    assert (new.line, new.meaning) == ("a\ufffdb", "\ufffd")
    assert len(events.list("n" * 400)) == 1
