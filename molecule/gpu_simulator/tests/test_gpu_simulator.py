"""Eight GPUs that NVML tells of, busy where a process holds their device file open."""

import json
from collections.abc import Callable
from typing import Any

from testinfra.host import Host

On = Callable[[str], Host]

READ = """
import ctypes, json, os, time
nvml = ctypes.CDLL("libnvidia-ml.so.1")
def call(name, *words):
    code = getattr(nvml, name)(*words)
    if code:
        raise SystemExit(f"{name}: {code}")
def busy():
    percent = []
    for index in range(count.value):
        handle, rates = ctypes.c_void_p(), (ctypes.c_uint * 2)()
        call("nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(handle))
        call("nvmlDeviceGetUtilizationRates", handle, rates)
        percent.append(rates[0])
    return percent
count, name, uuid = ctypes.c_uint(), ctypes.create_string_buffer(96), ctypes.create_string_buffer(96)
call("nvmlInit_v2")
call("nvmlDeviceGetCount_v2", ctypes.byref(count))
handle = ctypes.c_void_p()
call("nvmlDeviceGetHandleByIndex_v2", 0, ctypes.byref(handle))
call("nvmlDeviceGetName", handle, name, 96)
before = busy()
held = os.open("/dev/nvidia3", os.O_RDWR | os.O_NOCTTY)
time.sleep(2)
during = busy()
print(json.dumps({"count": count.value, "name": name.value.decode(), "before": before, "during": during}))
"""


def read(host: Host) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(host.check_output("python3 -c %s", READ))
    return found


def test_nvml_tells_of_the_gpus_of_the_hardware_profile(on: On) -> None:
    found = read(on("gpu001"))
    assert (found["count"], found["name"]) == (8, "NVIDIA H100 80GB HBM3")


def test_only_the_gpu_that_a_process_holds_is_busy(on: On) -> None:
    found = read(on("gpu001"))
    assert found["before"] == [0] * 8
    assert found["during"][3] > 50
    assert found["during"][:3] + found["during"][4:] == [0] * 7


def test_users_open_the_device_files_and_they_come_back_with_the_host(on: On) -> None:
    host = on("gpu001")
    host.check_output("rm /dev/nvidia5 && systemd-tmpfiles --create")
    for number in range(8):
        host.check_output("runuser --user nobody -- sh -c %s", f": <> /dev/nvidia{number}")


def test_the_head_has_none(on: On) -> None:
    assert on("head").run("python3 -c 'import ctypes; ctypes.CDLL(\"libnvidia-ml.so.1\")'").rc != 0
