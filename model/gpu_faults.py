"""What a fault number of a GPU or an NVSwitch means: its severity, who is to blame, and what to do.

The data stands in `gpu_fault_catalogue/` and is read by `gpu_fault_files`. This module applies it, and imports nothing
that a GPU node does not have.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

LINE_LOOKED_AT = 8192
"""Characters of a line that are read: the kernel's own records are no longer."""
NOT_IN_CATALOGUE = "not in the catalogue of this version"


class FaultKind(StrEnum):
    """Which driver numbered the fault."""

    XID = "xid"
    """NVIDIA's GPU driver."""
    SXID = "sxid"
    """NVIDIA's NVSwitch driver."""


class Severity(StrEnum):
    """How bad a fault is, in the order of this list; comparing two compares their place in it, not their letters."""

    INFO = "info"
    WARNING = "warning"
    """A job may be hit; the GPU can be used."""
    DEGRADED = "degraded"
    """Take the GPU out when it is idle."""
    FATAL = "fatal"
    """Take the GPU out now."""

    @property
    def rank(self) -> int:
        """Its place in the order, from 0."""
        return tuple(Severity).index(self)

    def __lt__(self, other: str) -> bool:
        return self.rank < Severity(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Severity(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Severity(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Severity(other).rank


class Scope(StrEnum):
    """What is to blame for a fault."""

    APP = "app"
    DRIVER = "driver"
    """The driver, or firmware."""
    HARDWARE = "hardware"
    LINK = "link"
    """NVLink, NVSwitch, or the link between chips."""
    ENVIRONMENT = "environment"
    """Cooling, power, cabling."""
    UNKNOWN = "unknown"


class Action(StrEnum):
    """What to do about a fault."""

    IGNORE = "ignore"
    RESTART_APP = "restart_app"
    WATCH = "watch"
    DRAIN_RESET = "drain_reset"
    """Drain the node, then reset the GPU."""
    REBOOT = "reboot"
    INSPECT = "inspect"
    """Look at the hardware, or have the vendor look."""
    RMA = "rma"
    """Replace the part."""
    CHECK_FABRIC = "check_fabric"
    UPDATE_SOFTWARE = "update_software"


class LineRule(StrEnum):
    """What the log line of an XID decides by itself."""

    NOTHING = "nothing"
    NVLINK_WORD = "nvlink_word"
    """Its `Fatal` or `Nonfatal` is the severity."""
    RECOVERY_ACTION = "recovery_action"
    """It names the recovery that the driver asks for."""


@dataclass(frozen=True, slots=True)
class FaultEntry:
    """One number of the catalogue."""

    code: int
    meaning: str
    severity: Severity
    scope: tuple[Scope, ...]
    """The likeliest first."""
    action: Action
    then: Action | None = None
    """What to do where the action did not help, or the fault comes again."""
    action_if_fatal: Action | None = None
    """In the place of `action` where this one turns out to be fatal."""
    action_if_nonfatal: Action | None = None
    """In the place of `action` where this one turns out not to be fatal."""
    source: str = ""
    disagree: str = ""
    """Who says otherwise, and what."""
    example: str = ""
    """A line of the kernel's log that tells of it."""
    known: bool = True
    """False where no catalogue has the number."""
    severity_settled: bool = False
    """Whether a site has chosen the severity, so that no line changes it."""
    action_settled: bool = False
    """Whether a site has chosen the action, so that no line changes it."""


@dataclass(frozen=True, slots=True)
class XidEntry(FaultEntry):
    """One XID."""

    line: LineRule = LineRule.NOTHING
    follows: tuple[int, ...] = ()
    """XIDs of which this one only tells more."""
    follows_any: bool = False
    """Whether it comes as a consequence of any other XID on the same GPU."""
    unexpected: bool = False
    """Whether NVIDIA lists it as unused or reserved."""


@dataclass(frozen=True, slots=True)
class SxidEntry(FaultEntry):
    """One SXid."""

    group: str = ""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What the driver can ask for, in XID 154 and in NVML's field 230."""

    value: int
    texts: tuple[str, ...]
    """The driver's own words, the usual ones first."""
    severity: Severity
    action: Action


@dataclass(frozen=True, slots=True)
class ClockEvent:
    """One bit of NVML's mask of reasons for lower clocks."""

    bit: int
    name: str
    nvml: str
    """How NVML's constant ends."""
    meaning: str
    severity: Severity | None = None
    """None where it is as it should be."""
    sustained: Severity | None = None
    """Its severity where it lasts, if that is another one."""
    limit_lowered: bool = False
    """Whether it counts only where the power limit was set below the board's default."""

    def judged(self, *, lasting: bool, limit_lowered: bool) -> Severity | None:
        """Return how bad it is that the bit is set; None where nothing is wrong."""
        if self.limit_lowered and not limit_lowered:
            return None
        return self.sustained if lasting and self.sustained is not None else self.severity


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the catalogue makes of one fault."""

    kind: FaultKind
    code: int
    meaning: str
    severity: Severity
    scope: tuple[Scope, ...]
    action: Action
    then: Action | None
    known: bool

    @property
    def blame(self) -> Scope:
        """What is to blame as long as nobody knows better."""
        return self.scope[0]


@dataclass(frozen=True, slots=True)
class FaultCatalogue:
    """All that is known about fault numbers."""

    xids: Mapping[int, XidEntry]
    sxids: Mapping[int, SxidEntry]
    recoveries: Mapping[int, Recovery]
    clock_events: tuple[ClockEvent, ...]

    def xid(self, code: int) -> XidEntry:
        """Return the entry of an XID, also of one that nobody has heard of."""
        return self.xids.get(code) or unknown_xid(code)

    def sxid(self, code: int) -> SxidEntry:
        """Return the entry of an SXid, also of one that nobody has heard of."""
        return self.sxids.get(code) or unknown_sxid(code)

    def fatal_xids(self) -> tuple[int, ...]:
        """Return the XIDs that take a GPU out whatever their line says, in order."""
        return tuple(sorted(code for code, entry in self.xids.items() if entry.severity is Severity.FATAL))

    def recovery(self, value: int) -> Recovery | None:
        """Return what a value of NVML's field 230 asks for; None for one that is not known."""
        return self.recoveries.get(value)

    def classify(self, kind: FaultKind, code: int, line_text: str = "") -> Verdict:
        """Return what to make of a fault; `line_text` is its line in the kernel's log, where there is one.

        What a site has chosen stands. Else the line counts more than the entry: the driver saw this very fault.
        """
        entry: FaultEntry = self.xid(code) if kind is FaultKind.XID else self.sxid(code)
        severity, action = self._said(entry, line_text[:LINE_LOOKED_AT])
        if severity is None or entry.severity_settled:
            severity = entry.severity
        if action is None or entry.action_settled:
            action = entry.action if entry.action_settled else _action_at(entry, severity)
        return Verdict(kind, code, entry.meaning, severity, entry.scope, action, entry.then, entry.known)

    def parent_of(self, code: int, earlier: Iterable[int]) -> int | None:
        """Return the XID that this one only follows, of those seen on the same GPU shortly before, oldest first.

        None where it is a fault of its own. One that follows others is parent only where there is no better one, and
        one that is mere information explains nothing.
        """
        entry = self.xid(code)
        seen = [one for one in earlier if one != code]
        if named := [one for one in seen if one in entry.follows]:
            return named[-1]
        if not entry.follows_any:
            return None
        faults = [one for one in seen if self.xid(one).severity > Severity.INFO]
        own = [one for one in faults if not self.xid(one).follows_any]
        return next(reversed(own or faults), None)

    def _said(self, entry: FaultEntry, line: str) -> tuple[Severity | None, Action | None]:
        """Return severity and action where the line itself says so."""
        if isinstance(entry, SxidEntry):
            match = _SXID_WORD.search(line)
            return (_worded(entry, match[1]), None) if match else (None, None)
        rule = entry.line if isinstance(entry, XidEntry) else LineRule.NOTHING
        # The name of the process stands before the word and could imitate it: the last one is the driver's.
        if rule is LineRule.NVLINK_WORD and (words := _NVLINK_WORD.findall(line)):
            return _worded(entry, words[-1]), None
        if rule is LineRule.RECOVERY_ACTION and (match := _RECOVERY.search(line)):
            recovery = self._asked(match["value"], match["text"] or "")
            return (recovery.severity, recovery.action) if recovery else (Severity.WARNING, Action.WATCH)
        return None, None

    def _asked(self, value: str | None, text: str) -> Recovery | None:
        """Return the recovery that a line asks for; older drivers write the text alone."""
        if value is not None:
            return self.recoveries.get(int(value, 16))
        wanted = text.strip().casefold()
        return next((one for one in self.recoveries.values() if wanted in map(str.casefold, one.texts)), None)


_NVLINK_WORD = re.compile(r"\b(Fatal|Nonfatal) {1,8}XC\d{1,2} {1,8}i\d{1,2} {1,8}Link {1,8}-?\d{1,3}\b")
_SXID_WORD = re.compile(r"SXid \([^()]{1,32}\): \d{1,5}, (Fatal|Non-fatal)\b")
_RECOVERY = re.compile(
    r"recovery action changed from [^\n]{1,60}? to "
    r"(?:0x(?P<value>[0-9A-Fa-f]{1,8})\b)?[ (]{0,4}(?P<text>[A-Za-z][\w ]{0,40})?"
)


def unknown_xid(code: int) -> XidEntry:
    """Return the entry of an XID that the catalogue does not have."""
    return XidEntry(code, NOT_IN_CATALOGUE, Severity.WARNING, (Scope.UNKNOWN,), Action.WATCH, known=False)


def unknown_sxid(code: int) -> SxidEntry:
    """Return the entry of an SXid that the catalogue does not have; a `Fatal` in its line is believed."""
    entry = SxidEntry(code, NOT_IN_CATALOGUE, Severity.WARNING, (Scope.UNKNOWN,), Action.WATCH, known=False)
    return replace(entry, action_if_fatal=Action.DRAIN_RESET)


def _worded(entry: FaultEntry, word: str) -> Severity:
    """Return the severity that a word of the line means; what is not fatal may still be less than a warning."""
    return Severity.FATAL if word == "Fatal" else min(entry.severity, Severity.WARNING)


def _action_at(entry: FaultEntry, severity: Severity) -> Action:
    return (entry.action_if_fatal if severity is Severity.FATAL else entry.action_if_nonfatal) or entry.action
