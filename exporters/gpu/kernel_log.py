"""XIDs and SXids in the kernel's log: what the drivers wrote there, and a reader that follows it.

NVML's events are not enough: a driver that hangs delivers none, and some XIDs never become one. The shapes are those of
NVIDIA's driver 450 to 580, as they stand in public logs.
"""

import os
import re
import select
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

KERNEL_LOG = Path("/dev/kmsg")

FELL_OFF_THE_BUS = 79
POLL_SECONDS = 0.1
"""How often an ordinary file, which no kernel call can wait for, is looked at."""
RETRY_SECONDS = 10.0
"""How long until a log that could not be opened is tried again."""
RECORD_BYTES = 8192
"""The most that /dev/kmsg hands out as one record (kernel 6.x; before, 1 KiB less)."""

_ADDRESS = r"(?P<address>[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2})(?:\.[0-7])?"
_HEADER = re.compile(r"(?P<priority>\d{1,10}),\d+,\d+,[^;]*;")
# Each from the start of the message: what a program calls itself is quoted further on, and must not pass for an XID.
_XID = re.compile(rf"NVRM: Xid \((?:PCI:)?{_ADDRESS}\): (?P<code>\d{{1,5}})(?![\d.])")
_FALLEN = re.compile(rf"NVRM: (?:The NVIDIA )?GPU (?:at )?(?:PCI:)?{_ADDRESS}\b.*\bfallen off the bus")
# A switch tells of one SXid in three lines: what happened, then the severity as a number, then data.
_SXID = re.compile(
    rf"nvidia-nvswitch(?P<switch>\d{{1,3}}): SXid \(PCI:{_ADDRESS}\): (?P<code>\d{{1,5}})(?![\d.])"
    r"(?!, (?:Severity \d|Data \{))"
)
_KERNEL_FACILITY = 0


@dataclass(frozen=True)
class KernelXid:
    """A fault that the kernel's log tells of."""

    address: str
    """Domain, bus and device as the kernel writes them, without the function: `0000:1b:00`."""
    xid: int
    implied: bool = False
    """Whether the line said what happened without its number."""
    line: str = field(default="", compare=False)
    """What the driver wrote; its words may say how bad it is."""


@dataclass(frozen=True)
class KernelSxid:
    """A fault of an NVSwitch that the kernel's log tells of."""

    address: str
    """As in `KernelXid`."""
    switch: int
    """The number that the kernel gave the switch."""
    sxid: int
    line: str = field(default="", compare=False)
    """What the driver wrote; a `Fatal` or `Non-fatal` stands in it."""


def parse_record(record: str) -> KernelXid | KernelSxid | None:
    """Read one record of /dev/kmsg, or the bare message; None where it is about something else.

    A record that a program wrote there is of another facility than the kernel's, and is no fault.
    """
    header = _HEADER.match(record)
    if header and int(header["priority"]) >> 3 != _KERNEL_FACILITY:
        return None
    message = record[header.end() :] if header else record
    if match := _XID.match(message):
        return KernelXid(bus_address(match["address"]), int(match["code"]), line=message)
    if match := _FALLEN.match(message):
        return KernelXid(bus_address(match["address"]), FELL_OFF_THE_BUS, implied=True, line=message)
    if match := _SXID.match(message):
        return KernelSxid(bus_address(match["address"]), int(match["switch"]), int(match["code"]), line=message)
    return None


def bus_address(text: str) -> str:
    """Bring a PCI address to the form of `KernelXid.address`, whether NVML or the kernel wrote it."""
    domain, bus, rest = text.lower().split(":")
    return f"{int(domain, 16):04x}:{bus}:{rest.partition('.')[0]}"


class KernelLog:
    """Follows a log from where it ends now: /dev/kmsg, or an ordinary file with the same records, one a line."""

    def __init__(self, path: Path = KERNEL_LOG, clock: Callable[[], float] = time.monotonic) -> None:
        """Open the log; where that fails, `readable` is False and `wait` tries again every RETRY_SECONDS."""
        self._path = path
        self._clock = clock
        self._file: int | None = None
        self._ordinary = False
        self._ended = False
        self._inode = 0
        self._rest = b""
        self._found: Iterator[KernelXid] = iter(())
        self._open(at_end=True)

    @property
    def readable(self) -> bool:
        """Whether the log is open."""
        return self._file is not None

    def wait(self, timeout_seconds: float) -> KernelXid | None:
        """Wait for the next XID; None where none came in time. SXids are passed over."""
        until = self._clock() + timeout_seconds
        while True:
            found = next(self._found, None)
            if found is not None:
                return found
            left = until - self._clock()
            if left <= 0:
                return None
            self._look(left)

    def close(self) -> None:
        """Close the log."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self, *, at_end: bool) -> None:
        self._next_try = self._clock() + RETRY_SECONDS
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        status = os.fstat(file)
        self._file, self._ordinary, self._inode = file, stat.S_ISREG(status.st_mode), status.st_ino
        if at_end and not stat.S_ISFIFO(status.st_mode):
            os.lseek(file, 0, os.SEEK_END)
        self._rest = b""

    def _look(self, left: float) -> None:
        """Take what is there now, or give the processor up for a while."""
        if self._file is None:
            if self._clock() >= self._next_try:
                self._open(at_end=True)
            else:
                time.sleep(min(left, max(0.0, self._next_try - self._clock())))
            return
        if self._ordinary:
            self._follow_name()
        records = self._read(self._file)
        if records:
            self._found = (found for found in map(parse_record, records) if isinstance(found, KernelXid))
        elif self._ordinary or self._ended:
            time.sleep(min(left, POLL_SECONDS))
        else:
            select.select([self._file], [], [], left)

    def _follow_name(self) -> None:
        """Go on in the file that has the name now, and at the beginning of one that was emptied."""
        try:
            named = self._path.stat()
        except OSError:
            return  # between two files, or gone: the one that is open is still right
        if self._file is not None and named.st_ino != self._inode:
            self.close()
            self._open(at_end=False)
        elif self._file is not None and named.st_size < os.lseek(self._file, 0, os.SEEK_CUR):
            os.lseek(self._file, 0, os.SEEK_SET)
            self._rest = b""

    def _read(self, file: int) -> list[str]:
        """Return whole records; of /dev/kmsg one a call, with its continuation lines left out."""
        try:
            data = os.read(file, RECORD_BYTES)
        except BlockingIOError:
            self._ended = False
            return []
        except BrokenPipeError:
            return [""]  # the kernel has overwritten what was to come next: go on with what is there
        except OSError:
            self.close()
            return []
        self._ended = not data  # a device that is at its end is always ready to be read
        *whole, rest = (self._rest + data).split(b"\n")
        if self._ordinary:
            self._rest = rest[-RECORD_BYTES:]
        else:
            whole = whole[:1]
        return [line.decode("utf-8", "replace") for line in whole]
