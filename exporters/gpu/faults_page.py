"""Faults on the page: XIDs and SXids counted, and what becomes of the events made of them."""

from collections.abc import Iterable

from fleetward.exporters.events.faults import FaultTally
from fleetward.exporters.gpu.page_writer import Row, Writer, labelled
from fleetward.exporters.gpu.readings import GpuIdentity
from fleetward.exporters.gpu.series import Family

_XIDS = Family("gpu_xid_total", "XIDs that the driver reported.", counter=True)


class FaultsPage:
    """Writes faults; it keeps the labels of GPUs that it has seen."""

    def __init__(self, xids_from_zero: tuple[int, ...]) -> None:
        """Count these XIDs from 0 on every GPU, so that the first one is an increase."""
        self._from_zero = xids_from_zero
        self._begins: dict[GpuIdentity, dict[int, str]] = {}

    def write(self, writer: Writer, tally: FaultTally, known: Iterable[GpuIdentity]) -> None:
        """Write what was counted on the GPUs that are `known`, on others, and on switches."""
        counts = {(event.index, event.uuid, event.xid): count for event, count in tally.xids.items()}
        lines = [
            f"{begin}{float(counts.pop((identity.index, identity.uuid, xid), 0))!r}\n"
            for identity in known
            if identity.uuid
            for xid, begin in self._begin(identity).items()
        ]
        lines += [f"{_begin(*key)}{float(count)!r}\n" for key, count in counts.items()]
        if lines:
            writer.head(_XIDS)
            writer.lines += lines
        writer.family(
            Family("gpu_xid_last_timestamp_seconds", "When the XID was reported last, in Unix time."),
            (({"gpu": str(one.index), "uuid": one.uuid, "xid": str(one.xid)}, at) for one, at in tally.last_at.items()),
        )
        switches = tally.sxids.items()
        writer.family(
            Family("gpu_sxid_total", "SXids that the driver of the NVSwitches reported.", counter=True),
            (({"switch": str(one.switch), "address": one.address, "sxid": str(one.sxid)}, n) for one, n in switches),
        )
        _events(writer, tally)

    def _begin(self, identity: GpuIdentity) -> dict[int, str]:
        begins = self._begins.get(identity)
        if begins is None:
            begins = {xid: _begin(identity.index, identity.uuid, xid) for xid in self._from_zero}
            self._begins[identity] = begins
        return begins


def _begin(index: int, uuid: str, xid: int) -> str:
    return f"{_XIDS.name}{labelled({'gpu': str(index), 'uuid': uuid, 'xid': str(xid)})} "


def _events(writer: Writer, tally: FaultTally) -> None:
    rows: list[tuple[str, str, list[Row]]] = [
        (
            "gpu_exporter_kernel_log_readable",
            "1 where XIDs are read from the kernel's log too.",
            [({}, float(tally.log_readable))],
        ),
        (
            "gpu_exporter_kernel_records_lost_total",
            "Records of the kernel's log that were overwritten before they could be read.",
            [({}, tally.log_lost)],
        ),
        (
            "gpu_exporter_strange_xids_total",
            "XIDs in the kernel's log of an address at which no GPU has been seen.",
            [({}, tally.strange)],
        ),
        (
            "gpu_exporter_state_writable",
            "1 where what is counted is on disk, 0 where it would be lost with this exporter.",
            [] if tally.state_writable is None else [({}, float(tally.state_writable))],
        ),
        (
            "gpu_exporter_events_total",
            "Events that the daemon took or refused, or that were dropped since too many waited.",
            [({"outcome": outcome}, count) for outcome, count in tally.outcomes.items()],
        ),
        (
            "gpu_exporter_events_waiting",
            "Events that the daemon has not taken yet.",
            [({}, tally.waiting)] if tally.outcomes else [],
        ),
        (
            "gpu_exporter_push_failures_total",
            "Posts of events to the daemon that failed.",
            [({}, tally.push_failures)] if tally.outcomes else [],
        ),
    ]
    for name, about, values in rows:
        writer.family(Family(name, about, counter=name.endswith("_total")), values)
