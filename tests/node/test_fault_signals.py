"""Every kind of fault of a lab's GPUs and all that tells of it: one table, through the real exporter and checks.

A fault must show on exactly these series and as exactly these findings and events, and on nothing else: what it leaves
as it was is held against the page before it.
"""

import inspect
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from played_checks import Checks, Found, checking
from played_exporter import Exporter, kernel_log, log, running
from played_nvml import PlayedNode
from prometheus_client.parser import text_string_to_metric_families as parse

from fleetward.exporters.events.kernel_lines import KernelSxid, parse_record
from fleetward.lab import fault_kinds
from fleetward.lab.fault_kinds import FABRIC_STATES, RECOVERY_ACTIONS, THROTTLE_REASONS, Change, Fault, change_of
from fleetward.lab.scenario import Scenario
from fleetward.model.gpu_faults import FaultKind

if TYPE_CHECKING:
    from conftest import NodeFiles

GPU, BUS = 3, "0000:61:00"
NOW = 90_000_000_000
"""Microseconds since the boot of the played node."""
PROFILE = '[gpu]\nnvlinks = 18\ndriver = "570.133.20"\n'
STEADY = "all.temperature=40\nall.memory_temperature=45\nall.power_watts=70\nall.energy_joules=1000\n"
"""Below the fault: what would move by itself stands still."""
OF_THE_EXPORTER = ("gpu_sample_", "gpu_exporter_sample_", "gpu_exporter_sweeps_", "gpu_exporter_errors_", "process_")
"""Series that move by themselves."""
GROWS = math.inf
"""By how much is not foreseen."""

Sample = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Signals:
    """What one fault is seen by."""

    fault: Fault
    series: Mapping[str, float] = field(default_factory=dict)
    """By how much each series of the GPU changes; one that was not there counts from 0."""
    findings: set[Found] = field(default_factory=set)
    events: tuple[tuple[FaultKind, int], ...] = ()
    """In the kernel's log: kind and number."""
    silent: frozenset[int] = frozenset()
    """GPUs of which nothing is shown any more but that they are down, and their XIDs."""
    node: Mapping[str, float] = field(default_factory=dict)
    """By how much the node's own series change."""


def xid(code: int) -> tuple[tuple[FaultKind, int], ...]:
    return ((FaultKind.XID, code),)


def gpu(status: str, *checks: str) -> set[Found]:
    return {(one, status, f"GPU {GPU}") for one in checks}


def line(status: str, check: str) -> set[Found]:
    return {(check, status, BUS)}


def ecc(kind: str, count: int) -> dict[str, float]:
    places = ("gpu_ecc_errors_total", "gpu_ecc_lifetime_errors_total")
    located = ("gpu_ecc_location_errors_total", "gpu_ecc_location_lifetime_errors_total")
    return {
        **{f"{name} type={kind}": count for name in places},
        **{f"{name} location=dram type={kind}": count for name in located},
    }


def clocks(*reasons: str, counted: tuple[str, ...] = ()) -> dict[str, float]:
    shown: dict[str, float] = {f"gpu_clock_event_active reason={reason}": 1 for reason in reasons}
    shown["gpu_clock_event_active reason=gpu_idle"] = -1
    return {**shown, **{f"gpu_clock_event_seconds_total reason={reason}": GROWS for reason in counted}}


ALL = frozenset(range(8))
NOT_DOWN_FOR_LONG = ("drain-p2p", "drain-and-reset", "recover-imex-domain")
THROTTLED: Mapping[str, tuple[dict[str, float], set[Found]]] = {
    "power-cap": (clocks("sw_power_cap", counted=("sw_power_cap",)), set()),
    "hw-slowdown": (clocks("hw_slowdown"), gpu("degraded", "gpu_hw_slowdown")),
    "sync-boost": (clocks("sync_boost", counted=("sync_boost",)), set()),
    "sw-thermal": (
        clocks("sw_thermal_slowdown", counted=("sw_thermal_slowdown", "thermal")),
        gpu("degraded", "gpu_thermal_slowdown"),
    ),
    "hw-thermal": (
        clocks("hw_slowdown", "hw_thermal_slowdown", counted=("hw_thermal_slowdown", "thermal")),
        gpu("degraded", "gpu_hw_slowdown"),
    ),
    "power-brake": (
        clocks("hw_slowdown", "hw_power_brake", counted=("hw_power_brake",)),
        gpu("degraded", "gpu_hw_slowdown", "gpu_power_brake"),
    ),
}
FABRIC: Mapping[str, tuple[dict[str, float], str]] = {
    "not-started": ({"gpu_fabric_state": -2}, "gpu_fabric_state"),
    "in-progress": ({"gpu_fabric_state": -1}, "gpu_fabric_state"),
    "failed": ({"gpu_fabric_status_code": 999}, "gpu_fabric_state"),
    "unhealthy": (
        {
            "gpu_fabric_trouble_active trouble=degraded_bandwidth": 1,
            "gpu_fabric_trouble_active trouble=route_unhealthy": 1,
        },
        "gpu_fabric_trouble",
    ),
}

TABLE: tuple[Signals, ...] = (
    Signals(
        fault_kinds.xid(GPU, 31),
        {"gpu_xid_total xid=31": 1},
        line("degraded", "xid_program"),
        xid(31),
    ),
    Signals(
        fault_kinds.xid(GPU, 79),
        {"gpu_up": -1, "gpu_xid_total xid=79": 1},
        gpu("unhealthy", "gpu_lost") | line("unhealthy", "xid_off_bus"),
        xid(79),
        silent=frozenset({GPU}),
    ),
    Signals(
        fault_kinds.gpu_hang(GPU),
        {"gpu_up": -1, "gpu_xid_total xid=119": 1},
        line("unhealthy", "xid_gpu"),
        xid(119),
        silent=frozenset({GPU}),
        node={"gpu_exporter_killed_total": GROWS},
    ),
    Signals(fault_kinds.ecc(GPU, 7, 0), ecc("corrected", 7)),
    Signals(fault_kinds.ecc(GPU, 30_000_000, 0), ecc("corrected", 30_000_000), gpu("degraded", "gpu_ecc_corrected")),
    Signals(
        fault_kinds.ecc(GPU, 0, 2),
        {**ecc("uncorrected", 2), "gpu_xid_total xid=48": 1},
        gpu("unhealthy", "gpu_ecc_uncorrected") | line("unhealthy", "xid_memory"),
        xid(48),
    ),
    Signals(
        fault_kinds.row_remap(GPU, failed=False),
        {"gpu_row_remap_pending": 1, "gpu_remapped_rows type=uncorrected": 1, "gpu_xid_total xid=63": 1},
        gpu("degraded", "gpu_row_remap_pending") | line("degraded", "xid_memory"),
        xid(63),
    ),
    Signals(
        fault_kinds.row_remap(GPU, failed=True),
        {"gpu_row_remap_failed": 1, "gpu_xid_total xid=64": 1},
        gpu("unhealthy", "gpu_row_remap_failed") | line("unhealthy", "xid_memory"),
        xid(64),
    ),
    Signals(
        fault_kinds.nvlink_down(GPU, 5),
        {"gpu_nvlink_up link=5": -1, "gpu_xid_total xid=74": 1},
        gpu("unhealthy", "gpu_nvlink_down") | line("unhealthy", "xid_nvlink"),
        xid(74),
    ),
    Signals(
        fault_kinds.hot(GPU, 93),
        {
            "gpu_temperature_celsius": 53,
            "gpu_memory_temperature_celsius": 58,
            "gpu_temperature_margin_celsius": -53,
        },
        gpu("degraded", "gpu_temperature_margin") | gpu("unhealthy", "gpu_temperature", "gpu_memory_temperature"),
    ),
    *(
        Signals(fault_kinds.throttle(GPU, reason, time.time() - 60), series, findings)
        for reason, (series, findings) in THROTTLED.items()
    ),
    *(
        Signals(fault_kinds.fabric(GPU, state), series, gpu("unhealthy", check))
        for state, (series, check) in FABRIC.items()
    ),
    *(
        Signals(
            fault_kinds.recovery(GPU, action),
            {"gpu_recovery_action": number, "gpu_xid_total xid=154": 1},
            gpu(status, "gpu_recovery_action") | line(status, "xid_recovery"),
            xid(154),
        )
        for action, (number, _) in RECOVERY_ACTIONS.items()
        for status in ("degraded" if action in NOT_DOWN_FOR_LONG else "unhealthy",)
    ),
    Signals(
        fault_kinds.driver_gone(),
        {"gpu_up": -1},
        {("gpu_driver", "unhealthy", "")},
        silent=ALL,
        node={"gpu_driver_up": -1, "gpu_driver_info": -1},
    ),
    Signals(
        fault_kinds.driver_mismatch(),
        {"gpu_up": -1},
        {("gpu_driver", "unhealthy", "")},
        silent=ALL,
        node={"gpu_driver_up": -1, "gpu_driver_info": -1},
    ),
)


def name_of(signals: Signals) -> str:
    settings = " ".join(f"{key}={value}" for key, value in (signals.fault.settings | signals.fault.added).items())
    return settings.partition(" throttle_since")[0] or f"xid={signals.fault.xid}"


every_fault = pytest.mark.parametrize("signals", TABLE, ids=name_of)


def test_every_kind_of_fault_and_every_choice_has_a_row() -> None:
    makers = [
        one for _, one in inspect.getmembers(fault_kinds, inspect.isfunction) if one.__module__ == fault_kinds.__name__
    ]
    kinds = {one.__name__ for one in makers if inspect.signature(one).return_annotation is Fault}
    assert kinds == {
        "driver_gone",
        "driver_mismatch",
        "ecc",
        "fabric",
        "gpu_hang",
        "hot",
        "nvlink_down",
        "recovery",
        "row_remap",
        "throttle",
        "xid",
    }, "give a new kind of fault its rows"
    assert set(THROTTLED) == set(THROTTLE_REASONS)
    assert set(FABRIC) == set(FABRIC_STATES)
    assert len({name_of(one) for one in TABLE}) == len(TABLE)


@every_fault
def test_the_kernels_log_tells_of_these_events(signals: Signals) -> None:
    found = [parse_record(record) for record in change_of(signals.fault, Scenario(), NOW).kernel_log.splitlines()]
    told = dict.fromkeys(
        (FaultKind.SXID, one.sxid) if isinstance(one, KernelSxid) else (FaultKind.XID, one.xid) for one in found if one
    )
    assert tuple(told) == signals.events


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, library: Path) -> PlayedNode:
    node = PlayedNode(tmp_path_factory.mktemp("played"), library)
    node.play_defaults(STEADY)
    node.play("")
    kernel_log(node).touch()
    (node.folder / "profile.toml").write_text(PROFILE)
    return node


@pytest.fixture(scope="module")
def checks(played: PlayedNode, shared_node: "NodeFiles") -> Iterator[Checks]:
    with checking(played, shared_node.root, played.folder / "profile.toml") as started:
        yield started


@pytest.fixture(scope="module")
def exporter(played: PlayedNode) -> Iterator[Exporter]:
    with running(played) as started:
        yield started


@pytest.fixture
def change(played: PlayedNode, signals: Signals) -> Iterator[Change]:
    """Inject the fault, and mend it behind the test."""
    yield change_of(signals.fault, Scenario(), NOW)
    played.play("")


@every_fault
def test_the_checks_find_it(
    played: PlayedNode, shared_node: "NodeFiles", checks: Checks, signals: Signals, change: Change
) -> None:
    played.play(change.scenario.render())
    shared_node.write("dev/kmsg", change.kernel_log)
    found = checks.all()
    assert {one[:3] for one in found if one[1] in {"degraded", "unhealthy"}} == signals.findings
    if signals.fault.settings.get("hang"):
        unknown = {one[0] for one in found if one[1:3] == ("unknown", f"GPU {GPU}")}
        assert {"gpu_lost", "gpu_ecc_uncorrected", "gpu_temperature_margin", "gpu_nvlink_down"} <= unknown


def page(exporter: Exporter) -> dict[Sample, float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for metric in parse(exporter.scrape())
        for sample in metric.samples
        if not sample.name.startswith(OF_THE_EXPORTER)
    }


def changes(before: Mapping[Sample, float], after: Mapping[Sample, float]) -> dict[str, float]:
    """Return by how much series changed, as they are called in the table; of GPUs other than GPU with the number."""
    found = {}
    for name, labels in before.keys() | after.keys():
        was, now = before.get((name, labels), 0.0), after.get((name, labels), 0.0)
        known = dict(labels)
        of = known.pop("gpu", str(GPU))
        if was != now and name not in {"gpu_info", "gpu_driver_info"}:
            words = [f"{key}={value}" for key, value in sorted(known.items()) if key != "uuid"]
            found[" ".join([name, *words, *([] if of == str(GPU) else [f"gpu={of}"])])] = now - was
        elif was != now:
            found[name if name == "gpu_driver_info" else f"gpu_info gpu={of}"] = now - was
    return found


def silenced(before: Mapping[Sample, float], gpus: frozenset[int]) -> dict[str, float]:
    """Return the changes where all series of these GPUs disappear, without the ones that stay."""
    stay = {"gpu_up", "gpu_xid_total", "gpu_xid_last_timestamp_seconds", "gpu_job_info"}
    numbers = {str(index) for index in gpus}
    gone = {key: value for key, value in before.items() if key[0] in stay or dict(key[1]).get("gpu") not in numbers}
    return changes(before, gone)


def expected(signals: Signals, before: Mapping[Sample, float]) -> dict[str, float]:
    others = {f"gpu_up gpu={index}": -1.0 for index in signals.silent - {GPU}}
    times = {name.replace("_total", "_last_timestamp_seconds"): GROWS for name in signals.series if "gpu_xid" in name}
    return {**silenced(before, signals.silent), **signals.series, **times, **others, **signals.node}


def same(found: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    return found.keys() == wanted.keys() and all(
        number > 0 if wanted[name] is GROWS else math.isclose(number, wanted[name]) for name, number in found.items()
    )


def wait_until_steady(exporter: Exporter) -> dict[Sample, float]:
    """Return the page once all GPUs are up again and two looks show the same."""
    deadline, before = time.monotonic() + 60, page(exporter)
    while True:
        time.sleep(0.3)
        after = page(exporter)
        if before == after and sum(value for (name, _), value in after.items() if name == "gpu_up") == len(ALL):
            return after
        assert time.monotonic() < deadline, changes(before, after)
        before = after


@every_fault
def test_the_exporter_shows_it(played: PlayedNode, exporter: Exporter, signals: Signals, change: Change) -> None:
    before = wait_until_steady(exporter)
    wanted = expected(signals, before)
    played.play(change.scenario.render())
    played.append_event(change.events)
    log(played, change.kernel_log)
    deadline = time.monotonic() + 20
    while not same(found := changes(before, page(exporter)), wanted):
        assert time.monotonic() < deadline, {
            name: (found.get(name), wanted.get(name))
            for name in found.keys() | wanted.keys()
            if found.get(name) != wanted.get(name)
        }
        time.sleep(0.1)
