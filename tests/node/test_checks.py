"""Every check as a table: what is healthy, what is not, and that nothing is concluded from what was not read."""

import os
from dataclasses import replace

import pytest
from played_readings import (
    BRIDGE,
    CARD,
    DRIVE,
    ETH,
    GPU_DEVICE,
    HEALTHY,
    HOME,
    MEMORY,
    MOUNTS,
    PORT,
    PROCESSES,
    PROCESSORS,
    PROFILE,
    ROOT,
    SECOND,
    changed,
    fabric,
    failing,
    gpu,
    gpus,
    interfaces,
    log,
    pci,
    xid,
)

from fleetward.exporters.gpu.readings import Census, GpuIdentity, GpuJob, GpuProcess, GpuReading, ProcessOwner
from fleetward.exporters.gpu.series_list import BY_KEY
from fleetward.model.gpu_faults import Severity
from fleetward.node.check_list import BY_ID, CHECKS
from fleetward.node.checking import AnyCheck
from fleetward.node.probes.clock import ClockState
from fleetward.node.probes.gpus import Gpus
from fleetward.node.probes.host import Modules, Process
from fleetward.node.probes.kernel_log import KernelRecords, Record
from fleetward.node.probes.network import Fabric, Interfaces, Port
from fleetward.node.probes.pci import PciDevices
from fleetward.node.probes.programs import EventLog, NvmeLog, Sensors, Unit, Units
from fleetward.node.probes.storage import Array, Arrays, Declared, Mounts, Nvmes
from fleetward.node.profile import Profile
from fleetward.node.results import ProbeError, Status


def held_by(owner: ProcessOwner, *jobs: GpuJob, steps: frozenset[str] = frozenset()) -> Gpus:
    """Return GPUs of which the second is in use."""
    return replace(gpus(gpu(processes=(GpuProcess(77),))), jobs=jobs, owners={77: owner}, job_steps=steps)


BAD, WEAK = Status.UNHEALTHY, Status.DEGRADED
GPU1, BUS = "GPU 1", "0000:01:00"
ROWS: list[tuple[str, object, Status, str]] = [
    ("gpu_driver", Gpus(Census(failure="the kernel has no NVIDIA driver")), BAD, ""),
    ("gpu_count", replace(gpus(), census=Census(1)), BAD, ""),
    ("gpu_lost", failing("GPU is lost"), BAD, GPU1),
    ("gpu_requires_reset", failing("GPU requires reset"), BAD, GPU1),
    ("gpu_recovery_action", changed(gpu_recovery_action=2), BAD, GPU1),
    ("gpu_recovery_action", changed(gpu_recovery_action=99), WEAK, GPU1),
    ("gpu_persistence", changed(gpu_persistence_enabled=0), WEAK, GPU1),
    ("gpu_vbios", gpus(gpu(vbios="95.0")), WEAK, GPU1),
    ("gpu_driver_version", replace(gpus(), census=Census(2, "535.1")), WEAK, ""),
    ("gpu_process_between_jobs", gpus(gpu(processes=(GpuProcess(77),))), WEAK, GPU1),
    ("gpu_process_leftover", held_by(ProcessOwner(1000, "5", state="R")), WEAK, GPU1),
    ("gpu_memory_between_jobs", changed(gpu_memory_used_bytes=16 * 1024**2), WEAK, GPU1),
    ("gpu_power_limit", changed(gpu_power_limit_watts=500), WEAK, GPU1),
    ("gpu_power_brake", changed(gpu_clock_event_active__hw_power_brake=1), WEAK, GPU1),
    ("gpu_ecc_uncorrected", changed(gpu_ecc_errors_total__uncorrected=1), BAD, GPU1),
    ("gpu_ecc_corrected", changed(gpu_ecc_errors_total__corrected=2e7 + 1), WEAK, GPU1),
    ("gpu_sram_uncorrected", changed(gpu_ecc_location_errors_total__sram__uncorrected=1), BAD, GPU1),
    ("gpu_sram_uncorrected", changed(gpu_sram_ecc_threshold_active=1), BAD, GPU1),
    ("gpu_row_remap_failed", changed(gpu_row_remap_failed=1), BAD, GPU1),
    ("gpu_row_remap_pending", changed(gpu_row_remap_pending=1), WEAK, GPU1),
    ("gpu_rows_remapped", changed(gpu_remapped_rows__uncorrected=512), BAD, GPU1),
    ("gpu_banks_exhausted", changed(gpu_memory_banks__none=8), BAD, GPU1),
    ("gpu_pages_retired", changed(gpu_retired_pages__uncorrected=10), WEAK, GPU1),
    ("gpu_pages_retired_pending", changed(gpu_retired_pages_pending=1), WEAK, GPU1),
    ("gpu_hw_slowdown", changed(gpu_clock_event_active__hw_slowdown=1), WEAK, GPU1),
    ("gpu_thermal_slowdown", changed(gpu_clock_event_active__sw_thermal_slowdown=1), WEAK, GPU1),
    ("gpu_temperature_margin", changed(gpu_temperature_margin_celsius=10), WEAK, GPU1),
    ("gpu_temperature", changed(gpu_temperature_celsius=88), BAD, GPU1),
    ("gpu_memory_temperature", changed(gpu_memory_temperature_celsius=96), BAD, GPU1),
    ("gpu_sm_clock", changed(gpu_sm_clock_hertz=900e6), WEAK, GPU1),
    ("gpu_memory_clock", changed(gpu_memory_clock_hertz=900e6), WEAK, GPU1),
    ("gpu_pcie_width", changed(gpu_pcie_link_width=8), BAD, GPU1),
    ("gpu_pcie_generation", changed(gpu_pcie_link_generation=1), BAD, GPU1),
    ("gpu_pcie_replays", changed(gpu_pcie_replay_total=200_000), WEAK, GPU1),
    ("gpu_pcie_errors", changed(gpu_pcie_errors_total__fatal=1), WEAK, GPU1),
    ("gpu_nvlink_down", changed(gpu_nvlink_up__5=0), BAD, GPU1),
    ("gpu_nvlink_recovery", changed(gpu_nvlink_errors_total__5__recovery=1), BAD, GPU1),
    ("gpu_nvlink_errors", changed(gpu_nvlink_errors_total__5__crc=1), WEAK, GPU1),
    ("gpu_fabric_state", changed(gpu_fabric_state=2), BAD, GPU1),
    ("gpu_fabric_state", changed(gpu_fabric_status_code=999), BAD, GPU1),
    ("gpu_fabric_trouble", changed(gpu_fabric_trouble_active__route_unhealthy=1), BAD, GPU1),
    ("xid_off_bus", log(xid(79)), BAD, BUS),
    ("xid_memory", log(xid(48)), BAD, BUS),
    ("xid_nvlink", log(xid(74)), BAD, BUS),
    (
        "xid_recovery",
        log(xid(154, words="GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)")),
        BAD,
        BUS,
    ),
    ("xid_program", log(xid(13)), WEAK, BUS),
    ("xid_gpu", log(xid(119)), BAD, BUS),
    ("xid_fatal_repeated", log(*[xid(119)] * 5), BAD, BUS),
    ("xid_program_repeated", log(xid(31), xid(31)), WEAK, BUS),
    ("xid_program_spread", log(xid(31), xid(31, "02")), WEAK, ""),
    ("sxid", log("nvidia-nvswitch2: SXid (PCI:0000:05:00.0): 20034, Fatal, Link 30 LTSSM Fault Up"), BAD, "0000:05:00"),
    ("kernel_mlx5", log("mlx5_core 0000:02:00.0: poll_health:800: device's health compromised"), BAD, ""),
    (
        "kernel_pcie_power",
        log("mlx5_core 0000:02:00.0: mlx5_pcie_event:293: Detected insufficient power on the PCIe slot (27W)."),
        WEAK,
        "",
    ),
    (
        "kernel_pcie_error",
        log("pcieport 0000:03:00.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer"),
        WEAK,
        "",
    ),
    ("kernel_machine_check", log("mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 5: be00000000800400"), WEAK, ""),
    ("kernel_lockup", log("watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [dd:1]"), BAD, ""),
    ("kernel_hung_task", log("INFO: task dd:123 blocked for more than 120 seconds."), WEAK, ""),
    ("kernel_out_of_memory", log("Out of memory: Killed process 123 (python) total-vm:1kB"), WEAK, ""),
    ("kernel_disk_error", log("I/O error, dev nvme0n1, sector 5 op 0x0:(READ) flags 0x0"), BAD, ""),
    ("kernel_filesystem_error", log("XFS (nvme0n1): Filesystem has been shut down due to log error (0x2)."), BAD, ""),
    ("pci_gpu_count", PciDevices((GPU_DEVICE,)), BAD, ""),
    ("pci_gpu_off_bus", pci(replace(SECOND, off_bus=True)), BAD, "0000:04:00.0"),
    ("pci_gpu_driver", pci(replace(SECOND, driver="")), BAD, "0000:04:00.0"),
    ("pci_link_width", pci(replace(SECOND, width=8)), BAD, "0000:04:00.0"),
    ("pci_link_speed", PciDevices((replace(CARD, speed="8.0 GT/s PCIe"),)), BAD, "0000:02:00.0"),
    ("pci_acs", PciDevices((replace(BRIDGE, redirects_peers=True),)), WEAK, ""),
    ("ib_devices", Fabric(), BAD, "mlx5_0"),
    ("ib_port_down", fabric(replace(PORT, state="DOWN")), BAD, "mlx5_0/1"),
    ("ib_port_down", fabric(replace(PORT, physical="Polling")), BAD, "mlx5_0/1"),
    ("ib_rate", fabric(replace(PORT, rate_gbits=200)), BAD, "mlx5_0/1"),
    ("ib_firmware", Fabric({"mlx5_0": "28.38"}), WEAK, "mlx5_0"),
    ("ib_link_downed", fabric(link_downed=3), WEAK, "mlx5_0/1"),
    ("ib_symbol_errors", fabric(symbol_error=121), WEAK, "mlx5_0/1"),
    ("ib_link_recovery", fabric(link_error_recovery=6), WEAK, "mlx5_0/1"),
    ("ib_buffer_overrun", fabric(local_link_integrity_errors=1), WEAK, "mlx5_0/1"),
    ("ib_retries", fabric(rnr_nak_retry_err=1), WEAK, "mlx5_0/1"),
    ("roce_slow_restart", fabric(roce_slow_restart=1001), WEAK, "mlx5_0/1"),
    ("eth_link", interfaces(replace(ETH, carrier=False)), BAD, "eth0"),
    ("eth_link", Interfaces(), BAD, "eth0"),
    ("eth_mtu", interfaces(replace(ETH, mtu=1500)), WEAK, "eth0"),
    ("eth_errors", interfaces(replace(ETH, errors=501)), WEAK, "eth0"),
    ("eth_bond", interfaces(replace(ETH, slaves_down=("eth2",))), WEAK, "eth0"),
    ("memory_size", replace(MEMORY, total_mib=1_800_000), BAD, ""),
    ("memory_fragmented", replace(MEMORY, large_blocks_free=0), WEAK, ""),
    ("memory_uncorrected", replace(MEMORY, uncorrected={"mc0": 1}), BAD, "mc0"),
    ("memory_corrected", replace(MEMORY, corrected={"mc0": 1001}), WEAK, "mc0"),
    ("cpu_count", replace(PROCESSORS, count=63), BAD, ""),
    ("cpu_governor", replace(PROCESSORS, governors={"cpu0": "powersave"}), WEAK, ""),
    ("cpu_clock", replace(PROCESSORS, megahertz={"cpu0": 1200.0}), WEAK, ""),
    ("clock_source", replace(PROCESSORS, clock_source="hpet"), WEAK, ""),
    ("clock_offset", ClockState(True, -0.06), WEAK, ""),
    ("clock_synchronised", ClockState(False, 0.0), WEAK, ""),
    ("process_stuck", replace(PROCESSES, odd=(Process(9, "dd", "D", 301),)), WEAK, ""),
    ("process_zombies", replace(PROCESSES, odd=(Process(9, "sh", "Z", 301),) * 1000), WEAK, ""),
    ("file_pressure", replace(PROCESSES, files=8001), WEAK, ""),
    ("task_pressure", replace(PROCESSES, tasks=8001), WEAK, ""),
    ("kernel_modules", Modules(frozenset({"nvidia"})), BAD, "nvidia-uvm"),
    ("kernel_peermem", Modules(frozenset({"nvidia", "mlx5_ib"})), WEAK, ""),
    ("mount_missing", Mounts((ROOT,), (Declared("/"),)), BAD, "/home"),
    ("mount_hung", Mounts((replace(HOME, failure="no answer within 1 s", hung=True),)), BAD, "/home"),
    ("mount_read_only", replace(MOUNTS, mounts=(replace(ROOT, read_only=True),)), BAD, "/"),
    ("disk_full", Mounts((replace(ROOT, bytes_free=150),)), WEAK, "/"),
    ("disk_full", Mounts((replace(ROOT, bytes_free=20),)), BAD, "/"),
    ("disk_inodes", Mounts((replace(ROOT, inodes_free=40),)), WEAK, "/"),
    ("raid", Arrays((Array("md0", "active", 2, 1),)), WEAK, "md0"),
    ("nvme_count", Nvmes(), BAD, ""),
    ("nvme_state", Nvmes((("nvme0", "resetting"),)), BAD, "nvme0"),
    ("nvme_wear", NvmeLog((replace(DRIVE, used_percent=81),)), WEAK, "nvme0"),
    ("nvme_wear", NvmeLog((replace(DRIVE, used_percent=101),)), BAD, "nvme0"),
    ("nvme_warning", NvmeLog((replace(DRIVE, critical_warning=1),)), BAD, "nvme0"),
    ("nvme_warning", NvmeLog((replace(DRIVE, spare_percent=9),)), BAD, "nvme0"),
    ("nvme_media_errors", NvmeLog((replace(DRIVE, media_errors=1),)), BAD, "nvme0"),
    ("unit_failed", Units({"a.service": Unit("a.service", "loaded", "failed")}), WEAK, "a.service"),
    ("unit_required", Units(), BAD, "sshd.service"),
    (
        "fabric_manager",
        Units({"nvidia-fabricmanager.service": Unit("nvidia-fabricmanager.service", "loaded", "inactive")}),
        BAD,
        "nvidia-fabricmanager.service",
    ),
    ("bmc_sensors", Sensors((("FAN1", "cr", "0 RPM"),)), BAD, "FAN1"),
    ("bmc_events", EventLog(("2 | 01/01/26 | Memory | Uncorrectable ECC | Asserted",)), WEAK, ""),
    ("bmc_log_full", EventLog(("1 | a | b | c",) * 501), WEAK, ""),
]


def judged(check: AnyCheck, reading: object, profile: Profile = PROFILE) -> list[tuple[Status, str]]:
    return [(one.status, one.entity) for one in check.findings(reading, profile)]


def test_every_check_has_a_row_here() -> None:
    assert {row[0] for row in ROWS} == {one.id for one in CHECKS}
    assert len(CHECKS) == len(BY_ID) >= 60


@pytest.mark.parametrize(("id", "reading", "status", "entity"), ROWS)
def test_what_is_wrong_is_found(id: str, reading: object, status: Status, entity: str) -> None:
    (found,) = BY_ID[id].findings(reading, PROFILE)
    assert (found.status, found.entity) == (status, entity)
    assert found.why
    assert found.action
    assert found.severity is not None
    assert (found.severity is Severity.FATAL) == (status is BAD)


@pytest.mark.parametrize("check", CHECKS, ids=lambda one: one.id)
def test_a_healthy_node_is_healthy(check: AnyCheck) -> None:
    assert judged(check, HEALTHY[check.reads.name]) == [(Status.HEALTHY, "")]


@pytest.mark.parametrize("check", CHECKS, ids=lambda one: one.id)
def test_what_could_not_be_read_is_unknown(check: AnyCheck) -> None:
    (found,) = check.findings(ProbeError("no answer within 2 s"), PROFILE)
    assert (found.status, found.why, found.severity) == (Status.UNKNOWN, "no answer within 2 s", None)


@pytest.mark.parametrize(
    "id",
    [
        "gpu_count",
        "gpu_driver_version",
        "pci_gpu_count",
        "ib_devices",
        "ib_rate",
        "ib_firmware",
        "eth_link",
        "eth_mtu",
        "memory_size",
        "cpu_count",
        "kernel_modules",
        "nvme_count",
        "unit_required",
    ],
)
def test_what_the_profile_does_not_say_is_unknown(id: str) -> None:
    check = BY_ID[id]
    (found,) = check.findings(HEALTHY[check.reads.name], Profile())
    assert found.status is Status.UNKNOWN
    assert "profile" in found.why


def test_a_gpu_that_hangs_is_unknown_beside_those_that_answer() -> None:
    seen = Gpus(Census(2), (gpu(0, gpu_row_remap_failed=1),), hung=(1,))
    assert judged(BY_ID["gpu_row_remap_failed"], seen) == [(BAD, "GPU 0"), (Status.UNKNOWN, GPU1)]


def test_memory_is_no_leak_where_the_driver_does_not_tell_of_processes() -> None:
    """As it may refuse to of a GPU that MIG has cut."""
    used = gpu(gpu_memory_used_bytes=16 * 1024**2)
    assert judged(BY_ID["gpu_memory_between_jobs"], gpus(used)) == [(WEAK, GPU1)]
    assert judged(BY_ID["gpu_memory_between_jobs"], gpus(replace(used, processes_told=False)))[0][0] is Status.HEALTHY


def test_a_number_that_no_gpu_has_is_unknown() -> None:
    bare = GpuReading(GpuIdentity(0, "GPU-0"), [None] * len(BY_KEY))
    for check in CHECKS:
        if check.reads.name == "NVML" and check.id not in {"gpu_driver", "gpu_count", "gpu_lost", "gpu_requires_reset"}:
            statuses = {one.status for one in check.findings(Gpus(Census(1), (bare,)), Profile())}
            assert statuses <= {Status.UNKNOWN, Status.HEALTHY}, check.id


def test_a_node_without_nvidias_library_is_no_gpu_node_unless_its_profile_says_so() -> None:
    bare = Gpus(Census(failure="libnvidia-ml.so.1 is not on this host"), missing_library=True)
    assert judged(BY_ID["gpu_driver"], bare, Profile()) == [(Status.UNKNOWN, "")]
    assert judged(BY_ID["gpu_driver"], bare) == [(BAD, "")]


def test_a_gpu_that_rests_may_have_low_clocks_and_a_slow_link() -> None:
    resting = changed(
        gpu_utilization_ratio=0, gpu_sm_clock_hertz=3e8, gpu_pcie_link_generation=1, gpu_performance_state=8
    )
    assert judged(BY_ID["gpu_sm_clock"], resting) == [(Status.HEALTHY, "")]
    assert judged(BY_ID["gpu_pcie_generation"], resting) == [(Status.HEALTHY, "")]


def test_a_site_sets_a_limit() -> None:
    check = BY_ID["gpu_ecc_corrected"]
    seen = changed(gpu_ecc_errors_total__corrected=100)
    assert judged(check, seen) == [(Status.HEALTHY, "")]
    assert judged(check, seen, replace(PROFILE, limits={"gpu_ecc_corrected": {"errors": 99}})) == [(WEAK, GPU1)]


def test_programs_that_fail_close_together_are_one_burst() -> None:
    twice = KernelRecords((Record(xid(31), 100.0), Record(xid(31), 99.0)))
    assert judged(BY_ID["xid_program_repeated"], twice) == [(Status.HEALTHY, "")]


def test_a_fault_of_a_program_is_the_users_problem() -> None:
    (found,) = BY_ID["xid_program"].findings(log(xid(13)), PROFILE)
    assert found.problem == "user_problem"
    (found,) = BY_ID["xid_off_bus"].findings(log(xid(79)), PROFILE)
    assert found.problem == "node_problem"


SIXTH = GpuJob(0, "6", uuid="GPU-0", uid="1001")
SLUID = "sEKNKTV3WPV500"


@pytest.mark.parametrize(
    ("seen", "why", "problem", "action"),
    [
        (
            held_by(ProcessOwner(1000, "5", state="R")),
            "processes 77 are of job 5, which is over here",
            "user",
            "restart",
        ),
        (
            held_by(ProcessOwner(1000, "5", state="D")),
            "processes 77 are of job 5, which is over here, and cannot be ended (state D)",
            "node",
            "reboot",
        ),
        (
            held_by(ProcessOwner(1000, "5", state="D"), steps=frozenset({"5"})),
            "processes 77 are of job 5, to which Slurm did not give this GPU",
            "user",
            "restart",
        ),
        (
            held_by(ProcessOwner(1000, "", SLUID, "R"), steps=frozenset({"5", SLUID})),
            f"processes 77 are of job {SLUID}, to which Slurm did not give this GPU",
            "user",
            "restart",
        ),
        (
            held_by(ProcessOwner(1001, "6", state="R"), SIXTH),
            "processes 77 are of job 6, to which Slurm did not give this GPU",
            "user",
            "restart",
        ),
        (
            held_by(ProcessOwner(1000, state="D"), SIXTH),
            "processes 77 are of user 1000 and of no job",
            "user",
            "restart",
        ),
    ],
)
def test_whose_a_leftover_is_says_whose_problem_it_is(seen: Gpus, why: str, problem: str, action: str) -> None:
    (found,) = BY_ID["gpu_process_leftover"].findings(seen, PROFILE)
    assert (found.status, found.entity, found.why) == (WEAK, GPU1, why)
    assert found.problem == f"{problem}_problem"
    assert (found.action or "").startswith(action)


def test_nothing_is_left_over_where_whose_a_gpu_is_is_not_known() -> None:
    seen = held_by(ProcessOwner(1000, "5"))
    for unknown in (replace(seen, jobs=None), replace(seen, owners=None)):
        assert judged(BY_ID["gpu_process_leftover"], unknown) == [(Status.UNKNOWN, "")]


def test_a_mount_that_this_user_may_not_see_is_unknown() -> None:
    closed = Mounts((replace(HOME, failure=os.strerror(13)),))
    assert judged(BY_ID["mount_hung"], closed) == [(Status.UNKNOWN, "/home")]


def test_a_servers_disk_that_is_full_is_no_fatal_fault_of_the_node() -> None:
    assert judged(BY_ID["disk_full"], Mounts((replace(HOME, bytes_free=1),))) == [(WEAK, "/home")]


def test_errors_of_a_port_are_held_against_the_time_that_it_runs() -> None:
    seen = replace(fabric(symbol_error=1000), uptime_hours=100.0)
    assert judged(BY_ID["ib_symbol_errors"], seen) == [(Status.HEALTHY, "")]
    assert judged(BY_ID["ib_symbol_errors"], replace(seen, uptime_hours=5.0)) == [(WEAK, "mlx5_0/1")]


def test_ports_that_the_profile_lacks_do_not_count() -> None:
    spare = Fabric({}, (Port("mlx5_9", "1", "DOWN", "Polling", "InfiniBand"),))
    assert judged(BY_ID["ib_port_down"], spare) == [(Status.HEALTHY, "")]
    assert judged(BY_ID["ib_port_down"], spare, Profile()) == [(WEAK, "mlx5_9/1")]
