"""How lines of a job's log, and the errors in them, are shown."""

import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import click

from fleetward.commands._table import table
from fleetward.printable import printable
from fleetward.slurm.logs.lines import attempt_line, moment, plain, read_line, visible
from fleetward.slurm.logs.scanning import Found, LogFinding

LONGEST_CELL = 100
"""Characters of an error's text in the table."""

Numbered = tuple[int | None, bytes]
"""The number of the attempt, None where it is not known, and a line of it."""


@dataclass(slots=True)
class LogPrinter:
    """Prints lines of logs: all, or those of one rank and one attempt."""

    latest: datetime
    """As in `lines.moment`."""
    rank: int | None = None
    attempt: int | None = None
    as_json: bool = False
    raw: bool = False
    several: bool = False
    """Whether lines of several files are told apart by a line with the file's name."""
    printed: int = 0
    _attempts: dict[Path, int] = field(default_factory=dict)
    _file: Path | None = None

    @property
    def chooses(self) -> bool:
        """Whether not all lines are shown."""
        return self.rank is not None or self.attempt is not None

    def show(self, file: Path, blocks: Iterable[bytes], last: int | None = None) -> None:
        """Print a file from its beginning; with `last` only so many of the lines that are to be shown."""
        self._attempts[file] = 1
        if last is None:
            for block in blocks:
                self.add(file, block)
            return
        kept: deque[Numbered] = deque(maxlen=last)
        for block in blocks:
            kept.extend(self._chosen(file, block))
        self._print(file, kept)

    def add(self, file: Path, block: bytes) -> None:
        """Print what is to be shown of whole lines that came into a file."""
        self._print(file, list(self._chosen(file, block)))

    def _chosen(self, file: Path, block: bytes) -> Iterator[Numbered]:
        for line in block.removesuffix(b"\n").split(b"\n"):
            if (start := attempt_line(line, self.latest)) is not None:
                self._attempts[file] = start.number
            attempt = self._attempts.get(file)
            if self.attempt in (None, attempt) and (self.rank is None or read_line(line).rank == self.rank):
                yield attempt, line

    def _print(self, file: Path, lines: Sequence[Numbered]) -> None:
        if not lines:
            return
        self.printed += len(lines)
        if self.raw:
            sys.stdout.buffer.write(b"".join(line + b"\n" for _, line in lines))
            sys.stdout.buffer.flush()
            return
        if self.several and file != self._file and not self.as_json:
            click.echo(f"==> {printable(str(file))} <==")
        self._file = file
        shown = (self._json(file, attempt, line) if self.as_json else harmless(line) for attempt, line in lines)
        click.echo("\n".join(shown))

    def _json(self, file: Path, attempt: int | None, line: bytes) -> str:
        read = read_line(line)
        at = moment(read.text, self.latest)
        document = {
            "file": str(file),
            "rank": read.rank,
            "attempt": attempt,
            "at": None if at is None else at.isoformat(),
            "text": visible(plain(line)),
        }
        return json.dumps(document)


def harmless(line: bytes) -> str:
    """Return a line as a terminal may have it."""
    text = visible(plain(line)).expandtabs()
    return text if text.isprintable() else printable(text)


def errors_text(found: Found) -> str:
    """Return the first error at length, and a table of the others, those of a kind together."""
    first = found.findings[0]
    where = ", ".join(
        (
            *([] if first.rank is None else [f"rank {first.rank}"]),
            *([] if first.node is None else [first.node]),
            *([] if first.at is None else [first.at.isoformat(sep=" ", timespec="seconds")]),
            f"attempt {found.attempt}",
        )
    )
    lines = [
        f"{_word(first)}: {printable(first.text)}",
        f"  {printable(where)}",
        f"  {printable(first.file)}:{first.line_number}",
    ]
    if len(found.findings) > 1:
        headers = ("ERROR", "ROLE", "RANKS", "NODES", "FIRST AT", "TEXT")
        lines += ["", table(headers, [_row(together) for together in _by_kind(found.findings)])]
    return "\n".join(lines)


def _by_kind(findings: Sequence[LogFinding]) -> list[list[LogFinding]]:
    groups: dict[tuple[str, bool], list[LogFinding]] = {}
    for finding in findings:
        groups.setdefault((finding.kind, finding.consequence), []).append(finding)
    return list(groups.values())


def _row(together: Sequence[LogFinding]) -> tuple[str, ...]:
    first = together[0]
    nodes = list(dict.fromkeys(one.node for one in together if one.node is not None))
    return (
        _word(first),
        "consequence" if first.consequence else "cause",
        ranges({one.rank for one in together if one.rank is not None}),
        ",".join(nodes[:4]) + (",..." if len(nodes) > 4 else ""),
        f"{Path(first.file).name}:{first.line_number}",
        first.text[:LONGEST_CELL],
    )


def _word(finding: LogFinding) -> str:
    return finding.kind.replace("_", " ")


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers as ranges: {0, 1, 2, 5} is `0-2,5`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
