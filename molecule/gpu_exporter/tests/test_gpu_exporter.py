"""The metrics of every GPU, over the network."""

import time
import urllib.request
from collections.abc import Callable

from testinfra.host import Host

On = Callable[[str], Host]
Address = Callable[[str], str]

CAP_SYS_ADMIN = 21
"""Its bit in a set of capabilities (linux/capability.h)."""


def metrics(address: Address) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{address('gpu001')}:9400/metrics", timeout=20) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def of(name: str, found: dict[str, float]) -> list[float]:
    return [value for series, value in sorted(found.items()) if series.startswith(f"{name}{{")]


def test_every_gpu_is_there_with_plausible_values(address: Address) -> None:
    found = metrics(address)
    assert of("gpu_up", found) == [1.0] * 8
    assert all(20 < degrees < 100 for degrees in of("gpu_temperature_celsius", found))
    assert all(10 < watts < 700 for watts in of("gpu_power_watts", found))
    assert len(of("gpu_temperature_celsius", found)) == len(of("gpu_power_watts", found)) == 8


def test_a_gpu_that_a_process_holds_is_busy_and_the_others_are_not(on: On, address: Address) -> None:
    on("gpu001").check_output("systemd-run --unit=verify-holds-gpu sh -c 'exec sleep 60 <> /dev/nvidia6'")
    try:
        until = time.monotonic() + 20
        busy: list[str] = []
        while not busy and time.monotonic() < until:
            time.sleep(1)
            busy = [
                series
                for series, value in metrics(address).items()
                if series.startswith("gpu_utilization_ratio{") and value > 0.5
            ]
    finally:
        on("gpu001").check_output("systemctl stop verify-holds-gpu")
    assert len(busy) == 1 and 'gpu="6"' in busy[0]


def test_it_may_not_do_all_that_root_may(on: On) -> None:
    pid = on("gpu001").check_output("systemctl show --value --property MainPID fleetward-gpu-exporter")
    status = on("gpu001").check_output("cat /proc/%s/status", pid).splitlines()
    allowed = int(next(line.split()[1] for line in status if line.startswith("CapBnd:")), base=16)
    assert not allowed & (1 << CAP_SYS_ADMIN)


def test_an_xid_in_the_kernels_log_is_counted(on: On, address: Address) -> None:
    def counted() -> list[float]:
        return [
            value
            for name, value in metrics(address).items()
            if name.startswith('gpu_xid_total{gpu="2"') and 'xid="48"' in name
        ]

    before = counted()[0]
    line = "3,0,0,-;NVRM: Xid (PCI:0000:52:00): 48, pid='<unknown>', name=<unknown>, DBE"
    on("gpu001").check_output("echo %s >> /run/fleetward/nvml/kmsg", line)
    until = time.monotonic() + 10
    while counted() != [before + 1]:
        assert time.monotonic() < until, "it was not counted"
        time.sleep(0.2)
    assert metrics(address)["gpu_exporter_kernel_log_readable"] == 1


def test_it_comes_back_with_the_host(on: On) -> None:
    assert on("gpu001").service("fleetward-gpu-exporter").is_enabled


def test_it_comes_back_when_it_is_killed_and_still_knows_what_it_counted(on: On, address: Address) -> None:
    before = of("gpu_xid_total", metrics(address))
    assert sum(before) > 0
    on("gpu001").check_output("systemctl kill --signal=KILL fleetward-gpu-exporter")
    time.sleep(8)
    assert on("gpu001").service("fleetward-gpu-exporter").is_running
    assert of("gpu_xid_total", metrics(address)) == before
    assert metrics(address)["gpu_exporter_state_writable"] == 1
