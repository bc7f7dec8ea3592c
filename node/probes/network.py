"""InfiniBand and RoCE devices, and network interfaces, as sysfs shows them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetward.node.checking import Probe
from fleetward.node.results import ProbeError
from fleetward.node.surroundings import Surroundings

INFINIBAND_FOLDER = "sys/class/infiniband"
INTERFACES_FOLDER = "sys/class/net"
_RATE = re.compile(r"\s*([\d.]+)\s*Gb/sec")
_IFF_UP = 0x1


@dataclass(frozen=True)
class Port:
    """One port of an InfiniBand or RoCE device."""

    device: str
    number: str
    state: str
    """As in `ACTIVE`."""
    physical: str
    """As in `LinkUp`."""
    link_layer: str = "InfiniBand"
    rate_gbits: float | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    """Since the driver was loaded, or somebody cleared them."""

    @property
    def name(self) -> str:
        """Return device and port, as in `mlx5_0/1`."""
        return f"{self.device}/{self.number}"


@dataclass(frozen=True)
class Fabric:
    """The node's InfiniBand and RoCE devices."""

    firmware: Mapping[str, str] = field(default_factory=dict)
    """By device."""
    ports: tuple[Port, ...] = ()
    uptime_hours: float = 0.0


@dataclass(frozen=True)
class Interface:
    """One network interface with hardware or a bond behind it."""

    name: str
    up: bool
    """Whether it is meant to be up."""
    carrier: bool
    mtu: int | None = None
    packets: int = 0
    errors: int = 0
    """Received and sent, since the interface was made."""
    slaves_down: tuple[str, ...] = ()
    """Of a bond."""


@dataclass(frozen=True)
class Interfaces:
    """The node's network interfaces, by name."""

    interfaces: tuple[Interface, ...] = ()


def read_fabric(surroundings: Surroundings) -> Fabric:
    """Read every device and port; a node without any has none of either."""
    if not surroundings.path("sys/class").is_dir():
        raise ProbeError("/sys/class is not there: sysfs is not mounted")
    devices = surroundings.names(INFINIBAND_FOLDER)
    ports = [
        _port(surroundings, device, number)
        for device in devices
        for number in surroundings.names(f"{INFINIBAND_FOLDER}/{device}/ports")
    ]
    firmware = {device: surroundings.text(f"{INFINIBAND_FOLDER}/{device}/fw_ver") or "" for device in devices}
    uptime = (surroundings.text("proc/uptime") or "0").split()[0]
    return Fabric(firmware, tuple(ports), float(uptime) / 3600)


def _port(surroundings: Surroundings, device: str, number: str) -> Port:
    folder = f"{INFINIBAND_FOLDER}/{device}/ports/{number}"
    counters = {
        name: count
        for kind in ("counters", "hw_counters")
        for name in surroundings.names(f"{folder}/{kind}")
        if (count := surroundings.number(f"{folder}/{kind}/{name}")) is not None
    }
    rate = _RATE.match(surroundings.text(f"{folder}/rate") or "")
    return Port(
        device,
        number,
        (surroundings.text(f"{folder}/state") or "").partition(":")[2].strip(),
        (surroundings.text(f"{folder}/phys_state") or "").partition(":")[2].strip(),
        surroundings.text(f"{folder}/link_layer") or "",
        float(rate[1]) if rate else None,
        counters,
    )


def read_interfaces(surroundings: Surroundings) -> Interfaces:
    """Read the interfaces that have hardware, and the bonds; raises ProbeError where sysfs has no interface."""
    names = surroundings.names(INTERFACES_FOLDER)
    if not names:
        raise ProbeError(f"/{INTERFACES_FOLDER} names no interface: sysfs is not mounted")
    real = [
        name
        for name in names
        if any(surroundings.path(f"{INTERFACES_FOLDER}/{name}/{part}").exists() for part in ("device", "bonding"))
    ]
    return Interfaces(tuple(_interface(surroundings, name) for name in real))


def _interface(surroundings: Surroundings, name: str) -> Interface:
    folder = f"{INTERFACES_FOLDER}/{name}"

    def count(*kinds: str) -> int:
        return sum(surroundings.number(f"{folder}/statistics/{kind}") or 0 for kind in kinds)

    slaves = (surroundings.text(f"{folder}/bonding/slaves") or "").split()
    return Interface(
        name,
        up=bool((surroundings.number(f"{folder}/flags") or 0) & _IFF_UP),
        carrier=surroundings.text(f"{folder}/carrier") == "1",
        mtu=surroundings.number(f"{folder}/mtu"),
        packets=count("rx_packets", "tx_packets"),
        errors=count("rx_errors", "tx_errors"),
        slaves_down=tuple(
            one for one in slaves if surroundings.text(f"{INTERFACES_FOLDER}/{one}/bonding_slave/mii_status") != "up"
        ),
    )


FABRIC: Probe[Fabric] = Probe("InfiniBand", read_fabric)
INTERFACES: Probe[Interfaces] = Probe("network interfaces", read_interfaces)
