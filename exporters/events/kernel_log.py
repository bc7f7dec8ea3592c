"""The kernel's log, followed over restarts of the program and of the machine: faults, and when each was written.

A log is /dev/kmsg, or an ordinary file that plays it. With the cursor of the last run it goes on after what that run
took; after a boot it begins at the beginning; without a cursor, what stood there before is old news.
"""

import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetward.exporters.events.kernel_lines import KernelSxid, KernelXid, header_of, parse_record
from fleetward.exporters.events.kmsg import KmsgReader
from fleetward.exporters.events.log_file import FileReader
from fleetward.exporters.events.log_record import MOST_RECORDS, LogReader, LogRecord

RETRY_SECONDS = 10.0
"""How long until a log that could not be opened is tried again."""
LATEST_SECONDS = 2.0
"""How late a record is read at most, where the log has been read up to its end."""
DRIFT = 0.001
"""Seconds a second by which the kernel's own clock and ours may drift apart."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class KernelFault:
    """A fault that stands in the log."""

    told: KernelXid | KernelSxid
    key: str
    """The same whenever it is read."""
    at: float
    """When it was written, in seconds of this program's monotonic clock."""


class KernelLog:
    """Follows a log; nothing in here waits."""

    def __init__(
        self,
        path: Path,
        boot: str,
        cursor: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the log; where that fails, `readable` is False and `read` tries again every RETRY_SECONDS."""
        self._path, self._boot, self._clock = path, boot, clock
        known = cursor if cursor and cursor.get("log") == str(path) else None
        here = known if known and known.get("boot") == boot else None
        self._place: dict[str, Any] | None = here.get("place") if here else None
        self._skew = float(here["skew"]) if here else 0.0
        """What is added to the kernel's own clock to have ours."""
        self._compared_at: float | None = None
        self._from_beginning = known is not None and here is None
        self._reader: LogReader | None = None
        self._caught_up = False
        self._lost = 0
        self._open()
        if self.readable and known is None:
            self._caught_up = True  # it begins at its end: whatever comes was written from now on

    @property
    def readable(self) -> bool:
        """Whether the log is open."""
        return self._reader is not None

    @property
    def caught_up(self) -> bool:
        """Whether all that was there at the beginning has been read."""
        return self._caught_up

    @property
    def lost(self) -> int:
        """Records that the kernel overwrote before they could be read."""
        return self._lost + (self._reader.lost if self._reader else 0)

    @property
    def cursor(self) -> dict[str, Any] | None:
        """Return what another KernelLog goes on from, as JSON; None where nothing has been read yet."""
        place = self._reader.place() if self._reader else self._place
        if place is None:
            return None
        return {"log": str(self._path), "boot": self._boot, "skew": round(self._skew, 3), "place": place}

    def selectable(self) -> int | None:
        """Return the file that is ready when there is more; None where one has to look."""
        return self._reader.selectable() if self._reader else None

    def read(self) -> list[KernelFault]:
        """Return the faults in the next records, the oldest first; empty also where they tell of no fault."""
        if self._reader is None and self._clock() >= self._next_try:
            self._open()
        if self._reader is None:
            return []
        try:
            records = self._reader.read()
        except OSError:
            self.close()
            return []
        faults = [fault for record in records if (fault := self._fault(record))]
        self._caught_up = self._caught_up or len(records) < MOST_RECORDS
        return faults

    def close(self) -> None:
        """Close the log; it is opened again where it is read again."""
        if self._reader is not None:
            self._place, self._lost = self._reader.place(), self.lost
            self._reader.close()
            self._reader = None

    def _open(self) -> None:
        self._next_try = self._clock() + RETRY_SECONDS
        try:
            self._reader = self._open_reader()
        except OSError:
            return

    def _open_reader(self) -> LogReader:
        if stat.S_ISREG(self._path.stat().st_mode):
            return FileReader(self._path, self._place, from_beginning=self._from_beginning)
        return KmsgReader(self._path, self._place, from_beginning=self._from_beginning)

    def _fault(self, record: LogRecord) -> KernelFault | None:
        header = header_of(record.text)
        now = self._clock()
        if header and self._caught_up:
            self._compare(now, header.seconds)
        told = parse_record(record.text)
        if told is None:
            return None
        at = min(now, header.seconds + self._skew) if header else now
        if self._caught_up and now - at > LATEST_SECONDS:
            at = now  # its time is nonsense: it was not there when the log was read last
        return KernelFault(told, f"kernel:{self._boot}:{record.key}", at)

    def _compare(self, now: float, written: float) -> None:
        """Compare our clock with the kernel's: a record may be read late, and clocks drift slowly."""
        skew = now - written
        if self._compared_at is not None:
            skew = min(skew, self._skew + (now - self._compared_at) * DRIFT)
        self._skew, self._compared_at = skew, now


def boot_id() -> str:
    """Return what is the same until the machine is started anew; raises OSError."""
    return _BOOT_ID.read_text(encoding="ascii").strip().replace("-", "")
