"""Every kind of fault that a lab can have, seen through pynvml, and its events by a set that waits for them."""

import time
from typing import TYPE_CHECKING

import pytest

from fleetward.lab import fault_kinds
from fleetward.lab.fault_kinds import Fault, change_of
from fleetward.lab.scenario import Scenario

if TYPE_CHECKING:
    from conftest import Nvml
    from played_nvml import PlayedNode

FABRIC = "versioned('nvmlDeviceGetGpuFabricInfoV', n.c_nvmlGpuFabricInfo_v3_t, 3)"
ROWS = [
    (fault_kinds.ecc(3, 7, 0), "field(3, 3)['value']", 7, [[1, 0]]),
    (fault_kinds.ecc(3, 0, 2), "field(3, 4)['value']", 2, [[2, 0], [8, 48]]),
    (fault_kinds.row_remap(3, failed=False), "n.nvmlDeviceGetRemappedRows(h(3))", [0, 1, 1, 0], [[8, 63]]),
    (fault_kinds.row_remap(3, failed=True), "n.nvmlDeviceGetRemappedRows(h(3))", [0, 0, 0, 1], [[8, 64]]),
    (fault_kinds.nvlink_down(3, 5), "[field(3, id, 5)['value'] for id in (164, 165)]", [0, 0], [[8, 74]]),
    (fault_kinds.throttle(3, "hw-thermal", 0), "n.nvmlDeviceGetCurrentClocksEventReasons(h(3))", 0x48, [[0x10, 0]]),
    (fault_kinds.hot(3, 93), "n.nvmlDeviceGetTemperature(h(3), 0)", 93, []),
    (fault_kinds.hot(3, 93), "n.nvmlDeviceGetMarginTemperature(h(3))", -6, []),
    (fault_kinds.fabric(3, "in-progress"), f"{FABRIC}['state']", 2, []),
    (fault_kinds.fabric(3, "failed"), f"{FABRIC}['status']", 999, []),
    (
        fault_kinds.fabric(3, "unhealthy"),
        f"[{FABRIC}[name] for name in ('healthMask', 'healthSummary')]",
        [0x199, 2],
        [],
    ),
    (fault_kinds.recovery(3, "drain-and-reset"), "field(3, 230)['value']", 4, [[8, 154]]),
]


def inject(played: "PlayedNode", fault: Fault) -> None:
    change = change_of(fault, Scenario(), 1)
    played.play(change.scenario.render())
    played.append_event(change.events)


@pytest.mark.parametrize(("fault", "expression", "expected", "events"), ROWS)
def test_a_fault_is_seen_and_its_events_arrive(
    played: "PlayedNode", nvml: "Nvml", fault: Fault, expression: str, expected: object, events: list[list[int]]
) -> None:
    assert nvml(expression) != expected
    nvml("held.update(s=n.nvmlEventSetCreate())")
    nvml("n.nvmlDeviceRegisterEvents(h(3), n.nvmlDeviceGetSupportedEventTypes(h(3)), held['s'])")
    inject(played, fault)
    assert nvml(expression) == expected
    assert nvml(expression.replace("h(3)", "h(2)").replace("(3,", "(2,").replace(", 3)", ", 2)")) != expected
    wait = "(lambda d: (d.eventType, d.eventData))(n.nvmlEventSetWait_v2(held['s'], 30))"
    assert [nvml(wait) for _ in events] == events
    with pytest.raises(Exception, match="code 10"):
        nvml(wait)


@pytest.mark.parametrize(
    ("fault", "code"),
    [(fault_kinds.xid(3, 79), 15), (fault_kinds.driver_gone(), 9), (fault_kinds.driver_mismatch(), 18)],
)
def test_a_fault_that_takes_the_gpu_away(played: "PlayedNode", nvml: "Nvml", fault: Fault, code: int) -> None:
    nvml("held.update({3: h(3)})")
    inject(played, fault)
    with pytest.raises(Exception, match=f"code {code}"):
        nvml("n.nvmlDeviceGetTemperature(held[3], 0)")
    played.play(Scenario().render())
    assert nvml("n.nvmlDeviceGetTemperature(held[3], 0)") < 40


def test_a_gpu_that_hangs_answers_once_it_is_mended(played: "PlayedNode", nvml: "Nvml") -> None:
    nvml("held.update({3: h(3)}, threading=__import__('threading'))")
    inject(played, fault_kinds.gpu_hang(3))
    nvml("held.update(t=held['threading'].Thread(target=n.nvmlDeviceGetTemperature, args=(held[3], 0)))")
    nvml("held['t'].start()")
    time.sleep(0.3)
    assert nvml("held['t'].is_alive()")
    played.play(Scenario().render())
    nvml("held['t'].join(5)")
    assert not nvml("held['t'].is_alive()")


def test_throttle_time_runs_from_the_fault_on(played: "PlayedNode", nvml: "Nvml") -> None:
    inject(played, fault_kinds.throttle(3, "power-brake", time.time() - 60))
    assert 59e9 < nvml("field(3, 271)['value']") < 120e9
