"""A worse alert that comes later takes over the incident of what tells less of the same fault."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import pytest

from fleetward.model.errors import ConflictError
from fleetward.model.incidents import Alert, IncidentState, Severity
from fleetward.model.runs import RunState
from fleetward.store.database import Database
from fleetward.store.incidents import Incidents
from fleetward.store.runs import NewRun, Runs

AlertMaker = Callable[..., Alert]
ORDER = ["GpuOffBus", "GpuXidFatal", "NodeUnhealthy", "NodeDegraded"]


def names(incidents: Incidents) -> list[tuple[str, str, int]]:
    return sorted((one.alert_name, one.gpu, one.firing) for one in incidents.list())


def page(name: str) -> str:
    return {"NodeUnhealthy": "node-unhealthy", "GpuOffBus": "gpu-off-bus", "GpuXidFatal": "gpu-off-bus"}.get(name, "")


@pytest.fixture
def proposed(incidents: Incidents, database: Database, alert: AlertMaker, new_run: NewRun) -> Callable[..., int]:
    """Return a maker of a run for a new incident of NodeUnhealthy; keywords are the run's."""

    def make(runbook: str = "node-unhealthy", who: str = "fleetward", state: RunState = RunState.PROPOSED) -> int:
        (taken,) = incidents.take([alert("NodeUnhealthy")], page=page)
        new = replace(new_run, runbook=runbook, asked_by=who, state=state, incident=taken.incident.id)
        return Runs(database).create(new).id

    return make


@pytest.mark.parametrize("order", list(permutations(ORDER)))
def test_in_whatever_order_they_come_it_is_one_under_the_name_that_tells_most(
    incidents: Incidents, alert: AlertMaker, order: tuple[str, ...]
) -> None:
    for name in order:
        incidents.take([alert(name)])
    assert names(incidents) == [("GpuOffBus", "3", 4)]


def test_it_goes_on_with_page_summary_and_severity_of_what_came_and_is_open_again(
    incidents: Incidents, alert: AlertMaker
) -> None:
    (first,) = incidents.take([alert("NodeDegraded", severity="warning", summary="slow")], page=page)
    incidents.ack(first.incident.id, "alice", "after lunch")
    (taken,) = incidents.take([alert("GpuOffBus", summary="gone")], page=page)
    now = taken.incident
    assert (now.id, now.alert_name, now.summary, now.runbook) == (first.incident.id, "GpuOffBus", "gone", "gpu-off-bus")
    assert (now.severity, now.state, now.acknowledged_by) == (Severity.CRITICAL, IncidentState.OPEN, "")
    assert (now.labels["alertname"], taken.opened, taken.changed) == ("GpuOffBus", False, True)
    told = [entry.text for entry in incidents.timeline(now.id)]
    assert "goes on as GpuOffBus, which tells more of this fault than NodeDegraded" in told


def test_a_count_that_was_wrong_becomes_the_gpu_that_is_lost(incidents: Incidents, alert: AlertMaker) -> None:
    incidents.take([alert("GpuCountWrong", gpu="")])
    incidents.take([alert(gpu="5")])
    incidents.take([alert(gpu="6")])
    assert names(incidents) == [("GpuOffBus", "5", 2), ("GpuOffBus", "6", 1)]


@pytest.mark.parametrize("other", [{"gpu": "4"}, {"gpu": ""}, {"node": "gpu003"}])
def test_what_is_about_another_gpu_or_node_is_left_alone(
    incidents: Incidents, alert: AlertMaker, other: dict[str, str]
) -> None:
    incidents.take([alert("NodeUnhealthy", **other)])
    (taken,) = incidents.take([alert()])
    assert taken.opened


def test_where_its_own_incident_is_open_no_other_is_taken_over(
    incidents: Incidents, alert: AlertMaker, proposed: Callable[..., int], database: Database
) -> None:
    run = proposed(state=RunState.RUNNING)
    incidents.take([alert()], page=page)
    Runs(database).abort(run, "alice")  # it could be taken over now
    incidents.take([alert(minutes=5)], page=page)
    assert names(incidents) == [("GpuOffBus", "3", 2), ("NodeUnhealthy", "3", 1)]


def test_a_closed_one_stays_closed(incidents: Incidents, alert: AlertMaker) -> None:
    (first,) = incidents.take([alert("NodeUnhealthy")])
    incidents.close(first.incident.id, "alice", "done")
    (taken,) = incidents.take([alert()])
    assert taken.opened and incidents.get(first.incident.id).alert_name == "NodeUnhealthy"


class TestRuns:
    def test_what_the_daemon_proposed_for_less_is_aborted(
        self, incidents: Incidents, alert: AlertMaker, proposed: Callable[..., int], database: Database
    ) -> None:
        run = proposed()
        (taken,) = incidents.take([alert()], page=page)
        ended = Runs(database).run(run)
        assert (ended.state, ended.why) == (RunState.ABORTED, "GpuOffBus came, which tells more")
        assert taken.incident.id == ended.incident

    def test_a_proposal_of_the_same_page_or_by_a_person_stays(
        self, incidents: Incidents, alert: AlertMaker, proposed: Callable[..., int], database: Database
    ) -> None:
        theirs, same = proposed(who="alice"), proposed(runbook="gpu-off-bus")
        incidents.take([alert()], page=page)
        runs = Runs(database)
        assert [runs.run(each).state for each in (theirs, same)] == [RunState.PROPOSED, RunState.PROPOSED]

    @pytest.mark.parametrize("state", [RunState.RUNNING, RunState.WAITING, RunState.STOPPED])
    def test_one_that_is_under_way_keeps_its_incident(
        self,
        incidents: Incidents,
        alert: AlertMaker,
        proposed: Callable[..., int],
        database: Database,
        state: RunState,
    ) -> None:
        run = proposed(state=RunState.RUNNING)
        Runs(database).set_run_state(run, state)
        (taken,) = incidents.take([alert()], page=page)
        assert (taken.opened, Runs(database).run(run).state) == (True, state)
        assert names(incidents) == [("GpuOffBus", "3", 1), ("NodeUnhealthy", "3", 1)]

    def test_what_was_planned_for_less_is_no_longer_created(
        self, incidents: Incidents, alert: AlertMaker, new_run: NewRun, database: Database
    ) -> None:
        (first,) = incidents.take([alert("NodeUnhealthy")])
        incidents.take([alert()])
        late = replace(new_run, incident=first.incident.id, about="NodeUnhealthy")
        with pytest.raises(ConflictError, match=r"i1 goes on as GpuOffBus, not NodeUnhealthy"):
            Runs(database).create(late)
        assert Runs(database).create(replace(late, about="GpuOffBus")).state is RunState.PROPOSED
