"""An ordinary file with the kernel's records, one a line: emptied, replaced or half written, it is followed."""

import os
import zlib
from pathlib import Path
from typing import Any

from fleetward.exporters.events.kernel_lines import RECORD_BYTES
from fleetward.exporters.events.log_record import MOST_RECORDS, LogRecord

_READ_BYTES = 64 * 1024
_MARK_BYTES = 64
"""Of what stands before the place: another file that has grown beyond it is told by them."""


class FileReader:
    """Reads the file that has a name, from a place on."""

    def __init__(self, path: Path, place: dict[str, Any] | None, *, from_beginning: bool) -> None:
        """Open the file. Where it is not the one of `place`, or there is none, it is read anew.

        A file without a place is read from its end on, unless it is to be read `from_beginning`. Raises OSError.
        """
        self.lost = 0
        self._path = path
        self._file = -1
        self._waiting = b""
        """What has been read of the file and not of its lines."""
        self._line, self._length = b"", 0
        """The line that is not whole yet, cut, and how long it is so far."""
        self._open(_generation(), 0)
        if place is not None:
            self._resume(place)
        elif not from_beginning:
            self._offset = os.fstat(self._file).st_size
            self._before = _before(self._file, self._offset)

    def read(self) -> list[LogRecord]:
        """Return the next whole lines, each of at most RECORD_BYTES: what is longer is cut."""
        records: list[LogRecord] = []
        if not self._waiting:
            self._waiting = self._more()
        while self._waiting and len(records) < MOST_RECORDS:
            piece, ended, rest = self._waiting.partition(b"\n")
            self._waiting = rest
            self._line += piece[: RECORD_BYTES - len(self._line)]
            self._length += len(piece)
            if ended:
                records.append(LogRecord(self._line.decode("utf-8", "replace"), f"{self._generation}:{self._offset:x}"))
                self._pass(self._length + 1)
        return records

    def place(self) -> dict[str, Any]:
        """Return which file it is, and where in it the next line begins."""
        inode = os.fstat(self._file).st_ino
        mark = [len(self._before), zlib.crc32(self._before)]
        return {"generation": self._generation, "inode": inode, "offset": self._offset, "mark": mark}

    def selectable(self) -> int | None:
        """Return None: no call of the kernel waits for an ordinary file."""
        return None

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _open(self, generation: str, offset: int) -> None:
        file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        self._begin(generation, offset, b"")

    def _begin(self, generation: str, offset: int, before: bytes) -> None:
        self._generation, self._offset, self._before = generation, offset, before
        self._waiting, self._line, self._length = b"", b"", 0

    def _resume(self, place: dict[str, Any]) -> None:
        status = os.fstat(self._file)
        offset, (length, mark) = int(place["offset"]), place["mark"]
        if status.st_ino == place["inode"] and status.st_size >= offset:
            before = os.pread(self._file, length, offset - length)
            if zlib.crc32(before) == mark:
                self._begin(str(place["generation"]), offset, before)

    def _more(self) -> bytes:
        """Return what was written since; where the file is another one by now, from its beginning."""
        at = self._offset + self._length
        if os.fstat(self._file).st_size < at or _before(self._file, self._offset) != self._before:
            self._begin(_generation(), 0, b"")
            at = 0
        data = os.pread(self._file, _READ_BYTES, at)
        if not data and self._is_replaced():
            self._open(_generation(), 0)
            data = os.pread(self._file, _READ_BYTES, 0)
        return data

    def _is_replaced(self) -> bool:
        try:
            named = self._path.stat()
        except OSError:
            return False  # between two files, or gone: the one that is open is still right
        return named.st_ino != os.fstat(self._file).st_ino

    def _pass(self, length: int) -> None:
        self._offset += length
        self._before = (self._before + self._line + b"\n")[-_MARK_BYTES:]
        if length > RECORD_BYTES:
            self._before = _before(self._file, self._offset)  # the line was cut
        self._line, self._length = b"", 0


def _before(file: int, offset: int) -> bytes:
    length = min(_MARK_BYTES, offset)
    return os.pread(file, length, offset - length)


def _generation() -> str:
    """Return a name for one content of the file: the same place in another content is another record."""
    return os.urandom(8).hex()
