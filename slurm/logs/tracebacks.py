"""Tracebacks of Python in a log that many ranks write: lines of one rank belong together, whatever stands between.

Of a chain ("During handling of the above exception, ...") one error is told: the last exception, or the first where
that one says more, since it is a known kind of error or itself a consequence.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime

from fleetward.slurm.logs.lines import LogLine, Stream
from fleetward.slurm.logs.signs import LogKind, sign_of

HEADER = "Traceback (most recent call last):"
LINKS = ("During handling of the above exception", "The above exception was the direct cause")
HARMLESS = ("Exception ignored in", "--- Logging error ---")
"""What Python writes before a traceback that it goes on after."""
BEGINNINGS = (HEADER, *LINKS, *HARMLESS)

MOST_STREAMS = 4096
"""Writers whose tracebacks are held at a time."""
MOST_LINES = 5000
"""Lines of one traceback: a recursion without end has about 3000."""
MOST_BETWEEN = 200
"""Lines of no traceback that may stand in one where ranks have no labels."""
PATIENCE = 50_000
"""Lines of a file after which tracebacks that have no end yet are given up."""

_FRAME = re.compile(r'\s+File "')
_MARGIN = re.compile(r" +(?:\| ?|\+[-+ ]*)")
"""Before the lines of a group of exceptions."""
_EXCEPTION = re.compile(
    r"(?!(?:DEBUG|INFO|NOTE|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)\b)(?:(?:[\w<>]+\.)+\w+|[A-Z]\w*)(?:: |:?$)"
)


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception that a traceback ends with."""

    line: LogLine
    line_number: int
    """Where the traceback begins."""
    at: datetime | None
    kind: LogKind
    consequence: bool


@dataclass(slots=True)
class _Open:
    """A traceback that has begun, or one that has ended and may be the first of a chain."""

    line_number: int
    at: datetime | None
    harmless: bool
    margin: bool
    last: LogLine
    waiting: int = 1
    """Exceptions that are still to come: more than one where ranks without labels write at once."""
    framed: bool = False
    lines: int = 0
    between: int = 0
    linked: bool = False
    chained: bool = False
    raised: Raised | None = None


@dataclass(slots=True)
class Tracebacks:
    """The tracebacks of one file."""

    ended: list[Raised] = field(default_factory=list)
    """Those that are complete; whoever reads them takes them out."""
    _open: dict[Stream, _Open] = field(default_factory=dict)
    _harmless: set[Stream] = field(default_factory=set)
    _waiting: int = 0
    _patience: int = PATIENCE

    @property
    def waiting(self) -> bool:
        """Whether a traceback has begun whose exception is still to come: then every line counts."""
        return self._waiting > 0

    def take(self, line: LogLine, number: int, at: datetime | None) -> bool:
        """Read one line; False where it belongs to no traceback. `at` is used where one begins."""
        if self._waiting:
            self._patience -= 1
            if self._patience < 0:
                self._give_up()
        if line.text.endswith(HEADER):
            self._begin(line, number, at)
            return True
        found = self._open.get(line.stream)
        if line.text.startswith(HARMLESS):
            if len(self._harmless) < MOST_STREAMS:
                self._harmless.add(line.stream)
            return True
        if found is None:
            return False
        text = _MARGIN.sub("", line.text, count=1) if found.margin else line.text
        if not found.waiting:
            found.linked = found.linked or text.startswith(LINKS)
            return found.linked
        return self._go_on(found, line, text)

    def end(self) -> None:
        """End all that are open."""
        for found in self._open.values():
            self._cut(found)
        self._open.clear()
        self._harmless.clear()

    def _begin(self, line: LogLine, number: int, at: datetime | None) -> None:
        found = self._open.get(line.stream)
        self._patience = PATIENCE
        if found is not None and found.waiting:
            found.waiting += 1
            self._waiting += 1
            return
        self._waiting += 1
        if found is not None and found.linked:
            found.waiting, found.lines, found.between = 1, 0, 0
            found.framed, found.linked, found.chained = False, False, True
            found.margin = _MARGIN.match(line.text) is not None
            return
        if found is not None:
            self._cut(self._open.pop(line.stream))
        elif len(self._open) >= MOST_STREAMS:
            self._cut(self._open.pop(next(iter(self._open))))
        harmless = line.stream in self._harmless
        self._harmless.discard(line.stream)
        self._open[line.stream] = _Open(number, at, harmless, _MARGIN.match(line.text) is not None, line)

    def _go_on(self, found: _Open, line: LogLine, text: str) -> bool:
        """Read a line of a stream in which a traceback waits for its exception."""
        found.lines += 1
        if text[:1].isspace() or not text:
            found.framed = found.framed or _FRAME.match(text) is not None
            found.last = line
            if found.lines > MOST_LINES:
                self._cut(self._open.pop(line.stream))
            return True
        if not found.framed:  # somebody wrote of a traceback
            self._waiting -= found.waiting
            found.waiting = 0
            return False
        if _EXCEPTION.match(text) is not None:
            self._raise(found, LogLine(line.stream, line.rank, text))
            return True
        found.between += 1
        if found.between > MOST_BETWEEN:
            self._cut(self._open.pop(line.stream))
        return False

    def _raise(self, found: _Open, line: LogLine) -> None:
        found.waiting -= 1
        self._waiting -= 1
        sign = sign_of(line.text)
        kind = LogKind.TRACEBACK if sign is None else sign.kind
        consequence = found.harmless or (sign is not None and sign.consequence)
        raised = Raised(line, found.line_number, found.at, kind, consequence)
        if found.raised is None:
            found.raised = raised
        elif not found.chained:
            self.ended.append(found.raised)
            found.raised = raised
        elif found.raised.kind is LogKind.TRACEBACK and not found.raised.consequence and not consequence:
            found.raised = raised
        found.chained = False

    def _cut(self, found: _Open) -> None:
        """Tell what is known of a traceback that nothing more comes of."""
        self._waiting -= found.waiting
        if found.raised is not None:
            self.ended.append(found.raised)
        elif found.waiting and found.framed:
            line = LogLine(found.last.stream, found.last.rank, found.last.text.strip())
            self.ended.append(Raised(line, found.line_number, found.at, LogKind.TRACEBACK, found.harmless))

    def _give_up(self) -> None:
        for stream, found in list(self._open.items()):
            if found.waiting:
                self._cut(self._open.pop(stream))
