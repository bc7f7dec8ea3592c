"""Which GPU is at an address: by events, by what was concluded before, by Prometheus, by the report itself."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fleetward.model.incidents import Alert, AlertStatus
from fleetward.model.node_reports import ReportedFinding
from fleetward.node.check_list import BY_ID
from fleetward.server.gpu_places import TOLD_TWICE, places_of

HERE, THERE = "0000:61:00", "0000:1b:00"
OFF = ReportedFinding("xid_off_bus", "unhealthy", "XID 79: it fell off the bus", HERE)
BUS = ReportedFinding("pci_gpu_off_bus", "unhealthy", "its configuration space reads as all ones", f"{HERE}.0")
LOST = ReportedFinding("gpu_lost", "unhealthy", "GPU is lost", "GPU 3")
MEMORY = ReportedFinding("xid_memory", "unhealthy", "XID 48: double-bit error", HERE)
ECC = ReportedFinding("gpu_ecc_uncorrected", "unhealthy", "2 errors", "GPU 3")


def told(name: str, **labels: str) -> Alert:
    at = datetime(2026, 11, 21, tzinfo=UTC)
    return Alert(name, AlertStatus.FIRING, {"alertname": name, "node": "gpu002"} | labels, {}, at)


def places(
    *wrong: ReportedFinding,
    events: Mapping[str, str] | None = None,
    reported: tuple[Alert, ...] = (),
    others: tuple[Alert, ...] = (),
) -> Mapping[str, str]:
    return places_of(wrong, events or {}, reported, others)


@pytest.mark.parametrize("at_address", [(OFF,), (BUS,), (OFF, BUS)])
def test_the_one_gpu_that_is_lost_is_at_the_one_address_that_nobody_names(
    at_address: tuple[ReportedFinding, ...],
) -> None:
    assert places(*at_address, LOST) == {HERE: "3"}


@pytest.mark.parametrize(
    "wrong",
    [
        (OFF,),
        (OFF, LOST, replace(LOST, entity="GPU 5")),
        (OFF, LOST, replace(OFF, entity=THERE)),
        (OFF, replace(BUS, entity=THERE), LOST),
        (OFF, replace(LOST, entity="")),
        (OFF, replace(LOST, check="gpu_temperature")),
        (replace(OFF, check="pci_link_width"), LOST),
    ],
)
def test_where_more_than_one_could_be_meant_nothing_is_concluded(wrong: tuple[ReportedFinding, ...]) -> None:
    assert places(*wrong) == {}


def test_what_an_event_names_is_right_whatever_else_is_said() -> None:
    earlier = told("GpuOffBus", entity=HERE, gpu="6")
    assert places(OFF, LOST, events={HERE: "5"}, reported=(earlier,)) == {HERE: "5"}
    assert places(OFF, LOST, events={THERE: "5"}) == {HERE: "3"}, "of an address that is in no finding nothing follows"


def test_a_gpu_that_is_at_a_known_address_is_not_at_another() -> None:
    assert places(OFF, replace(OFF, entity=THERE), LOST, events={THERE: "3"}) == {THERE: "3"}
    assert places(OFF, replace(OFF, entity=THERE), LOST, events={THERE: "5"}) == {THERE: "5", HERE: "3"}


def test_what_was_concluded_holds_when_the_gpu_answers_again() -> None:
    assert places(OFF, reported=(told("GpuOffBus", entity=HERE, gpu="3"),)) == {HERE: "3"}
    assert places(BUS, reported=(told("GpuOffBus", entity=HERE, gpu="3"),)) == {HERE: "3"}
    assert places(OFF, reported=(told("NodeUnhealthy", entity=HERE),)) == {}


@pytest.mark.parametrize(
    ("others", "found"),
    [
        ((told("GpuXidFatal", gpu="2", xid="48"),), {HERE: "2"}),
        ((told("GpuXidFatal", gpu="2", xid="48"), told("GpuXidFatal", gpu="4", xid="95")), {HERE: "2"}),
        ((told("GpuXidFatal", gpu="2", xid="48"), told("GpuXidFatal", gpu="4", xid="48")), {}),
        ((told("GpuXidFatal", gpu="2", xid="95"),), {}),
        ((told("GpuOffBus", gpu="2"),), {}),
        ((told("NodeDegraded", gpu="2"),), {}),
        ((told("GpuXidFatal", xid="48"),), {}),
    ],
)
def test_prometheus_tells_of_the_same_xid(others: tuple[Alert, ...], found: Mapping[str, str]) -> None:
    assert places(MEMORY, others=others) == found


def test_an_xid_at_two_addresses_is_not_told_apart_by_prometheus() -> None:
    others = (told("GpuXidFatal", gpu="2", xid="48"),)
    both = (MEMORY, replace(MEMORY, entity=THERE))
    assert places(*both, others=others) == {}
    assert places(*both, others=others, events={THERE: "7"}) == {THERE: "7", HERE: "2"}
    assert places(*both, others=others, events={THERE: "2"}) == {THERE: "2"}


def test_a_lost_gpu_of_prometheus_is_the_one_with_xid_79() -> None:
    assert places(OFF, others=(told("GpuOffBus", gpu="2"),)) == {HERE: "2"}


def test_counters_of_one_gpu_tell_of_the_memory_fault_that_the_kernel_tells_of() -> None:
    assert places(MEMORY, ECC) == {HERE: "3"}
    assert places(MEMORY, ECC, replace(ECC, check="gpu_row_remap_pending", status="degraded")) == {HERE: "3"}
    assert places(MEMORY, ECC, replace(ECC, entity="GPU 4")) == {}
    assert places(MEMORY, LOST) == {}


def test_checks_that_tell_of_the_same_are_checks() -> None:
    assert {check for both in TOLD_TWICE for checks in both for check in checks} <= set(BY_ID)
