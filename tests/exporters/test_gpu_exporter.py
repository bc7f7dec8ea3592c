"""The exporter as it runs on a node, over HTTP, on NVML as the stand-in plays it."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from played_exporter import Exporter, kernel_log, log, running, wait_until

from fleetward.exporters.listening import parse_listen
from fleetward.lab.scenario import Scenario, kernel_lines
from fleetward.model.errors import UsageError

if TYPE_CHECKING:
    from played_nvml import PlayedNode


@pytest.fixture
def exporter(played: "PlayedNode") -> Iterator[Exporter]:
    kernel_log(played).touch()
    with running(played) as started:
        yield started


def test_all_gpus_are_shown_with_more_than_ninety_series_each(exporter: Exporter) -> None:
    text = exporter.scrape()
    assert sorted(
        set(re.findall(r'^gpu_up\{gpu="(\d+)",uuid="GPU-[0-9a-f-]{36}"\} 1\.0$', text, re.MULTILINE))
    ) == list("01234567")
    numbers = re.findall(r'^gpu_(?!xid)\w+\{gpu="(\d)"', text, re.MULTILINE)
    assert min(numbers.count(gpu) for gpu in "01234567") >= 90
    assert exporter.value("gpu_info", gpu="0", model="NVIDIA H100 80GB HBM3", pci_bus_id="0000:1b:00.0", minor="0") == 1
    assert exporter.value("gpu_driver_info", driver_version="570.133.20", cuda_version="12.8") == 1
    assert exporter.value("gpu_memory_total_bytes", gpu="7") == 81559 * 1024**2
    assert exporter.value("gpu_power_limit_watts", gpu="7") == 700
    assert exporter.value("gpu_nvlink_up", gpu="7", link="17") == 1


def test_utilization_follows_who_holds_the_device(played: "PlayedNode", exporter: Exporter) -> None:
    assert exporter.value("gpu_utilization_ratio", gpu="3") == 0
    (played.folder / "nvidia3").touch()
    held = os.open(played.folder / "nvidia3", os.O_RDONLY)
    try:
        wait_until(lambda: (exporter.value("gpu_utilization_ratio", gpu="3") or 0) > 0.5)
        assert exporter.value("gpu_processes", gpu="3") == 1
        assert exporter.value("gpu_utilization_ratio", gpu="4") == 0
    finally:
        os.close(held)
    wait_until(lambda: exporter.value("gpu_utilization_ratio", gpu="3") == 0)


def test_a_lost_gpu_is_down_under_its_name_and_comes_back(played: "PlayedNode", exporter: Exporter) -> None:
    uuid = re.findall(r'gpu_up\{gpu="2",uuid="([^"]+)"', exporter.scrape())[0]
    played.play("gpu.2.lost=1\n")
    wait_until(lambda: exporter.value("gpu_up", gpu="2", uuid=uuid) == 0)
    assert len(re.findall(r"^gpu_up\{", exporter.scrape(), re.MULTILINE)) == 8, "it is there once, under its name"
    assert exporter.value("gpu_temperature_celsius", gpu="2") is None
    assert exporter.value("gpu_info", gpu="2") is None
    for other in "0134567":
        assert exporter.value("gpu_up", gpu=other) == 1
        assert exporter.value("gpu_temperature_celsius", gpu=other) is not None
    assert (exporter.value("gpu_exporter_errors_total", function="DeviceGetHandleByIndex", code="15") or 0) > 0
    played.play("")
    wait_until(lambda: exporter.value("gpu_up", gpu="2", uuid=uuid) == 1)


def test_a_gpu_that_is_lost_from_the_start_is_shown_without_a_name(played: "PlayedNode") -> None:
    played.play("gpu.5.lost=1\n")
    with running(played) as exporter:
        assert exporter.value("gpu_up", gpu="5", uuid="") == 0
        assert exporter.value("gpu_up", gpu="4") == 1
        played.play("")
        wait_until(lambda: exporter.value("gpu_up", gpu="5") == 1)


def test_a_driver_that_goes_away_leaves_every_gpu_down(played: "PlayedNode", exporter: Exporter) -> None:
    before = set(re.findall(r"^gpu_up\{(.*)\} 1\.0$", exporter.scrape(), re.MULTILINE))
    assert len(before) == 8
    played.play("driver.loaded=0\n")
    wait_until(lambda: set(re.findall(r"^gpu_up\{(.*)\} 0\.0$", exporter.scrape(), re.MULTILINE)) == before)
    played.play("")
    wait_until(lambda: set(re.findall(r"^gpu_up\{(.*)\} 1\.0$", exporter.scrape(), re.MULTILINE)) == before)


def test_a_gpu_that_the_driver_no_longer_lists_is_down(played: "PlayedNode", exporter: Exporter) -> None:
    played.play("driver.gpu_count=7\n")
    wait_until(lambda: exporter.value("gpu_up", gpu="7") == 0)
    assert exporter.value("gpu_up", gpu="6") == 1


def test_an_xid_is_counted_also_on_the_gpu_that_it_took_away(played: "PlayedNode", exporter: Exporter) -> None:
    wait_until(lambda: (exporter.value("gpu_exporter_sweeps_total") or 0) > 3)
    assert exporter.value("gpu_xid_total", gpu="6", xid="79") == 0
    played.play("gpu.6.lost=1\n")
    played.raise_xid(6, 79)
    played.raise_xid(1, 31)
    wait_until(lambda: exporter.value("gpu_xid_total", gpu="6", xid="79") == 1)
    wait_until(lambda: exporter.value("gpu_xid_total", gpu="1", xid="31") == 1)
    assert exporter.value("gpu_xid_total", gpu="1", xid="79") == 0


def test_an_xid_that_only_the_kernel_tells_of_is_counted(played: "PlayedNode", exporter: Exporter) -> None:
    log(played, "3,1,1,-;NVRM: Xid (PCI:0000:43:00): 62, pid='<unknown>', name=<unknown>, 0000(0000)\n")
    wait_until(lambda: exporter.value("gpu_xid_total", gpu="1", xid="62") == 1)
    assert exporter.value("gpu_exporter_kernel_log_readable") == 1
    assert exporter.value("gpu_xid_total", gpu="0", xid="62") == 0


def test_an_xid_that_nvml_and_the_kernel_tell_of_is_counted_once(played: "PlayedNode", exporter: Exporter) -> None:
    wait_until(lambda: (exporter.value("gpu_exporter_sweeps_total") or 0) > 3)
    log(played, kernel_lines(Scenario(), 6, 79, 1))
    played.play("gpu.6.lost=1\n")
    played.raise_xid(6, 79)
    played.raise_xid(1, 31)  # comes after it on the same way
    wait_until(lambda: exporter.value("gpu_xid_total", gpu="1", xid="31") == 1)
    wait_until(lambda: exporter.value("gpu_up", gpu="6") == 0)
    time.sleep(0.5)
    assert exporter.value("gpu_xid_total", gpu="6", xid="79") == 1


def test_every_gpu_of_the_lab_is_found_by_its_address_in_the_kernels_log(
    played: "PlayedNode", exporter: Exporter
) -> None:
    log(played, "".join(kernel_lines(Scenario(), gpu, 48, 1) for gpu in range(8)))
    wait_until(lambda: exporter.value("gpu_xid_total", gpu="7", xid="48") == 1)
    assert [exporter.value("gpu_xid_total", gpu=str(gpu), xid="48") for gpu in range(8)] == [1] * 8
    assert exporter.value("gpu_exporter_strange_xids_total") == 0


def test_an_xid_of_an_address_without_a_gpu_is_counted_apart(played: "PlayedNode", exporter: Exporter) -> None:
    log(played, "3,1,1,-;NVRM: Xid (PCI:0000:77:00): 79, GPU has fallen off the bus.\n")
    wait_until(lambda: exporter.value("gpu_exporter_strange_xids_total") == 1)
    assert exporter.value("gpu_xid_total", gpu="0", xid="79") == 0


def test_a_kernel_log_that_cannot_be_read_is_said_and_no_reason_to_end(played: "PlayedNode") -> None:
    with running(played) as exporter:
        assert "XIDs come from NVML alone" in exporter.told
        assert exporter.value("gpu_exporter_kernel_log_readable") == 0
        wait_until(lambda: (exporter.value("gpu_exporter_sweeps_total") or 0) > 3)
        played.raise_xid(1, 31)
        wait_until(lambda: exporter.value("gpu_xid_total", gpu="1", xid="31") == 1)


def test_it_tells_what_it_costs_itself(exporter: Exporter) -> None:
    started = exporter.value("process_start_time_seconds")
    assert started is not None
    assert abs(time.time() - started) < 60
    assert (exporter.value("process_resident_memory_bytes") or 0) > 0


def test_an_event_wait_that_fails_for_ever_costs_no_processor(played: "PlayedNode") -> None:
    played.play("driver.event_wait_error=15\n")
    with running(played) as exporter:
        wait_until(lambda: (exporter.value("gpu_exporter_sweeps_total") or 0) > 2)
        (played.folder / "trace").unlink()
        time.sleep(2)
        waits = played.calls().count("nvmlEventSetWait_v2")
        assert 1 <= waits <= 4


def test_a_gpu_that_hangs_costs_its_own_series_and_comes_back(played: "PlayedNode", exporter: Exporter) -> None:
    played.play("gpu.3.delay_ms=600000\n")
    wait_until(lambda: exporter.value("gpu_up", gpu="3") == 0)
    assert exporter.value("gpu_temperature_celsius", gpu="3") is None
    for other in "0124567":
        assert exporter.value("gpu_up", gpu=other) == 1
        assert (exporter.value("gpu_sample_age_seconds", gpu=other) or 9) < 1
    assert (exporter.value("gpu_exporter_killed_total") or 0) >= 1
    played.play("")
    wait_until(lambda: exporter.value("gpu_up", gpu="3") == 1, 30)
    assert exporter.value("gpu_temperature_celsius", gpu="3") is not None


def test_while_every_gpu_hangs_a_scrape_is_answered_at_once(played: "PlayedNode", exporter: Exporter) -> None:
    played.play("all.delay_ms=600000\n")
    wait_until(lambda: re.findall(r"^gpu_up.* (\S+)$", exporter.scrape(), re.MULTILINE) == ["0.0"] * 8, 30)
    begun = time.monotonic()
    exporter.scrape()
    assert time.monotonic() - begun < 1
    played.play("")
    wait_until(lambda: re.findall(r"^gpu_up.* (\S+)$", exporter.scrape(), re.MULTILINE) == ["1.0"] * 8, 60)


def test_its_processes_may_be_killed_at_any_time(played: "PlayedNode", exporter: Exporter) -> None:
    before = exporter.value("gpu_exporter_sweeps_total") or 0
    for _ in range(3):
        for process in descendants(exporter.process.pid)[1:]:  # the first one forks the others
            os.kill(process, signal.SIGKILL)
        time.sleep(0.3)
    wait_until(lambda: (exporter.value("gpu_exporter_sweeps_total") or 0) > before + 20, 30)
    assert [exporter.value("gpu_up", gpu=gpu) for gpu in "01234567"] == [1] * 8
    played.raise_xid(1, 31)
    wait_until(lambda: exporter.value("gpu_xid_total", gpu="1", xid="31") == 1, 30)


def test_without_the_process_that_forks_it_ends_for_systemd_to_start_it_again(exporter: Exporter) -> None:
    os.kill(descendants(exporter.process.pid)[0], signal.SIGKILL)
    assert exporter.process.wait(timeout=10) == 1


def test_two_hundred_scrapes_at_once_are_all_answered(exporter: Exporter) -> None:
    with ThreadPoolExecutor(200) as pool:
        pages = list(pool.map(lambda _: exporter.scrape(), range(200)))
    assert all(len(re.findall(r"^gpu_up", page, re.MULTILINE)) == 8 for page in pages)


def test_clients_that_go_away_in_the_middle_of_an_answer_do_not_end_it(exporter: Exporter) -> None:
    host, _, port = exporter.address.rpartition(":")
    for _ in range(5):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
            connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01" + bytes(7))  # ends with a reset
    assert exporter.value("gpu_up", gpu="0") == 1
    assert exporter.process.poll() is None


def test_it_leaves_no_process_behind_also_when_it_is_killed(played: "PlayedNode") -> None:
    with running(played) as exporter:
        left = descendants(exporter.process.pid)
        assert len(left) >= 3
    wait_until(lambda: not any(Path(f"/proc/{process}/fd").exists() and alive(process) for process in left))


def descendants(process: int) -> list[int]:
    """Return a process' children and theirs, parents first."""
    found = [process]
    for one in found:
        found += [int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
    return found[1:]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_openmetrics_is_served_to_who_asks_for_it(exporter: Exporter) -> None:
    connection = http.client.HTTPConnection(exporter.address, timeout=5)
    connection.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    answer = connection.getresponse()
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.read().endswith(b"# EOF\n")
    connection.close()


def test_a_look_makes_a_bounded_number_of_calls(played: "PlayedNode", exporter: Exporter) -> None:
    wait_until(lambda: (exporter.value("gpu_exporter_sweeps_total") or 0) > 2)
    (played.folder / "trace").unlink()
    first = exporter.value("gpu_exporter_sweeps_total") or 0
    wait_until(lambda: (exporter.value("gpu_exporter_sweeps_total") or 0) >= first + 6)  # the first may be cut in two
    calls = [line.split()[0] for line in (played.folder / "trace").read_text().splitlines()]
    looks = calls.count("nvmlSystemGetDriverVersion")
    assert looks >= 5
    assert len(calls) / looks < 8 * 80
    assert "nvmlDeviceGetPcieThroughput" not in calls


def test_scraping_makes_no_call_at_all(played: "PlayedNode") -> None:
    with running(played, "--interval", "3600") as exporter:
        time.sleep(0.3)
        before = played.calls()
        for _ in range(5):
            exporter.scrape()
        after = played.calls()
        assert [call for call in after[len(before) :] if not call.startswith("nvmlEvent")] == []


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_soon(exporter: Exporter, end: signal.Signals) -> None:
    exporter.process.send_signal(end)
    assert exporter.process.wait(timeout=5) == 0


def run(played: "PlayedNode", *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleetward", *arguments],
        env=played.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_a_port_in_use_is_told(played: "PlayedNode") -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run(played, "exporter", "gpu", "--listen", listen)
    assert done.returncode == 1
    assert done.stderr.startswith(f"fleetward: cannot listen on {listen}: Address already in use")
    assert "--listen" in done.stderr


def test_a_driver_that_is_not_loaded_is_told_with_what_to_do(played: "PlayedNode") -> None:
    played.play("driver.loaded=0\n")
    done = run(played, "exporter", "gpu")
    assert done.returncode == 3
    assert "Driver Not Loaded" in done.stderr
    assert "modprobe" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:9400", ("127.0.0.1", 9400)), ("[::1]:80", ("::1", 80)), ("gpu001:9400", ("gpu001", 9400))],
)
def test_addresses_to_listen_on(text: str, expected: tuple[str, int]) -> None:
    assert parse_listen(text) == expected


@pytest.mark.parametrize("text", ["9400", ":9400", "::1:9400", "host:", "host:99999", "host:-1", "host:http", "[::1]"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"9400|port"):
        parse_listen(text)
