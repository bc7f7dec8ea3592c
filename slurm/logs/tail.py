"""Reading a job's log while it grows, in whole lines and bounded memory.

A log may be missing yet, be cut or replaced by another file, have lines without an end, or be sparse: where somebody
emptied it while a program went on writing at its old place, the hole is passed over.
"""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fleetward.model.errors import FleetwardError, UsageError

BLOCK = 1 << 20
"""Bytes that are read at once."""
LONGEST_LINE = 64 << 10
"""Bytes of a line without an end that are held; more of it is handed on as a line, and what follows is dropped."""
MOST_BACK = 64 << 20
"""Bytes before the end of a file in which its last lines are looked for."""
KNOWN_AGAIN = 64
"""Bytes before the place that was read to, by which a file is known that was cut and has grown beyond it again."""
HEAD = 32
"""Bytes at the start of a line that are kept, since labels of ranks stand there."""
CUT = b" [the rest of this line is left out]"

_AWAY = frozenset({errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.ETIMEDOUT})


class NoLogError(UsageError):
    """There is no file of this name, or none that can be read as a log."""


@dataclass(frozen=True, slots=True)
class News:
    """What a look at a file brought."""

    data: bytes = b""
    """Whole lines, each with its newline."""
    happened: str = ""
    """What a person should know of the file; told once."""
    more: bool = False
    """Whether there was more than one look takes."""


class Lines:
    """Makes whole lines of bytes as they come, and holds at most LONGEST_LINE of one that has not ended."""

    def __init__(self) -> None:
        """Begin at the start of a line."""
        self._held = b""
        self._dropping = False

    def feed(self, data: bytes) -> bytes:
        """Return the lines that end in these bytes; NULs, as holes of a sparse file have them, are left out."""
        if b"\0" in data:
            data = data.replace(b"\0", b"")
        if self._dropping:
            _, newline, data = data.partition(b"\n")
            self._dropping = not newline
        data = self._held + data
        end = data.rfind(b"\n") + 1
        whole, self._held = data[:end], data[end:]
        if len(self._held) > LONGEST_LINE:
            # A progress bar writes its line anew after each carriage return: only what it wrote last is of use.
            last = self._held.rfind(b"\r", HEAD, -1)
            if last > HEAD and len(self._held) - last <= LONGEST_LINE - HEAD:
                self._held = self._held[:HEAD] + self._held[last:]
            else:
                whole += self._held[:LONGEST_LINE] + CUT + b"\n"
                self._held, self._dropping = b"", True
        return whole

    def rest(self) -> bytes:
        """Return the line that has not ended, with a newline, and begin anew; empty where there is none."""
        rest, self._held, self._dropping = self._held, b"", False
        return rest + b"\n" if rest else b""


def blocks(path: Path, last: int | None = None) -> Iterator[bytes]:
    """Yield a log from its beginning, or its last lines, up to the end that it has now, in blocks of whole lines.

    The last lines are looked for in the last MOST_BACK bytes. NoLogError where there is no such file, FleetwardError
    where it cannot be read.
    """
    fd = _open(path)
    try:
        size = os.fstat(fd).st_size
        offset = 0 if last is None else _start_of_last(fd, size, last)
        lines = Lines()
        while offset < size:
            data, beyond = _read(fd, offset, min(BLOCK, size - offset))
            if beyond == offset:  # it was cut meanwhile
                break
            offset = beyond
            if whole := lines.feed(data):
                yield whole
        if rest := lines.rest():
            yield rest
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(fd)


def last_change(path: Path) -> datetime:
    """Return when a log was written to last, in the zone of this machine; errors as in `blocks`."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime).astimezone()
    except OSError as error:
        raise _unreadable(path, error) from error


class Tail:
    """One log that is followed, from its last lines on, or from its beginning where it is not there yet."""

    def __init__(self, path: Path, last: int | None = None) -> None:
        """Open nothing yet; without `last` all lines are read."""
        self.path = path
        self._last = last
        self._fd: int | None = None
        self._offset = 0
        self._identity = (0, 0)
        self._before = b""
        self._lines = Lines()
        self._told = ""

    def look(self) -> News:
        """Return what is new, at most BLOCK of it.

        NoLogError where this is no ordinary file, FleetwardError where it may not be read.
        """
        try:
            fd = self._begin() if self._fd is None else self._fd
            return self._once("is not there yet; waiting for it") if fd is None else self._look(fd)
        except OSError as error:
            if error.errno not in _AWAY:
                raise _unreadable(self.path, error) from error
            self.close()
            return self._once(f"cannot be read ({error.strerror}); trying again")

    def last(self) -> Iterator[News]:
        """Yield what is left up to the end that the file has now, and the line that has not ended."""
        self._open_anew()
        end = self._offset if self._fd is None else os.fstat(self._fd).st_size
        while True:
            news = self.look()
            yield news
            if not news.more or self._offset >= end:
                break
        yield News(self._lines.rest())

    def close(self) -> None:
        """Let go of the file; the next look opens it again and goes on where it was."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _begin(self) -> int | None:
        try:
            fd = _open(self.path)
        except MissingLogError:
            self._last = None  # what comes is all new
            return None
        state = os.fstat(fd)
        if self._identity != (state.st_dev, state.st_ino):
            self._identity, self._before = (state.st_dev, state.st_ino), b""
            self._offset = 0 if self._last is None else _start_of_last(fd, state.st_size, self._last)
        self._fd, self._last = fd, None
        return fd

    def _look(self, fd: int) -> News:
        size = os.fstat(fd).st_size
        if size < self._offset or (size > self._offset and not self._is_known(fd)):
            self._offset, self._before = 0, b""
            return News(self._lines.rest(), "was cut; it is read from its beginning", more=True)
        if size > self._offset:
            data, self._offset = _read(fd, self._offset, min(BLOCK, size - self._offset))
            self._before = (self._before + data)[-KNOWN_AGAIN:] if data else b""
            self._told = ""
            return News(self._lines.feed(data), more=self._offset < size)
        try:
            state = self.path.stat()
        except FileNotFoundError:
            return self._once("was removed; waiting for it")
        if (state.st_dev, state.st_ino) == self._identity:
            return News()
        self.close()
        return News(self._lines.rest(), "is another file now; it is read from its beginning", more=True)

    def _is_known(self, fd: int) -> bool:
        return os.pread(fd, len(self._before), self._offset - len(self._before)) == self._before

    def _open_anew(self) -> None:
        """Open the same file again: a client of NFS shows only then what another machine wrote a moment ago."""
        if self._fd is None:
            return
        try:
            fd = _open(self.path)
        except FleetwardError:  # what is open can still be read
            return
        state = os.fstat(fd)
        if (state.st_dev, state.st_ino) != self._identity:
            os.close(fd)
            return
        os.close(self._fd)
        self._fd = fd

    def _once(self, happened: str) -> News:
        if happened == self._told:
            return News()
        self._told = happened
        return News(happened=happened)


class MissingLogError(NoLogError):
    """There is no file of this name."""


def _open(path: Path) -> int:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a FIFO would wait, a device do something
            raise NoLogError(f"{path}: is no ordinary file, so no log can be read from it")
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> FleetwardError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return MissingLogError(f"{path}: there is no such file here")
    if isinstance(error, PermissionError):
        return FleetwardError(f"{path}: you may not read it; ask its owner, or run this as them")
    return FleetwardError(f"{path}: cannot be read ({error.strerror})")


def _read(fd: int, offset: int, most: int) -> tuple[bytes, int]:
    """Return bytes and the place after them; none, and a place further on, where there is a hole."""
    data = os.pread(fd, most, offset)
    if data and not data.strip(b"\0"):
        try:
            return b"", max(offset + len(data), os.lseek(fd, offset, os.SEEK_DATA))
        except OSError as error:
            if error.errno == errno.ENXIO:  # it is a hole up to the end
                return b"", max(offset + len(data), os.fstat(fd).st_size)
            if error.errno != errno.EINVAL:  # the file system knows of holes
                raise
    return data, offset + len(data)


def _start_of_last(fd: int, size: int, lines: int) -> int:
    floor = max(0, size - MOST_BACK)
    end, found = size, 0
    while end > floor:
        begin = max(floor, end - BLOCK)
        data = os.pread(fd, end - begin, begin)
        # The newline at the very end begins no line.
        at = data.rfind(b"\n", 0, len(data) - 1 if end == size else len(data))
        while at >= 0:
            found += 1
            if found == lines:
                return begin + at + 1
            at = data.rfind(b"\n", 0, at)
        end = begin
    return floor
