"""The kinds of faults of a lab's GPUs, as data: what the stand-in shows from then on, and what the driver tells."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetward.lab.scenario import Scenario, Value, event_line, kernel_lines, kernel_records, xid_event
from fleetward.model.errors import UsageError

OFF_THE_BUS = 79
"""The XID after which a GPU no longer answers: it fell off the PCIe bus."""

THROTTLE_REASONS = {
    "power-cap": 0x4,
    "hw-slowdown": 0x8,
    "sync-boost": 0x10,
    "sw-thermal": 0x20,
    "hw-thermal": 0x48,
    "power-brake": 0x88,
}
"""Bits of NVML's clock event reasons; a thermal or a power brake of the hardware is a slowdown by it too."""

RECOVERY_ACTIONS = {
    "gpu-reset": (1, "GPU Reset Required"),
    "node-reboot": (2, "Node Reboot Required"),
    "drain-p2p": (3, "Drain P2P"),
    "drain-and-reset": (4, "Drain and Reset"),
    "recover-imex-domain": (5, "Recover IMEX Domain"),
    "bus-reset": (6, "Bus Reset Required"),
    "system-reboot": (7, "System Reboot Required"),
}
"""NVML's number of each action, and the driver's words for it."""

FABRIC_STATES: Mapping[str, Mapping[str, Value]] = {
    "not-started": {"fabric_state": 1},
    "in-progress": {"fabric_state": 2},
    "failed": {"fabric_state": 3, "fabric_status": 999},
    "unhealthy": {"fabric_health_mask": 0x199, "fabric_health_summary": 2},
}
"""The mask says: bandwidth degraded, route unhealthy, and nothing else wrong."""

UVM_GONE = ("nvidia-uvm: Unloaded the UVM driver.",)
API_MISMATCH = (
    "NVRM: API mismatch: the client has the version 570.133.20, but",
    "NVRM: this kernel module has the version 570.124.06.  Please",
    "NVRM: make sure that this kernel module and all NVIDIA driver",
    "NVRM: components have the same version.",
)


@dataclass(frozen=True)
class Fault:
    """One fault of a GPU or, where `gpu` is None, of the driver."""

    gpu: int | None
    settings: Mapping[str, Value] = field(default_factory=dict)
    """What the stand-in shows from now on."""
    added: Mapping[str, int] = field(default_factory=dict)
    """Counters, and by how much they grow."""
    events: tuple[str, ...] = ()
    """Events of NVML that carry no number, by their kind."""
    xid: int | None = None
    words: str | None = None
    """What the kernel's log says after the XID; None for what is usual."""
    told_by_nvml: bool = True
    """Whether NVML delivers the XID as well as the kernel's log; a driver that hangs delivers none."""
    kernel: tuple[str, ...] = ()
    """Lines of the kernel's log that name no XID."""


@dataclass(frozen=True)
class Change:
    """What a fault writes on a node: a new scenario, and lines that are appended."""

    scenario: Scenario
    kernel_log: str = ""
    events: str = ""


def change_of(fault: Fault, scenario: Scenario, microseconds: int) -> Change:
    """Say what a fault changes on a node whose scenario is known; `microseconds` is the time since its start."""
    kernel_log = kernel_records(fault.kernel, microseconds)
    if fault.gpu is None:
        return Change(scenario.with_driver(**fault.settings), kernel_log)
    grown = {key: int(scenario.number_of_gpu(fault.gpu, key)) + by for key, by in fault.added.items()}
    changed = scenario.with_gpu(fault.gpu, **fault.settings, **grown)
    events = "".join(event_line(kind, fault.gpu) for kind in fault.events)
    if fault.xid is not None:
        kernel_log += kernel_lines(scenario, fault.gpu, fault.xid, microseconds, fault.words)
        events += xid_event(fault.gpu, fault.xid) if fault.told_by_nvml else ""
    return Change(changed, kernel_log, events)


def xid(gpu: int, code: int) -> Fault:
    """Raise an XID; 79 takes the GPU off the bus."""
    return Fault(gpu, {"lost": 1} if code == OFF_THE_BUS else {}, xid=code)


def gpu_hang(gpu: int) -> Fault:
    """Have every call about a GPU hang, as beside a GSP that no longer answers."""
    return Fault(gpu, {"hang": 1}, xid=119, told_by_nvml=False)


def ecc(gpu: int, corrected: int, uncorrected: int) -> Fault:
    """Count memory errors; raises UsageError where there are none of either kind."""
    if corrected < 0 or uncorrected < 0 or corrected + uncorrected == 0:
        raise UsageError("say how many errors: --corrected COUNT or --uncorrected COUNT, above 0")
    kinds = {"ecc_corrected": corrected, "ecc_uncorrected": uncorrected}
    added = {kind: count for kind, count in kinds.items() if count}
    return Fault(gpu, added=added, events=tuple(added), xid=48 if uncorrected else None)


def row_remap(gpu: int, *, failed: bool) -> Fault:
    """Have a row of memory wait for a reset to be remapped, or fail to be."""
    if failed:
        return Fault(gpu, {"remapped_rows_failed": 1}, xid=64)
    return Fault(gpu, {"remapped_rows_pending": 1}, added={"remapped_rows_uncorrected": 1}, xid=63)


def nvlink_down(gpu: int, link: int) -> Fault:
    """Take an NVLink down."""
    settings: dict[str, Value] = {f"nvlink.{link}.state": 0, f"nvlink.{link}.speed_mbps": 0}
    registers = ", ".join(["0x10000", *["0x0"] * 6])
    return Fault(gpu, settings, xid=74, words=f"NVLink: fatal error detected on link {link}({registers})")


def throttle(gpu: int, reason: str, now: float) -> Fault:
    """Hold a GPU's clocks down for a reason of THROTTLE_REASONS, from `now` (seconds since the epoch) on."""
    settings: dict[str, Value] = {"clock_event_reasons": THROTTLE_REASONS[reason], "throttle_since": int(now)}
    return Fault(gpu, settings, events=("clock",))


def hot(gpu: int, celsius: float) -> Fault:
    """Give a GPU a temperature; its memory is ten degrees hotter."""
    return Fault(gpu, {"temperature": celsius, "memory_temperature": celsius + 10})


def fabric(gpu: int, state: str) -> Fault:
    """Put a GPU's place in the NVLink fabric into a state of FABRIC_STATES."""
    return Fault(gpu, FABRIC_STATES[state])


def recovery(gpu: int, action: str) -> Fault:
    """Have the driver ask for an action of RECOVERY_ACTIONS."""
    number, words = RECOVERY_ACTIONS[action]
    told = f"GPU recovery action changed from 0x0 (None) to {number:#x} ({words})"
    return Fault(gpu, {"recovery_action": number}, xid=154, words=told)


def driver_gone() -> Fault:
    """Unload the driver."""
    return Fault(None, {"loaded": 0}, kernel=UVM_GONE)


def driver_mismatch() -> Fault:
    """Have the driver in the kernel be of another version than its library, as after an update without a reboot."""
    return Fault(None, {"mismatch": 1}, kernel=API_MISMATCH)
