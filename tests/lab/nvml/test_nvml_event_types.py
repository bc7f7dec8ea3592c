"""Events of every type reach the sets that asked for that type, and no others."""

import ctypes
import time
from typing import TYPE_CHECKING

import pynvml
import pytest

if TYPE_CHECKING:
    from conftest import Nvml
    from played_nvml import PlayedNode

KINDS = {
    "ecc_corrected": pynvml.nvmlEventTypeSingleBitEccError,
    "ecc_uncorrected": pynvml.nvmlEventTypeDoubleBitEccError,
    "performance_state": pynvml.nvmlEventTypePState,
    "xid": pynvml.nvmlEventTypeXidCriticalError,
    "clock": pynvml.nvmlEventTypeClock,
    "power_source": pynvml.nvmlEventTypePowerSourceChange,
    "mig_config": pynvml.nvmlEventMigConfigChange,
    "ecc_storm": pynvml.nvmlEventTypeSingleBitEccErrorStorm,
    "dram_retirement": pynvml.nvmlEventTypeDramRetirementEvent,
    "dram_retirement_failure": pynvml.nvmlEventTypeDramRetirementFailure,
    "nonfatal_poison": pynvml.nvmlEventTypeNonFatalPoisonError,
    "fatal_poison": pynvml.nvmlEventTypeFatalPoisonError,
    "gpu_unavailable": pynvml.nvmlEventTypeGpuUnavailableError,
    "recovery_action": pynvml.nvmlEventTypeGpuRecoveryAction,
}
USUAL = ("ecc_corrected", "ecc_uncorrected", "performance_state", "xid", "clock", "power_source", "mig_config")
NEXT = "(lambda d: (n.nvmlDeviceGetIndex(d.device), d.eventType, d.eventData))(n.nvmlEventSetWait_v2(held['s'], {ms}))"


def register(nvml: "Nvml", *types: tuple[int, int]) -> None:
    """Make a set that asks for (GPU, type)s."""
    nvml("held.update(s=n.nvmlEventSetCreate())")
    for gpu, kind in types:
        nvml(f"n.nvmlDeviceRegisterEvents(h({gpu}), {kind}, held['s'])")


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_is_delivered_under_its_type_alone(played: "PlayedNode", nvml: "Nvml", kind: str) -> None:
    played.play("driver.event_types=0xffff\n")
    register(nvml, (1, KINDS[kind]))
    lines = "".join(f"{other} 1 {place}\n" for place, other in enumerate(KINDS))
    played.append_event(lines + f"{kind} 2 5\n")
    assert nvml(NEXT.format(ms=2000)) == [1, KINDS[kind], list(KINDS).index(kind)]
    with pytest.raises(Exception, match="code 10"):
        nvml(NEXT.format(ms=50))


def test_a_set_can_ask_for_several_types_of_several_gpus(played: "PlayedNode", nvml: "Nvml") -> None:
    register(nvml, (0, KINDS["xid"] | KINDS["clock"]), (3, KINDS["ecc_uncorrected"]))
    played.append_event("clock 3\necc_uncorrected 3\nxid 3 79\nclock 0\nxid 0 31\n")
    assert [nvml(NEXT.format(ms=2000)) for _ in range(3)] == [[3, 2, 0], [0, 0x10, 0], [0, 8, 31]]


def test_types_that_the_driver_does_not_know_are_refused(played: "PlayedNode", nvml: "Nvml") -> None:
    assert nvml("n.nvmlDeviceGetSupportedEventTypes(h(0))") == sum(KINDS[kind] for kind in USUAL)
    with pytest.raises(Exception, match="code 3"):
        register(nvml, (0, KINDS["recovery_action"]))
    played.play("driver.event_types=0x8008\n")
    register(nvml, (0, KINDS["recovery_action"]))
    with pytest.raises(Exception, match="code 3"):
        register(nvml, (0, KINDS["clock"]))


def test_an_xid_names_the_mig_instance_that_it_hit(played: "PlayedNode", nvml: "Nvml") -> None:
    register(nvml, (0, KINDS["xid"]))
    played.append_event("xid 0 13 7 0\nxid 0 43\n")
    instance = "(lambda d: (d.eventData, d.gpuInstanceId, d.computeInstanceId))(n.nvmlEventSetWait_v2(held['s'], 2000))"
    assert [nvml(instance), nvml(instance)] == [[13, 7, 0], [43, 2**32 - 1, 2**32 - 1]]


@pytest.mark.parametrize(
    "line", ["xid 0", "xid 0 x", "xid 0 79 1", "xid 16 79", "xid 0 79 1 2 3", "clock 0 x", "glow 0"]
)
def test_a_line_that_is_no_event_is_passed_over(played: "PlayedNode", nvml: "Nvml", line: str) -> None:
    register(nvml, (0, KINDS["xid"] | KINDS["clock"]))
    played.append_event(f"{line}\nxid 0 31\n")
    assert nvml(NEXT.format(ms=2000)) == [0, 8, 31]


def test_the_first_version_of_the_wait_writes_the_first_versions_struct(played: "PlayedNode", nvml: "Nvml") -> None:
    register(nvml, (0, KINDS["xid"]))
    played.append_event("xid 0 79\n")
    length = 2 * ctypes.sizeof(ctypes.c_ulonglong) + ctypes.sizeof(ctypes.c_void_p)
    nvml(f"held.update(d=n.create_string_buffer(b'.' * {length + 8}, {length + 8}))")
    nvml("n._nvmlCheckReturn(n._nvmlGetFunctionPointer('nvmlEventSetWait')(held['s'], held['d'], 2000))")
    assert nvml("[n.c_ulonglong.from_buffer(held['d'], place).value for place in (8, 16)]") == [8, 79]
    assert nvml(f"held['d'][{length}:].decode()") == "." * 8


@pytest.mark.parametrize(("line", "code"), [("driver.loaded=0", 9), ("driver.mismatch=1", 18)])
def test_a_driver_that_goes_while_a_set_waits_ends_the_wait(
    played: "PlayedNode", nvml: "Nvml", line: str, code: int
) -> None:
    register(nvml, (0, KINDS["xid"]))
    nvml("held.update(threading=__import__('threading'), code=[])")
    nvml(
        "held.update(wait=lambda: held['code'].append(n._nvmlGetFunctionPointer('nvmlEventSetWait_v2')("
        "held['s'], n.byref(n.c_nvmlEventData_t()), 30000)))"
    )
    nvml("held.update(t=held['threading'].Thread(target=held['wait']))")
    nvml("held['t'].start()")
    time.sleep(0.2)
    assert nvml("held['t'].is_alive()")
    played.play(line + "\n")
    nvml("held['t'].join(5)")
    assert nvml("held['code']") == [code]
