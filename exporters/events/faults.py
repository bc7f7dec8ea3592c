"""What faults are here: which GPU or switch, which number, who told of it, and how often it happened."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Source(StrEnum):
    """Who tells of a fault."""

    NVML = "nvml"
    KERNEL = "kernel log"
    KERNEL_WORDS = "kernel log, without a number"
    """The driver writes a second line for a GPU that fell off the bus."""


@dataclass(frozen=True)
class XidEvent:
    """A fault that the driver reported on one GPU; events that are equal are counted together."""

    index: int
    uuid: str
    xid: int


@dataclass(frozen=True)
class SxidEvent:
    """A fault that the driver reported on one NVSwitch."""

    switch: int
    """The number that the kernel gave the switch."""
    address: str
    """PCI domain, bus and device: `0000:05:00`."""
    sxid: int


@dataclass(frozen=True)
class Device:
    """A GPU as NVML lists it."""

    index: int
    uuid: str


@dataclass(frozen=True)
class FaultTally:
    """What has been counted, since the state on disk was begun; without one, since the program was."""

    xids: Mapping[XidEvent, int] = field(default_factory=dict)
    sxids: Mapping[SxidEvent, int] = field(default_factory=dict)
    last_at: Mapping[XidEvent, float] = field(default_factory=dict)
    """When each was seen last, in Unix time."""
    last_xids: Mapping[str, int] = field(default_factory=dict)
    """The newest XID of each GPU that had one, by its uuid."""
    strange: int = 0
    """XIDs in the kernel's log of an address at which no GPU has been seen."""
    log_readable: bool = False
    """Whether faults are read from the kernel's log too."""
    log_lost: int = 0
    """Records of the kernel's log that were overwritten before they could be read."""
    state_writable: bool | None = None
    """Whether what is counted here survives; None where no state is kept."""
    waiting: int = 0
    """Events that the daemon has not taken yet."""
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """What became of events, of this run: `taken`, `refused`, `dropped`; empty where no daemon is told."""
    push_failures: int = 0
    """Posts to the daemon that failed, of this run."""
