"""Memory, processors, clock, processes, kernel modules."""

from collections.abc import Iterator, Mapping

from fleetward.model.gpu_faults import Action, Severity
from fleetward.node.checking import Asked, check
from fleetward.node.probes.clock import CLOCK, ClockState
from fleetward.node.probes.host import (
    MEMORY,
    MODULES,
    PROCESSES,
    PROCESSORS,
    Memory,
    Modules,
    Processes,
    Processors,
)
from fleetward.node.results import ProbeError, Problem, Trouble

WELL_KEPT_CLOCKS = frozenset({"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "xen"})
"""Clock sources that are read without leaving the processor, and those of virtual machines."""


@check(
    "memory_size",
    "The node has less memory than the profile says.",
    MEMORY,
    Severity.FATAL,
    Action.INSPECT,
    "gcm, nhc, azurehpc-health-checks",
    limits={"share": 0.95},
)
def _memory_size(memory: Memory, asked: Asked) -> Iterator[Trouble]:
    expected = asked.profile.memory_mib
    if expected is None:
        raise ProbeError("the profile does not say how much memory there should be")
    if memory.total_mib < expected * asked.limits["share"]:
        evidence = {"memory_mib": memory.total_mib, "expected_mib": expected}
        yield Trouble(f"{memory.total_mib} MiB of {expected}", evidence=evidence)


@check(
    "memory_fragmented",
    "No large block of memory is free, so that what needs one is slow or fails.",
    MEMORY,
    Severity.WARNING,
    Action.WATCH,
    "gcm",
)
def _memory_fragmented(memory: Memory, _: Asked) -> Iterator[Trouble]:
    if memory.large_blocks_free is None:
        raise ProbeError("/proc/buddyinfo cannot be read, or has no normal zone")
    if memory.large_blocks_free == 0:
        yield Trouble("no free block of 2 MiB or more", evidence={"large_blocks_free": 0})


@check(
    "memory_uncorrected",
    "Memory had errors that could not be corrected since the node booted.",
    MEMORY,
    Severity.FATAL,
    Action.INSPECT,
    "nhc",
)
def _memory_uncorrected(memory: Memory, _: Asked) -> Iterator[Trouble]:
    yield from _memory_errors(memory.uncorrected, 0)


@check(
    "memory_corrected",
    "Memory had many errors that were corrected since the node booted.",
    MEMORY,
    Severity.WARNING,
    Action.WATCH,
    "nhc",
    limits={"errors": 1000},
)
def _memory_corrected(memory: Memory, asked: Asked) -> Iterator[Trouble]:
    yield from _memory_errors(memory.corrected, asked.limits["errors"])


def _memory_errors(counts: Mapping[str, int], most: float) -> Iterator[Trouble]:
    if not counts:
        raise ProbeError("EDAC watches no memory controller: its module for this board is not loaded")
    for controller, count in counts.items():
        if count > most:
            yield Trouble(f"{count} errors", controller, {"errors": count})


@check(
    "cpu_count",
    "The node has another number of logical processors than the profile says.",
    PROCESSORS,
    Severity.FATAL,
    Action.INSPECT,
    "nhc",
)
def _cpu_count(processors: Processors, asked: Asked) -> Iterator[Trouble]:
    expected = asked.profile.cpus
    if expected is None:
        raise ProbeError("the profile does not say how many processors there should be")
    if processors.count != expected:
        evidence = {"cpus": processors.count, "expected": expected}
        yield Trouble(f"{processors.count} logical processors, expected {expected}", evidence=evidence)


@check(
    "cpu_governor",
    "A processor's clock is not set for performance.",
    PROCESSORS,
    Severity.WARNING,
    Action.UPDATE_SOFTWARE,
    "gcm",
)
def _cpu_governor(processors: Processors, _: Asked) -> Iterator[Trouble]:
    if not processors.governors:
        raise ProbeError("nothing scales the processors' clock here")
    other = sorted(name for name, governor in processors.governors.items() if governor != "performance")
    if other:
        governor = processors.governors[other[0]]
        why = f"{len(other)} processors have the governor {governor}"
        yield Trouble(why, evidence={"cpus": len(other), "governor": governor})


@check(
    "cpu_clock",
    "A processor that is set for performance has a low clock.",
    PROCESSORS,
    Severity.WARNING,
    Action.INSPECT,
    "gcm",
    limits={"mhz": 1498},
)
def _cpu_clock(processors: Processors, asked: Asked) -> Iterator[Trouble]:
    if not processors.megahertz:
        raise ProbeError("the processors do not tell their clock here")
    slow = {
        name: clock
        for name, clock in processors.megahertz.items()
        if clock < asked.limits["mhz"] and processors.governors.get(name) == "performance"
    }
    if slow:
        lowest = min(slow.values())
        yield Trouble(f"{len(slow)} processors are below, at {lowest:.0f} MHz", evidence={"mhz": lowest})


@check(
    "clock_source",
    "The kernel reads time from a slow clock, since it found the processors' own unfit.",
    PROCESSORS,
    Severity.DEGRADED,
    Action.REBOOT,
    "gcm",
)
def _clock_source(processors: Processors, _: Asked) -> Iterator[Trouble]:
    if not processors.clock_source:
        raise ProbeError("the kernel does not tell its clock source")
    if processors.clock_source not in WELL_KEPT_CLOCKS:
        yield Trouble(f"the clock source is {processors.clock_source}", evidence={"source": processors.clock_source})


@check(
    "clock_offset",
    "The clock is far from its reference.",
    CLOCK,
    Severity.WARNING,
    Action.WATCH,
    "node-mixin",
    limits={"seconds": 0.05},
)
def _clock_offset(clock: ClockState, asked: Asked) -> Iterator[Trouble]:
    if abs(clock.offset_seconds) > asked.limits["seconds"]:
        yield Trouble(f"{clock.offset_seconds:+.3f} s off", evidence={"offset_seconds": clock.offset_seconds})


@check(
    "clock_synchronised",
    "Nothing keeps the clock right.",
    CLOCK,
    Severity.WARNING,
    Action.UPDATE_SOFTWARE,
    "node-mixin",
)
def _clock_synchronised(clock: ClockState, _: Asked) -> Iterator[Trouble]:
    if not clock.synchronised:
        yield Trouble("no time daemon keeps the clock: see chronyd", evidence={"synchronised": 0})


@check(
    "process_stuck",
    "Old processes wait for a device or a server and cannot be ended (state D).",
    PROCESSES,
    Severity.WARNING,
    Action.WATCH,
    "gcm, gpud",
    limits={"seconds": 300, "count": 1},
)
def _process_stuck(processes: Processes, asked: Asked) -> Iterator[Trouble]:
    stuck = [one for one in processes.odd if one.state == "D" and one.age_seconds > asked.limits["seconds"]]
    if len(stuck) >= asked.limits["count"]:
        names = ", ".join(f"{one.pid} {one.name}" for one in stuck[:5])
        yield Trouble(f"{len(stuck)} in state D: {names}", evidence={"count": len(stuck), "processes": names})


@check(
    "process_zombies",
    "Very many processes are dead and nobody waits for them.",
    PROCESSES,
    Severity.WARNING,
    Action.WATCH,
    "gcm, gpud",
    limits={"seconds": 300, "count": 1000},
)
def _process_zombies(processes: Processes, asked: Asked) -> Iterator[Trouble]:
    dead = [one for one in processes.odd if one.state == "Z" and one.age_seconds > asked.limits["seconds"]]
    if len(dead) >= asked.limits["count"]:
        yield Trouble(f"{len(dead)} zombies", evidence={"count": len(dead), "first": dead[0].name})


@check(
    "file_pressure",
    "The node is short of open files.",
    PROCESSES,
    Severity.WARNING,
    Action.WATCH,
    "node-mixin",
    limits={"share": 0.8},
    problem=Problem.USER,
)
def _file_pressure(processes: Processes, asked: Asked) -> Iterator[Trouble]:
    yield from _pressure("files", processes.files, processes.files_max, asked.limits["share"])


@check(
    "task_pressure",
    "The node is short of processes and threads.",
    PROCESSES,
    Severity.WARNING,
    Action.WATCH,
    "gpud",
    limits={"share": 0.8},
    problem=Problem.USER,
)
def _task_pressure(processes: Processes, asked: Asked) -> Iterator[Trouble]:
    yield from _pressure("tasks", processes.tasks, processes.tasks_max, asked.limits["share"])


def _pressure(what: str, used: int, most: int, share: float) -> Iterator[Trouble]:
    if not most:
        raise ProbeError(f"the kernel does not tell how many {what} there may be")
    if used > most * share:
        yield Trouble(f"{used} {what} of {most}", evidence={what: used, "most": most})


@check(
    "kernel_modules",
    "A kernel module of the profile is not loaded.",
    MODULES,
    Severity.FATAL,
    Action.UPDATE_SOFTWARE,
    "gcm, gpud",
)
def _kernel_modules(modules: Modules, asked: Asked) -> Iterator[Trouble]:
    expected = asked.profile.host.modules
    if not expected:
        raise ProbeError("the profile does not say which kernel modules there should be")
    for name in expected:
        if name.replace("-", "_") not in modules.names:
            yield Trouble("the module is not loaded", name)


@check(
    "kernel_peermem",
    "Network cards cannot reach GPU memory, though both drivers are loaded.",
    MODULES,
    Severity.WARNING,
    Action.UPDATE_SOFTWARE,
    "gpud, imbue cluster-health",
)
def _kernel_peermem(modules: Modules, _: Asked) -> Iterator[Trouble]:
    if {"nvidia", "mlx5_ib"} <= modules.names and "nvidia_peermem" not in modules.names:
        yield Trouble("nvidia_peermem is not loaded: `modprobe nvidia-peermem`", evidence={"nvidia_peermem": 0})


CHECKS = (
    _memory_size,
    _memory_fragmented,
    _memory_uncorrected,
    _memory_corrected,
    _cpu_count,
    _cpu_governor,
    _cpu_clock,
    _clock_source,
    _clock_offset,
    _clock_synchronised,
    _process_stuck,
    _process_zombies,
    _file_pressure,
    _task_pressure,
    _kernel_modules,
    _kernel_peermem,
)
