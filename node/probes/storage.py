"""Mounted file systems, RAID and NVMe."""

import errno
import os
import re
from dataclasses import dataclass
from functools import partial

from fleetward.node.checking import Probe
from fleetward.node.children import begun, collect
from fleetward.node.results import ProbeError, StarvedError
from fleetward.node.surroundings import Surroundings

MOUNT_SECONDS = 1.0
"""For the size of one file system."""
MOST_MOUNTS = 64
NVME_FOLDER = "sys/class/nvme"
NETWORK = frozenset({"nfs", "nfs4", "lustre", "beegfs", "ceph", "gpfs", "wekafs", "cifs"})
DISKS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "vfat"})


@dataclass(frozen=True)
class Mount:
    """One mounted file system of a disk or a server."""

    target: str
    kind: str
    read_only: bool = False
    bytes_total: int = 0
    bytes_free: int = 0
    """For ordinary users."""
    inodes_total: int = 0
    """0 where the file system has no such limit."""
    inodes_free: int = 0
    failure: str = ""
    """Why its size could not be read."""
    hung: bool = False
    """Whether the process that asked gave no answer in time."""
    asked: bool = True
    """Whether that process came to ask."""


@dataclass(frozen=True)
class Declared:
    """One line of /etc/fstab."""

    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Mounts:
    """What is mounted, and what should be."""

    mounts: tuple[Mount, ...] = ()
    declared: tuple[Declared, ...] = ()
    """What /etc/fstab has mounted at boot."""


@dataclass(frozen=True)
class Array:
    """One RAID of md."""

    name: str
    state: str
    members: int
    working: int


@dataclass(frozen=True)
class Arrays:
    """All of them."""

    arrays: tuple[Array, ...] = ()


@dataclass(frozen=True)
class Nvmes:
    """State by NVMe controller, as in `live`."""

    states: tuple[tuple[str, str], ...] = ()


def read_mounts(surroundings: Surroundings) -> Mounts:
    """Read the mounts, and the size of each in a process of its own, since a server that is gone blocks the call."""
    lines = [line.split() for line in surroundings.needed("proc/self/mounts").splitlines()]
    found = {
        _plain(words[1]): (words[2], "ro" in words[3].split(","))
        for words in lines
        if len(words) > 3 and words[2] in NETWORK | DISKS
    }
    sizes = collect(
        {target: begun(partial(_size, surroundings, target), MOUNT_SECONDS) for target in list(found)[:MOST_MOUNTS]}
    )
    mounts = []
    for target, size in sizes.items():
        kind, read_only = found[target]
        if isinstance(size, ProbeError):
            starved = isinstance(size, StarvedError)
            mounts.append(Mount(target, kind, read_only, failure=str(size), hung=not starved, asked=not starved))
        elif isinstance(size, str):
            mounts.append(Mount(target, kind, read_only, failure=size))
        else:
            mounts.append(Mount(target, kind, read_only, *size))
    return Mounts(tuple(sorted(mounts, key=lambda one: one.target)), _declared(surroundings.text("etc/fstab") or ""))


def _size(surroundings: Surroundings, target: str) -> tuple[int, int, int, int] | str:
    """Return bytes and inodes, all and free, or why they cannot be read."""
    try:
        found = os.statvfs(surroundings.path(target))
    except OSError as error:
        return os.strerror(error.errno or errno.EIO)
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, found.f_files, found.f_favail


def _declared(fstab: str) -> tuple[Declared, ...]:
    lines = [line.split() for line in fstab.splitlines() if not line.lstrip().startswith("#")]
    return tuple(
        Declared(_plain(words[1]), "ro" in words[3].split(","))
        for words in lines
        if len(words) > 3 and words[2] in NETWORK | DISKS and not {"noauto", "nofail"} & set(words[3].split(","))
    )


def _plain(target: str) -> str:
    r"""Undo the kernel's `\040` for a blank, and its like."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), target)


def read_arrays(surroundings: Surroundings) -> Arrays:
    """Read /proc/mdstat; a kernel that has loaded no md has no array."""
    surroundings.needed("proc/uptime")
    return Arrays(tuple(_arrays(surroundings.text("proc/mdstat") or "")))


def _arrays(text: str) -> list[Array]:
    arrays = []
    blocks = re.findall(r"^(md\S*) : (\w+)[^\n]*\n([^\n]*)", text, re.MULTILINE)
    for name, state, second in blocks:
        counts = re.search(r"\[(\d+)/(\d+)\]", second)
        members, working = (int(counts[1]), int(counts[2])) if counts else (0, 0)
        arrays.append(Array(name, state, members, working))
    return arrays


def read_nvmes(surroundings: Surroundings) -> Nvmes:
    """Read the controllers' states from sysfs; a node without NVMe has none."""
    if not surroundings.path("sys/class").is_dir():
        raise ProbeError("/sys/class is not there: sysfs is not mounted")
    names = surroundings.names(NVME_FOLDER)
    return Nvmes(tuple((name, surroundings.text(f"{NVME_FOLDER}/{name}/state") or "unknown") for name in names))


MOUNTS: Probe[Mounts] = Probe("mounts", read_mounts, MOUNT_SECONDS + 1)
ARRAYS: Probe[Arrays] = Probe("RAID", read_arrays)
NVMES: Probe[Nvmes] = Probe("NVMe", read_nvmes)
