"""What went wrong, from a job's logs: the errors of all ranks, causes before consequences.

Pure: blocks of whole lines come in, findings come out. What is held is bounded, however long a log is.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from fleetward.slurm.logs.lines import ATTEMPT, LONGEST, LogLine, Stream, attempt_line, moment, place, read_line
from fleetward.slurm.logs.signs import SIGNS, LogKind, sign_of
from fleetward.slurm.logs.tracebacks import BEGINNINGS, HEADER, Tracebacks

LONGEST_TEXT = 500
"""Characters of a finding's text."""
MOST_ALIKE = 4
"""Findings of one kind that are kept of one writer."""
MOST = 4096
"""Findings that are kept of one file: so many causes, and so many consequences."""
LINES_BACK = 32
"""Lines before an error in which a time is looked for, where its own has none."""
MOST_ATTEMPTS = 1000

_ALL_NEEDLES = {sign.needle for sign in SIGNS} | {ATTEMPT, *BEGINNINGS}
_NEEDLES = sorted(one for one in _ALL_NEEDLES if not any(other in one for other in _ALL_NEEDLES - {one}))
_CAPITALS = re.compile(b"|".join(re.escape(needle.encode()) for needle in _NEEDLES if needle[0].isupper()))
_ATTEMPT = ATTEMPT.encode()
_CLOCK = re.compile(rb"[0-9]:[0-9]{2}:[0-9]")
_OTHERS = tuple(needle.encode() for needle in _NEEDLES if not needle[0].isupper())


@dataclass(frozen=True, slots=True)
class LogFinding:
    """One error of a job's log."""

    kind: LogKind
    rank: int | None
    """None where the log does not tell, or tells of several at once."""
    node: str | None
    line_number: int
    """From 1; of a traceback, where it begins."""
    file: str
    text: str
    """At most LONGEST_TEXT characters; of a traceback the exception."""
    at: datetime | None
    """When, as the line itself tells, or one a little before it."""
    attempt: int
    consequence: bool = False
    """Whether errors of this kind come of something else that went wrong."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """What one file tells."""

    findings: tuple[LogFinding, ...]
    """In the order of the file."""
    attempts: tuple[tuple[int, datetime | None], ...]
    """Number and start of the attempts that begin in the file, in its order; empty where it tells of none."""
    left_out: int
    """Errors beyond the bounds."""


@dataclass(frozen=True, slots=True)
class Found:
    """What all files of a job tell of one attempt; the first finding is the first error."""

    attempt: int
    findings: tuple[LogFinding, ...]
    left_out: int


@dataclass(slots=True)
class Scanner:
    """Reads one file, block by block, and keeps the findings of one attempt.

    `attempt` is the one that is asked for, by default the last that begins in the file; where it begins again, what
    was found of it is forgotten. What stands before the first attempt counts as attempt 1; of a file that tells of none
    all is kept. `latest` is the last change of the file, as in `lines.moment`.
    """

    file: str
    latest: datetime
    attempt: int | None = None
    _number: int = 0
    _current: int = 1
    _at: datetime | None = None
    _attempts: list[tuple[int, datetime | None]] = field(default_factory=list)
    _kept: tuple[list[LogFinding], list[LogFinding]] = field(default_factory=lambda: ([], []))
    _alike: Counter[tuple[Stream, LogKind]] = field(default_factory=Counter)
    _left_out: int = 0
    _tracebacks: Tracebacks = field(default_factory=Tracebacks)

    def feed(self, block: bytes) -> None:
        """Read whole lines, each with its newline; only the last of a file may lack it."""
        stops = _stops(block)
        position = 0
        while position < len(block):
            begin = position
            if not self._tracebacks.waiting:
                index = bisect_left(stops, position)
                if index == len(stops):
                    break
                begin = stops[index]
            end = block.find(b"\n", begin)
            end = len(block) if end < 0 else end
            self._number += block.count(b"\n", position, begin) + 1
            self._read(block, begin, end)
            position = end + 1
        self._number += block.count(b"\n", position)
        self._at = self._moment_before(block, len(block))

    def result(self) -> Scanned:
        """End the reading, and return what was found."""
        self._end_tracebacks()
        findings = sorted((*self._kept[0], *self._kept[1]), key=lambda finding: finding.line_number)
        return Scanned(tuple(findings), tuple(self._attempts), self._left_out)

    def _read(self, block: bytes, begin: int, end: int) -> None:
        raw = block[begin:end]
        if (start := attempt_line(raw, self.latest)) is not None:
            self._begin_attempt(start.number, start.at)
            return
        line = read_line(raw)
        at = self._moment_of(line, block, begin) if line.text.endswith(HEADER) else None
        if self._tracebacks.take(line, self._number, at):
            self._keep_raised()
        elif (sign := sign_of(line.text)) is not None and self._has_room(line.stream, sign.kind):
            at = self._moment_of(line, block, begin)
            self._keep(line, self._number, at, sign.kind, consequence=sign.consequence)

    def _begin_attempt(self, number: int, at: datetime | None) -> None:
        self._end_tracebacks()
        over = self.attempt in (None, number) if self._attempts else (self.attempt or number) != 1
        if over:
            self._kept[0].clear()
            self._kept[1].clear()
            self._alike.clear()
            self._left_out = 0
        self._current = number
        self._attempts = [*self._attempts[1 - MOST_ATTEMPTS :], (number, at)]
        self._at = at or self._at

    def _end_tracebacks(self) -> None:
        self._tracebacks.end()
        self._keep_raised()

    def _keep_raised(self) -> None:
        for raised in self._tracebacks.ended:
            if self._has_room(raised.line.stream, raised.kind):
                self._keep(raised.line, raised.line_number, raised.at, raised.kind, consequence=raised.consequence)
        self._tracebacks.ended.clear()

    def _has_room(self, stream: Stream, kind: LogKind) -> bool:
        if self._attempts and self.attempt not in (None, self._current):
            return False
        if self._alike[stream, kind] >= MOST_ALIKE:
            self._left_out += 1
            return False
        return True

    def _keep(self, line: LogLine, number: int, at: datetime | None, kind: LogKind, *, consequence: bool) -> None:
        kept = self._kept[consequence]
        if len(kept) >= MOST:
            self._left_out += 1
            return
        self._alike[line.stream, kind] += 1
        rank, node = place(line.text)
        rank = line.rank if rank is None else rank
        text = line.text.strip()[:LONGEST_TEXT]
        kept.append(LogFinding(kind, rank, node, number, self.file, text, at, self._current, consequence))

    def _moment_of(self, line: LogLine, block: bytes, begin: int) -> datetime | None:
        self._at = moment(line.text, self.latest) or self._moment_before(block, begin)
        return self._at

    def _moment_before(self, block: bytes, end: int) -> datetime | None:
        """Return the time of one of the last lines before a place, or the last that was known."""
        for _ in range(LINES_BACK):
            if end <= 0:
                break
            begin = block.rfind(b"\n", 0, end - 1) + 1
            if block.startswith(_ATTEMPT, begin):  # what stands before it is of another attempt
                break
            if _CLOCK.search(block, begin, min(end, begin + LONGEST)) is not None:
                at = moment(read_line(block[begin:end]).text, self.latest)
                if at is not None:
                    return at
            end = begin
        return self._at


def _stops(block: bytes) -> list[int]:
    """Return where lines begin that may be of interest."""
    hits = [found.start() for found in _CAPITALS.finditer(block)]
    for needle in _OTHERS:
        hit = block.find(needle)
        while hit >= 0:
            hits.append(hit)
            hit = block.find(needle, hit + len(needle))
    stops: list[int] = []
    end = 0  # of the last line that was taken
    for hit in sorted(hits):
        if hit >= end:
            stops.append(block.rfind(b"\n", 0, hit) + 1)
            end = block.find(b"\n", hit)
            end = len(block) if end < 0 else end
    return stops


def scan(file: str, blocks: Iterable[bytes], latest: datetime, attempt: int | None = None) -> Scanned:
    """Return what one file tells; see Scanner."""
    scanner = Scanner(file, latest, attempt)
    for block in blocks:
        scanner.feed(block)
    return scanner.result()


def first_errors(files: Sequence[Scanned], attempt: int | None = None) -> Found:
    """Return the findings of one attempt, by default the last, from all files of a job: the first error first.

    Causes come before consequences. Within one file the order is that of its lines; between files it is that of time,
    and an error of which no time is known comes before the others, as a traceback does. In a file that tells of no
    attempts, an error belongs to the one that ran at its time, and to the last where that is not known; where no file
    tells of any, all errors are of the attempt that is asked for.
    """
    begun = [start for file in files for start in file.attempts]
    last = max((file.attempts[-1][0] for file in files if file.attempts), default=attempt or 1)
    wanted = attempt or last
    found = [
        (index, finding)
        for index, file in enumerate(files)
        for finding in (file.findings if file.attempts else _placed(file.findings, begun, last))
        if finding.attempt == wanted
    ]
    several = len({index for index, _ in found}) > 1

    def order(entry: tuple[int, LogFinding]) -> tuple[bool, float, int, int]:
        index, finding = entry
        known = finding.at.timestamp() if several and finding.at is not None else float("-inf")
        return finding.consequence, known, index, finding.line_number

    findings = tuple(finding for _, finding in sorted(found, key=order))
    return Found(wanted, findings, sum(file.left_out for file in files))


def _placed(
    findings: Iterable[LogFinding], begun: Sequence[tuple[int, datetime | None]], last: int
) -> Iterable[LogFinding]:
    """Give findings of a file without attempts the attempt that ran at their time."""
    starts = sorted((at, number) for number, at in begun if at is not None)
    for finding in findings:
        before = [number for at, number in starts if finding.at is not None and at <= finding.at]
        if not starts or finding.at is None:
            yield replace(finding, attempt=last)
        else:
            yield replace(finding, attempt=before[-1] if before else starts[0][1])
