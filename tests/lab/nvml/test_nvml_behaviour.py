"""Who holds a GPU, GPUs and drivers that are lost, XIDs, and that none of it can crash the caller."""

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Nvml
    from played_nvml import PlayedNode

SCAN_AGE_SECONDS = 0.25
"""A little more than the library keeps what it found in /proc."""


def load(nvml: "Nvml", index: int) -> dict[str, float]:
    time.sleep(SCAN_AGE_SECONDS)
    values: dict[str, float] = nvml(
        f"""{{
            "utilization": n.nvmlDeviceGetUtilizationRates(h({index})).gpu,
            "watts": n.nvmlDeviceGetPowerUsage(h({index})) / 1000,
            "celsius": n.nvmlDeviceGetTemperature(h({index}), 0),
            "used": n.nvmlDeviceGetMemoryInfo(h({index}), n.nvmlMemory_v2).used,
            "processes": len(n.nvmlDeviceGetComputeRunningProcesses(h({index}))),
        }}"""
    )
    return values


def test_a_gpu_is_busy_while_its_device_is_held_and_idle_before_and_after(played: "PlayedNode", nvml: "Nvml") -> None:
    path = str(played.device(3))
    before = load(nvml, 3)
    nvml(f"hold({path!r})")
    held, neighbour = load(nvml, 3), load(nvml, 2)
    nvml(f"release({path!r})")
    after = load(nvml, 3)
    for idle in (before, neighbour, after):
        assert idle["utilization"] == 0
        assert idle["used"] == 0
        assert idle["processes"] == 0
        assert idle["celsius"] < 40
        assert idle["watts"] < 0.2 * 700
    assert held["utilization"] > 50
    assert held["used"] > 30e9
    assert held["processes"] == 1
    assert held["celsius"] > 50
    assert 0.5 * 700 < held["watts"] <= 700


def test_the_processes_of_a_gpu_are_those_that_hold_it(played: "PlayedNode", nvml: "Nvml") -> None:
    path = played.device(6)
    with path.open() as held:
        holder = subprocess.Popen(["sleep", "60"], stdin=held)
    try:
        time.sleep(SCAN_AGE_SECONDS)
        processes = "[(p.pid, p.usedGpuMemory) for p in n.nvmlDeviceGetComputeRunningProcesses(h(6))]"
        nvml(f"hold({str(path)!r})")
        time.sleep(SCAN_AGE_SECONDS)
        found = nvml(processes)
        assert {pid for pid, _ in found} == {holder.pid, nvml.pid}
        assert sum(used for _, used in found) == pytest.approx(load(nvml, 6)["used"], abs=2)
    finally:
        holder.kill()
        holder.wait()
    time.sleep(SCAN_AGE_SECONDS)
    assert [pid for pid, _ in nvml(processes)] == [nvml.pid]


def test_a_device_of_two_digits_is_not_taken_for_one_of_one(played: "PlayedNode", nvml: "Nvml") -> None:
    nvml(f"hold({str(played.device(10))!r})")
    assert load(nvml, 1)["utilization"] == 0


def test_the_minor_number_says_which_device_file_is_whose(played: "PlayedNode", nvml: "Nvml") -> None:
    played.play("gpu.0.minor_number=1\ngpu.1.minor_number=0\n")
    nvml(f"hold({str(played.device(0))!r})")
    assert [load(nvml, index)["utilization"] > 0 for index in (0, 1)] == [False, True]


def test_energy_only_grows_and_grows_faster_under_load(played: "PlayedNode", nvml: "Nvml") -> None:
    path = str(played.device(1))
    nvml(f"hold({path!r})")
    time.sleep(SCAN_AGE_SECONDS)
    ask = "[n.nvmlDeviceGetTotalEnergyConsumption(h(i)) for i in (0, 1)]"
    begin = nvml(ask)
    time.sleep(0.5)
    end = nvml(ask)
    idle, busy = end[0] - begin[0], end[1] - begin[1]
    assert 0.5 * 70e3 * 0.9 < idle < 0.5 * 70e3 * 3  # millijoules at some 70 W for half a second
    assert busy > 3 * idle


def test_gpus_have_identities_of_their_own_that_stay(nvml: "Nvml") -> None:
    identities = nvml(
        "[(n.nvmlDeviceGetUUID(h(i)), n.nvmlDeviceGetSerial(h(i)), n.nvmlDeviceGetPciInfo(h(i)).busId)"
        " for i in range(8)]"
    )
    for kind in zip(*identities, strict=True):
        assert len(set(kind)) == 8
    uuid, _, bus = identities[4]
    assert nvml(f"n.nvmlDeviceGetIndex(n.nvmlDeviceGetHandleByUUID({uuid!r}))") == 4
    assert nvml(f"n.nvmlDeviceGetIndex(n.nvmlDeviceGetHandleByPciBusId({bus!r}))") == 4
    kernel_form = bus.lower().removeprefix("0000")
    assert nvml(f"n.nvmlDeviceGetIndex(n.nvmlDeviceGetHandleByPciBusId({kernel_form!r}))") == 4


def test_nodes_have_gpus_of_their_own(played: "PlayedNode", nvml: "Nvml") -> None:
    seen = set()
    for node in ("gpu001", "gpu002", "gpu003"):
        played.play(f"driver.seed={node}\n")
        seen |= set(nvml("[n.nvmlDeviceGetUUID(h(i)) for i in range(8)]"))
    assert len(seen) == 24


def test_a_lost_gpu_says_so_and_the_others_go_on(played: "PlayedNode", nvml: "Nvml") -> None:
    nvml("[held.update({i: h(i)}) for i in range(8)] and None")  # handles from before the loss
    played.play("gpu.2.lost=1\n")
    for call in ("h(2)", "n.nvmlDeviceGetTemperature(held[2], 0)", "n.nvmlDeviceGetUUID(held[2])"):
        with pytest.raises(Exception, match="code 15"):
            nvml(call)
    assert nvml("n.nvmlDeviceGetCount()") == 8
    assert len(nvml("[n.nvmlDeviceGetTemperature(held[i], 0) for i in range(8) if i != 2]")) == 7
    played.play("")
    assert nvml("n.nvmlDeviceGetTemperature(held[2], 0)") < 40


@pytest.mark.parametrize(("line", "code"), [("driver.loaded=0", 9), ("driver.mismatch=1", 18), ("all.error=17", 17)])
def test_errors_of_the_driver(played: "PlayedNode", nvml: "Nvml", line: str, code: int) -> None:
    nvml("held.update({0: h(0)})")
    played.play(line + "\n")
    with pytest.raises(Exception, match=f"code {code}"):
        nvml("n.nvmlDeviceGetTemperature(held[0], 0)")
    played.play("")
    assert nvml("n.nvmlDeviceGetTemperature(held[0], 0)") < 40


def test_a_slow_gpu_takes_its_time(played: "PlayedNode", nvml: "Nvml") -> None:
    played.play("gpu.1.delay_ms=300\n")
    begun = time.monotonic()
    nvml("n.nvmlDeviceGetTemperature(h(0), 0)")
    quick = time.monotonic() - begun
    nvml("n.nvmlDeviceGetTemperature(h(1), 0)")
    assert time.monotonic() - begun - quick >= 0.3
    assert quick < 0.3


def register(nvml: "Nvml", *indices: int) -> None:
    nvml("held.update(set=n.nvmlEventSetCreate())")
    for index in indices:
        nvml(f"n.nvmlDeviceRegisterEvents(h({index}), n.nvmlEventTypeXidCriticalError, held['set'])")


NEXT = (
    "(lambda d: (n.nvmlDeviceGetIndex(d.device), d.eventType, d.eventData))(n.nvmlEventSetWait_v2(held['set'], 2000))"
)


def test_xids_arrive_in_order_each_once_from_the_registration_on(played: "PlayedNode", nvml: "Nvml") -> None:
    played.append_event("xid 0 13\n")
    register(nvml, 0, 1)
    played.append_event("xid 1 79\nxid 5 48\nrubbish\nxid 0 31\n")
    assert [nvml(NEXT), nvml(NEXT)] == [[1, 8, 79], [0, 8, 31]], "not the one from before, nor that of GPU 5"
    with pytest.raises(Exception, match="code 10"):
        nvml("n.nvmlEventSetWait_v2(held['set'], 50)")


def test_an_xid_wakes_a_waiter_soon(played: "PlayedNode", nvml: "Nvml") -> None:
    register(nvml, 4)
    writer = subprocess.Popen(["sh", "-c", f"sleep 0.3; echo xid 4 79 >> {played.folder / 'events'}"])
    begun = time.monotonic()
    assert nvml(NEXT) == [4, 8, 79]
    assert time.monotonic() - begun < 1
    assert writer.wait() == 0


def test_half_a_line_waits_for_its_other_half(played: "PlayedNode", nvml: "Nvml") -> None:
    register(nvml, 0)
    played.append_event("xid 0 7")
    with pytest.raises(Exception, match="code 10"):
        nvml("n.nvmlEventSetWait_v2(held['set'], 50)")
    played.append_event("9\n")
    assert nvml(NEXT) == [0, 8, 79]


def test_an_event_file_that_is_made_anew_is_read_from_its_beginning(played: "PlayedNode", nvml: "Nvml") -> None:
    played.append_event("xid 0 13\n")
    register(nvml, 0)
    (played.folder / "events").unlink()
    played.append_event("xid 0 48\n")
    assert nvml(NEXT) == [0, 8, 48]


def test_the_event_wait_can_be_made_to_fail(played: "PlayedNode", nvml: "Nvml") -> None:
    register(nvml, 0)
    played.play("driver.event_wait_error=15\n")
    with pytest.raises(Exception, match="code 15"):
        nvml("n.nvmlEventSetWait_v2(held['set'], 2000)")


def test_calls_before_and_after_initialisation_are_refused(nvml: "Nvml") -> None:
    nvml("n.nvmlShutdown()")
    with pytest.raises(Exception, match=r"code 1$"):
        nvml("n.nvmlDeviceGetCount()")
    nvml("n.nvmlInit()")
    assert nvml("n.nvmlDeviceGetCount()") == 8


def test_a_process_that_starts_without_a_driver_is_told(played: "PlayedNode") -> None:
    played.play("driver.loaded=0\n")
    done = subprocess.run(
        [sys.executable, "-c", "import pynvml; pynvml.nvmlInit()"],
        env=played.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Driver Not Loaded" in done.stderr
