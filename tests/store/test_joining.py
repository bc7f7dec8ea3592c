"""Alerts under several names that tell of one fault are one incident, under the name that tells most of it."""

from collections.abc import Callable
from datetime import timedelta
from itertools import permutations

import pytest

from fleetward.model.incidents import Alert, AlertStatus
from fleetward.store.database import Database
from fleetward.store.health_reports import HealthReports, Judgement
from fleetward.store.incidents import Incidents

AlertMaker = Callable[..., Alert]
ORDER = ["GpuOffBus", "GpuXidFatal", "NodeUnhealthy", "NodeDegraded"]


def names(incidents: Incidents) -> list[tuple[str, str, int]]:
    return sorted((one.alert_name, one.gpu, one.firing) for one in incidents.list())


@pytest.mark.parametrize("worst", range(len(ORDER)))
def test_what_tells_less_of_a_gpu_joins_what_tells_more(incidents: Incidents, alert: AlertMaker, worst: int) -> None:
    for name in ORDER[worst:]:
        incidents.take([alert(name)])
    assert names(incidents) == [(ORDER[worst], "3", len(ORDER) - worst)]


@pytest.mark.parametrize("order", list(permutations(ORDER))[::3])
def test_those_that_come_together_are_one_in_any_order(
    incidents: Incidents, alert: AlertMaker, order: tuple[str, ...]
) -> None:
    (taken,) = incidents.take([alert(name) for name in order])
    assert (taken.opened, names(incidents)) == (True, [("GpuOffBus", "3", 4)])


@pytest.mark.parametrize(
    "other",
    [{"name": "NodeUnhealthy", "gpu": "4"}, {"name": "NodeUnhealthy", "gpu": ""}, {"name": "GpuXidFatal", "node": "n"}],
)
def test_another_gpu_or_node_is_another_fault(incidents: Incidents, alert: AlertMaker, other: dict[str, str]) -> None:
    incidents.take([alert()])
    (taken,) = incidents.take([alert(**other)])
    assert taken.opened


def test_one_that_is_closed_is_not_joined(incidents: Incidents, alert: AlertMaker) -> None:
    (first,) = incidents.take([alert()])
    incidents.close(first.incident.id, "alice", "done")
    (taken,) = incidents.take([alert("NodeDegraded")])
    assert (taken.opened, taken.incident.alert_name, taken.incident.firing) == (True, "NodeDegraded", 1)


def test_a_count_without_the_gpu_that_is_lost_is_no_news(incidents: Incidents, alert: AlertMaker) -> None:
    incidents.take([alert("NodeUnhealthy", gpu="1")])
    incidents.take([alert(gpu="5"), alert(gpu="6"), alert("GpuCountWrong", gpu="")])
    assert names(incidents) == [("GpuOffBus", "5", 2), ("GpuOffBus", "6", 1), ("NodeUnhealthy", "1", 1)]
    (other,) = incidents.take([alert("GpuCountWrong", node="gpu003", gpu="")])
    assert other.opened


class TestOneCheck:
    """What the node's report and Prometheus tell of the same finding."""

    def report(self, database: Database, told: Alert, minutes: int = 0) -> None:
        at = told.starts_at + timedelta(minutes=minutes)
        HealthReports(database).take("gpu002", at, lambda _: Judgement((told,), frozenset({told.fingerprint})))

    def found(self, alert: AlertMaker, gpu: str, **changes: str) -> Alert:
        labels = {"check": "xid_fatal_repeated", "entity": "0000:61:00", "gpu": gpu, "fingerprint": gpu or "theirs"}
        return alert("NodeUnhealthy", **(labels | changes))

    def test_is_one_incident_where_only_the_report_knows_the_gpu(
        self, database: Database, incidents: Incidents, alert: AlertMaker
    ) -> None:
        self.report(database, self.found(alert, "3"))
        incidents.take([self.found(alert, "")])
        assert names(incidents) == [("NodeUnhealthy", "3", 2)]

    def test_also_where_prometheus_was_first(self, database: Database, incidents: Incidents, alert: AlertMaker) -> None:
        incidents.take([self.found(alert, "")])
        self.report(database, self.found(alert, "3"))
        assert names(incidents) == [("NodeUnhealthy", "", 2)]

    @pytest.mark.parametrize(
        "changes",
        [{"check": "xid_gpu"}, {"entity": "0000:1b:00"}, {"severity": "warning"}, {"node": "gpu003"}],
    )
    def test_another_check_part_node_or_how_bad_it_is_is_another(
        self, database: Database, incidents: Incidents, alert: AlertMaker, changes: dict[str, str]
    ) -> None:
        self.report(database, self.found(alert, "3"))
        (taken,) = incidents.take([self.found(alert, "", **changes)])
        assert taken.opened

    def test_what_no_longer_fires_is_not_joined(
        self, database: Database, incidents: Incidents, alert: AlertMaker
    ) -> None:
        self.report(database, self.found(alert, "3"))
        over = alert("NodeUnhealthy", status=AlertStatus.RESOLVED, fingerprint="3", check="xid_fatal_repeated")
        self.report(database, over, minutes=1)
        assert names(incidents) == [("NodeUnhealthy", "3", 0)]
        (taken,) = incidents.take([self.found(alert, "")])
        assert taken.opened
