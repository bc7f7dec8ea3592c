"""From reports of checks to alerts: what begins to fire, what ends, and what is not known."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.incidents import Alert, AlertStatus
from fleetward.model.node_reports import HealthReport, ReportedFinding
from fleetward.server.health_alerts import addresses_of, judge

LOST = ReportedFinding("gpu_lost", "unhealthy", "GPU is lost", "GPU 3", evidence={"failure": "GPU is lost"})
HOT = ReportedFinding("gpu_temperature", "unhealthy", "93 degrees", "GPU 4")
SLOW = ReportedFinding("cpu_governor", "degraded", "powersave")
USERS = ReportedFinding("gpu_process_between_jobs", "degraded", "process 7", "GPU 1", problem="user_problem")
ADDRESS = "0000:1b:00"
DARK = ReportedFinding("gpu_lost", "unknown", "no answer within 2 s")


def alerts_of(node: str, told: HealthReport, firing: tuple[Alert, ...]) -> tuple[Alert, ...]:
    return judge(node, told, firing, {}).news


def report(*findings: ReportedFinding, passed: tuple[str, ...] = (), at: float = 1000.0) -> HealthReport:
    return HealthReport("periodic", at, findings, passed)


def taken(firing: dict[str, Alert], alerts: tuple[Alert, ...]) -> dict[str, Alert]:
    """Return what fires after alerts were taken in."""
    now = {**firing, **{one.fingerprint: one for one in alerts if one.status is AlertStatus.FIRING}}
    return {key: one for key, one in now.items() if key not in {a.fingerprint for a in alerts if a.ends_at}}


def said(alerts: tuple[Alert, ...]) -> list[tuple[str, str, str, str]]:
    return [(one.status, one.name, one.labels["node"], one.labels.get("gpu", "")) for one in alerts]


@pytest.mark.parametrize(
    ("finding", "name", "severity", "gpu"),
    [
        (LOST, "GpuOffBus", "critical", "3"),
        (replace(LOST, check="xid_off_bus", entity=ADDRESS), "GpuOffBus", "critical", "3"),
        (replace(LOST, check="pci_gpu_off_bus", entity=f"{ADDRESS}.0"), "GpuOffBus", "critical", "3"),
        (replace(LOST, check="xid_off_bus", entity="0000:99:00"), "NodeUnhealthy", "critical", None),
        (replace(LOST, entity=""), "NodeUnhealthy", "critical", None),
        (replace(HOT, entity=ADDRESS), "NodeUnhealthy", "critical", None),
        (ReportedFinding("pci_gpu_count", "unhealthy", "7 GPUs"), "GpuCountWrong", "critical", None),
        (ReportedFinding("gpu_count", "unhealthy", "7 GPUs"), "GpuCountWrong", "critical", None),
        (ReportedFinding("gpu_count", "unhealthy", "7 GPUs", "GPU 7"), "GpuCountWrong", "critical", None),
        (HOT, "NodeUnhealthy", "critical", "4"),
        (SLOW, "NodeDegraded", "warning", None),
        (replace(HOT, entity="GPU 4 "), "NodeUnhealthy", "critical", None),
        (replace(HOT, entity="GPU ٣"), "NodeUnhealthy", "critical", None),
        (replace(LOST, status="degraded"), "NodeDegraded", "warning", "3"),
    ],
)
def test_what_is_wrong_with_the_node_fires(finding: ReportedFinding, name: str, severity: str, gpu: str | None) -> None:
    (alert,) = judge("gpu002", report(finding), (), {ADDRESS: "3"}).news
    assert (alert.status, alert.name, alert.labels["severity"]) == (AlertStatus.FIRING, name, severity)
    assert (alert.labels["node"], alert.labels.get("gpu")) == ("gpu002", gpu)
    assert finding.why in alert.annotations["summary"]


@pytest.mark.parametrize("finding", [USERS, DARK, replace(USERS, status="unhealthy")])
def test_what_is_a_users_or_unknown_does_not(finding: ReportedFinding) -> None:
    assert alerts_of("gpu002", report(finding), ()) == ()


def test_what_is_found_again_is_no_news_whatever_its_words() -> None:
    firing = alerts_of("gpu002", report(LOST), ())
    assert alerts_of("gpu002", report(replace(LOST, why="gone", evidence={}), at=2000), firing) == ()


def test_what_passes_or_is_named_no_more_ends_with_the_same_beginning() -> None:
    firing = alerts_of("gpu002", report(LOST, HOT), ())
    ended = alerts_of("gpu002", report(replace(HOT, entity="GPU 5"), passed=("gpu_lost",), at=2000), firing)
    assert said(ended) == [
        ("firing", "NodeUnhealthy", "gpu002", "5"),
        ("resolved", "GpuOffBus", "gpu002", "3"),
        ("resolved", "NodeUnhealthy", "gpu002", "4"),
    ]
    assert [one.starts_at for one in ended[1:]] == [one.starts_at for one in firing]
    assert all(one.ends_at and one.ends_at.timestamp() == 2000 for one in ended[1:])


@pytest.mark.parametrize(
    "later",
    [report(at=2000), report(DARK, at=2000), report(replace(DARK, entity="GPU 3"), at=2000), report(SLOW, at=2000)],
)
def test_what_was_not_checked_or_is_unknown_goes_on(later: HealthReport) -> None:
    firing = alerts_of("gpu002", report(LOST), ())
    assert "resolved" not in {one[0] for one in said(alerts_of("gpu002", later, firing))}


def test_another_gpu_that_is_unknown_does_not_keep_one_from_ending() -> None:
    firing = alerts_of("gpu002", report(LOST), ())
    later = report(replace(DARK, entity="GPU 6"), at=2000)
    assert said(alerts_of("gpu002", later, firing)) == [("resolved", "GpuOffBus", "gpu002", "3")]


def test_what_gets_worse_is_another_alert() -> None:
    firing = alerts_of("gpu002", report(replace(HOT, status="degraded")), ())
    assert said(alerts_of("gpu002", report(HOT, at=2000), firing)) == [
        ("firing", "NodeUnhealthy", "gpu002", "4"),
        ("resolved", "NodeDegraded", "gpu002", "4"),
    ]


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_findings_about_the_same_thing_the_worse_one_counts(order: int) -> None:
    both = (HOT, replace(HOT, status="degraded", why="88 degrees"))[::order]
    assert said(alerts_of("gpu002", report(*both), ())) == [("firing", "NodeUnhealthy", "gpu002", "4")]


def test_once_a_gpu_is_known_by_its_address_the_alert_gets_its_name() -> None:
    told = report(replace(LOST, check="xid_off_bus", entity=ADDRESS))
    assert addresses_of(told) == {ADDRESS}
    firing = alerts_of("gpu002", told, ())
    later = judge("gpu002", replace(told, at=2000), firing, {ADDRESS: "3"})
    assert said(later.news) == [("firing", "GpuOffBus", "gpu002", "3"), ("resolved", "NodeUnhealthy", "gpu002", "")]


@pytest.mark.parametrize(
    "finding", [LOST, replace(HOT, entity=ADDRESS), replace(LOST, entity=ADDRESS, problem="user_problem")]
)
def test_other_addresses_need_not_be_known(finding: ReportedFinding) -> None:
    assert addresses_of(report(finding)) == frozenset()


def test_what_it_finds_is_named_whether_it_is_news_or_not() -> None:
    first = judge("gpu002", report(LOST, SLOW, USERS), (), {})
    assert first.found == {alert.fingerprint for alert in first.news}
    again = judge("gpu002", report(LOST, at=2000), first.news, {})
    assert (again.news, len(again.found)) == ((), 1)


FINDINGS = st.builds(
    ReportedFinding,
    check=st.sampled_from(["a", "b", "c"]),
    status=st.sampled_from(["unhealthy", "degraded", "unknown"]),
    why=st.just("why"),
    entity=st.sampled_from(["", "GPU 0", "GPU 1"]),
    problem=st.sampled_from(["node_problem", "user_problem"]),
)


@given(st.lists(st.tuples(st.lists(FINDINGS, max_size=6), st.frozensets(st.sampled_from(["a", "b", "c"]))), max_size=8))
def test_after_any_reports_what_fires_is_what_was_last_said_of_it(
    reports: list[tuple[list[ReportedFinding], frozenset[str]]],
) -> None:
    firing: dict[str, Alert] = {}
    for number, (findings, silent) in enumerate(reports):
        passed = tuple(sorted(silent - {one.check for one in findings}))
        told = report(*findings, passed=passed, at=1000.0 + number)
        firing = taken(firing, alerts_of("n1", told, tuple(firing.values())))
        assert alerts_of("n1", told, tuple(firing.values())) == (), "the same report again is no news"
        now = {(one.labels["check"], one.labels["entity"]) for one in firing.values()}
        bad = {
            (one.check, one.entity)
            for one in findings
            if one.status in {"unhealthy", "degraded"} and one.problem == "node_problem"
        }
        assert bad <= now
        assert not [check for check, _ in now if check in passed]
