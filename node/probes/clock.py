"""How well the kernel's clock is kept."""

import ctypes
import os
from dataclasses import dataclass

from fleetward.node.checking import Probe
from fleetward.node.results import ProbeError
from fleetward.node.surroundings import Surroundings

_STA_UNSYNC = 0x0040
_STA_NANO = 0x2000


class _Timeval(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("microseconds", ctypes.c_long))


class _Timex(ctypes.Structure):
    """The kernel's struct timex (linux/timex.h)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", _Timeval),
        ("tick", ctypes.c_long),
        ("rest", ctypes.c_long * 32),  # more than the kernel writes
    )


@dataclass(frozen=True)
class ClockState:
    """What the kernel says of its clock."""

    synchronised: bool
    offset_seconds: float
    """How far it is from the reference, as the time daemon told the kernel."""


def read_clock(surroundings: Surroundings) -> ClockState:
    """Ask the kernel with adjtimex, which changes nothing; raises ProbeError for another root than `/`."""
    if not surroundings.is_this_machine:
        raise ProbeError("the kernel's clock can only be asked on the node itself")
    timex = _Timex()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) < 0:
        raise ProbeError(f"adjtimex failed: {os.strerror(ctypes.get_errno())}")
    unit = 1e-9 if timex.status & _STA_NANO else 1e-6
    return ClockState(not timex.status & _STA_UNSYNC, timex.offset * unit)


CLOCK: Probe[ClockState] = Probe("kernel clock", read_clock)
