"""What has to survive `kill -9`, as a journal: entries are appended and on disk before anything is built on them.

Each line is a checksum and what was appended at once, as JSON. A line that was cut off in the middle of its writing
never happened, and so none of its entries did.
"""

import contextlib
import fcntl
import json
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fleetward.model.errors import FleetwardError

FILE = "faults.journal"
_LOCK = "faults.lock"

Entry = Mapping[str, Any]


class Journal:
    """A folder's journal; one program at a time has it."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, made where it is not there.

        Raises OSError where it cannot be used, FleetwardError where another program has it.
        """
        self._path = folder / FILE
        self._file = -1
        self.size = 0
        """Bytes."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise FleetwardError(f"{folder}: another exporter keeps its state there; give each its own") from None

    def read(self) -> tuple[list[Entry], bool]:
        """Return the entries up to the first line that is wrong, and whether that is more than an end cut off.

        Raises OSError.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return [], False
        entries: list[Entry] = []
        at = 0
        while (end := content.find(b"\n", at)) >= 0:
            check, _, text = content[at:end].partition(b" ")
            if check != b"%08x" % zlib.crc32(text):
                return entries, True
            entries += json.loads(text)
            at = end + 1
        return entries, False

    def append(self, entries: Iterable[Entry]) -> None:
        """Put entries at the end: they are on disk when this returns, all of them or none. Raises OSError.

        After an error, or before the first `rewrite`, the end is not known to be whole: only `rewrite` goes on.
        """
        if self._file < 0:
            raise OSError("the journal has to be rewritten first")
        text = _line(list(entries))
        try:
            _write(self._file, text)
        except OSError:
            self._close_file()
            raise
        self.size += len(text)

    def rewrite(self, entries: Iterable[Entry]) -> None:
        """Put entries in the place of all that is there. Raises OSError; the journal is then as it was."""
        self._close_file()
        fresh = self._path.with_suffix(".new")
        text = b"".join(_line([entry]) for entry in entries)
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write(file, text)
            fresh.replace(self._path)
            _settle(self._path.parent)
        except OSError:
            os.close(file)
            raise
        self._file, self.size = file, len(text)

    def set_aside(self) -> None:
        """Keep what is there as faults.broken, for a person to look at."""
        with contextlib.suppress(OSError):
            self._path.replace(self._path.with_suffix(".broken"))

    def close(self) -> None:
        """Give the folder back."""
        self._close_file()
        os.close(self._lock)

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def _line(entries: list[Entry]) -> bytes:
    text = json.dumps(entries, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _write(file: int, text: bytes) -> None:
    left = memoryview(text)
    while left:
        left = left[os.write(file, left) :]
    os.fdatasync(file)


def _settle(folder: Path) -> None:
    """Have the kernel put the folder's names on disk."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
