"""An event as a node's exporter tells of a fault."""

import time
from dataclasses import replace

from fleetward.model.gpu_faults import Action, FaultKind, Scope, Severity
from fleetward.model.node_reports import FaultEvent


def fault_event(key: str = "b:1", **changes: object) -> FaultEvent:
    """Return the event of a GPU that fell off the bus now, with what is different about it."""
    made = FaultEvent(
        key=key,
        at=time.time(),
        kind=FaultKind.XID,
        code=79,
        gpu=3,
        uuid="GPU-1",
        address="0000:61:00",
        severity=Severity.FATAL,
        action=Action.REBOOT,
        blame=Scope.HARDWARE,
        meaning="it fell off the bus",
        source="kernel log",
        line="NVRM: Xid (PCI:0000:61:00): 79, GPU has fallen off the bus.",
    )
    return replace(made, **changes)  # type: ignore[arg-type]
