"""What stands in the kernel's log now: its records, with how long ago each was written."""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fleetward.exporters.events.kernel_lines import RECORD_BYTES
from fleetward.node.checking import Probe
from fleetward.node.repaired import repaired
from fleetward.node.results import ProbeError
from fleetward.node.surroundings import Surroundings

MOST_RECORDS = 200_000
MOST_BYTES = 8 << 20
"""Of an ordinary file: its end."""
MOST_CHARACTERS = 8192
"""Of one line."""

_HEADER = re.compile(r"(?P<priority>\d{1,10}),\d+,(?P<microseconds>\d{1,18}),[^;]*;")
_KERNEL_FACILITY = 0


@dataclass(frozen=True)
class Record:
    """One message of the kernel itself."""

    message: str
    age_seconds: float | None = None
    """None where the log or the uptime does not tell."""


@dataclass(frozen=True)
class KernelRecords:
    """The kernel's messages, oldest first."""

    records: tuple[Record, ...] = ()
    repaired: Mapping[str, float] = field(default_factory=dict)
    """Seconds since what is at a PCI address, or everything, was said to be repaired."""


def parse(lines: list[str], uptime_seconds: float | None) -> KernelRecords:
    """Read records of /dev/kmsg; what programs wrote there is left out."""
    records = []
    for line in lines:
        header = _HEADER.match(line)
        if header is None:
            if line and not line.startswith(" "):  # continuation lines hold data, no message
                records.append(Record(line[:MOST_CHARACTERS]))
        elif int(header["priority"]) >> 3 == _KERNEL_FACILITY:
            age = None if uptime_seconds is None else max(0.0, uptime_seconds - int(header["microseconds"]) / 1e6)
            records.append(Record(line[header.end() :][:MOST_CHARACTERS], age))
    return KernelRecords(tuple(records))


def read_kernel_log(surroundings: Surroundings) -> KernelRecords:
    """Read the log from its beginning; raises ProbeError where it cannot be read."""
    uptime = (surroundings.text("proc/uptime") or "").split()
    path = surroundings.path(str(surroundings.kernel_log))
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            ordinary = stat.S_ISREG(os.fstat(file).st_mode)
            lines = _end_of(file) if ordinary else _records_of(file)
        finally:
            os.close(file)
    except OSError as error:
        where = surroundings.kernel_log
        raise ProbeError(f"the kernel's log {where} cannot be read ({error.strerror}): run as root") from error
    return replace(parse(lines, float(uptime[0]) if uptime else None), repaired=repaired(surroundings))


def _end_of(file: int) -> list[str]:
    os.lseek(file, max(0, os.fstat(file).st_size - MOST_BYTES), os.SEEK_SET)
    data = b""
    while chunk := os.read(file, 1 << 20):
        data += chunk
    return data.decode("utf-8", "replace").split("\n")


def _records_of(device: int) -> list[str]:
    lines: list[str] = []
    while len(lines) < MOST_RECORDS:
        try:
            record = os.read(device, RECORD_BYTES)
        except BlockingIOError:
            break
        except BrokenPipeError:
            continue  # the kernel has overwritten what was to come next
        if not record:
            break
        lines.append(record.decode("utf-8", "replace").partition("\n")[0])
    return lines


KERNEL_LOG: Probe[KernelRecords] = Probe("kernel log", read_kernel_log, last=True)
