"""What the probes read on a healthy node, and that with something changed, without a node."""

from collections.abc import Mapping
from dataclasses import replace

from fleetward.exporters.gpu.readings import Census, GpuIdentity, GpuProcess, GpuReading, Values
from fleetward.exporters.gpu.series_list import BY_KEY
from fleetward.node.probes.clock import ClockState
from fleetward.node.probes.gpus import Gpus
from fleetward.node.probes.host import Memory, Modules, Process, Processes, Processors
from fleetward.node.probes.kernel_log import KernelRecords, Record
from fleetward.node.probes.network import Fabric, Interface, Interfaces, Port
from fleetward.node.probes.pci import MELLANOX, NVIDIA, PciDevice, PciDevices
from fleetward.node.probes.programs import EventLog, NvmeHealth, NvmeLog, Sensors, Unit, Units
from fleetward.node.probes.storage import Array, Arrays, Declared, Mount, Mounts, Nvmes
from fleetward.node.profile import GpuProfile, HostProfile, InfinibandProfile, Profile

PROFILE = Profile(
    sockets=2,
    cores_per_socket=32,
    memory_mib=2_000_000,
    gpu=GpuProfile(count=2, nvlinks=18, power_limit_watts=700, driver="570.1", vbios=("96.0",)),
    infiniband=InfinibandProfile(devices=("mlx5_0",), rate_gbits_per_second=400, firmware=("28.39",)),
    host=HostProfile(
        modules=("nvidia-uvm",), units=("sshd",), mounts=("/home",), nvme_count=1, interfaces=("eth0",), mtu=9000
    ),
)

GPU_VALUES: Mapping[str, float] = {
    **dict.fromkeys(BY_KEY, 0.0),
    **{f"gpu_nvlink_up.{link}": 1.0 for link in range(18)},
    "gpu_utilization_ratio": 0.9,
    "gpu_persistence_enabled": 1,
    "gpu_power_limit_watts": 700,
    "gpu_power_limit_setting_watts.default": 700,
    "gpu_temperature_celsius": 60,
    "gpu_memory_temperature_celsius": 70,
    "gpu_temperature_margin_celsius": 27,
    "gpu_temperature_limit_celsius.gpu_max": 87,
    "gpu_temperature_limit_celsius.memory_max": 95,
    "gpu_sm_clock_hertz": 1.98e9,
    "gpu_memory_clock_hertz": 2.6e9,
    "gpu_pcie_link_width": 16,
    "gpu_pcie_link_width_max": 16,
    "gpu_pcie_link_generation": 5,
    "gpu_pcie_link_generation_max": 5,
    "gpu_fabric_state": 3,
}


def gpu(index: int = 1, vbios: str = "96.0", processes: tuple[GpuProcess, ...] = (), **changed: float) -> GpuReading:
    known = {**GPU_VALUES, **{key.replace("__", "."): value for key, value in changed.items()}}
    values: Values = [None] * len(BY_KEY)
    for key, value in known.items():
        values[BY_KEY[key]] = value
    identity = GpuIdentity(index, f"GPU-{index}", pci_bus_id=f"0000:{index:02x}:00.0", vbios_version=vbios, nvlinks=18)
    return GpuReading(identity, values, processes)


def gpus(second: GpuReading | None = None) -> Gpus:
    return Gpus(Census(2, "570.1"), (gpu(0), second or gpu()), jobs=(), owners={})


def failing(failure: str) -> Gpus:
    return gpus(GpuReading(GpuIdentity(1, "GPU-1"), None, failure=failure))


def changed(**values: float) -> Gpus:
    return gpus(gpu(**values))


def log(*messages: str) -> KernelRecords:
    return KernelRecords(tuple(Record(one, 10_000.0 - 1000 * place) for place, one in enumerate(messages)))


def xid(code: int, bus: str = "01", words: str = "pid=1, name=a") -> str:
    return f"NVRM: Xid (PCI:0000:{bus}:00): {code}, {words}"


GPU_DEVICE = PciDevice("0000:01:00.0", NVIDIA, 0x0302, "nvidia", "32.0 GT/s PCIe", "32.0 GT/s PCIe", 16, 16)
CARD = PciDevice("0000:02:00.0", MELLANOX, 0x0207, "mlx5_core", "32.0 GT/s PCIe", "32.0 GT/s PCIe", 16, 16)
BRIDGE = PciDevice("0000:03:00.0", 0x1000, 0x0604, redirects_peers=False)


SECOND = replace(GPU_DEVICE, address="0000:04:00.0")


def pci(second: PciDevice = SECOND) -> PciDevices:
    return PciDevices((GPU_DEVICE, second, CARD, BRIDGE))


COUNTERS = (
    "link_downed",
    "symbol_error",
    "link_error_recovery",
    "excessive_buffer_overrun_errors",
    "local_link_integrity_errors",
    "rnr_nak_retry_err",
    "roce_slow_restart",
)


PORT = Port("mlx5_0", "1", "ACTIVE", "LinkUp", "InfiniBand", 400)
ETH = Interface("eth0", True, True, 9000, 50_000, 3)


def fabric(port: Port = PORT, **counters: int) -> Fabric:
    return Fabric({"mlx5_0": "28.39"}, (replace(port, counters={**dict.fromkeys(COUNTERS, 0), **counters}),))


def interfaces(one: Interface = ETH) -> Interfaces:
    return Interfaces((one,))


MEMORY = Memory(1_980_000, 500, {"mc0": 3}, {"mc0": 0})
PROCESSORS = Processors(64, {"cpu0": "performance"}, {"cpu0": 3000}, "tsc")
PROCESSES = Processes((Process(9, "dd", "D", 10), Process(8, "sh", "Z", 10)), 500, 10_000, 100, 10_000)
ROOT = Mount("/", "ext4", False, 1000, 500, 1000, 500)
HOME = Mount("/home", "nfs4", False, 1000, 500)
MOUNTS = Mounts((ROOT, HOME), (Declared("/"),))
UNITS = {"sshd.service": Unit("sshd.service", "loaded", "active", "running")}
DRIVE = NvmeHealth("nvme0", 10, 100, 10, 0, 0)

HEALTHY: Mapping[str, object] = {
    "NVML": gpus(),
    "kernel log": log("Linux version 6.1", "NVRM: loading NVIDIA UNIX Kernel Module"),
    "PCI devices": pci(),
    "InfiniBand": fabric(),
    "network interfaces": interfaces(),
    "memory": MEMORY,
    "processors": PROCESSORS,
    "processes": PROCESSES,
    "kernel modules": Modules(frozenset({"nvidia", "nvidia_uvm", "mlx5_ib", "nvidia_peermem"})),
    "kernel clock": ClockState(True, 0.001),
    "mounts": MOUNTS,
    "RAID": Arrays((Array("md0", "active", 2, 2),)),
    "NVMe": Nvmes((("nvme0", "live"),)),
    "systemd": Units(UNITS),
    "nvme smart-log": NvmeLog((DRIVE,)),
    "BMC sensors": Sensors((("FAN1", "ok", "9000 RPM"), ("PSU2", "ns", "No Reading"))),
    "BMC event log": EventLog(("1 | 01/01/26 | Event Logging Disabled | Log area reset/cleared | Asserted",)),
}
"""By the probe's name."""
