"""What a fault means: severity and action, also where the line itself says so, and what only follows another one."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.gpu_fault_files import read_catalogue
from fleetward.model.gpu_faults import Action, FaultKind, Scope, Severity

CATALOGUE = read_catalogue()
NVLINK = "NVRM: Xid (PCI:0018:01:00): 149, {}NETIR_LINK_EVT  {}   XC0 i0 Link {} (0x004505c6 0x00000000)"
RECOVERY = "NVRM: Xid (PCI:0000:1b:00): 154, GPU recovery action changed from {} to {}"
SXID = "nvidia-nvswitch3: SXid (PCI:0000:05:00.0): {}, {}, Link 32 something"

VERDICTS = (
    # code, line, severity, blame, action, what then
    (79, "", Severity.FATAL, Scope.HARDWARE, Action.REBOOT, Action.INSPECT),
    (48, "", Severity.FATAL, Scope.HARDWARE, Action.DRAIN_RESET, Action.INSPECT),
    (54, "", Severity.FATAL, Scope.ENVIRONMENT, Action.INSPECT, None),
    (64, "", Severity.FATAL, Scope.HARDWARE, Action.DRAIN_RESET, Action.INSPECT),
    (74, "", Severity.FATAL, Scope.LINK, Action.DRAIN_RESET, Action.CHECK_FABRIC),
    (119, "", Severity.FATAL, Scope.DRIVER, Action.DRAIN_RESET, Action.REBOOT),
    (172, "", Severity.FATAL, Scope.HARDWARE, Action.DRAIN_RESET, Action.RMA),
    (63, "", Severity.DEGRADED, Scope.HARDWARE, Action.DRAIN_RESET, None),
    (94, "", Severity.DEGRADED, Scope.HARDWARE, Action.RESTART_APP, Action.DRAIN_RESET),
    (109, "", Severity.DEGRADED, Scope.APP, Action.DRAIN_RESET, None),
    (13, "", Severity.WARNING, Scope.APP, Action.RESTART_APP, Action.INSPECT),
    (31, "", Severity.WARNING, Scope.APP, Action.RESTART_APP, Action.INSPECT),
    (78, "", Severity.WARNING, Scope.DRIVER, Action.UPDATE_SOFTWARE, None),
    (43, "", Severity.WARNING, Scope.APP, Action.IGNORE, None),
    (45, "", Severity.INFO, Scope.APP, Action.IGNORE, None),
    # words of a line count only where they are the driver's
    (13, NVLINK.format("", "Fatal", "08"), Severity.WARNING, Scope.APP, Action.RESTART_APP, Action.INSPECT),
    (149, "", Severity.WARNING, Scope.LINK, Action.CHECK_FABRIC, None),
    (149, NVLINK.format("", "Nonfatal", "08"), Severity.WARNING, Scope.LINK, Action.CHECK_FABRIC, None),
    (149, NVLINK.format("", "Fatal", "08"), Severity.FATAL, Scope.LINK, Action.DRAIN_RESET, None),
    (149, NVLINK.format("", "Fatal", "-1"), Severity.FATAL, Scope.LINK, Action.DRAIN_RESET, None),
    (
        144,
        NVLINK.format("pid=7, name=Fatal XC0 i0 Li, ", "Nonfatal", "3"),
        *(Severity.WARNING, Scope.LINK),
        *(Action.CHECK_FABRIC, None),
    ),
    (
        150,
        "NVRM: Xid (PCI:0018:01:00): 150, pid=7, name=Fatal, MSE",
        *(Severity.WARNING, Scope.LINK),
        *(Action.CHECK_FABRIC, None),
    ),
    (154, "", Severity.INFO, Scope.UNKNOWN, Action.WATCH, None),
    (154, RECOVERY.format("0x4 (Drain and Reset)", "0x0 (None)"), Severity.INFO, Scope.UNKNOWN, Action.IGNORE, None),
    (
        154,
        RECOVERY.format("0x0 (None)", "0x1 (GPU Reset Required)"),
        *(Severity.FATAL, Scope.UNKNOWN),
        *(Action.DRAIN_RESET, None),
    ),
    (154, RECOVERY.format("0x0 (None)", "0x2 (OS Reboot)"), Severity.FATAL, Scope.UNKNOWN, Action.REBOOT, None),
    (
        154,
        RECOVERY.format("0x0 (None)", "0x4 (Drain and Reset)"),
        *(Severity.DEGRADED, Scope.UNKNOWN),
        *(Action.DRAIN_RESET, None),
    ),
    (154, RECOVERY.format("None", "Node Reboot Required"), Severity.FATAL, Scope.UNKNOWN, Action.REBOOT, None),
    (154, RECOVERY.format("None", "Drain P2P"), Severity.DEGRADED, Scope.UNKNOWN, Action.CHECK_FABRIC, None),
    # another recovery than those that are known is no reason to think that all is well
    (154, RECOVERY.format("0x0 (None)", "0x77 (Pray)"), Severity.WARNING, Scope.UNKNOWN, Action.WATCH, None),
    (154, RECOVERY.format("None", "Pray"), Severity.WARNING, Scope.UNKNOWN, Action.WATCH, None),
)

SXID_VERDICTS = (
    (11012, "", Severity.WARNING, Action.WATCH),
    (11012, SXID.format(11012, "Non-fatal"), Severity.WARNING, Action.WATCH),
    (11012, SXID.format(11012, "Fatal"), Severity.FATAL, Action.DRAIN_RESET),
    (10005, SXID.format(10005, "Non-fatal"), Severity.INFO, Action.IGNORE),
    (20034, "", Severity.FATAL, Action.DRAIN_RESET),
    (20034, SXID.format(20034, "Fatal"), Severity.FATAL, Action.DRAIN_RESET),
    (20034, SXID.format(20034, "Non-fatal"), Severity.WARNING, Action.CHECK_FABRIC),
    (23001, "", Severity.FATAL, Action.REBOOT),
    (99999, "", Severity.WARNING, Action.WATCH),
    (99999, SXID.format(99999, "Fatal"), Severity.FATAL, Action.DRAIN_RESET),
)


@pytest.mark.parametrize(("code", "line", "severity", "blame", "action", "then"), VERDICTS)
def test_the_verdict_on_an_xid(
    code: int, line: str, severity: Severity, blame: Scope, action: Action, then: Action | None
) -> None:
    verdict = CATALOGUE.classify(FaultKind.XID, code, line)
    assert (verdict.severity, verdict.blame, verdict.action, verdict.then) == (severity, blame, action, then)
    assert (verdict.kind, verdict.code, verdict.known) == (FaultKind.XID, code, True)
    assert verdict.meaning == CATALOGUE.xid(code).meaning


@pytest.mark.parametrize(("code", "line", "severity", "action"), SXID_VERDICTS)
def test_the_verdict_on_an_sxid(code: int, line: str, severity: Severity, action: Action) -> None:
    verdict = CATALOGUE.classify(FaultKind.SXID, code, line)
    assert (verdict.kind, verdict.code, verdict.severity, verdict.action) == (FaultKind.SXID, code, severity, action)


@pytest.mark.parametrize("kind", FaultKind)
def test_an_unknown_number_is_watched_and_said_to_be_unknown(kind: FaultKind) -> None:
    verdict = CATALOGUE.classify(kind, 4711, "")
    assert (verdict.severity, verdict.action, verdict.blame) == (Severity.WARNING, Action.WATCH, Scope.UNKNOWN)
    assert not verdict.known
    assert "not in the catalogue" in verdict.meaning
    assert not CATALOGUE.xid(4711).unexpected  # which is what NVIDIA says of numbers that it lists


def test_severities_compare_by_what_they_mean_and_not_by_their_letters() -> None:
    order = [Severity.INFO, Severity.WARNING, Severity.DEGRADED, Severity.FATAL]
    assert sorted(order, key=str) != order
    assert sorted(set(order)) == order
    assert max(order) is Severity.FATAL
    for less, more in combinations(order, 2):
        assert less < more
        assert less <= more
        assert not less > more
        assert not less >= more
    assert Severity.FATAL >= Severity.FATAL


@given(st.sampled_from(FaultKind), st.integers(), st.text())
def test_any_number_and_any_text_have_a_verdict(kind: FaultKind, code: int, text: str) -> None:
    verdict = CATALOGUE.classify(kind, code, text)
    assert verdict.code == code
    assert verdict.scope


@given(
    st.sampled_from(sorted(CATALOGUE.xids)),
    st.lists(
        st.sampled_from(
            ["Fatal", "Nonfatal", " XC0 ", "i0 ", "Link 3 (", "recovery action changed from ", "0x1 ", " to ", "("]
        )
    ),
)
def test_pieces_of_what_drivers_say_have_a_verdict_too(code: int, pieces: list[str]) -> None:
    verdict = CATALOGUE.classify(FaultKind.XID, code, "".join(pieces))
    assert verdict.known


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "piece", ["Fatal ", "SXid (", "recovery action changed from ", "Fatal XC0 i0 Link ", "\0", "é"]
)
def test_a_line_of_a_megabyte_costs_no_more_than_a_long_one(piece: str) -> None:
    line = piece * (1_000_000 // len(piece))
    for kind, code in ((FaultKind.XID, 149), (FaultKind.XID, 154), (FaultKind.SXID, 20034)):
        for _ in range(20):
            assert CATALOGUE.classify(kind, code, line).code == code


@pytest.mark.parametrize(
    ("code", "earlier", "parent"),
    [
        (45, [], None),
        (45, [48], 48),
        (45, [79, 48], 48),  # the newest explains it
        (45, [48, 43], 48),  # 43 is itself a consequence
        (45, [43], 43),
        (43, [45], None),  # cleaning up explains nothing
        (43, [13], 13),
        (43, [43], None),  # twice is two
        (45, [106, 154], None),
        (154, [79], 79),
        (63, [48], 48),
        (63, [79], None),
        (94, [31, 48, 45], 48),
        (171, [48], 48),
        (172, [48], 48),
        (95, [48], 48),
        (48, [79], None),
        (79, [48, 63], None),
        (4711, [79], None),
        (45, [4711], 4711),
    ],
)
def test_what_only_follows_another_fault_names_it(code: int, earlier: list[int], parent: int | None) -> None:
    assert CATALOGUE.parent_of(code, earlier) == parent


@given(st.sampled_from(sorted(CATALOGUE.xids)), st.lists(st.sampled_from(sorted(CATALOGUE.xids))))
def test_a_parent_was_there_before_and_is_another_number(code: int, earlier: list[int]) -> None:
    parent = CATALOGUE.parent_of(code, earlier)
    assert parent is None or (parent in earlier and parent != code)


@pytest.mark.parametrize(
    ("name", "lasting", "limit_lowered", "severity"),
    [
        ("none", True, True, None),
        ("gpu_idle", True, True, None),
        ("sw_power_cap", True, False, None),
        ("sw_power_cap", False, True, Severity.WARNING),
        ("hw_slowdown", False, False, Severity.WARNING),
        ("hw_slowdown", True, False, Severity.DEGRADED),
        ("hw_thermal_slowdown", True, False, Severity.DEGRADED),
        ("sw_thermal_slowdown", True, False, Severity.WARNING),
        ("hw_power_brake", False, False, Severity.DEGRADED),
        ("application_clocks", True, False, Severity.INFO),
    ],
)
def test_lower_clocks_are_judged_by_reason_and_by_how_long(
    name: str, lasting: bool, limit_lowered: bool, severity: Severity | None
) -> None:
    event = next(one for one in CATALOGUE.clock_events if one.name == name)
    assert event.judged(lasting=lasting, limit_lowered=limit_lowered) is severity
