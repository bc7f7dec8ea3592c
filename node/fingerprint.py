"""What a node can tell of the software and hardware that a burn-in's certificate is for, as named parts.

A part is a word; the empty one where the node has no such thing, and None where it cannot be read. The head compares
them (operations/qualification/fingerprint.py); a node only reads.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fleetward.exporters.gpu.readings import GpuReading
from fleetward.node.checking import Probe
from fleetward.node.probes.gpus import GPUS, Gpus, read_gpus
from fleetward.node.probes.network import read_fabric
from fleetward.node.results import ProbeError
from fleetward.node.surroundings import PROGRAM_FOLDERS, Surroundings

PROGRAM_SECONDS = 3.0
LIBRARY_FOLDERS = ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/local/lib")
"""Where the packages of Debian, Ubuntu and Red Hat put NCCL."""
_LONGEST = 200
_FABRIC_MANAGER = re.compile(r"Fabric Manager version is\s*:\s*(\S+)")
_DCGM = re.compile(r"dcgmi\s+version:\s*(\S+)")
_NCCL = re.compile(r"libnccl\.so\.(\d+(?:\.\d+)+)")
_PROGRAMS: Mapping[str, tuple[Sequence[str], re.Pattern[str]]] = {
    "fabric_manager": (("nv-fabricmanager", "--version"), _FABRIC_MANAGER),
    "dcgm": (("dcgmi", "--version"), _DCGM),
}


@dataclass(frozen=True)
class NodeParts:
    """The parts of a node's fingerprint, by the names that they have there."""

    words: Mapping[str, str | None] = field(default_factory=dict)
    hcas: tuple[Mapping[str, str | None], ...] | None = None
    """Device and firmware of each."""
    gpus: tuple[Mapping[str, str | None], ...] | None = None
    """Slot, UUID, serial, VBIOS and MIG layout of each."""

    def as_json(self) -> str:
        """Return them as the one object that the head reads."""
        return json.dumps({**self.words, "hcas": self.hcas, "gpus": self.gpus})


def read_parts(surroundings: Surroundings) -> NodeParts:
    """Read every part; one that cannot be read keeps no other from being read."""
    words = {name: _known(part, surroundings) for name, part in _PARTS.items()}
    words |= {name: _program(surroundings, *how) for name, how in _PROGRAMS.items()}
    gpus = _gpus(surroundings)
    if words["driver"] == "":  # no module tells: NVML's word then, and none where it could not be asked
        words["driver"] = None if gpus is None else _word(gpus.census.driver)
    hcas = _hcas(surroundings)
    return NodeParts(
        words,
        hcas,
        None if gpus is None else tuple(_gpu(one) for one in gpus.gpus),
    )


def _known(part: Callable[[Surroundings], str | None], surroundings: Surroundings) -> str | None:
    try:
        found = part(surroundings)
    except ProbeError:
        return None
    return None if found is None else _word(found)


def _word(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text).strip()[:_LONGEST]


def _kernel(surroundings: Surroundings) -> str:
    return surroundings.needed("proc/sys/kernel/osrelease")


def _driver(surroundings: Surroundings) -> str | None:
    return _if_there(surroundings, "sys/module/nvidia/version")


def _flavour(surroundings: Surroundings) -> str | None:
    """Return which of the two kinds of module is loaded; its first line says `Open Kernel Module` for the open one."""
    line = _if_there(surroundings, "proc/driver/nvidia/version")
    if not line:
        return line
    first = line.partition("\n")[0]
    if "Kernel" not in first:
        return None
    return "open" if "Open Kernel" in first else "proprietary"


def _cuda(surroundings: Surroundings) -> str | None:
    """Return the version of the toolkit below /usr/local/cuda."""
    text = _if_there(surroundings, "usr/local/cuda/version.json")
    if not text:
        return text
    try:
        told = json.loads(text)["cuda"]["version"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    return told if isinstance(told, str) else None


def _nccl(surroundings: Surroundings) -> str:
    """Return the version of the library, which the name of its file ends with."""
    found = {
        match[1]
        for folder in LIBRARY_FOLDERS
        for name in surroundings.names(folder)
        if (match := _NCCL.fullmatch(name))
    }
    return " ".join(sorted(found))


def _ofed(surroundings: Surroundings) -> str | None:
    """Return what OFED or DOCA calls itself; the version of mlx5_core's module where there is no such program."""
    if _is_installed(surroundings, "ofed_info"):
        return surroundings.run(["ofed_info", "-s"], PROGRAM_SECONDS).strip().rstrip(":")
    return _if_there(surroundings, "sys/module/mlx5_core/version")


def _bios(surroundings: Surroundings) -> str | None:
    names = ("bios_vendor", "bios_version", "bios_date")
    told = [_if_there(surroundings, f"sys/class/dmi/id/{name}") for name in names]
    return None if None in told else " ".join(word for word in told if word)


_PARTS: Mapping[str, Callable[[Surroundings], str | None]] = {
    "kernel": _kernel,
    "driver": _driver,
    "module_flavour": _flavour,
    "cuda": _cuda,
    "nccl": _nccl,
    "ofed": _ofed,
    "bios": _bios,
}


def _if_there(surroundings: Surroundings, name: str) -> str | None:
    """Return what a file says, the empty word where there is no such file, and None where it cannot be read."""
    found = surroundings.text(name)
    if found is not None:
        return found
    try:
        surroundings.path(name).stat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError:
        return None
    return None


def _is_installed(surroundings: Surroundings, program: str) -> bool:
    return any(surroundings.path(f"{folder}/{program}").exists() for folder in PROGRAM_FOLDERS)


def _program(surroundings: Surroundings, arguments: Sequence[str], version: re.Pattern[str]) -> str | None:
    if not _is_installed(surroundings, arguments[0]):
        return ""
    try:
        found = version.search(surroundings.run(arguments, PROGRAM_SECONDS))
    except ProbeError:
        return None
    return _word(found[1]) if found else None


def _hcas(surroundings: Surroundings) -> tuple[Mapping[str, str | None], ...] | None:
    try:
        firmware = read_fabric(surroundings).firmware
    except ProbeError:
        return None
    return tuple(
        {"device": _word(device), "firmware": _word(version) or None} for device, version in sorted(firmware.items())
    )


def _gpus(surroundings: Surroundings) -> Gpus | None:
    """Return the GPUs; None where not all of them tell who they are: one that is missing would seem taken out."""
    try:
        found = read_gpus(surroundings)
    except ProbeError:
        return None
    if found.missing_library:
        return Gpus()
    silent = found.census.failure or found.hung or len(found.gpus) != found.census.count
    return None if silent or any(not one.identity.pci_bus_id for one in found.gpus) else found


def _gpu(reading: GpuReading) -> Mapping[str, str | None]:
    identity = reading.identity
    mig = " ".join(one.profile for one in reading.instances)
    return {
        "slot": _word(identity.pci_bus_id),
        "uuid": _word(identity.uuid) or None,
        "serial": _word(identity.serial) or None,
        "vbios": _word(identity.vbios_version) or None,
        "mig": _word(mig) if reading.up else None,
    }


FINGERPRINT: Probe[NodeParts] = Probe("fingerprint", read_parts, GPUS.limit_seconds + 3 * PROGRAM_SECONDS + 1)
