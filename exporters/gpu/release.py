"""Giving the GPUs back on request: a file in which root says until when the exporter holds none of them.

A GPU cannot be reset while a process has it open, and NVML opens every GPU in each process that uses it: there is no
letting go of one GPU alone. While released, the exporter has no process that uses NVML, and so neither values of GPUs
nor XIDs of NVML's events; those of the kernel's log are counted on.

The file is one JSON object, put in place by rename: `until` is a Unix time, `by` a word on who asks. Its folder is for
root to write and for the exporter to read. It is looked at several times a second, and costs one call of the kernel.
"""

import contextlib
import json
import math
import os
import stat
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from fleetward.model.errors import FleetwardError

RELEASE_FILE = Path("/run/fleetward/release/gpu-exporter.json")
RELEASE_OPTION = "--release-file"
"""Of the exporter, where its file is another one."""
MOST_SECONDS = 3600.0
"""A node whose GPUs nobody watches is asked about after an hour at the latest."""
MOST_BYTES = 4096
MOST_LETTERS = 128
_LATEST = 1e12
"""Unix times beyond it, and what is no number, are none."""


@dataclass(frozen=True)
class Release:
    """A request to hold no GPU."""

    until: float
    """Unix time."""
    by: str
    """Who asks."""

    def holds(self, now: float) -> bool:
        """Return whether nobody is to hold a GPU at this Unix time; a request for longer than may be is none."""
        return now < self.until <= now + MOST_SECONDS


def parse_release(content: bytes) -> Release:
    """Read a request; raises ValueError that says what is wrong with it."""
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is longer than {MOST_BYTES} bytes")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    until, by = (found.get("until"), found.get("by", "")) if isinstance(found, dict) else (None, "")
    if isinstance(until, bool) or not isinstance(until, int | float) or not abs(until) < _LATEST:
        raise ValueError("`until` is no Unix time")
    if not isinstance(by, str) or len(by) > MOST_LETTERS or not by.isprintable():
        raise ValueError(f"`by` is no word of at most {MOST_LETTERS} letters")
    return Release(float(until), by)


class ReleaseFile:
    """Follows the file of one exporter: what is wrong in it is told once, and releases nothing."""

    def __init__(
        self,
        path: Path,
        tell: Callable[[str], None],
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read nothing yet; the file need not be there."""
        self._path = path
        self._tell = tell
        self._wall = wall
        self._clock = clock
        self._seen: tuple[int, ...] = ()
        self._released = False
        self._until = 0.0
        self._deadline = -math.inf
        """Of the monotonic clock: a clock that is set back may not blind anybody for longer."""

    def look(self) -> float | None:
        """Return until when the GPUs are released, as Unix time; None where they are not."""
        signature = self._signature()
        if signature != self._seen:
            self._seen, self._deadline = signature, -math.inf
            if signature:
                self._take()
        released = self._clock() < self._deadline
        if self._released and not released:
            self._tell("the release is over: the GPUs are looked at again")
        self._released = released
        return self._until if released else None

    def _signature(self) -> tuple[int, ...]:
        """Return what is different after the file was put in place anew; nothing where there is none."""
        try:
            found = self._path.stat(follow_symlinks=False)
        except OSError:
            return ()
        return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)

    def _take(self) -> None:
        try:
            asked = parse_release(_content(self._path))
        except FileNotFoundError:
            return  # it was taken away at this moment
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            self._tell(f"{self._path} is ignored, and no GPU released: {why}")
            return
        seconds = min(asked.until - self._wall(), MOST_SECONDS)
        self._until, self._deadline = self._wall() + seconds, self._clock() + seconds
        if seconds > 0:
            self._tell(f"the GPUs are released for {seconds:.0f} s, as {asked.by or 'somebody'} asked")


class Absence:
    """Whether GPUs are shown: not while they are released, and after that not before all were looked at anew."""

    def __init__(self, patience_seconds: float) -> None:
        """Take how long the first looks after a release may take until what there is is shown."""
        self.until: float | None = None
        """The Unix time at which the release ends, or has ended; None where GPUs are shown."""
        self._patience = patience_seconds
        self._returning_until: float | None = None

    @property
    def returning(self) -> bool:
        """Return whether a release has ended and not all GPUs are known to have been looked at."""
        return self._returning_until is not None

    def step(self, until: float | None, now: float) -> bool:
        """Take until when the GPUs are released; return whether a release has ended at this moment."""
        if until is not None:
            self.until, self._returning_until = until, None
            return False
        if self.until is None or self._returning_until is not None:
            return False
        self._returning_until = now + self._patience
        return True

    def back(self, seen: bool, now: float) -> None:
        """Take whether all GPUs have been looked at since the release has ended."""
        if self._returning_until is not None and (seen or now >= self._returning_until):
            self.until = self._returning_until = None


def ask_for_release(path: Path, seconds: float, by: str, now: float) -> Release:
    """Put a request in place and return it; raises FleetwardError where that may not be.

    One of somebody else's that ends later stays as it is: a GPU may be in the middle of its reset.
    """
    asked, standing = Release(now + seconds, by), standing_release(path)
    if standing is not None and asked.until < standing.until and standing.holds(now):
        return standing
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with os.fdopen(file, "w") as written:
            os.fchmod(file, 0o644)  # whatever the umask: the exporter is no root
            written.write(json.dumps(asdict(asked)) + "\n")
        unfinished.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise FleetwardError(
            f"cannot write {path}: {error.strerror}. Releasing GPUs is for root, on the GPU node itself."
        ) from error
    return asked


def end_release(path: Path) -> Release | None:
    """Take the request away and return it; None where there was none. Raises FleetwardError where that may not be."""
    standing = standing_release(path)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise FleetwardError(
            f"cannot remove {path}: {error.strerror}. Ending a release is for root, on the GPU node itself."
        ) from error
    return standing


def standing_release(path: Path) -> Release | None:
    """Return the request that is in place; None where there is none, or none that can be read."""
    try:
        return parse_release(_content(path))
    except (OSError, ValueError):
        return None


def _content(path: Path) -> bytes:
    """Return the first MOST_BYTES and one more; raises OSError, and ValueError for what is not root's plain file."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(file, "rb") as opened:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no plain file")
        if status.st_uid not in {0, os.geteuid()}:
            raise ValueError("it belongs to another user than root")
        return opened.read(MOST_BYTES + 1)
