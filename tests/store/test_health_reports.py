"""Reports of health: what fires by them, in which order they count, and how much a node may say."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetward.model.incidents import Alert, AlertStatus
from fleetward.store import health_reports as module
from fleetward.store.database import Database
from fleetward.store.health_reports import HealthReports, Judge, Judgement, Known
from fleetward.store.incidents import Incidents

AlertMaker = Callable[..., Alert]
Fails = Callable[[str, str], None]
NUMBERS = itertools.count()


@pytest.fixture
def reports(database: Database) -> HealthReports:
    return HealthReports(database)


def finds(*found: Alert) -> Judge:
    """Return the judgement of a report that finds these and nothing else."""

    def judge(before: Known) -> Judgement:
        firing = before.reported
        known = {alert.fingerprint for alert in firing}
        now = {alert.fingerprint for alert in found}
        ended = [replace(alert, status=AlertStatus.RESOLVED) for alert in firing if alert.fingerprint not in now]
        return Judgement((*(one for one in found if one.fingerprint not in known), *ended), frozenset(now))

    return judge


def firing(incidents: Incidents) -> dict[str, int]:
    return {incident.node: incident.firing for incident in incidents.list()}


def test_what_it_finds_opens_an_incident_and_what_it_no_longer_finds_ends(
    reports: HealthReports, incidents: Incidents, alert: AlertMaker
) -> None:
    at = alert().starts_at
    became = reports.take("gpu002", at, finds(alert()), page=lambda name: f"page-of-{name}")
    assert became is not None
    ((taken,), found) = became.taken, became.incidents
    assert (taken.opened, found, taken.incident.runbook) == (True, (taken.incident.id,), "page-of-GpuOffBus")
    assert incidents.timeline(taken.incident.id)[0].who == "gpu002"
    again = reports.take("gpu002", at + timedelta(minutes=1), finds(alert(minutes=1)))
    assert again is not None
    assert (again.taken, again.incidents) == ((), found), "it is known, under its first beginning"
    over = reports.take("gpu002", at + timedelta(minutes=2), finds())
    assert over is not None
    assert (over.incidents, incidents.get(taken.incident.id).firing) == ((), 0)


def test_it_knows_only_what_the_node_itself_has_told(
    reports: HealthReports, incidents: Incidents, alert: AlertMaker
) -> None:
    incidents.take([alert(fingerprint="prometheus", source="node report")])
    reports.take("gpu003", alert().starts_at, finds(alert(node="gpu003", fingerprint="theirs")))
    seen: list[Known] = []

    def judge(known: Known) -> Judgement:
        seen.append(known)
        return Judgement((), frozenset())

    reports.take("gpu002", alert().starts_at, judge)
    assert [one.reported for one in seen] == [()]


def test_what_alertmanager_told_of_its_gpus_is_known_until_the_incident_is_closed(
    reports: HealthReports, incidents: Incidents, alert: AlertMaker
) -> None:
    seen: list[list[str]] = []

    def judge(known: Known) -> Judgement:
        seen.append([one.labels["gpu"] for one in known.others])
        return Judgement((), frozenset())

    incidents.take([alert(gpu="1"), alert(gpu="2"), alert("NodeDown", gpu=""), alert(node="gpu003", gpu="7")])
    incidents.take([alert(gpu="2", status=AlertStatus.RESOLVED)])
    reports.take("gpu002", alert().starts_at, finds(alert(gpu="5", fingerprint="own")))
    reports.take("gpu002", alert().starts_at, judge)
    incidents.close(next(one.id for one in incidents.list() if one.gpu == "1"), "alice", "done")
    reports.take("gpu002", alert().starts_at, judge)
    assert seen == [["1", "2"], ["2"]]


def test_how_often_checks_were_not_named_is_kept_for_each_node_alone(reports: HealthReports, alert: AlertMaker) -> None:
    seen: list[dict[str, int]] = []

    def counts(silent: dict[str, int]) -> Judge:
        def judge(known: Known) -> Judgement:
            seen.append(dict(known.silent))
            return Judgement((), frozenset(), silent)

        return judge

    for silent in ({"a": 1, "b": 2}, {"a": 2}, {}, {}):
        reports.take("gpu002", alert().starts_at, counts(silent))
    reports.take("gpu003", alert().starts_at, counts({}))
    assert seen == [{}, {"a": 1, "b": 2}, {"a": 2}, {}, {}]


@pytest.mark.parametrize(("late", "is_taken"), [(-0.001, False), (0.0, True), (0.001, True)])
def test_an_older_report_says_nothing(
    reports: HealthReports, incidents: Incidents, alert: AlertMaker, late: float, is_taken: bool
) -> None:
    at = alert().starts_at
    reports.take("gpu002", at, finds(alert()))
    assert (reports.take("gpu002", at + timedelta(seconds=late), finds()) is not None) is is_taken
    assert firing(incidents) == {"gpu002": 0 if is_taken else 1}
    assert reports.take("gpu003", at - timedelta(days=1), finds()) is not None, "another node has a time of its own"


def test_a_report_is_taken_whole_or_not_at_all(
    reports: HealthReports, incidents: Incidents, fails: Fails, alert: AlertMaker
) -> None:
    at = alert().starts_at
    fails("alerts", "new.fingerprint = 'b'")
    two = finds(alert(fingerprint="a"), alert(fingerprint="b", gpu="5"))
    with pytest.raises(psycopg.Error, match="the disk is full"):
        reports.take("gpu002", at, two)
    assert incidents.list() == ()
    assert reports.take("gpu002", at - timedelta(seconds=1), finds()) is not None, "nor is its time noted"


def test_a_node_cannot_fill_the_record(
    reports: HealthReports, incidents: Incidents, alert: AlertMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_AN_HOUR", 3)
    at = alert().starts_at
    five = [alert(fingerprint=name, gpu=name) for name in "12345"]
    became = reports.take("gpu002", at, finds(*five))
    assert became is not None
    assert (became.left_out, [one.gpu for one in incidents.list()][::-1]) == (2, ["1", "2", "3"])
    flapping = reports.take("gpu002", at + timedelta(seconds=1), finds(alert(fingerprint="6", gpu="6")))
    assert flapping is not None
    assert (flapping.left_out, firing(incidents)) == (1, {"gpu002": 0}), "what ends is taken all the same"
    other = reports.take("gpu003", at, finds(alert(node="gpu003")))
    assert other is not None
    assert other.left_out == 0


def test_reports_of_one_node_that_come_at_once_open_one_incident(
    reports: HealthReports, incidents: Incidents, alert: AlertMaker
) -> None:
    barrier = threading.Barrier(6)

    def deliver(number: int) -> None:
        barrier.wait()
        reports.take("gpu002", alert().starts_at + timedelta(seconds=number), finds(alert(minutes=number)))

    threads = [threading.Thread(target=deliver, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (incident,) = incidents.list()
    assert incident.firing == 1
    assert len(incidents.timeline(incident.id)) == 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 5), st.frozensets(st.sampled_from("12"))), max_size=8))
def test_in_whatever_order_reports_come_the_newest_decides(
    reports: HealthReports,
    incidents: Incidents,
    alert: AlertMaker,
    posts: list[tuple[int, frozenset[str]]],
) -> None:
    node, newest, wanted = f"n{next(NUMBERS)}", -1, frozenset[str]()

    def at(second: int) -> datetime:
        return alert().starts_at + timedelta(seconds=second)

    for second, gpus in posts:
        found = [replace(alert(node=node, gpu=gpu), starts_at=at(second)) for gpu in sorted(gpus)]
        reports.take(node, at(second), finds(*found))
        if second >= newest:
            newest, wanted = second, gpus
    fires = {one.gpu for one in incidents.list() if one.node == node and one.firing}
    assert fires == wanted
