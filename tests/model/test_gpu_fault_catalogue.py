"""The shipped catalogue: every row is whole, tells of itself in the kernel's log, and agrees with what NVIDIA lists."""

import re

import pynvml
import pytest

from fleetward.exporters.events.kernel_lines import KernelSxid, KernelXid, parse_record
from fleetward.exporters.gpu.series_load import CLOCK_EVENT_REASONS
from fleetward.model.gpu_fault_files import read_catalogue
from fleetward.model.gpu_faults import Action, FaultKind, Scope, Severity, SxidEntry, XidEntry

CATALOGUE = read_catalogue()
XIDS = list(CATALOGUE.xids.values())
SXIDS = list(CATALOGUE.sxids.values())

SXID_GROUPS = {
    "corrected_ecc": {
        *(11012, 11021, 11022, 11023, 12021, 12023, 15008, 15011, 19049, 19055),
        *(19057, 19059, 19062, 19065, 19068, 19071, 24001, 24002, 24003),
    },
    "link": {20001, 20009, 20012, 22013, 12028, 11004, 19084},
    "host": {10001, 10002, 10004, 10005},
    "potentially_fatal": {
        *(
            11001,
            11009,
            11013,
            11018,
            11019,
            11020,
            12001,
            12002,
            12022,
            12024,
            12025,
            12026,
            12027,
            12030,
            12031,
            12032,
        ),
        *(
            14017,
            15001,
            15006,
            15009,
            15010,
            15012,
            15013,
            19047,
            19048,
            19054,
            19056,
            19058,
            19060,
            19061,
            19063,
            19064,
        ),
        *(19066, 19067, 19069, 19070, 20034, 22012, 24004, 24005, 24006, 24007),
    },
    "always_fatal": {10003, 12020, 22003, 22011, *range(23001, 23018)},
}
"""Appendix D of NVIDIA's Fabric Manager guide, DU-09883-001 v1.3."""


def test_every_xid_that_nvidia_lists_has_a_row() -> None:
    """1 to 172 in the catalogue of October 2025; 173 is gpud's."""
    assert sorted(CATALOGUE.xids) == list(range(1, 174))


@pytest.mark.parametrize("entry", XIDS, ids=lambda entry: f"xid {entry.code}")
def test_the_example_of_an_xid_is_read_as_that_xid(entry: XidEntry) -> None:
    found = parse_record(entry.example)
    assert isinstance(found, KernelXid)
    assert (found.xid, found.line) == (entry.code, entry.example)


@pytest.mark.parametrize("entry", SXIDS, ids=lambda entry: f"sxid {entry.code}")
def test_the_example_of_an_sxid_is_read_as_that_sxid_with_its_own_severity(entry: SxidEntry) -> None:
    found = parse_record(entry.example)
    assert isinstance(found, KernelSxid)
    assert (found.sxid, found.line) == (entry.code, entry.example)
    assert CATALOGUE.classify(FaultKind.SXID, entry.code, entry.example).severity is entry.severity


def test_an_xid_is_fatal_where_the_gpu_needs_more_than_its_program_ended() -> None:
    """A reset, a reboot, or an inspection. 31, 43, 45 and 94 end a program; 63 waits for the next reset."""
    assert CATALOGUE.fatal_xids() == (
        *(46, 48, 54, 62, 64, 74, 79, 95, 110, 119, 120, 136, 140, 143),
        *(151, 155, 158, 167, 169, 172, 173),
    )


def test_no_number_that_takes_a_gpu_out_is_left_to_itself() -> None:
    """What is degraded or fatal names an action on the hardware, and what is information asks for none."""
    left_alone = {Action.IGNORE, Action.WATCH}
    for entry in [*XIDS, *SXIDS]:
        if entry.severity >= Severity.DEGRADED:
            assert not left_alone & {entry.then or entry.action, entry.action}, entry
        if entry.severity is Severity.INFO:
            assert entry.action in left_alone, entry


def test_only_a_fault_that_may_be_the_programs_is_answered_by_starting_it_again() -> None:
    for entry in XIDS:
        if entry.action is Action.RESTART_APP and entry.code != 94:  # of 94 the program is only the victim
            assert Scope.APP in entry.scope, entry


def test_the_numbers_that_nvidia_does_not_use_are_marked() -> None:
    marked = {entry.code for entry in XIDS if entry.unexpected}
    assert {1, 14, 23, 42, 59, 91, 118, 125, 153} <= marked
    assert not marked & {8, 13, 31, 79, 94, 119, 154}
    for code in marked:
        entry = CATALOGUE.xid(code)
        assert (entry.severity, entry.action, entry.known) == (Severity.WARNING, Action.WATCH, True)


def test_every_sxid_of_the_fabric_manager_guide_is_in_its_group() -> None:
    found = {group: {one.code for one in SXIDS if one.group == group} for group in SXID_GROUPS}
    assert found == SXID_GROUPS
    assert len(SXIDS) == 93


def test_rows_say_what_they_mean_in_words_that_fit_a_line() -> None:
    for entry in [*XIDS, *SXIDS]:
        assert 8 <= len(entry.meaning) <= 90 or entry.meaning == "reserved", entry
        assert "\n" not in entry.example
        assert len(entry.example) < 250


def test_what_disagrees_is_another_catalogue() -> None:
    words = {"nvidia", "gpud", "nvsentinel", "gcm", "device-plugin", "aws"}
    for entry in [*XIDS, *SXIDS]:
        for part in filter(None, entry.disagree.split("; ")):
            if ":" in part:
                assert set(re.split(r", ", part.partition(":")[0])) <= words, entry


def test_the_recoveries_are_those_of_nvml() -> None:
    constants = {value: name for name, value in vars(pynvml).items() if name.startswith("NVML_GPU_RECOVERY_ACTION_")}
    assert set(CATALOGUE.recoveries) == set(constants)
    for value, name in constants.items():
        recovery = CATALOGUE.recovery(value)
        assert recovery
        words = name.removeprefix("NVML_GPU_RECOVERY_ACTION_").replace("_", " ").casefold()
        assert any(text.casefold().startswith(words) for text in recovery.texts), name


def test_the_clock_events_are_those_of_nvml_and_of_the_exporter() -> None:
    for event in CATALOGUE.clock_events:
        constants = {
            getattr(pynvml, f"nvmlClocks{family}Reason{event.nvml}", event.bit) for family in ("Event", "Throttle")
        }
        assert constants == {event.bit}
        assert hasattr(pynvml, f"nvmlClocksThrottleReason{event.nvml}")
    named = {event.name: event.bit for event in CATALOGUE.clock_events}
    assert len(named) == len(CATALOGUE.clock_events) == 12
    assert CLOCK_EVENT_REASONS.items() <= named.items()
    assert sum(named.values()) == pynvml.nvmlClocksThrottleReasonAll
