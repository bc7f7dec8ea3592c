"""XIDs and SXids in the kernel's log: what the drivers write there.

NVML's events are not enough: a driver that hangs delivers none, and some XIDs never become one. The shapes are those of
NVIDIA's driver 450 to 580, as they stand in public logs.
"""

import re
from dataclasses import dataclass, field

FELL_OFF_THE_BUS = 79
RECORD_BYTES = 8192
"""The most that /dev/kmsg hands out as one record (kernel 6.x; before, 1 KiB less)."""

_ADDRESS = r"(?P<address>[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2})(?:\.[0-7])?"
_HEADER = re.compile(r"(?P<priority>\d{1,10}),(?P<number>\d{1,18}),(?P<microseconds>\d{1,18}),[^;]*;")
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
class Header:
    """What stands before a message in /dev/kmsg."""

    number: int
    """Of the record; each boot counts from 0."""
    seconds: float
    """When it was written, since the machine's start by the kernel's own clock."""


def header_of(record: str) -> Header | None:
    """Return the header of a record; None where it has none."""
    found = _HEADER.match(record)
    return Header(int(found["number"]), int(found["microseconds"]) / 1e6) if found else None


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
