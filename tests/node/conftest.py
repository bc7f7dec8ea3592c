"""A healthy node as files, and one whose GPUs the stand-in plays."""

import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from played_nvml import PlayedNode, build

ACS_AT, ACS_END = 256, 512


@dataclass(frozen=True)
class NodeFiles:
    """Files below a folder, as sysfs and procfs have them."""

    root: Path

    def write(self, name: str, text: str = "") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def program(self, name: str, script: str) -> None:
        self.write(f"usr/bin/{name}", f"#!/bin/sh\n{script}\n").chmod(0o755)

    def pci(self, address: str, vendor: int, class_code: int, *, driver: str = "", lanes: int = 16) -> None:
        folder = f"sys/bus/pci/devices/{address}"
        values = {"vendor": f"{vendor:#06x}", "class": f"{class_code << 8:#08x}", "current_link_width": str(lanes)}
        values |= {"max_link_width": "16", "current_link_speed": "32.0 GT/s PCIe", "max_link_speed": "32.0 GT/s PCIe"}
        for name, value in values.items():
            self.write(f"{folder}/{name}", value + "\n")
        self.config(address, acs=0)
        if driver:
            (self.root / f"sys/bus/pci/drivers/{driver}").mkdir(parents=True, exist_ok=True)
            (self.root / folder / "driver").symlink_to(f"../../drivers/{driver}")

    def config(self, address: str, *, acs: int) -> None:
        """Write a configuration space that has ACS with these bits behind another capability."""
        data = bytearray(4096)
        struct.pack_into("<I", data, ACS_AT, 0x0001 | 1 << 16 | ACS_END << 20)
        struct.pack_into("<IHH", data, ACS_END, 0x000D | 1 << 16, 0x5F, acs)
        (self.root / f"sys/bus/pci/devices/{address}/config").write_bytes(bytes(data))

    def port(self, device: str, *, state: str = "4: ACTIVE", rate: str = "400 Gb/sec (4X NDR)") -> None:
        folder = f"sys/class/infiniband/{device}"
        self.write(f"{folder}/fw_ver", "28.39.1002\n")
        port = {"state": state, "phys_state": "5: LinkUp", "link_layer": "InfiniBand", "rate": rate}
        counters = ("symbol_error", "link_downed", "link_error_recovery", "excessive_buffer_overrun_errors")
        port |= {f"counters/{name}": "0" for name in (*counters, "local_link_integrity_errors")}
        port |= {"hw_counters/rnr_nak_retry_err": "0"}
        for name, value in port.items():
            self.write(f"{folder}/ports/1/{name}", value + "\n")


def _kernel(files: NodeFiles) -> None:
    cpus = "\n".join(f"processor\t: {number}\nflags\t: fpu\n" for number in range(2))
    odd = "44 (fla) shy) D 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9000 0\n"
    texts = {
        "dev/kmsg": "6,1,1000,-;Linux version 6.1\n",
        "etc/fstab": "# comment\nUUID=1 / ext4 defaults 0 1\nnfs:/home /home nfs4 rw,noauto 0 0\n",
        "proc/1/cgroup": "0::/init.scope\n",
        "proc/44/stat": odd.replace(" D ", " S "),
        "proc/buddyinfo": "Node 0, zone   Normal" + " 7" * 11 + "\n",
        "proc/cpuinfo": cpus,
        "proc/loadavg": "0.1 0.1 0.1 1/200 99\n",
        "proc/meminfo": "MemTotal:       2048000 kB\nMemFree: 1 kB\n",
        "proc/modules": "nvidia 1 0 - Live 0x0\nmlx5_ib 1 0 - Live 0x0\nnvidia_peermem 1 0 - Live 0x0\n",
        "proc/self/mounts": "/dev/sda1 / ext4 rw,relatime 0 0\nproc /proc proc rw 0 0\n",
        "proc/sys/fs/file-nr": "1000\t0\t100000\n",
        "proc/sys/kernel/pid_max": "4194304\n",
        "proc/sys/kernel/threads-max": "10000\n",
        "proc/uptime": "90000.5 1.0\n",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "3000000\n",
        "sys/devices/system/edac/mc/mc0/ce_count": "0\n",
        "sys/devices/system/edac/mc/mc0/ue_count": "0\n",
        "sys/class/nvme/nvme0/state": "live\n",
        "sys/class/net/eth0/device": "",
        "sys/class/net/eth0/flags": "0x1003\n",
        "sys/class/net/eth0/carrier": "1\n",
        "sys/class/net/eth0/mtu": "9000\n",
        "sys/class/net/eth0/statistics/rx_packets": "50000\n",
        "sys/class/net/eth0/statistics/rx_errors": "0\n",
        "sys/class/net/lo/flags": "0x9\n",
        "dev/ipmi0": "",
    }
    for name, text in texts.items():
        files.write(name, text)
    (files.root / "run/fleetward/jobs").mkdir(parents=True)


UNITS = "printf 'Id=%s\\nLoadState=loaded\\nActiveState=active\\nSubState=running\\n\\n' ssh.service run.mount"
DRIVE = '{"critical_warning": 0, "percent_used": 3, "avail_spare": 100, "spare_thresh": 10, "media_errors": 0}'
SENSOR = "FAN1 | 41h | ok  | 29.1 | 9000 RPM"


def healthy_node(root: Path) -> NodeFiles:
    files = NodeFiles(root)
    _kernel(files)
    files.pci("0000:1b:00.0", 0x10DE, 0x0302, driver="nvidia")
    files.pci("0000:18:00.0", 0x15B3, 0x0207, driver="mlx5_core")
    files.pci("0000:15:00.0", 0x1000, 0x0604, driver="pcieport")
    files.port("mlx5_0")
    files.program("systemctl", UNITS)
    files.program("nvme", f"echo '{DRIVE}'")
    files.program(
        "ipmitool", "test $1 = sdr && echo 'FAN1 | 41h | ok  | 29.1 | 9000 RPM' || echo '1 | 01/01/26 | log cleared'"
    )
    return files


@pytest.fixture
def node_files(tmp_path: Path) -> NodeFiles:
    return healthy_node(tmp_path / "node")


@pytest.fixture(scope="module")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> NodeFiles:
    """Make a node for all tests of a module, which leave its files as they were."""
    return healthy_node(tmp_path_factory.mktemp("node"))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def played(tmp_path: Path, library: Path) -> PlayedNode:
    return PlayedNode(tmp_path, library)
