"""What is known of the faults so far, as the fold of entries: a restart that reads them again knows the same."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple
from typing import Any

from fleetward.exporters.events.faults import Device, FaultTally, Source, SxidEvent, XidEvent
from fleetward.exporters.events.journal import Entry
from fleetward.exporters.events.outbox import Outbox
from fleetward.exporters.events.recent import RecentFaults
from fleetward.model.gpu_faults import Severity

VERSION = 1
KEPT_SECONDS = 30 * 86400.0
"""How long the counts of a GPU are kept after its last XID: it may have been taken out long ago."""


class FaultState:
    """Counts, the faults of the last seconds, the place in the kernel's log, and the events that wait.

    It changes by `apply` alone. Entries are `fault` (a new one), `again` (another source tells of it), `done` (keys of
    events that need not be sent), `gpus` (where they are on the bus), `cursor`, and of a whole state `state` with what
    is counted and `waiting` with an event to be sent.
    """

    def __init__(self, boot: str, outbox: Outbox) -> None:
        """Begin with no fault; what is of another boot than this is not recent."""
        self.outbox = outbox
        self.recent = RecentFaults()
        self.cursor: Mapping[str, Any] | None = None
        self.gpus: dict[str, Device] = {}
        """By PCI address, those that have been seen."""
        self._boot = boot
        self._xids: Counter[XidEvent] = Counter()
        self._sxids: Counter[SxidEvent] = Counter()
        self._last_at: dict[XidEvent, float] = {}
        self._last_xids: dict[str, int] = {}
        self._strange = 0
        self._same_boot = True
        """Whether the times in entries are of this boot's clock."""

    def apply(self, entry: Entry) -> list[str]:
        """Take an entry; return the keys of events that were dropped for it. KeyError, ValueError: it is none."""
        if "cursor" in entry:
            self.cursor = entry["cursor"]
        kind = entry["kind"]
        dropped: list[str] = []
        if kind == "fault":
            self._count(entry)
            dropped = self._wait(entry["event"]) if entry["push"] else []
        elif kind == "waiting":
            dropped = self._wait(entry["event"])
        elif kind == "again":
            self.recent.again(XidEvent(*entry["xid"]), entry["key"], Source(entry["source"]))
        elif kind == "done":
            self.outbox.remove(entry["keys"])
        elif kind == "gpus":
            self.gpus |= {address: Device(*device) for address, device in entry["gpus"].items()}
        elif kind == "state":
            self._take(entry)
        elif kind != "cursor":
            raise ValueError(f"{kind} is no kind of entry")
        return dropped

    def packed(self, now: float) -> Iterator[Entry]:
        """Yield the entries that another state goes on from; `now` is in Unix time."""
        kept = {event for event, at in self._last_at.items() if now - at <= KEPT_SECONDS}
        yield {
            "kind": "state",
            "version": VERSION,
            "boot": self._boot,
            "cursor": self.cursor,
            "xids": [[*astuple(one), count, self._last_at[one]] for one, count in self._xids.items() if one in kept],
            "sxids": [[*astuple(one), count] for one, count in self._sxids.items()],
            "last_xids": self._last_xids,
            "strange": self._strange,
            "recent": self.recent.packed(),
            "gpus": {address: astuple(device) for address, device in self.gpus.items()},
        }
        yield from ({"kind": "waiting", "event": json.loads(event)} for _, _, event in self.outbox.all())

    def tally(self) -> FaultTally:
        """Return copies of the counts."""
        return FaultTally(
            xids=dict(self._xids),
            sxids=dict(self._sxids),
            last_at=dict(self._last_at),
            last_xids=dict(self._last_xids),
            strange=self._strange,
            waiting=len(self.outbox),
        )

    def _count(self, entry: Entry) -> None:
        event = entry["event"]
        if "switch" in entry:
            self._sxids[SxidEvent(entry["switch"], event["address"], event["code"])] += 1
            return
        xid = XidEvent(*entry["xid"])
        if event["gpu"] is None:
            self._strange += 1
        else:
            self._xids[xid] += 1
            self._last_at[xid] = event["at"]
            self._last_xids[xid.uuid] = xid.xid
        if self._same_boot:
            self.recent.begin(xid, event["key"], entry["seen"], set(map(Source, entry["told_by"])))

    def _wait(self, event: Mapping[str, Any]) -> list[str]:
        text = json.dumps(event, separators=(",", ":")).encode()
        return self.outbox.put(event["key"], Severity(event["severity"]), text)

    def _take(self, entry: Entry) -> None:
        if entry["version"] != VERSION:
            raise ValueError(f"version {entry['version']} is not this release's")
        for index, uuid, code, count, at in entry["xids"]:
            xid = XidEvent(index, uuid, code)
            self._xids[xid], self._last_at[xid] = count, at
        self._sxids.update({SxidEvent(*one): count for *one, count in entry["sxids"]})
        self._last_xids |= entry["last_xids"]
        self._strange = entry["strange"]
        self.gpus = {address: Device(*device) for address, device in entry["gpus"].items()}
        self._same_boot = entry["boot"] == self._boot
        if self._same_boot:
            self.recent.unpack(entry["recent"])


def folded(entries: Iterable[Entry], boot: str, outbox: Outbox) -> FaultState:
    """Return the state that entries lead to; ValueError where one of them is of another release, or none."""
    state = FaultState(boot, outbox)
    for entry in entries:
        try:
            state.apply(entry)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"an entry is none of this release: {error!r}") from error
    return state
