"""PCI devices."""

from collections.abc import Iterator

from fleetward.model.gpu_faults import Action, Severity
from fleetward.node.checking import Asked, check
from fleetward.node.probes.pci import PCI, PciDevices, gigatransfers
from fleetward.node.results import ProbeError, Trouble


@check(
    "pci_gpu_count",
    "The PCI bus shows another number of GPUs than the profile has.",
    PCI,
    Severity.FATAL,
    Action.REBOOT,
    "gcm, azurehpc-health-checks, gpud",
)
def _gpu_count(pci: PciDevices, asked: Asked) -> Iterator[Trouble]:
    expected = asked.profile.gpu.count
    if expected is None:
        raise ProbeError("the profile does not say how many GPUs there should be")
    found = sum(one.is_gpu for one in pci.devices)
    if found != expected:
        evidence = {"gpus": found, "expected": expected}
        yield Trouble(f"{found} GPUs on the bus where there should be {expected}", evidence=evidence)


@check(
    "pci_gpu_off_bus",
    "A GPU is known to the kernel and no longer answers on the bus.",
    PCI,
    Severity.FATAL,
    Action.REBOOT,
    "gpud, awslabs gpu-cluster-healthcheck",
)
def _off_bus(pci: PciDevices, _: Asked) -> Iterator[Trouble]:
    for one in pci.devices:
        if one.is_gpu and one.off_bus:
            yield Trouble("its configuration space reads as all ones", one.address, {"config": "0xffffffff"})


@check(
    "pci_gpu_driver",
    "A GPU has no driver, or one that is not NVIDIA's.",
    PCI,
    Severity.FATAL,
    Action.REBOOT,
    "gpud",
)
def _gpu_driver(pci: PciDevices, _: Asked) -> Iterator[Trouble]:
    for one in pci.devices:
        if one.is_gpu and one.driver not in {"nvidia", "vfio-pci"}:  # vfio-pci: lent to a virtual machine
            words = f"the driver {one.driver} has it" if one.driver else "no driver has it"
            yield Trouble(words, one.address, {"driver": one.driver or "none"})


@check(
    "pci_link_width",
    "A GPU, network card or NVMe drive has fewer PCIe lanes than it and its slot allow.",
    PCI,
    Severity.FATAL,
    Action.INSPECT,
    "gcm, azurehpc-health-checks",
)
def _link_width(pci: PciDevices, _: Asked) -> Iterator[Trouble]:
    for one in pci.devices:
        if one.matters and one.width and one.width_max and one.width < one.width_max:
            evidence = {"lanes": one.width, "lanes_max": one.width_max}
            yield Trouble(f"{one.width} lanes of {one.width_max}", one.address, evidence)


@check(
    "pci_link_speed",
    "A network card or NVMe drive has a slower PCIe link than it and its slot allow (a GPU may rest).",
    PCI,
    Severity.FATAL,
    Action.INSPECT,
    "gcm, azurehpc-health-checks",
)
def _link_speed(pci: PciDevices, _: Asked) -> Iterator[Trouble]:
    for one in pci.devices:
        current, most = gigatransfers(one.speed), gigatransfers(one.speed_max)
        if one.matters and not one.is_gpu and current and most and current < most:
            evidence = {"speed": one.speed, "speed_max": one.speed_max}
            yield Trouble(f"{one.speed} of {one.speed_max}", one.address, evidence)


@check(
    "pci_acs",
    "A bridge sends traffic between GPUs and network cards through the processor (ACS), on bare metal.",
    PCI,
    Severity.WARNING,
    Action.UPDATE_SOFTWARE,
    "gpud",
)
def _acs(pci: PciDevices, _: Asked) -> Iterator[Trouble]:
    if pci.virtual:
        return
    bridges = [one for one in pci.devices if one.is_bridge]
    if bridges and all(one.redirects_peers is None for one in bridges):
        raise ProbeError("no bridge's configuration space can be read: run as root")
    on = [one.address for one in bridges if one.redirects_peers]
    if on:
        why = f"ACS is on in {len(on)} bridges, {on[0]} first: switch it off in the firmware or with setpci"
        yield Trouble(why, evidence={"bridges": len(on), "first": on[0]})


CHECKS = (_gpu_count, _off_bus, _gpu_driver, _link_width, _link_speed, _acs)
