"""Faults of one function of one GPU, calls that hang and are released, and the trace of what was called."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Nvml
    from played_nvml import PlayedNode

    Asking = Callable[[PlayedNode], AbstractContextManager[Nvml]]

TEMPERATURE = "n.nvmlDeviceGetTemperature(h({gpu}), 0)"
POWER = "n.nvmlDeviceGetPowerUsage(h({gpu}))"


def test_one_function_of_one_gpu_fails_and_all_else_goes_on(played: "PlayedNode", nvml: "Nvml") -> None:
    played.play("gpu.3.call.nvmlDeviceGetTemperature.error=999\n")
    with pytest.raises(Exception, match="code 999"):
        nvml(TEMPERATURE.format(gpu=3))
    assert nvml(TEMPERATURE.format(gpu=2)) < 40
    assert nvml(POWER.format(gpu=3)) > 0
    played.play("")
    assert nvml(TEMPERATURE.format(gpu=3)) < 40


def test_one_function_of_all_gpus_fails_but_for_one(played: "PlayedNode", nvml: "Nvml") -> None:
    played.play("all.call.nvmlDeviceGetTemperature.error=4\ngpu.1.call.nvmlDeviceGetTemperature.error=0\n")
    with pytest.raises(Exception, match="code 4"):
        nvml(TEMPERATURE.format(gpu=0))
    assert nvml(TEMPERATURE.format(gpu=1)) < 40


@pytest.mark.parametrize("function", ["nvmlDeviceGetHandleByIndex", "nvmlDeviceGetHandleByIndex_v2"])
def test_a_function_is_named_with_or_without_its_version(played: "PlayedNode", nvml: "Nvml", function: str) -> None:
    played.play(f"gpu.3.call.{function}.error=15\n")
    with pytest.raises(Exception, match="code 15"):
        nvml("h(3)")
    assert nvml("h(2)")


def test_a_name_that_only_begins_alike_is_another_function(played: "PlayedNode", nvml: "Nvml") -> None:
    played.play("gpu.3.call.nvmlDeviceGetMemoryInfo.error=17\ngpu.3.call.nvmlDeviceGetTemperature.error=17\n")
    assert nvml("n.nvmlDeviceGetTemperatureThreshold(h(3), 1)") == 89
    with pytest.raises(Exception, match="code 17"):
        nvml("n.nvmlDeviceGetMemoryInfo(h(3), n.nvmlMemory_v2)")


def test_a_function_of_the_driver_fails(played: "PlayedNode", nvml: "Nvml") -> None:
    played.play("driver.call.nvmlDeviceGetCount.error=999\n")
    with pytest.raises(Exception, match="code 999"):
        nvml("n.nvmlDeviceGetCount()")
    assert nvml("n.nvmlSystemGetDriverVersion()") == "570.133.20"


def test_a_lost_gpu_is_lost_whatever_else_is_said(played: "PlayedNode", nvml: "Nvml") -> None:
    nvml("held.update({3: h(3)})")
    played.play("gpu.3.call.nvmlDeviceGetTemperature.error=999\ngpu.3.lost=1\n")
    with pytest.raises(Exception, match="code 15"):
        nvml("n.nvmlDeviceGetTemperature(held[3], 0)")


def seconds(nvml: "Nvml", expression: str) -> float:
    begun = time.monotonic()
    nvml(expression)
    return time.monotonic() - begun


@pytest.mark.parametrize(
    ("line", "slow", "quick"),
    [
        ("gpu.3.call.nvmlDeviceGetTemperature.delay_ms=400", TEMPERATURE.format(gpu=3), POWER.format(gpu=3)),
        ("gpu.3.delay_ms=200", POWER.format(gpu=3), POWER.format(gpu=2)),  # twice: the handle and the call
        ("driver.delay_ms=400", "n.nvmlDeviceGetCount()", "n.nvmlDeviceGetTemperature(held[2], 0)"),
    ],
)
def test_a_delay_costs_what_it_is_of(played: "PlayedNode", nvml: "Nvml", line: str, slow: str, quick: str) -> None:
    nvml("held.update({2: h(2)})")
    played.play(line + "\n")
    assert seconds(nvml, slow) >= 0.4
    assert seconds(nvml, quick) < 0.3


@pytest.mark.parametrize(
    ("line", "stuck", "free"),
    [
        ("gpu.3.hang=1", "n.nvmlDeviceGetPowerUsage(held[3])", "n.nvmlDeviceGetPowerUsage(held[2])"),
        ("gpu.3.hang=1", "h(3)", "h(2)"),
        (
            "gpu.3.call.nvmlDeviceGetTemperature.hang=1",
            "n.nvmlDeviceGetTemperature(held[3], 0)",
            "n.nvmlDeviceGetPowerUsage(held[3])",
        ),
        ("driver.call.nvmlDeviceGetCount.hang=1", "n.nvmlDeviceGetCount()", "h(3)"),
    ],
)
def test_a_call_hangs_until_the_scenario_changes(
    played: "PlayedNode", nvml: "Nvml", ask: "Asking", line: str, stuck: str, free: str
) -> None:
    done = threading.Event()
    caller = threading.Thread(target=lambda: (nvml(stuck), done.set()))
    with ask(played) as neighbour:
        for asked in (nvml, neighbour):
            asked("held.update({i: h(i) for i in (2, 3)})")
        played.play(line + "\n")
        caller.start()
        try:
            assert not done.wait(0.7)
            assert neighbour(free)
            assert not done.is_set()
        finally:
            played.play("")
            caller.join(timeout=10)
    assert done.is_set()


def test_a_hung_call_leaves_other_threads_of_its_process_alone(played: "PlayedNode", nvml: "Nvml") -> None:
    nvml("held.update({i: h(i) for i in range(4)}, threading=__import__('threading'))")
    played.play("gpu.3.hang=1\n")
    nvml("held.update(t=held['threading'].Thread(target=n.nvmlDeviceGetPowerUsage, args=(held[3],)))")
    nvml("held['t'].start()")
    assert seconds(nvml, "[n.nvmlDeviceGetPowerUsage(held[i]) for i in range(3)]") < 0.5
    assert nvml("held['t'].is_alive()")
    played.play("")
    nvml("held['t'].join(5)")
    assert not nvml("held['t'].is_alive()")


def test_a_driver_that_hangs_holds_the_start_too_and_a_child_can_be_killed(played: "PlayedNode") -> None:
    played.play("driver.hang=1\n")
    program = "import pynvml; pynvml.nvmlInit()"
    with subprocess.Popen([sys.executable, "-c", program], env=played.environment) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1.5)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=5) == -signal.SIGKILL


def test_pcie_throughput_takes_its_time_as_on_hardware(nvml: "Nvml") -> None:
    nvml("held.update({2: h(2)})")
    assert seconds(nvml, "n.nvmlDeviceGetPcieThroughput(held[2], 0)") >= 0.02


def test_a_call_is_traced_with_its_device_and_how_long_it_took(played: "PlayedNode", nvml: "Nvml") -> None:
    trace = played.folder / "trace"
    nvml("held.update({3: h(3)})")
    played.play("gpu.3.delay_ms=30\n")
    trace.unlink()
    nvml("n.nvmlDeviceGetTemperature(held[3], 0)")
    nvml("n.nvmlDeviceGetCount()")
    found = re.fullmatch(
        r"nvmlDeviceGetTemperature 3 (\d+)\nnvmlDeviceGetCount_v2 - (\d+)\n", trace.read_text(), re.ASCII
    )
    assert found is not None
    assert 30000 <= int(found[1]) < 10_000_000
    assert int(found[2]) < 1_000_000


def test_the_trace_of_threads_and_processes_has_whole_lines_only(played: "PlayedNode") -> None:
    program = """
import pynvml, threading
pynvml.nvmlInit()
def call():
    for i in range(100):
        pynvml.nvmlDeviceGetTemperature(pynvml.nvmlDeviceGetHandleByIndex(i % 8), 0)
threads = [threading.Thread(target=call) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    processes = [subprocess.Popen([sys.executable, "-c", program], env=played.environment) for _ in range(2)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    lines = (played.folder / "trace").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"nvml\w+ (-|\d+) \d+", line)] == []
    assert sum(line.startswith("nvmlDeviceGetTemperature ") for line in lines) == 800


def test_no_trace_is_written_where_none_is_asked_for(played: "PlayedNode") -> None:
    environment = {key: value for key, value in played.environment.items() if key != "FLEETWARD_NVML_TRACE"}
    program = "import pynvml; pynvml.nvmlInit(); pynvml.nvmlDeviceGetCount()"
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert list(played.folder.iterdir()) == []
