"""Incidents: every alert is taken once, and nothing that was told is lost."""

import threading
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetward.model.claims import ClaimClass
from fleetward.model.errors import ConflictError, UsageError
from fleetward.model.incidents import Alert, AlertStatus, IncidentState, Severity
from fleetward.model.runs import Mode, RunState, StepState
from fleetward.store.claims import Claims
from fleetward.store.database import Database
from fleetward.store.incidents import Incidents
from fleetward.store.joining import IncidentKey
from fleetward.store.runs import NewRun, Runs

AlertMaker = Callable[..., Alert]
RESOLVED = AlertStatus.RESOLVED


def kinds(incidents: Incidents, incident_id: int) -> list[str]:
    return [entry.kind for entry in incidents.timeline(incident_id)]


class TestTake:
    def test_opens_an_incident_with_what_the_alert_says(self, incidents: Incidents, alert: AlertMaker) -> None:
        (taken,) = incidents.take([alert()], page=lambda name: f"page-of-{name}")
        assert taken.opened
        assert taken.changed
        incident = incidents.get(taken.incident.id)
        assert incident == taken.incident
        assert (incident.alert_name, incident.node, incident.gpu) == ("GpuOffBus", "gpu002", "3")
        assert incident.severity is Severity.CRITICAL
        assert incident.state is IncidentState.OPEN
        assert incident.summary == "a GPU is gone"
        assert incident.runbook == "page-of-GpuOffBus"
        assert incident.firing == 1
        (entry,) = incidents.timeline(incident.id)
        assert (entry.kind, entry.who, entry.text) == ("alert", "alertmanager", "GpuOffBus firing: a GPU is gone")
        assert incidents.alerts(incident.id) == (alert(),)

    def test_the_same_alert_twice_is_one(self, incidents: Incidents, alert: AlertMaker) -> None:
        (first,) = incidents.take([alert(), alert()])
        (again,) = incidents.take([alert(summary="said again")])
        assert again.incident == first.incident
        assert not again.opened
        assert not again.changed
        assert kinds(incidents, first.incident.id) == ["alert"]

    def test_another_alert_with_the_same_key_joins_and_may_make_it_worse(
        self, incidents: Incidents, alert: AlertMaker
    ) -> None:
        (first,) = incidents.take([alert(severity="warning")])
        (second,) = incidents.take([alert(severity="critical"), alert(severity="info")])
        assert second.incident.id == first.incident.id
        assert (second.opened, second.changed) == (False, True)
        assert second.incident.severity is Severity.CRITICAL
        assert second.incident.firing == 3

    @pytest.mark.parametrize("other", [{"node": "gpu003"}, {"gpu": "4"}, {"name": "NodeDown"}])
    def test_another_key_opens_another(self, incidents: Incidents, alert: AlertMaker, other: dict[str, str]) -> None:
        assert [one.opened for one in incidents.take([alert(), alert(**other)])] == [True, True]

    def test_goes_by_the_key_it_is_given(self, incidents: Incidents, alert: AlertMaker) -> None:
        (taken,) = incidents.take([alert(gpu="1"), alert(gpu="2")], key=lambda one: IncidentKey(one.name, "all"))
        assert (taken.incident.node, taken.incident.gpu, taken.incident.firing) == ("all", "", 2)

    def test_a_resolved_one_fires_no_more_and_stays_in_the_timeline(
        self, incidents: Incidents, alert: AlertMaker
    ) -> None:
        incidents.take([alert()])
        (taken,) = incidents.take([alert(status=RESOLVED)])
        assert (taken.opened, taken.changed, taken.incident.firing) == (False, True, 0)
        assert taken.incident.state is IncidentState.OPEN
        assert [entry.data["status"] for entry in incidents.timeline(taken.incident.id)] == ["firing", "resolved"]
        (kept,) = incidents.alerts(taken.incident.id)
        assert kept.ends_at == alert(status=RESOLVED).ends_at

    def test_one_that_fires_again_with_its_old_beginning_is_not_overlooked(
        self, incidents: Incidents, alert: AlertMaker
    ) -> None:
        (first,) = incidents.take([alert()])
        incidents.take([alert(status=RESOLVED)])
        (again,) = incidents.take([alert()])
        assert (again.incident.id, again.changed, again.incident.firing) == (first.incident.id, True, 1)
        assert incidents.alerts(again.incident.id)[0].ends_at is None

    def test_a_resolved_one_that_never_fired_is_left_out(self, incidents: Incidents, alert: AlertMaker) -> None:
        assert incidents.take([alert(status=RESOLVED)]) == ()
        assert incidents.list() == ()

    def test_after_closing_the_next_alert_opens_another_and_a_repetition_does_not(
        self, incidents: Incidents, alert: AlertMaker
    ) -> None:
        (first,) = incidents.take([alert()])
        incidents.close(first.incident.id, "alice", "known")
        (repeated,) = incidents.take([alert()])
        assert (repeated.opened, repeated.incident.state) == (False, IncidentState.CLOSED)
        (second,) = incidents.take([alert(minutes=5)])
        assert second.opened
        assert second.incident.id != first.incident.id

    def test_from_many_threads_opens_one_and_tells_once(self, incidents: Incidents, alert: AlertMaker) -> None:
        alerts = [alert(gpu=str(gpu)) for gpu in range(4)]
        opened: list[bool] = []
        barrier = threading.Barrier(4)

        def deliver(order: int) -> None:
            barrier.wait()
            taken = incidents.take(alerts[order:] + alerts[:order])
            opened.extend(one.opened for one in taken)

        threads = [threading.Thread(target=deliver, args=[order]) for order in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(opened), opened.count(True)) == (16, 4)
        assert [kinds(incidents, one.id) for one in incidents.list()] == [["alert"]] * 4

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        labels=st.dictionaries(
            st.text(st.characters(), max_size=8) | st.sampled_from(["node", "gpu", "alertname", "severity"]),
            st.text(st.characters(), max_size=40)
            | st.sampled_from(
                ["\0", "\ud800", "'; drop table incidents; --", "%s", "x" * 5000, "\x1b[2J", "{{ node }}"]
            ),
            max_size=6,
        ),
        fingerprint=st.text(st.characters(), max_size=12),
        summary=st.text(st.characters(), max_size=30),
    )
    def test_whatever_labels_say_is_kept_and_taken_once(
        self, incidents: Incidents, labels: dict[str, str], fingerprint: str, summary: str, alert: AlertMaker
    ) -> None:
        hostile = replace(alert(), labels=labels, fingerprint=fingerprint, annotations={"summary": summary})
        (first,) = incidents.take([hostile])
        (again,) = incidents.take([hostile])
        assert again.incident.id == first.incident.id
        assert not again.changed
        fit = {name for name in labels if not set(name) & set("\0") and name.isprintable()}
        assert fit <= set(first.incident.labels)
        for name in fit:
            if labels[name].isprintable():
                assert first.incident.labels[name] == labels[name]
        # the next example begins anew
        for one in incidents.list([IncidentState.OPEN]):
            incidents.take([replace(kept, status=RESOLVED) for kept in incidents.alerts(one.id)])
            incidents.close(one.id, "test", "")

    def test_what_cannot_be_kept_is_shown_to_be_missing(self, incidents: Incidents, alert: AlertMaker) -> None:
        (taken,) = incidents.take([alert(node="gpu\x00002", note="half \ud83d of a pair")])
        assert taken.incident.node == "gpu\ufffd002"
        assert taken.incident.labels["note"] == "half \ufffd of a pair"

    def test_long_names_that_begin_alike_stay_apart(self, incidents: Incidents, alert: AlertMaker) -> None:
        one, other = incidents.take([alert(node="n" * 5000 + "1"), alert(node="n" * 5000 + "2")])
        assert one.incident.id != other.incident.id
        assert len(one.incident.node) <= 300


class TestAck:
    def test_names_who_is_at_it(self, incidents: Incidents, alert: AlertMaker) -> None:
        (taken,) = incidents.take([alert()])
        incident = incidents.ack(taken.incident.id, "alice", "on my way")
        assert (incident.state, incident.acknowledged_by) == (IncidentState.ACKNOWLEDGED, "alice")
        assert incident.acknowledged_at is not None
        assert incidents.timeline(incident.id)[-1].text == "acknowledged: on my way"

    def test_a_second_one_leaves_the_first_and_keeps_its_note(self, incidents: Incidents, alert: AlertMaker) -> None:
        (taken,) = incidents.take([alert()])
        first = incidents.ack(taken.incident.id, "alice")
        assert incidents.ack(taken.incident.id, "bob") == first
        assert incidents.ack(taken.incident.id, "bob", "me too").acknowledged_by == "alice"
        assert [(one.who, one.text) for one in incidents.timeline(first.id)[1:]] == [
            ("alice", "acknowledged"),
            ("bob", "acknowledged: me too"),
        ]

    def test_of_a_closed_one_is_a_conflict(self, incidents: Incidents, alert: AlertMaker) -> None:
        (taken,) = incidents.take([alert()])
        incidents.close(taken.incident.id, "alice", "")
        with pytest.raises(ConflictError, match="closed by alice"):
            incidents.ack(taken.incident.id, "bob")

    def test_of_one_that_is_not_there_says_so(self, incidents: Incidents) -> None:
        with pytest.raises(UsageError, match="no incident i77"):
            incidents.ack(77, "bob")


class TestClose:
    def test_says_who_and_why_and_only_once(self, incidents: Incidents, alert: AlertMaker) -> None:
        (taken,) = incidents.take([alert()])
        closed = incidents.close(taken.incident.id, "alice", "replaced")
        assert (closed.state, closed.closed_by) == (IncidentState.CLOSED, "alice")
        assert incidents.timeline(closed.id)[-1].text == "closed: replaced"
        with pytest.raises(ConflictError, match="closed by alice"):
            incidents.close(closed.id, "bob", "")
        assert incidents.get(closed.id) == closed

    def test_withdraws_a_run_that_nobody_approved(
        self, incidents: Incidents, runs: Runs, alert: AlertMaker, new_run: NewRun
    ) -> None:
        (taken,) = incidents.take([alert()])
        run = runs.create(replace(new_run, incident=taken.incident.id))
        incidents.close(taken.incident.id, "alice", "")
        after = runs.run(run.id)
        assert (after.state, after.why) == (RunState.ABORTED, "its incident was closed")
        assert {step.state for step in after.steps} == {StepState.SKIPPED}
        with pytest.raises(ConflictError):
            runs.approve(run.id, run.digest, "bob")

    def test_if_settled_waits_for_alerts_claims_and_runs(
        self, incidents: Incidents, runs: Runs, claims: Claims, alert: AlertMaker, new_run: NewRun
    ) -> None:
        (taken,) = incidents.take([alert()])
        number = taken.incident.id

        def closes() -> bool:
            return incidents.close_if_settled(number, "fleetward", "settled") is not None

        assert not closes()
        incidents.take([alert(status=RESOLVED)])
        claims.add("gpu002", f"i{number}", ClaimClass.NODE_PROBLEM, "gone", "fleetward")
        assert not closes()
        claims.release("gpu002", f"i{number}", "fleetward")
        run = runs.create(replace(new_run, incident=number))
        assert not closes()
        runs.abort(run.id, "alice")
        runs.create(replace(new_run, incident=number, state=RunState.PLANNED, mode=Mode.OBSERVE))
        assert closes()
        assert not closes()
        assert incidents.get(number).closed_by == "fleetward"

    def test_if_settled_sees_a_claim_that_is_just_being_made(
        self, incidents: Incidents, claims: Claims, database: Database, alert: AlertMaker
    ) -> None:
        (taken,) = incidents.take([alert()])
        incidents.take([alert(status=RESOLVED)])
        number = taken.incident.id
        closed: list[object] = []
        with database.transaction() as connection:
            connection.execute("select 1 from incidents where id = %s for no key update", [number])
            thread = threading.Thread(target=lambda: closed.append(incidents.close_if_settled(number, "fleetward", "")))
            thread.start()
            thread.join(0.3)
            assert closed == []
            connection.execute(
                "insert into claims (node, owner, kind, why, made_by) values ('n', %s, 'node_problem', '', '')",
                [f"i{number}"],
            )
        thread.join()
        assert closed == [None]


class TestList:
    def test_is_by_state_latest_first_and_no_longer_than_asked(self, incidents: Incidents, alert: AlertMaker) -> None:
        numbers = [incidents.take([alert(node=node)])[0].incident.id for node in ("a", "b", "c")]
        incidents.ack(numbers[1], "alice")
        incidents.close(numbers[2], "alice", "")
        assert [one.id for one in incidents.list()] == numbers[::-1]
        assert [one.id for one in incidents.list([IncidentState.OPEN, IncidentState.ACKNOWLEDGED])] == numbers[1::-1]
        assert [one.id for one in incidents.list(limit=1)] == numbers[2:]


class TestTimeline:
    @pytest.mark.parametrize(
        "statement", ["update timeline set text = ''", "delete from timeline", "truncate timeline"]
    )
    def test_is_only_ever_added_to(
        self, incidents: Incidents, database: Database, alert: AlertMaker, statement: str
    ) -> None:
        (taken,) = incidents.take([alert()])
        with pytest.raises(psycopg.IntegrityError, match="only ever added"), database.transaction() as connection:
            connection.execute(statement.encode())
        assert kinds(incidents, taken.incident.id) == ["alert"]

    def test_takes_notes(self, incidents: Incidents, alert: AlertMaker) -> None:
        (taken,) = incidents.take([alert()])
        incidents.note(taken.incident.id, "note", "alice", "a\0b", {"cost": float("inf"), "list": ["\0"]})
        entry = incidents.timeline(taken.incident.id)[-1]
        assert (entry.kind, entry.who, entry.text) == ("note", "alice", "a\ufffdb")
        assert entry.data == {"cost": "inf", "list": ["\ufffd"]}
        with pytest.raises(UsageError, match="no incident i999"):
            incidents.note(999, "note", "alice", "")
