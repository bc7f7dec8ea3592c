"""One line of a job's log: which rank wrote it, when, on which node, and its text without what only dresses it.

Every reader takes whatever a program may have written: a line is never refused, only told less of.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

LONGEST = 2048
"""Bytes of one line that are looked at; a longer one is cut."""

ATTEMPT = "fleetward: attempt "
"""What our batch scripts write at the start of each attempt, before its number."""

_COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_PREFIX = re.compile(
    r"(?: *(?P<label>[0-9]{1,7}):(?: |$))?"  # srun --label
    r"(?:\[default(?P<local>[0-9]{1,5})\]:)?"  # torchrun
    r"(?:\[rank(?P<rank>[0-9]{1,7})\]:(?: |$|(?=\[)))?"  # torch
)
_PROCESS_GROUP = re.compile(r"\[(?:PG [^\]]{0,120} )?Rank (?P<rank>[0-9]{1,7})\]")
_NODE = r"(?P<node>[A-Za-z0-9][\w.-]{0,254})"
_PLACES = (
    re.compile(rf"srun: error: {_NODE}: tasks? (?P<rank>[0-9]{{1,7}}\b(?![,-]))?"),
    re.compile(rf"srun: error: Node failure on {_NODE}"),
    re.compile(rf".{{0,60}}?\*\*\* (?:JOB|STEP) \S+ (?:STEPD TERMINATED )?ON {_NODE} "),
    re.compile(rf"(?:\[[^\]]{{1,40}}\] )?{_NODE}:[0-9]+:[0-9]+ \[[0-9]+\] "),  # NCCL
)
_STAMP = re.compile(
    r"(?:\[?[A-Z]{4,8}[\]:]? *)?[\[(]?"
    r"(?P<day>[0-9]{4}[-/][0-9]{2}[-/][0-9]{2})[T ](?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:[.,](?P<fraction>[0-9]{1,9}))?(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_GLOG = re.compile(
    r"\[?[IWEFC](?P<month>[0-9]{2})(?P<day>[0-9]{2}) (?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]{1,9}))?"
)
_CANCELLED_AT = re.compile(r"CANCELLED AT (?=[0-9])")
_ATTEMPT = re.compile(re.escape(ATTEMPT) + r"(?P<number>[0-9]{1,6})\b(?:.{0,1000}? at (?P<at>\S+))?")
_STEPD = re.compile(r"slurmstepd: |\[[0-9][^\]]{1,40}\] error: (?:\*\*\* |Detected )")
_ATTEMPT_BYTES = ATTEMPT.encode()
_A_DAY = timedelta(days=1)

Stream = tuple[str | None, str | None, str | None]
"""What begins the lines of one writer: label of srun, of torchrun, of torch. Lines of one stream belong together."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line, read."""

    stream: Stream
    rank: int | None
    """None where the line does not tell: torchrun's own number beside a label of srun is one within a node."""
    text: str
    """Without labels, colours, and what a carriage return has overwritten."""


@dataclass(frozen=True, slots=True)
class AttemptLine:
    """The line that our batch scripts write at the start of an attempt."""

    number: int
    at: datetime | None


def plain(raw: bytes) -> str:
    """Return a line as text: colours and other escapes of terminals left out, invalid UTF-8 as `\\xff`."""
    text = raw.decode("utf-8", "backslashreplace").rstrip("\r\n")
    return _COLOURS.sub("", text) if "\x1b" in text else text


def visible(text: str) -> str:
    """Return what a terminal would be left with: a carriage return begins the line anew, without its label."""
    if "\r" not in text:
        return text
    found = _PREFIX.match(text)
    return (found[0] if found else "") + text.rsplit("\r", 1)[-1]


def read_line(raw: bytes) -> LogLine:
    """Read a line; of one that is longer than LONGEST its beginning and what was written last."""
    if len(raw) > LONGEST:
        raw = raw[: LONGEST // 4] + b"\r" + raw[-LONGEST // 4 * 3 :] if b"\r" in raw else raw[:LONGEST]
    text = visible(plain(raw))
    found = _PREFIX.match(text)
    if found is None:  # which cannot be: every part of it may be missing
        return LogLine((None, None, None), None, text)
    stream = (found["label"], found["local"], found["rank"])
    rest = text[found.end() :]
    return LogLine(stream, _rank(stream, rest), rest)


def _rank(stream: Stream, text: str) -> int | None:
    label, local, rank = stream
    if rank is None and "Rank " in text and (found := _PROCESS_GROUP.search(text)) is not None:
        rank = found["rank"]
    if rank is None and _STEPD.match(text) is not None:
        return None  # srun gives it the label of the node's first task, which need not be the one that it tells of
    if rank is None and (label is None or local is None):
        rank = local if label is None else label
    return None if rank is None else int(rank)


def place(text: str) -> tuple[int | None, str | None]:
    """Return the rank and the node that a line's text names, where Slurm or NCCL wrote it; ranges are no rank."""
    for pattern in _PLACES:
        if (found := pattern.match(text)) is not None:
            rank = found.groupdict().get("rank")
            return None if rank is None else int(rank), found["node"]
    return None, None


def attempt_line(raw: bytes, latest: datetime) -> AttemptLine | None:
    """Read the start of an attempt; None where the line is another one."""
    if not raw.startswith(_ATTEMPT_BYTES):
        return None
    found = _ATTEMPT.match(plain(raw[:LONGEST]))
    return None if found is None else AttemptLine(int(found["number"]), moment(found["at"] or "", latest))


def moment(text: str, latest: datetime) -> datetime | None:
    """Return the time that stands at the start of a line's text, or that Slurm says it cancelled something.

    `latest` (with a zone) is a time that no line is younger than, such as the last change of the file: torch writes
    no year. A time without a zone is one of the zone of `latest`.
    """
    if (found := _STAMP.match(text)) is not None:
        return _dated(found["day"].replace("/", "-"), found, latest, found["zone"] or "")
    if (found := _GLOG.match(text)) is not None:
        for year in (latest.year, latest.year - 1):
            at = _dated(f"{year:04d}-{found['month']}-{found['day']}", found, latest, "")
            if at is not None and at <= latest + _A_DAY:
                return at
        return None
    cancelled = _CANCELLED_AT.search(text)
    found = None if cancelled is None else _STAMP.match(text, cancelled.end())
    return None if found is None else _dated(found["day"], found, latest, found["zone"] or "")


def _dated(day: str, found: re.Match[str], latest: datetime, zone: str) -> datetime | None:
    fraction = (found["fraction"] or "0")[:6].ljust(6, "0")
    try:
        at = datetime.fromisoformat(f"{day}T{found['time']}.{fraction}{zone}")
    except ValueError:  # the 31st of February, 25 o'clock
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=latest.tzinfo)
