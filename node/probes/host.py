"""Memory, processors, processes and modules, as procfs and sysfs show them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetward.node.checking import Probe
from fleetward.node.results import ProbeError
from fleetward.node.surroundings import Surroundings

CPU_FOLDER = "sys/devices/system/cpu"
SECOND_LOOK_SECONDS = 0.2
"""After so long a process in state D is looked at again: most that wait for a disk have moved on by then."""
EDAC_FOLDER = "sys/devices/system/edac/mc"
TICKS_PER_SECOND = 100
"""Of times in /proc (USER_HZ); it is 100 on every Linux that GPU nodes run."""


@dataclass(frozen=True)
class Memory:
    """The node's memory."""

    total_mib: int
    large_blocks_free: int | None = None
    """Blocks of the normal zone that have 2 MiB or more (/proc/buddyinfo); None where that cannot be read."""
    corrected: Mapping[str, int] = field(default_factory=dict)
    """Errors by memory controller, as EDAC counts them; empty where it watches none."""
    uncorrected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Processors:
    """The node's processors."""

    count: int
    governors: Mapping[str, str] = field(default_factory=dict)
    """By processor; empty where nothing scales their clock, as in virtual machines."""
    megahertz: Mapping[str, float] = field(default_factory=dict)
    clock_source: str = ""
    virtual: bool = False
    """Whether they say that this is a virtual machine."""


@dataclass(frozen=True)
class Process:
    """A process that deserves a look."""

    pid: int
    name: str
    state: str
    """D waits for a device and cannot be interrupted, Z is dead and was not waited for."""
    age_seconds: float
    """Since it was started; the kernel does not tell since when it waits."""


@dataclass(frozen=True)
class Processes:
    """What the process table holds."""

    odd: tuple[Process, ...] = ()
    """Those in the state Z, and those in the state D that did not move between two looks."""
    tasks: int = 0
    """Processes and threads."""
    tasks_max: int = 0
    files: int = 0
    files_max: int = 0


@dataclass(frozen=True)
class Modules:
    """The kernel's modules by name."""

    names: frozenset[str] = frozenset()


def read_memory(surroundings: Surroundings) -> Memory:
    """Read /proc/meminfo, /proc/buddyinfo and EDAC; raises ProbeError where the first says nothing."""
    totals = [line.split() for line in surroundings.needed("proc/meminfo").splitlines() if line.startswith("MemTotal:")]
    if not totals or len(totals[0]) < 2 or not totals[0][1].isdigit():
        raise ProbeError("/proc/meminfo has no MemTotal")
    controllers = [name for name in surroundings.names(EDAC_FOLDER) if name.startswith("mc")]
    return Memory(
        int(totals[0][1]) // 1024,
        _large_blocks(surroundings.text("proc/buddyinfo")),
        _counts(surroundings, controllers, "ce_count"),
        _counts(surroundings, controllers, "ue_count"),
    )


def _counts(surroundings: Surroundings, controllers: list[str], name: str) -> dict[str, int]:
    found = {one: surroundings.number(f"{EDAC_FOLDER}/{one}/{name}") for one in controllers}
    return {one: count for one, count in found.items() if count is not None}


def _large_blocks(text: str | None) -> int | None:
    """Count the blocks of order 9 and up, in pages of 4 KiB."""
    zones = [line.split() for line in (text or "").splitlines()]
    normal = [words[4:] for words in zones if len(words) > 13 and words[3] == "Normal"]
    return sum(int(one) for words in normal for one in words[9:]) if normal else None


def read_processors(surroundings: Surroundings) -> Processors:
    """Read /proc/cpuinfo and sysfs."""
    text = surroundings.needed("proc/cpuinfo")
    count = sum(line.startswith("processor") for line in text.splitlines())
    if not count:
        raise ProbeError("/proc/cpuinfo names no processor")
    names = [name for name in surroundings.names(CPU_FOLDER) if name.startswith("cpu") and name[3:].isdigit()]
    governors = {one: surroundings.text(f"{CPU_FOLDER}/{one}/cpufreq/scaling_governor") for one in names}
    kilohertz = {one: surroundings.number(f"{CPU_FOLDER}/{one}/cpufreq/scaling_cur_freq") for one in names}
    source = "sys/devices/system/clocksource/clocksource0/current_clocksource"
    return Processors(
        count,
        {one: governor for one, governor in governors.items() if governor},
        {one: clock / 1000 for one, clock in kilohertz.items() if clock},
        surroundings.text(source) or "",
        virtual=" hypervisor" in text,
    )


def read_processes(surroundings: Surroundings) -> Processes:
    """Read every /proc/PID/stat and the kernel's limits; one that ends meanwhile is no failure."""
    uptime = float(surroundings.needed("proc/uptime").split()[0])
    odd = _odd(surroundings, uptime)
    tasks = surroundings.needed("proc/loadavg").split()[3].partition("/")[2]
    files = surroundings.needed("proc/sys/fs/file-nr").split()
    limits = [surroundings.number(f"proc/sys/kernel/{name}") for name in ("pid_max", "threads-max")]
    return Processes(
        tuple(odd), int(tasks), min((one for one in limits if one), default=0), int(files[0]), int(files[2])
    )


def _odd(surroundings: Surroundings, uptime: float) -> list[Process]:
    found = [
        process
        for name in surroundings.names("proc")
        if name.isdigit() and (process := _process(surroundings.text(f"proc/{name}/stat"), uptime))
    ]
    waiting = {one.pid: _switches(surroundings, one.pid) for one in found if one.state == "D"}
    if waiting:
        time.sleep(SECOND_LOOK_SECONDS)
    still = {pid for pid, before in waiting.items() if _stands_still(surroundings, pid, before)}
    return [one for one in found if one.state == "Z" or one.pid in still]


def _switches(surroundings: Surroundings, pid: int) -> str:
    """Return how often a process has given a processor up; as long as that stays the same, it has not run."""
    lines = (surroundings.text(f"proc/{pid}/status") or "").splitlines()
    return next((line for line in lines if line.startswith("voluntary_ctxt_switches")), "")


def _stands_still(surroundings: Surroundings, pid: int, before: str) -> bool:
    now = _process(surroundings.text(f"proc/{pid}/stat"), 0.0)
    return now is not None and now.state == "D" and _switches(surroundings, pid) == before


def _process(stat: str | None, uptime: float) -> Process | None:
    before, _, after = (stat or "").rpartition(")")  # its name may hold blanks and brackets
    words = after.split()
    if len(words) < 20 or words[0] not in "DZ":
        return None
    pid, _, name = before.partition(" (")
    return Process(int(pid), name, words[0], max(0.0, uptime - int(words[19]) / TICKS_PER_SECOND))


def read_modules(surroundings: Surroundings) -> Modules:
    """Read /proc/modules."""
    text = surroundings.needed("proc/modules")
    return Modules(frozenset(line.split()[0] for line in text.splitlines() if line.strip()))


MEMORY: Probe[Memory] = Probe("memory", read_memory)
PROCESSORS: Probe[Processors] = Probe("processors", read_processors)
PROCESSES: Probe[Processes] = Probe("processes", read_processes)
MODULES: Probe[Modules] = Probe("kernel modules", read_modules)
