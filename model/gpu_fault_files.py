"""Reading the catalogue of GPU faults: the files that are shipped, and a site's own on top.

A site's file is TOML with the tables `[[xid]]` and `[[sxid]]`. Each names a `code` and what is different there:
`severity`, `action`, `scope`, `meaning`, or `fatal`, which is short for a severity. A number that the catalogue lacks
is added.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import fleetward
from fleetward.model.errors import UsageError
from fleetward.model.gpu_fault_tables import Table, tables
from fleetward.model.gpu_faults import (
    Action,
    ClockEvent,
    FaultCatalogue,
    FaultEntry,
    LineRule,
    Recovery,
    Scope,
    Severity,
    SxidEntry,
    XidEntry,
)

SHIPPED = Path(fleetward.__file__).parent / "model" / "gpu_fault_catalogue"
SITE_KEYS = ("code", "meaning", "severity", "fatal", "scope", "action")
"""What a site may say of a number."""

_ENTRY_KEYS = (
    "code",
    "meaning",
    "severity",
    "scope",
    "action",
    "then",
    "action_if_fatal",
    "source",
    "disagree",
    "example",
)
_XID_KEYS = (*_ENTRY_KEYS, "line", "follows", "follows_any", "unexpected")
_GROUP_KEYS = (
    "name",
    "meaning",
    "severity",
    "scope",
    "action",
    "then",
    "action_if_fatal",
    "action_if_nonfatal",
    "source",
)
_SXID_KEYS = ("code", "group", "meaning", "severity", "scope", "action", "disagree", "example")
_RECOVERY_KEYS = ("value", "texts", "severity", "action")
_CLOCK_EVENT_KEYS = ("bit", "name", "nvml", "meaning", "severity", "sustained", "when")

Entry = TypeVar("Entry", bound=FaultEntry)


def read_catalogue(overrides: Sequence[Path] = ()) -> FaultCatalogue:
    """Return the shipped catalogue with a site's files on top, the later over the earlier.

    Raises UsageError that names file, table and key, and says what is allowed.
    """
    catalogue = read_shipped()
    for file in overrides:
        catalogue = _with_site(catalogue, file)
    return catalogue


@cache
def read_shipped(folder: Path = SHIPPED) -> FaultCatalogue:
    """Return what the shipped files say, read once; UsageError where one of them is damaged."""
    found = tables(folder / "xid.toml", {"xid": _XID_KEYS, "recovery": _RECOVERY_KEYS})
    switch = tables(folder / "sxid.toml", {"sxid": _SXID_KEYS, "group": _GROUP_KEYS})
    clocks = tables(folder / "clock_events.toml", {"clock_event": _CLOCK_EVENT_KEYS})
    groups = {table.text("name"): table for table in switch["group"]}
    return FaultCatalogue(
        MappingProxyType({entry.code: entry for entry in map(_xid, found["xid"])}),
        MappingProxyType({entry.code: entry for entry in (_sxid(table, groups) for table in switch["sxid"])}),
        MappingProxyType({one.value: one for one in map(_recovery, found["recovery"])}),
        tuple(_clock_event(table) for table in clocks["clock_event"]),
    )


def _xid(table: Table) -> XidEntry:
    return XidEntry(
        code=table.code(),
        meaning=table.text("meaning"),
        severity=table.word("severity", Severity),
        scope=table.words("scope", Scope),
        action=table.word("action", Action),
        then=table.word("then", Action) if "then" in table else None,
        action_if_fatal=table.word("action_if_fatal", Action) if "action_if_fatal" in table else None,
        source=table.text("source"),
        disagree=table.text("disagree", ""),
        example=table.text("example"),
        line=table.word("line", LineRule) if "line" in table else LineRule.NOTHING,
        follows=table.numbers("follows"),
        follows_any=table.flag("follows_any"),
        unexpected=table.flag("unexpected"),
    )


def _sxid(table: Table, groups: Mapping[str, Table]) -> SxidEntry:
    """Return an SXid with what it does not say itself taken from its group."""
    group = groups.get(table.text("group"))
    if group is None:
        raise table.error("group", table.text("group"), f"one of {', '.join(sorted(groups))}")

    def says(key: str) -> Table:
        return table if key in table else group

    return SxidEntry(
        code=table.code(),
        meaning=table.text("meaning"),
        severity=says("severity").word("severity", Severity),
        scope=says("scope").words("scope", Scope),
        action=says("action").word("action", Action),
        then=group.word("then", Action) if "then" in group else None,
        action_if_fatal=group.word("action_if_fatal", Action) if "action_if_fatal" in group else None,
        source=group.text("source"),
        disagree=table.text("disagree", ""),
        example=table.text("example"),
        group=group.text("name"),
        action_if_nonfatal=group.word("action_if_nonfatal", Action) if "action_if_nonfatal" in group else None,
    )


def _recovery(table: Table) -> Recovery:
    return Recovery(
        table.number("value"), table.texts("texts"), table.word("severity", Severity), table.word("action", Action)
    )


def _clock_event(table: Table) -> ClockEvent:
    if "when" in table and table.text("when") != "limit_lowered":
        raise table.error("when", table.text("when"), "limit_lowered")
    return ClockEvent(
        table.number("bit"),
        table.text("name"),
        table.text("nvml"),
        table.text("meaning"),
        table.word("severity", Severity) if "severity" in table else None,
        table.word("sustained", Severity) if "sustained" in table else None,
        limit_lowered="when" in table,
    )


def _with_site(catalogue: FaultCatalogue, file: Path) -> FaultCatalogue:
    """Return a catalogue with one file of a site on top."""
    found = tables(file, {"xid": SITE_KEYS, "sxid": SITE_KEYS})
    xids = {table.code(): _changed(catalogue.xid(table.code()), table) for table in found["xid"]}
    sxids = {table.code(): _changed(catalogue.sxid(table.code()), table) for table in found["sxid"]}
    return replace(
        catalogue,
        xids=MappingProxyType({**catalogue.xids, **xids}),
        sxids=MappingProxyType({**catalogue.sxids, **sxids}),
    )


def _changed(entry: Entry, table: Table) -> Entry:
    """Return an entry with what a site says of it; from then on it is the site's word, whatever a line says."""
    if len(table.values) == 1:
        raise UsageError(f"{table.place}: changes nothing; say {', '.join(SITE_KEYS[1:-1])} or {SITE_KEYS[-1]}")
    severity = _site_severity(entry, table)
    return replace(
        entry,
        known=True,
        meaning=table.text("meaning", entry.meaning),
        severity=entry.severity if severity is None else severity,
        severity_settled=entry.severity_settled or severity is not None,
        scope=table.words("scope", Scope) if "scope" in table else entry.scope,
        action=table.word("action", Action) if "action" in table else entry.action,
        action_settled=entry.action_settled or "action" in table,
        source=table.place.rpartition(": ")[0],
    )


def _site_severity(entry: FaultEntry, table: Table) -> Severity | None:
    """Return the severity that a site chooses, None where it leaves it; `fatal = false` means degraded at most."""
    severity = table.word("severity", Severity) if "severity" in table else None
    if "fatal" not in table:
        return severity
    fatal = table.flag("fatal")
    if severity is None:
        return Severity.FATAL if fatal else min(entry.severity, Severity.DEGRADED)
    if fatal is not (severity is Severity.FATAL):
        raise UsageError(f"{table.place}: fatal is {str(fatal).lower()} and severity is {severity}; leave one of them")
    return severity
