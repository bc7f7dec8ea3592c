"""The kernel's log as its device hands it out: numbered records, the oldest overwritten when there is no more room."""

import os
from pathlib import Path
from typing import Any

from fleetward.exporters.events.kernel_lines import RECORD_BYTES, header_of
from fleetward.exporters.events.log_record import MOST_RECORDS, LogRecord

_MOST_SKIPPED = 1_000_000
"""Records; more than any kernel keeps."""


class KmsgReader:
    """Reads /dev/kmsg from a record on; a pipe can stand for it."""

    def __init__(self, path: Path, place: dict[str, Any] | None, *, from_beginning: bool) -> None:
        """Open the device. `place` is of this boot.

        Without one, what is there now is passed over, unless it is to be read `from_beginning`. Raises OSError.
        """
        self.lost = 0
        self._number = -1 if place is None else int(place["number"])
        """Of the record read last."""
        self._at_end = False
        self._from_beginning = place is None and from_beginning
        self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if place is None and not from_beginning:
            try:
                self._pass_over()
            except OSError:
                self.close()
                raise

    def read(self) -> list[LogRecord]:
        """Return the next records; continuation lines, which hold no message, are left out."""
        records: list[LogRecord] = []
        while len(records) < MOST_RECORDS:
            text = self._next()
            if text is None:
                break
            header = header_of(text)
            number = header.number if header else self._number + 1
            if number <= self._number:
                continue  # read before the restart
            if self._number >= 0 or self._from_beginning:
                self.lost += number - self._number - 1
            self._number = number
            records.append(LogRecord(text, str(number)))
        return records

    def place(self) -> dict[str, Any]:
        """Return the number of the record read last, -1 where there was none."""
        return {"number": self._number}

    def selectable(self) -> int | None:
        """Return the file, unless it is one that is always ready, as a device at its end is."""
        return None if self._at_end else self._file

    def close(self) -> None:
        """Close the log."""
        os.close(self._file)

    def _next(self) -> str | None:
        while True:
            try:
                data = os.read(self._file, RECORD_BYTES)
            except BlockingIOError:
                self._at_end = False
                return None
            except BrokenPipeError:
                continue  # what was to come next is overwritten: the number of the next one tells how much
            self._at_end = not data
            return data.decode("utf-8", "replace").partition("\n")[0] if data else None

    def _pass_over(self) -> None:
        for _ in range(_MOST_SKIPPED):
            text = self._next()
            if text is None:
                return
            if header := header_of(text):
                self._number = header.number
