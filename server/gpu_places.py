"""Which GPU is at a PCI address that a report names, as pure functions.

The kernel's log and the bus know GPUs by address, NVML and Prometheus by index. Best is the word of an event, then what
was concluded before, then what Prometheus tells of the same XID, then what the report itself says of the same fault.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fleetward.model.incidents import Alert
from fleetward.model.node_reports import ReportedFinding

OFF_BUS = "79"
TOLD_TWICE: Sequence[tuple[frozenset[str], frozenset[str]]] = (
    (frozenset({"xid_off_bus", "pci_gpu_off_bus"}), frozenset({"gpu_lost"})),
    (frozenset({"xid_memory"}), frozenset({"gpu_ecc_uncorrected", "gpu_row_remap_failed", "gpu_row_remap_pending"})),
    (frozenset({"xid_nvlink"}), frozenset({"gpu_nvlink_down"})),
    (frozenset({"xid_recovery"}), frozenset({"gpu_recovery_action"})),
)
"""Checks that find a fault at an address, and those that find the same fault by the index of the GPU."""
_GPU = re.compile(r"GPU (\d{1,3})", re.ASCII)
_ADDRESS = re.compile(r"([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2})(?:\.[0-7])?", re.ASCII)
_XID = re.compile(r"XID (\d{1,5}):", re.ASCII)


def address_of(entity: str) -> str:
    """Return domain, bus and device of a finding's entity; empty where it is something else."""
    match = _ADDRESS.fullmatch(entity)
    return match[1] if match else ""


def xid_of(finding: ReportedFinding) -> str:
    """Return the number that a finding of the kernel's log begins with; empty where there is none."""
    match = _XID.match(finding.why)
    return match[1] if match else ""


def gpu_of(entity: str, places: Mapping[str, str]) -> str:
    """Return the index of the GPU that a finding is about; empty where it is about none, or that is not known."""
    match = _GPU.fullmatch(entity)
    return match[1] if match else places.get(address_of(entity), "")


def places_of(
    wrong: Sequence[ReportedFinding], events: Mapping[str, str], reported: Iterable[Alert], others: Iterable[Alert]
) -> Mapping[str, str]:
    """Return the GPU's index by address, for the addresses among the findings of which it can be told.

    `events` are those that events name, `reported` what fires by the node's earlier reports, `others` what Alertmanager
    told of incidents about the node that are not closed.
    """
    named = {address for one in wrong if (address := address_of(one.entity))}
    places = {address: gpu for address, gpu in events.items() if address in named}
    for alert in reported:
        address = address_of(alert.labels.get("entity", ""))
        if address in named and (gpu := alert.labels.get("gpu", "")):
            places.setdefault(address, gpu)
    for address, gpu in _by_xid(wrong, others, places):
        places.setdefault(address, gpu)
    for at_address, by_index in TOLD_TWICE:
        gpus = {gpu_of(one.entity, {}) for one in wrong if one.check in by_index} - {"", *places.values()}
        unnamed = {address_of(one.entity) for one in wrong if one.check in at_address} - {"", *places}
        if len(gpus) == 1 and len(unnamed) == 1:
            places[unnamed.pop()] = gpus.pop()
    return places


def _by_xid(
    wrong: Sequence[ReportedFinding], others: Iterable[Alert], places: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield an address and a GPU where an XID came at but one address, and Prometheus tells of it on but one GPU."""
    gpus: dict[str, set[str]] = defaultdict(set)
    for alert in others:
        xid = OFF_BUS if alert.name == "GpuOffBus" else alert.labels.get("xid", "")
        if gpu := alert.labels.get("gpu", ""):
            gpus[xid].add(gpu)
    addresses: dict[str, set[str]] = defaultdict(set)
    for one in wrong:
        if address := address_of(one.entity):
            addresses[xid_of(one)].add(address)
    for xid in sorted(addresses.keys() - {""}):
        unnamed, free = addresses[xid] - places.keys(), gpus[xid] - set(places.values())
        if len(unnamed) == 1 and len(free) == 1:
            yield unnamed.pop(), free.pop()
