"""From what sources tell to events: each fault counted once, classified, on disk, and only then to be pushed."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

from fleetward.exporters.events.fault_state import FaultState
from fleetward.exporters.events.faults import Device, FaultTally, Source, XidEvent
from fleetward.exporters.events.journal import Entry, Journal
from fleetward.exporters.events.kernel_lines import KernelSxid, KernelXid
from fleetward.exporters.events.kernel_log import KernelFault
from fleetward.model.gpu_faults import FaultCatalogue, FaultKind
from fleetward.model.node_reports import LONGEST_LINE, FaultEvent

RETRY_SECONDS = 10.0
"""How long until a state that could not be written is tried again."""
CURSOR_SECONDS = 30.0
"""How old the place in the kernel's log may be on disk, where nothing else was written."""
ROOM_BYTES = 1024 * 1024
"""By so much the journal may be longer than it was when it was written anew."""


@dataclass(frozen=True)
class Clocks:
    """Where the time comes from."""

    steady: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


class Recorder:
    """Safe to use from many threads, of which one tells. A scrape does not wait for the disk."""

    def __init__(
        self,
        state: FaultState,
        journal: Journal | None,
        catalogue: FaultCatalogue,
        *,
        push: bool,
        clocks: Clocks | None = None,
    ) -> None:
        """Go on from a state; `push` says whether events are kept for the daemon."""
        self._state, self._journal, self._catalogue, self._push = state, journal, catalogue, push
        self._clocks = clocks or Clocks()
        self._began = self._clocks.steady()
        self._run = os.urandom(8).hex()
        self._told_by_nvml = 0
        self._outcomes: Counter[str] = Counter(dict.fromkeys(("taken", "refused", "dropped"), 0) if push else {})
        self._disk = threading.Lock()
        """Held by who changes the state until that is on disk; taken before `_view`."""
        self._view = threading.Lock()
        self._writable: bool | None = None if journal is None else False
        self._next_try = self._began
        self._cursor_until = self._began + CURSOR_SECONDS
        self._anew_at = 0
        if journal is not None:
            self._write(journal, [])
        state.outbox.settle()

    def knows(self, gpus: Mapping[str, Device]) -> None:
        """Take where GPUs are now, by PCI address."""
        with self._disk:
            new = {address: astuple(one) for address, one in gpus.items() if self._state.gpus.get(address) != one}
            if new:
                self._commit([{"kind": "gpus", "gpus": new}])

    def tell(self, kernel: Iterable[KernelFault], nvml: Iterable[XidEvent], cursor: Mapping[str, Any] | None) -> None:
        """Take what the kernel's log told, up to a cursor, and then what NVML told."""
        with self._disk:
            entries: list[Entry] = []
            dropped: list[str] = []
            for entry in self._judged(kernel, nvml):
                with self._view:
                    dropped += self._state.apply(entry)
                entries.append(entry)
            now = self._clocks.steady()
            moved = cursor is not None and cursor != self._state.cursor
            if entries or (moved and (self._state.cursor is None or now >= self._cursor_until)):
                self._cursor_until = now + CURSOR_SECONDS
                self._commit([{"kind": "cursor", "cursor": cursor}] if moved else [], entries)
            elif self._writable is False:
                self._commit([])
            if dropped:
                self._outcomes["dropped"] += len(dropped)

    def wait(self, seconds: float) -> bool:
        """Wait until there is an event to be sent; False where none came in time."""
        return self._state.outbox.wait(seconds)

    def batch(self, most: int) -> Mapping[str, bytes]:
        """Return the events to be sent next, as JSON by key."""
        return self._state.outbox.batch(most)

    def done(self, taken: Collection[str], refused: Mapping[str, str]) -> None:
        """Take what became of events: none of them need be sent again."""
        with self._disk:
            for outcome, keys in (("taken", taken), ("refused", tuple(refused))):
                removed = self._state.outbox.remove(keys)
                self._outcomes[outcome] += len(removed)
                if removed:
                    self._commit([], [{"kind": "done", "keys": removed}])

    def tally(self) -> FaultTally:
        """Return what has been counted so far."""
        with self._view:
            tally = self._state.tally()
        return replace(tally, state_writable=self._writable, outcomes=dict(self._outcomes))

    def close(self, cursor: Mapping[str, Any] | None) -> None:
        """Keep the last place in the kernel's log, and give the state's folder back."""
        with self._disk:
            if cursor is not None and cursor != self._state.cursor:
                self._commit([{"kind": "cursor", "cursor": cursor}])
            if self._journal is not None:
                self._journal.close()
                self._journal = None

    def _judged(self, kernel: Iterable[KernelFault], nvml: Iterable[XidEvent]) -> Iterable[Entry]:
        """Yield an entry for each; each must be applied before the next is asked for."""
        for fault in kernel:
            if isinstance(fault.told, KernelSxid):
                event = self._event(FaultKind.SXID, fault.told.sxid, None, fault.told.address, fault)
                yield {"kind": "fault", "switch": fault.told.switch, "push": self._push, "event": asdict(event)}
            else:
                yield self._of_kernel(fault, fault.told)
        for told in nvml:
            yield self._of_nvml(told)

    def _of_kernel(self, fault: KernelFault, told: KernelXid) -> Entry:
        device = self._state.gpus.get(told.address)
        xid = XidEvent(device.index, device.uuid, told.xid) if device else XidEvent(-1, told.address, told.xid)
        source = Source.KERNEL_WORDS if told.implied else Source.KERNEL
        if known := self._state.recent.told_before(xid, source, fault.at):
            return _again(xid, known, source)
        event = self._event(FaultKind.XID, told.xid, device, told.address, fault)
        # NVML tells a program only of what happens while it listens
        told_by = {source} if fault.at >= self._began else {source, Source.NVML}
        return self._fault(xid, self._with_parent(event, xid, fault.at), fault.at, told_by)

    def _of_nvml(self, xid: XidEvent) -> Entry:
        now = self._clocks.steady()
        if known := self._state.recent.told_before(xid, Source.NVML, now):
            return _again(xid, known, Source.NVML)
        device = Device(xid.index, xid.uuid)
        address = next((place for place, one in self._state.gpus.items() if one == device), "")
        self._told_by_nvml += 1
        key = f"nvml:{self._run}:{self._told_by_nvml}"
        event = self._event(FaultKind.XID, xid.xid, device, address, KernelFault(KernelXid(address, xid.xid), key, now))
        event = replace(event, source=str(Source.NVML))
        return self._fault(xid, self._with_parent(event, xid, now), now, {Source.NVML})

    def _event(self, kind: FaultKind, code: int, device: Device | None, address: str, fault: KernelFault) -> FaultEvent:
        verdict = self._catalogue.classify(kind, code, fault.told.line)
        return FaultEvent(
            key=fault.key,
            at=round(self._clocks.wall() - (self._clocks.steady() - fault.at), 3),
            kind=kind,
            code=code,
            gpu=device.index if device else None,
            uuid=device.uuid if device else "",
            address=address,
            severity=verdict.severity,
            action=verdict.action,
            blame=verdict.blame,
            meaning=verdict.meaning,
            source=str(Source.KERNEL),
            line=fault.told.line[:LONGEST_LINE],
        )

    def _with_parent(self, event: FaultEvent, xid: XidEvent, at: float) -> FaultEvent:
        earlier = self._state.recent.earlier(xid, at)
        parent = self._catalogue.parent_of(xid.xid, earlier)
        return replace(event, parent=earlier[parent]) if parent is not None else event

    def _fault(self, xid: XidEvent, event: FaultEvent, at: float, told_by: set[Source]) -> Entry:
        return {
            "kind": "fault",
            "xid": astuple(xid),
            "seen": round(at, 3),
            "told_by": sorted(told_by),
            "push": self._push,
            "event": asdict(event),
        }

    def _commit(self, entries: list[Entry], applied: list[Entry] | None = None) -> None:
        """Apply entries, and put them on disk behind those that are applied already; show the events that came."""
        with self._view:
            for entry in entries:
                self._state.apply(entry)
        if self._journal is not None:
            self._write(self._journal, [*(applied or ()), *entries])
        self._state.outbox.settle()

    def _write(self, journal: Journal, entries: list[Entry]) -> None:
        now = self._clocks.steady()
        if self._writable is False and now < self._next_try:
            return
        try:
            if self._writable is False or journal.size > self._anew_at + ROOM_BYTES:
                self._write_anew(journal)
            else:
                journal.append(entries)
            self._writable = True
        except OSError:
            self._writable, self._next_try = False, now + RETRY_SECONDS

    def _write_anew(self, journal: Journal) -> None:
        journal.rewrite(self._state.packed(self._clocks.wall()))
        self._anew_at = journal.size


def _again(xid: XidEvent, key: str, source: Source) -> Entry:
    return {"kind": "again", "xid": astuple(xid), "key": key, "source": source}
