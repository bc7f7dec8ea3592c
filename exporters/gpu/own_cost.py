"""What the exporter takes itself: its processes as the kernel counts them."""

import os
from collections.abc import Iterable
from pathlib import Path

from fleetward.exporters.gpu.page import OwnCost

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def own_cost(processes: Iterable[int], proc: Path = Path("/proc")) -> OwnCost:
    """Add up this process and others of ours; one that is gone by now counts nothing."""
    everyone = [os.getpid(), *processes]
    return OwnCost(
        started_at=_started_at(proc),
        cpu_seconds=sum(_cpu_seconds(proc / str(one)) for one in everyone),
        resident_bytes=sum(_resident_bytes(proc / str(one)) for one in everyone),
        open_files=sum(1 for _ in (proc / "self" / "fd").iterdir()),
    )


def _stat(process: Path) -> list[str]:
    """Return /proc/PID/stat from the state on: what stands before may have blanks in it."""
    return (process / "stat").read_text().rpartition(")")[2].split()


def _started_at(proc: Path) -> float:
    boot = next(line for line in (proc / "stat").read_text().splitlines() if line.startswith("btime "))
    return float(boot.split()[1]) + int(_stat(proc / "self")[19]) / _TICKS


def _cpu_seconds(process: Path) -> float:
    try:
        fields = _stat(process)
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident_bytes(process: Path) -> float:
    """Return the process' share of memory (Pss); what it has resident where the kernel does not tell the share."""
    try:
        for line in (process / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return float((process / "statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0.0
