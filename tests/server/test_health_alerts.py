"""From reports of checks to alerts: what begins to fire, what ends, and what is not known."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.incidents import Alert, AlertStatus
from fleetward.model.node_reports import HealthReport, ReportedFinding
from fleetward.node.check_list import BY_ID
from fleetward.node.results import Context
from fleetward.server.health_alerts import BETWEEN_JOBS, MOST_SILENT, UNNAMED_SECONDS, addresses_of, judge
from fleetward.store.health_reports import Known

LOST = ReportedFinding("gpu_lost", "unhealthy", "GPU is lost", "GPU 3", evidence={"failure": "GPU is lost"})
HOT = ReportedFinding("gpu_temperature", "unhealthy", "93 degrees", "GPU 4")
SLOW = ReportedFinding("cpu_governor", "degraded", "powersave")
USERS = ReportedFinding("gpu_process_between_jobs", "degraded", "process 7", "GPU 1", problem="user_problem")
ADDRESS = "0000:1b:00"
OFF = ReportedFinding("xid_off_bus", "unhealthy", "XID 79: it fell off the bus", ADDRESS)
XID = ReportedFinding("xid_memory", "unhealthy", "XID 95: memory error that was not contained", ADDRESS)
DARK = ReportedFinding("gpu_lost", "unknown", "no answer within 2 s")


def alerts_of(node: str, told: HealthReport, firing: tuple[Alert, ...]) -> tuple[Alert, ...]:
    return judge(node, told, Known(firing), {}).news


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
        (replace(HOT, entity=ADDRESS), "NodeUnhealthy", "critical", "3"),
        (replace(LOST, check="gpu_requires_reset"), "GpuOffBus", "critical", "3"),
        (XID, "GpuXidFatal", "critical", "3"),
        (replace(XID, check="xid_recovery", why="XID 154: the GPU has to be reset"), "GpuXidFatal", "critical", "3"),
        (replace(XID, entity="0000:99:00"), "NodeUnhealthy", "critical", None),
        (replace(XID, why="an error of memory"), "NodeUnhealthy", "critical", "3"),
        (replace(XID, status="degraded"), "NodeDegraded", "warning", "3"),
        (replace(XID, check="xid_fatal_repeated", why="5 fatal XIDs (48, 95)"), "NodeUnhealthy", "critical", "3"),
        (ReportedFinding("gpu_driver", "unhealthy", "no driver"), "GpuCountWrong", "critical", None),
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
    (alert,) = judge("gpu002", report(finding), Known(), {ADDRESS: "3"}).news
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
    later = judge("gpu002", replace(told, at=2000), Known(firing), {ADDRESS: "3"})
    assert said(later.news) == [("firing", "GpuOffBus", "gpu002", "3"), ("resolved", "NodeUnhealthy", "gpu002", "")]


@pytest.mark.parametrize(
    "finding", [LOST, replace(HOT, entity="/scratch"), replace(LOST, entity=ADDRESS, problem="user_problem")]
)
def test_other_addresses_need_not_be_known(finding: ReportedFinding) -> None:
    assert addresses_of(report(finding)) == frozenset()


def test_what_it_finds_is_named_whether_it_is_news_or_not() -> None:
    first = judge("gpu002", report(LOST, SLOW, USERS), Known(), {})
    assert first.found == {alert.fingerprint for alert in first.news}
    again = judge("gpu002", report(LOST, at=2000), Known(first.news), {})
    assert (again.news, len(again.found)) == ((), 1)


def test_a_fatal_xid_bears_the_labels_of_prometheus_rule() -> None:
    (alert,) = judge("gpu002", report(XID), Known(), {ADDRESS: "3"}).news
    assert {"gpu": "3", "xid": "95", "node": "gpu002", "severity": "critical"}.items() <= alert.labels.items()
    (lost,) = judge("gpu002", report(OFF), Known(), {ADDRESS: "3"}).news
    assert (lost.name, "xid" in lost.labels) == ("GpuOffBus", False)


def test_a_lost_gpu_and_its_xid_at_an_address_that_nobody_names_are_about_one_gpu() -> None:
    first = judge("gpu002", report(OFF, LOST), Known(), {})
    assert said(first.news) == [("firing", "GpuOffBus", "gpu002", "3")] * 2
    back = judge("gpu002", report(OFF, passed=("gpu_lost",), at=2000), Known(first.news), {})
    assert said(back.news) == [("resolved", "GpuOffBus", "gpu002", "3")], "the kernel's line stays what it was"
    assert len(back.found) == 1


@pytest.mark.parametrize(
    ("age", "fires"), [(0, False), (UNNAMED_SECONDS - 1, False), (UNNAMED_SECONDS, True), (3600, True), ("new", True)]
)
@pytest.mark.parametrize("finding", [XID, OFF])
def test_an_xid_that_has_just_come_waits_until_its_gpu_is_named(
    finding: ReportedFinding, age: float | str, fires: bool
) -> None:
    told = report(replace(finding, evidence={"seconds_ago": age}))
    assert [one[1] for one in said(alerts_of("gpu002", told, ()))] == (["NodeUnhealthy"] if fires else [])
    (named,) = judge("gpu002", told, Known(), {ADDRESS: "3"}).news
    assert named.labels["gpu"] == "3"


def test_what_a_gpu_says_of_a_fresh_xid_waits_with_it() -> None:
    ecc = ReportedFinding("gpu_ecc_uncorrected", "unhealthy", "2 errors", "GPU 3")
    row = ReportedFinding("gpu_row_remap_failed", "unhealthy", "a row was not remapped", "GPU 4")
    fresh = replace(XID, evidence={"seconds_ago": 5})
    other = replace(fresh, entity="0000:61:00", why="XID 64: a row could not be replaced")
    assert said(alerts_of("gpu002", report(ecc, row, fresh, other, HOT, LOST), ())) == [
        ("firing", "NodeUnhealthy", "gpu002", "4"),
        ("firing", "GpuOffBus", "gpu002", "3"),
    ]
    assert said(alerts_of("gpu002", report(ecc, fresh), ())) == [
        ("firing", "NodeUnhealthy", "gpu002", "3"),
        ("firing", "GpuXidFatal", "gpu002", "3"),
    ]


def test_an_xid_that_comes_again_does_not_end_what_fires() -> None:
    firing = alerts_of("gpu002", report(replace(XID, evidence={"seconds_ago": 100})), ())
    assert alerts_of("gpu002", report(replace(XID, evidence={"seconds_ago": 1}), at=2000), firing) == ()


def run_of_reports(first: ReportedFinding, *later: HealthReport) -> list[int]:
    """Return how many alerts fire after each of the later reports, each of which comes behind the one before."""
    known = Known(judge("gpu002", report(first), Known(), {}).news)
    fires = []
    for number, told in enumerate(later, start=1):
        became = judge("gpu002", replace(told, at=1000.0 + number), known, {})
        known = Known(
            tuple(taken({one.fingerprint: one for one in known.reported}, became.news).values()), (), became.silent
        )
        fires.append(len(known.reported))
    assert known.reported or not known.silent
    return fires


SILENT = report(passed=("cpu_count",))
AFTER_A_JOB = replace(SILENT, context="epilog")


@pytest.mark.parametrize(
    ("first", "later", "fires"),
    [
        (HOT, [SILENT] * 3, [1, 1, 0]),
        (HOT, [SILENT] * 2 + [report(HOT)] + [SILENT] * 3, [1, 1, 1, 1, 1, 0]),
        (HOT, [SILENT] * 2 + [report(replace(HOT, status="unknown"))] + [SILENT] * 3, [1, 1, 1, 1, 1, 0]),
        (HOT, [SILENT] * 2 + [report(replace(HOT, status="unknown", entity=""))] * 5, [1] * 7),
        (HOT, [AFTER_A_JOB, replace(SILENT, context="hand"), replace(SILENT, context="prolog")] * 2, [1] * 6),
        (HOT, [SILENT, AFTER_A_JOB, SILENT, AFTER_A_JOB, SILENT], [1, 1, 1, 1, 0]),
        (replace(HOT, check="a_check_of_an_earlier_release"), [SILENT] * 3, [1, 1, 0]),
        (replace(HOT, check="gpu_memory_between_jobs"), [SILENT] * 9, [1] * 9),
        (replace(HOT, check="gpu_memory_between_jobs"), [AFTER_A_JOB] * 3, [1, 1, 0]),
    ],
)
def test_what_is_not_checked_any_more_ends(first: ReportedFinding, later: list[HealthReport], fires: list[int]) -> None:
    assert MOST_SILENT == 3
    assert run_of_reports(first, *later) == fires


def test_the_checks_between_jobs_are_those_that_no_periodic_run_has() -> None:
    assert {one.id for one in BY_ID.values() if Context.PERIODIC not in one.contexts} == BETWEEN_JOBS


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
    for number, (findings, silent) in enumerate(reports):  # no count is handed on: what was not checked stays
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
