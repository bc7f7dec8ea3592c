"""What the probes read from a node's files and programs, and how the whole run goes with it."""

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fleetward.node.check_list import BY_ID, CHECKS
from fleetward.node.checking import Probe
from fleetward.node.probes import storage
from fleetward.node.probes.clock import read_clock
from fleetward.node.probes.host import read_processes
from fleetward.node.profile import HostProfile, Profile
from fleetward.node.results import Finding, ProbeError, StarvedError, Status
from fleetward.node.run_checks import read_probes, run_checks
from fleetward.node.surroundings import Surroundings

if TYPE_CHECKING:
    from conftest import NodeFiles

FILES_ONLY = tuple(one for one in CHECKS if one.reads.name not in {"NVML", "kernel clock"})


def findings(files: "NodeFiles", *ids: str, profile: Profile | None = None) -> list[tuple[str, str, str]]:
    found = run_checks([BY_ID[one] for one in ids], profile or Profile(), Surroundings(files.root))
    return [(one.check, one.status, one.entity) for one in found]


def finding(files: "NodeFiles", check: str, profile: Profile | None = None) -> Finding:
    (found,) = run_checks([BY_ID[check]], profile or Profile(), Surroundings(files.root))
    return found


def test_a_healthy_node_raises_nothing(node_files: "NodeFiles") -> None:
    found = run_checks(FILES_ONLY, Profile(), Surroundings(node_files.root))
    assert {one.status for one in found} == {Status.HEALTHY, Status.UNKNOWN}
    unknown = [one for one in found if one.status is Status.UNKNOWN]
    assert {one.why.partition(" does not say")[0] for one in unknown} == {"the profile"}, unknown
    assert len(found) - len(unknown) > 50


CHANGED = [
    ("proc/meminfo", "MemTotal: x\n", "memory_fragmented", Status.UNKNOWN, ""),
    ("proc/buddyinfo", "Node 0, zone   Normal 9 9 9 9 9 9 9 9 9 0 0\n", "memory_fragmented", Status.DEGRADED, ""),
    ("sys/devices/system/edac/mc/mc0/ue_count", "2", "memory_uncorrected", Status.UNHEALTHY, "mc0"),
    ("sys/devices/system/edac/mc/mc0/ce_count", "5000", "memory_corrected", Status.DEGRADED, "mc0"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave", "cpu_governor", Status.DEGRADED, ""),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "800000", "cpu_clock", Status.DEGRADED, ""),
    (
        "sys/devices/system/clocksource/clocksource0/current_clocksource",
        "hpet",
        "clock_source",
        Status.DEGRADED,
        "",
    ),
    (
        "proc/44/stat",
        "44 (a) b) D 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9000 0",
        "process_stuck",
        Status.DEGRADED,
        "",
    ),
    ("proc/loadavg", "0 0 0 1/9000 9", "task_pressure", Status.DEGRADED, ""),
    ("proc/loadavg", "nonsense", "task_pressure", Status.UNKNOWN, ""),
    ("proc/sys/fs/file-nr", "90000 0 100000", "file_pressure", Status.DEGRADED, ""),
    ("proc/modules", "nvidia 1\nmlx5_ib 1\n", "kernel_peermem", Status.DEGRADED, ""),
    ("sys/class/nvme/nvme0/state", "dead", "nvme_state", Status.UNHEALTHY, "nvme0"),
    ("proc/mdstat", "md0 : active raid1 sda[0]\n 9 blocks [2/1] [U_]\n", "raid", Status.DEGRADED, "md0"),
    ("sys/class/net/eth0/statistics/rx_errors", "900", "eth_errors", Status.DEGRADED, "eth0"),
    ("sys/class/infiniband/mlx5_0/ports/1/state", "1: DOWN", "ib_port_down", Status.DEGRADED, "mlx5_0/1"),
    (
        "sys/class/infiniband/mlx5_0/ports/1/counters/symbol_error",
        "99999",
        "ib_symbol_errors",
        Status.DEGRADED,
        "mlx5_0/1",
    ),
    ("sys/bus/pci/devices/0000:1b:00.0/current_link_width", "8", "pci_link_width", Status.UNHEALTHY, "0000:1b:00.0"),
    ("etc/fstab", "a /scratch xfs defaults 0 0\n", "mount_missing", Status.UNHEALTHY, "/scratch"),
    ("proc/self/mounts", "/dev/sda1 / ext4 ro,relatime 0 0\n", "mount_read_only", Status.UNHEALTHY, "/"),
    ("proc/self/mounts", "s:/x /gone\\0401 nfs4 rw 0 0\n", "mount_hung", Status.UNHEALTHY, "/gone 1"),
    (
        "dev/kmsg",
        "2,9,89000000000,-;EXT4-fs error (device sda): x\n",
        "kernel_filesystem_error",
        Status.UNHEALTHY,
        "",
    ),
]


@pytest.mark.parametrize(("name", "text", "check", "status", "entity"), CHANGED)
def test_a_file_that_changes_is_seen(
    node_files: "NodeFiles", name: str, text: str, check: str, status: Status, entity: str
) -> None:
    assert findings(node_files, check) == [(check, Status.HEALTHY, "")]
    node_files.write(name, text)
    assert findings(node_files, check) == [(check, status, entity)]


SAID = [
    ("systemctl", "printf 'Id=a.service\\nActiveState=failed\\n\\n'", "unit_failed", Status.DEGRADED, "a.service"),
    (
        "systemctl",
        "printf 'Id=nvidia-fabricmanager.service\\nLoadState=loaded\\nActiveState=inactive\\n\\n'",
        "fabric_manager",
        Status.UNHEALTHY,
        "nvidia-fabricmanager.service",
    ),
    ("systemctl", "echo 'not booted with systemd' >&2; exit 1", "unit_failed", Status.UNKNOWN, ""),
    ("nvme", "echo '{\"percent_used\": 90}'", "nvme_wear", Status.DEGRADED, "nvme0"),
    ("nvme", 'echo \'{"percentage_used": {"value": 120}}\'', "nvme_wear", Status.UNHEALTHY, "nvme0"),
    ("nvme", "echo '{\"critical_warning\": 4}'", "nvme_warning", Status.UNHEALTHY, "nvme0"),
    ("nvme", "echo '{\"media_errors\": 1}'", "nvme_media_errors", Status.UNHEALTHY, "nvme0"),
    ("nvme", "echo nonsense", "nvme_wear", Status.UNKNOWN, ""),
    ("ipmitool", "echo 'FAN1 | 41h | cr  | 29.1 | 0 RPM'", "bmc_sensors", Status.UNHEALTHY, "FAN1"),
    ("ipmitool", "echo '1 | a | Memory | Uncorrectable ECC | Asserted'", "bmc_events", Status.DEGRADED, ""),
]


@pytest.mark.parametrize(("program", "script", "check", "status", "entity"), SAID)
def test_what_a_program_says_is_seen(
    node_files: "NodeFiles", program: str, script: str, check: str, status: Status, entity: str
) -> None:
    assert findings(node_files, check) == [(check, Status.HEALTHY, "")]
    node_files.program(program, script)
    assert findings(node_files, check) == [(check, status, entity)]


def test_a_program_that_is_not_there_is_unknown(node_files: "NodeFiles") -> None:
    (node_files.root / "usr/bin/nvme").unlink()
    found = finding(node_files, "nvme_wear")
    assert (found.status, found.why) == (Status.UNKNOWN, "nvme is not installed")


@pytest.mark.parametrize(("bits", "status"), [(0x01, Status.HEALTHY), (0x1D, Status.DEGRADED)])
def test_acs_counts_where_it_redirects_peers(node_files: "NodeFiles", bits: int, status: Status) -> None:
    node_files.config("0000:15:00.0", acs=bits)
    assert finding(node_files, "pci_acs").status is status


def test_acs_is_as_it_must_be_in_a_virtual_machine(node_files: "NodeFiles") -> None:
    node_files.config("0000:15:00.0", acs=0x1D)
    node_files.write("proc/cpuinfo", "processor : 0\nflags : fpu hypervisor\n")
    assert finding(node_files, "pci_acs").status is Status.HEALTHY


def test_a_gpu_off_the_bus_and_one_without_driver_are_named(node_files: "NodeFiles") -> None:
    (node_files.root / "sys/bus/pci/devices/0000:1b:00.0/config").write_bytes(b"\xff" * 256)
    node_files.pci("0000:43:00.0", 0x10DE, 0x0302)
    assert findings(node_files, "pci_gpu_off_bus", "pci_gpu_driver") == [
        ("pci_gpu_off_bus", Status.UNHEALTHY, "0000:1b:00.0"),
        ("pci_gpu_driver", Status.UNHEALTHY, "0000:43:00.0"),
    ]


def test_a_fault_older_than_a_day_is_history(node_files: "NodeFiles") -> None:
    line = "NVRM: Xid (PCI:0000:1b:00): 79, pid=1, GPU has fallen off the bus.\n"
    node_files.write("dev/kmsg", f"3,1,1000,-;{line}")
    assert finding(node_files, "xid_off_bus").status is Status.HEALTHY
    node_files.write("dev/kmsg", f"3,1,89990500000,-;{line}")
    found = finding(node_files, "xid_off_bus")
    assert (found.status, found.entity, found.evidence["seconds_ago"]) == (Status.UNHEALTHY, "0000:1b:00", 10)


def test_what_a_program_writes_to_the_kernel_log_is_no_fault(node_files: "NodeFiles") -> None:
    line = "NVRM: Xid (PCI:0000:1b:00): 79, pid=1, GPU has fallen off the bus.\n"
    node_files.write("dev/kmsg", f"11,1,89990500000,-;{line}")
    assert finding(node_files, "xid_off_bus").status is Status.HEALTHY


@pytest.mark.parametrize("junk", [b"x" * (1 << 20), b"\xff\xfe\n" * 100, b"3,1,99999999999999999999999,-;a\n", b"\0"])
def test_a_kernel_log_of_junk_is_read_without_harm(node_files: "NodeFiles", junk: bytes) -> None:
    (node_files.root / "dev/kmsg").write_bytes(junk)
    assert finding(node_files, "xid_gpu").status is Status.HEALTHY


def test_the_profile_is_compared(node_files: "NodeFiles") -> None:
    profile = Profile(memory_mib=9000, host=HostProfile(modules=("nvidia", "gdrdrv"), units=("ssh", "chronyd")))
    assert findings(node_files, "memory_size", "kernel_modules", "unit_required", profile=profile) == [
        ("memory_size", Status.UNHEALTHY, ""),
        ("kernel_modules", Status.UNHEALTHY, "gdrdrv"),
        ("unit_required", Status.UNHEALTHY, "chronyd.service"),
    ]


def test_this_kernels_clock_can_be_asked() -> None:
    assert abs(read_clock(Surroundings()).offset_seconds) < 10


def _hang(_: Surroundings) -> int:
    time.sleep(60)
    return 1


def _end(_: Surroundings) -> int:
    os._exit(3)


def _number(_: Surroundings) -> int:
    return 7


def test_a_probe_that_hangs_or_dies_costs_its_own_answer_and_its_limit() -> None:
    begun = time.monotonic()
    probes = [Probe("hang", _hang, 0.3), Probe("end", _end, 5), Probe("number", _number, 5)]
    answers = read_probes(probes, Surroundings())
    assert time.monotonic() - begun < 3
    assert answers["number"] == 7
    assert isinstance(answers["hang"], ProbeError)
    assert "0.3 s" in str(answers["hang"])
    assert isinstance(answers["end"], ProbeError)
    assert "without an answer" in str(answers["end"])


def _spin(_: Surroundings) -> None:
    while True:
        pass


def test_one_that_was_given_no_processor_says_so() -> None:
    answers = read_probes([Probe("spin", _spin, 0.3), Probe("hang", _hang, 0.3)], Surroundings())
    assert isinstance(answers["spin"], StarvedError)
    assert "processors are taken" in str(answers["spin"])
    assert not isinstance(answers["hang"], StarvedError)


def test_a_file_system_that_nobody_came_to_ask_is_unknown(
    node_files: "NodeFiles", monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"/": StarvedError("no answer within 1 s: the node's processors are taken")}
    monkeypatch.setattr(storage, "collect", lambda _: answer)
    assert finding(node_files, "mount_hung").status is Status.UNKNOWN
    answer["/"] = ProbeError("no answer within 1 s")
    assert finding(node_files, "mount_hung").status is Status.UNHEALTHY


def _write_late(surroundings: Surroundings) -> int:
    time.sleep(0.4)
    return surroundings.path("written").write_text("late")


def _what_is_written(surroundings: Surroundings) -> str | None:
    return surroundings.text("written")


@pytest.mark.parametrize("seconds", [5.0, 60.0])
def test_the_last_probe_sees_what_came_while_the_others_read(node_files: "NodeFiles", seconds: float) -> None:
    probes = [Probe("log", _what_is_written, 1, last=True), Probe("late", _write_late, 5), Probe("number", _number, 5)]
    answers = read_probes(probes, Surroundings(node_files.root), seconds)
    assert answers == {"log": "late", "late": 4, "number": 7}


def test_the_last_probe_waits_for_no_driver_that_hangs(node_files: "NodeFiles") -> None:
    node_files.write("written", "long ago")
    begun = time.monotonic()
    probes = [Probe("log", _what_is_written, 1, last=True), Probe("hang", _hang, 60)]
    answers = read_probes(probes, Surroundings(node_files.root), 0.8)
    assert time.monotonic() - begun < 3
    assert answers["log"] == "long ago"
    assert re.search(
        r"no answer within 0\.[67]\d* s|no answer within 0\.8 s", str(answers["hang"])
    )  # what is left of it


def _start_a_program(surroundings: Surroundings) -> str:
    return surroundings.run(["slow"], 60)


def test_the_programs_of_a_probe_end_with_it(node_files: "NodeFiles") -> None:
    pid_file = node_files.root / "pid"
    node_files.program("slow", f"echo $$ > {pid_file}; exec sleep 60")
    answers = read_probes([Probe("slow", _start_a_program, 1.0)], Surroundings(node_files.root))
    assert isinstance(answers["slow"], ProbeError)
    deadline = time.monotonic() + 5
    stat = Path(f"/proc/{int(pid_file.read_text())}/stat")
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline, "the program goes on"
        time.sleep(0.05)


def test_a_card_in_a_slot_that_allows_no_more_is_well(node_files: "NodeFiles") -> None:
    node_files.write("sys/bus/pci/devices/0000:18:00.0/current_link_width", "8")
    assert finding(node_files, "pci_link_width").entity == "0000:18:00.0"
    devices = node_files.root / "sys/bus/pci/devices"
    node_files.write("sys/devices/pci0000:15/0000:15:01.0/max_link_width", "8")
    (devices / "0000:18:00.0").rename(node_files.root / "sys/devices/pci0000:15/0000:15:01.0/0000:18:00.0")
    (devices / "0000:18:00.0").symlink_to("../../../devices/pci0000:15/0000:15:01.0/0000:18:00.0")
    assert finding(node_files, "pci_link_width").status is Status.HEALTHY


def test_a_process_that_moves_on_is_not_stuck(node_files: "NodeFiles", monkeypatch: pytest.MonkeyPatch) -> None:
    stat = "44 (dd) D 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9000 0"
    node_files.write("proc/44/stat", stat)
    node_files.write("proc/44/status", "voluntary_ctxt_switches:\t7\n")
    surroundings = Surroundings(node_files.root)
    assert [one.pid for one in read_processes(surroundings).odd] == [44]
    text = "voluntary_ctxt_switches:\t8\n"
    monkeypatch.setattr(time, "sleep", lambda _: node_files.write("proc/44/status", text))
    assert read_processes(surroundings).odd == ()


def test_the_worst_comes_first(node_files: "NodeFiles") -> None:
    node_files.write("sys/class/nvme/nvme0/state", "dead")
    node_files.write("proc/buddyinfo", "Node 0, zone   Normal 9 9 9 9 9 9 9 9 9 0 0\n")
    statuses = [one.status for one in run_checks(FILES_ONLY, Profile(), Surroundings(node_files.root))]
    assert statuses == sorted(statuses, key=list(Status).index)
    assert statuses[:2] == [Status.UNHEALTHY, Status.DEGRADED]
