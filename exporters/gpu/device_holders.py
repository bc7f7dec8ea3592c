"""Who has a GPU's device file open, as /proc tells it: what a GPU reset would fail of.

Of NVML's stand-in no process opens a device file; there only the exporter's own processes, by their names, can be seen
to be gone.
"""

import contextlib
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from fleetward.exporters.gpu.forks import LANE_NAME
from fleetward.exporters.gpu.release import RELEASE_FILE, RELEASE_OPTION

PROC = Path("/proc")
DEVICES = "/dev/nvidia"
DRIVER = Path("/proc/driver/nvidia/gpus")
WAIT_SECONDS = 10.0
QUIET_SECONDS = 1.0
"""For so long no process of the exporter may be seen: it looks for a request five times a second."""
LOOK_SECONDS = 0.1
MOST_LETTERS = 200
"""Of a command."""

_CANNOT_BE_KILLED = "D"
_MINOR = re.compile(r"^Device Minor:\s*(\d+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Holder:
    """A process that has a device file open, or mapped."""

    pid: int
    command: str
    devices: tuple[str, ...]


@dataclass(frozen=True)
class Lane:
    """A process of the exporter's that uses NVML."""

    pid: int
    name: str
    state: str
    """The kernel's letter for what it does."""

    @property
    def hangs(self) -> bool:
        """Return whether it is in a call to the driver that nothing ends, not even SIGKILL."""
        return self.state == _CANNOT_BE_KILLED


@dataclass(frozen=True)
class Holders:
    """Everybody who holds a GPU."""

    holders: tuple[Holder, ...]
    unreadable: int
    """Processes that could not be looked into."""


def wait_for_lanes(
    lanes: Callable[[], tuple[Lane, ...]],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Lane, ...]:
    """Wait until there have been no lanes for QUIET_SECONDS; return those that are left after WAIT_SECONDS."""
    begun = quiet_since = clock()
    while True:
        found, now = lanes(), clock()
        if found:
            quiet_since = now
        if now - quiet_since >= QUIET_SECONDS or now - begun >= WAIT_SECONDS:
            return found
        sleep(LOOK_SECONDS)


def exporter_lanes(release_file: Path, proc: Path = PROC) -> tuple[Lane, ...]:
    """Return the processes that use NVML of the exporter that looks for requests in this file."""
    found = []
    for process in _processes(proc):
        with contextlib.suppress(OSError, IndexError):
            before, _, after = (process / "stat").read_text(errors="replace").rpartition(")")
            name, state = before.partition("(")[2], after.split()[0]
            if name.startswith(LANE_NAME) and state != "Z" and _release_file(process) == release_file:
                found.append(Lane(int(process.name), name, state))
    return tuple(found)


def device_holders(devices: Collection[str] | None = None, proc: Path = PROC, prefix: str = DEVICES) -> Holders:
    """Return who has one of these device files open; of any GPU where none is named."""
    holders, unreadable = [], 0
    for process in _processes(proc):
        try:
            held = _held(process, prefix)
        except PermissionError:
            unreadable += 1
            continue
        except OSError:
            continue  # it has just ended
        of_interest = tuple(sorted(one for one in held if devices is None or one in devices))
        if of_interest:
            holders.append(Holder(int(process.name), _command(process), of_interest))
    return Holders(tuple(holders), unreadable)


def device_of(gpu: int, driver: Path = DRIVER, prefix: str = DEVICES) -> str:
    """Return the device file of a GPU by NVML's index, which counts by PCI address.

    Where the driver does not tell the numbers of its device files, the index is taken for the number.
    """
    try:
        gpus = sorted(driver.iterdir())
        match = _MINOR.search((gpus[gpu] / "information").read_text())
    except (OSError, IndexError):
        match = None
    return f"{prefix}{match[1] if match else gpu}"


def _release_file(process: Path) -> Path:
    """Return where an exporter looks for requests, as its command line says."""
    words = (process / "cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
    for word, following in pairwise(words):
        if word == RELEASE_OPTION:
            return Path(following)
        if word.startswith(f"{RELEASE_OPTION}="):
            return Path(word.removeprefix(f"{RELEASE_OPTION}="))
    return RELEASE_FILE


def _processes(proc: Path) -> Iterator[Path]:
    return (one for one in proc.iterdir() if one.name.isascii() and one.name.isdigit())


def _held(process: Path, prefix: str) -> set[str]:
    try:
        return set(_files(process, prefix))
    except PermissionError:
        if os.geteuid() != 0:
            raise
    with _as_owner(process):  # root without CAP_SYS_PTRACE, as in most containers
        return set(_files(process, prefix))


def _files(process: Path, prefix: str) -> Iterator[str]:
    """Yield the device files of GPUs that a process has open or mapped."""
    is_gpu = re.compile(re.escape(prefix) + r"\d+")
    for link in (process / "fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue  # it has just been closed
        if is_gpu.fullmatch(target):
            yield target
    with (process / "maps").open(errors="replace") as maps:
        for line in maps:
            mapped = line.rstrip("\n").partition("/")
            if mapped[1] and is_gpu.fullmatch(mapped[1] + mapped[2]):
                yield mapped[1] + mapped[2]


@contextlib.contextmanager
def _as_owner(process: Path) -> Iterator[None]:
    owner = process.stat()
    group, user = os.getegid(), os.geteuid()
    os.setegid(owner.st_gid)
    try:
        os.seteuid(owner.st_uid)
        try:
            yield
        finally:
            os.seteuid(user)
    finally:
        os.setegid(group)


def _command(process: Path) -> str:
    """Return the command line; the name in brackets, as `ps` writes it, where there is none."""
    with contextlib.suppress(OSError):
        words = (process / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
        return words[:MOST_LETTERS] if words else f"[{(process / 'comm').read_text(errors='replace').strip()}]"
    return ""
