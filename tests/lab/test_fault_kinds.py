"""What each kind of fault writes, and that the stand-in's readers and the exporter's parser understand it."""

import pytest

from fleetward.exporters.events.kernel_lines import KernelXid, parse_record
from fleetward.lab import fault_kinds
from fleetward.lab.fault_kinds import FABRIC_STATES, RECOVERY_ACTIONS, THROTTLE_REASONS, Fault, change_of
from fleetward.lab.scenario import Scenario
from fleetward.model.errors import UsageError

ROWS: list[tuple[Fault, str, list[int], str]] = [
    (fault_kinds.xid(3, 31), "", [31], "xid 3 31\n"),
    (fault_kinds.xid(3, 79), "gpu.3.lost=1\n", [79, 79], "xid 3 79\n"),
    (fault_kinds.gpu_hang(3), "gpu.3.hang=1\n", [119], ""),
    (fault_kinds.ecc(3, 7, 0), "gpu.3.ecc_corrected=7\n", [], "ecc_corrected 3\n"),
    (fault_kinds.ecc(3, 0, 2), "gpu.3.ecc_uncorrected=2\n", [48], "ecc_uncorrected 3\nxid 3 48\n"),
    (
        fault_kinds.row_remap(3, failed=False),
        "gpu.3.remapped_rows_pending=1\ngpu.3.remapped_rows_uncorrected=1\n",
        [63],
        "xid 3 63\n",
    ),
    (fault_kinds.row_remap(3, failed=True), "gpu.3.remapped_rows_failed=1\n", [64], "xid 3 64\n"),
    (
        fault_kinds.nvlink_down(3, 5),
        "gpu.3.nvlink.5.state=0\ngpu.3.nvlink.5.speed_mbps=0\n",
        [74],
        "xid 3 74\n",
    ),
    (
        fault_kinds.throttle(3, "hw-thermal", 1700000000.1234),
        "gpu.3.clock_event_reasons=72\ngpu.3.throttle_since=1700000000\n",
        [],
        "clock 3\n",
    ),
    (fault_kinds.hot(3, 93), "gpu.3.temperature=93\ngpu.3.memory_temperature=103\n", [], ""),
    (fault_kinds.fabric(3, "in-progress"), "gpu.3.fabric_state=2\n", [], ""),
    (fault_kinds.recovery(3, "node-reboot"), "gpu.3.recovery_action=2\n", [154], "xid 3 154\n"),
    (fault_kinds.driver_gone(), "driver.loaded=0\n", [], ""),
    (fault_kinds.driver_mismatch(), "driver.mismatch=1\n", [], ""),
]


@pytest.mark.parametrize(("fault", "scenario", "xids", "events"), ROWS)
def test_what_a_fault_writes(fault: Fault, scenario: str, xids: list[int], events: str) -> None:
    change = change_of(fault, Scenario(), 12)
    assert (change.scenario.render(), change.events) == (scenario, events)
    found = [parse_record(line) for line in change.kernel_log.splitlines()]
    assert [one.xid for one in found if one] == xids
    assert {one.address for one in found if one} <= {"0000:61:00"}


def test_a_fault_comes_on_top_of_those_before_it() -> None:
    before = Scenario().with_gpu(2, lost=1).with_gpu(3, temperature=50)
    after = change_of(fault_kinds.hot(3, 90), before, 0).scenario
    assert after.render() == "gpu.2.lost=1\ngpu.3.temperature=90\ngpu.3.memory_temperature=100\n"


def test_counters_grow() -> None:
    scenario = Scenario().with_gpu(None, ecc_uncorrected="0x10")
    for expected in (19, 22):
        scenario = change_of(fault_kinds.ecc(3, 0, 3), scenario, 0).scenario
        assert scenario.number_of_gpu(3, "ecc_uncorrected") == expected
    assert scenario.number_of_gpu(2, "ecc_uncorrected") == 16


@pytest.mark.parametrize(("corrected", "uncorrected"), [(0, 0), (-1, 2), (2, -1)])
def test_no_errors_are_no_fault(corrected: int, uncorrected: int) -> None:
    with pytest.raises(UsageError, match="say how many errors"):
        fault_kinds.ecc(3, corrected, uncorrected)


@pytest.mark.parametrize(
    "fault",
    [
        *(fault_kinds.throttle(3, reason, 1.0) for reason in THROTTLE_REASONS),
        *(fault_kinds.fabric(3, state) for state in FABRIC_STATES),
        *(fault_kinds.recovery(3, action) for action in RECOVERY_ACTIONS),
    ],
)
def test_every_choice_is_one_that_the_stand_in_can_show(fault: Fault) -> None:
    assert change_of(fault, Scenario(), 0).scenario.settings


@pytest.mark.parametrize("link", [-1, 36])
def test_a_link_that_cannot_be_is_refused(link: int) -> None:
    with pytest.raises(UsageError, match="NVLink"):
        change_of(fault_kinds.nvlink_down(3, link), Scenario(), 0)


@pytest.mark.parametrize("celsius", [-1, 1000, float("nan")])
def test_a_temperature_that_cannot_be_is_refused(celsius: float) -> None:
    with pytest.raises(UsageError, match="temperature"):
        change_of(fault_kinds.hot(3, celsius), Scenario(), 0)


def test_the_link_that_is_down_is_named_in_the_kernels_log() -> None:
    log = change_of(fault_kinds.nvlink_down(3, 11), Scenario(), 5).kernel_log
    assert log.startswith("3,0,5,-;NVRM: Xid (PCI:0000:61:00): 74, ")
    assert "NVLink: fatal error detected on link 11(" in log


def test_the_action_is_told_in_the_drivers_words() -> None:
    log = change_of(fault_kinds.recovery(3, "node-reboot"), Scenario(), 5).kernel_log
    assert log == (
        "3,0,5,-;NVRM: Xid (PCI:0000:61:00): 154, "
        "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)\n"
    )


def test_a_driver_of_another_version_says_so_in_the_kernels_log() -> None:
    log = change_of(fault_kinds.driver_mismatch(), Scenario(), 5).kernel_log
    assert log.startswith("3,0,5,-;NVRM: API mismatch: ")
    assert [parse_record(line) for line in log.splitlines()] == [None] * 4


def test_an_off_bus_gpu_is_told_of_twice_and_the_second_line_has_no_number() -> None:
    log = change_of(fault_kinds.xid(3, 79), Scenario(), 5).kernel_log.splitlines()
    assert parse_record(log[1]) == KernelXid("0000:61:00", 79, implied=True)
