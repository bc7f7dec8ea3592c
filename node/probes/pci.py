"""PCI devices as sysfs shows them."""

import struct
from dataclasses import dataclass

from fleetward.node.checking import Probe
from fleetward.node.results import ProbeError
from fleetward.node.surroundings import Surroundings

FOLDER = "sys/bus/pci/devices"
NVIDIA = 0x10DE
MELLANOX = 0x15B3
_DISPLAY = 0x03
_BRIDGE = 0x0604
_NVME = 0x0108
_CONFIG_BYTES = 4096
_ACS = 0x000D
"""Number of the extended capability Access Control Services (PCI Express Base Specification)."""
_REDIRECTS = 0x0004 | 0x0008
"""Bits of its control register that send traffic between peers up to the root: request and completion redirect."""


@dataclass(frozen=True)
class PciDevice:
    """One function of a PCI device."""

    address: str
    """`0000:1b:00.0`."""
    vendor: int
    class_code: int
    """Class and subclass: 0x0302 is a 3D controller."""
    driver: str = ""
    """Empty where none is bound."""
    speed: str = ""
    """As in `32.0 GT/s PCIe`."""
    speed_max: str = ""
    width: int | None = None
    width_max: int | None = None
    off_bus: bool = False
    """Whether its configuration space reads as all ones."""
    redirects_peers: bool | None = None
    """Whether ACS is on; None where the configuration space cannot be read that far."""

    @property
    def is_gpu(self) -> bool:
        """Return whether this is a GPU of NVIDIA's."""
        return self.vendor == NVIDIA and self.class_code >> 8 == _DISPLAY

    @property
    def is_bridge(self) -> bool:
        """Return whether this is a bridge between PCI buses, such as a port of a switch."""
        return self.class_code == _BRIDGE

    @property
    def matters(self) -> bool:
        """Return whether its link carries what jobs move: a GPU, a network card for InfiniBand or RoCE, an NVMe."""
        return self.is_gpu or self.vendor == MELLANOX or self.class_code == _NVME


@dataclass(frozen=True)
class PciDevices:
    """All of them, by address."""

    devices: tuple[PciDevice, ...] = ()
    virtual: bool = False
    """Whether the processors say that this is a virtual machine."""


def read_pci(surroundings: Surroundings) -> PciDevices:
    """Read every device; raises ProbeError where sysfs has none."""
    names = surroundings.names(FOLDER)
    if not names:
        raise ProbeError(f"/{FOLDER} names no device: sysfs is not mounted, or there is no PCI")
    virtual = " hypervisor" in (surroundings.text("proc/cpuinfo") or "")
    return PciDevices(tuple(_device(surroundings, name) for name in names), virtual)


def acs_redirects(config: bytes) -> bool | None:
    """Say from a configuration space whether traffic between peers is sent up; None where it ends too early."""
    if len(config) <= 256:
        return None
    at, seen = 256, set()
    while at and at not in seen and at + 8 <= len(config):
        seen.add(at)
        header = struct.unpack_from("<I", config, at)[0]
        if header & 0xFFFF == _ACS:
            return bool(struct.unpack_from("<H", config, at + 6)[0] & _REDIRECTS)
        at = header >> 20
    return False


def _device(surroundings: Surroundings, name: str) -> PciDevice:
    folder = f"{FOLDER}/{name}"
    class_code = (surroundings.number(f"{folder}/class") or 0) >> 8
    vendor = surroundings.number(f"{folder}/vendor") or 0
    wanted = class_code == _BRIDGE or vendor == NVIDIA
    config = _config(surroundings, folder) if wanted else b""
    # what the slot cannot do is no fault: the folder around the device's own is that of the port above it
    around = (folder, f"{folder}/..")
    widths = [lanes for one in around if (lanes := surroundings.number(f"{one}/max_link_width"))]
    speeds = [text for one in around if gigatransfers(text := surroundings.text(f"{one}/max_link_speed") or "")]
    return PciDevice(
        address=name,
        vendor=vendor,
        class_code=class_code,
        driver=surroundings.path(f"{folder}/driver").resolve().name if _bound(surroundings, folder) else "",
        speed=surroundings.text(f"{folder}/current_link_speed") or "",
        speed_max=min(speeds, key=gigatransfers, default=""),
        width=surroundings.number(f"{folder}/current_link_width"),
        width_max=min(widths, default=None),
        off_bus=config[:4] == b"\xff\xff\xff\xff",
        redirects_peers=acs_redirects(config) if class_code == _BRIDGE else None,
    )


def gigatransfers(speed: str) -> float:
    """Return the number in `32.0 GT/s PCIe`; 0 where there is none."""
    try:
        return float(speed.partition(" ")[0])
    except ValueError:
        return 0.0


def _bound(surroundings: Surroundings, folder: str) -> bool:
    return surroundings.path(f"{folder}/driver").is_symlink()


def _config(surroundings: Surroundings, folder: str) -> bytes:
    try:
        with surroundings.path(f"{folder}/config").open("rb") as file:
            return file.read(_CONFIG_BYTES)
    except OSError:
        return b""


PCI: Probe[PciDevices] = Probe("PCI devices", read_pci)
