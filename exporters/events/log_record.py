"""One record of a log, whichever kind of log it stands in."""

from dataclasses import dataclass
from typing import Any, Protocol

MOST_RECORDS = 256
"""Of one reading, so that a flood of them keeps nobody from anything."""


@dataclass(frozen=True)
class LogRecord:
    """A record, and what it is called whenever it is read again."""

    text: str
    key: str


class LogReader(Protocol):
    """Reads an open log from a place on; nothing in here waits."""

    lost: int
    """Records that were overwritten before they could be read."""

    def read(self) -> list[LogRecord]:
        """Return what came next, at most MOST_RECORDS; nothing at the end. Raises OSError where it cannot be read."""
        ...

    def place(self) -> dict[str, Any]:
        """Return where the next record is read, as JSON: a reader that is given it goes on there."""
        ...

    def selectable(self) -> int | None:
        """Return the file that is ready when more can be read; None where one has to look."""
        ...

    def close(self) -> None:
        """Close the log."""
        ...
