"""systemd's units and the management controller."""

import re
from collections.abc import Iterator

from fleetward.model.gpu_faults import Action, Severity
from fleetward.node.checking import NOT_IN_JOBS_WAY, Asked, check
from fleetward.node.probes.programs import EVENT_LOG, SENSORS, UNITS, EventLog, Sensors, Units
from fleetward.node.results import ProbeError, Trouble

FABRIC_MANAGER = "nvidia-fabricmanager.service"
HARDWARE_EVENT = re.compile(
    r"Uncorrectable|Machine Check|Bus Fatal|Critical Interrupt|Power Supply.*(Failure|lost)"
    r"|Transition to Non-recoverable|(Upper|Lower) (Critical|Non-recoverable)|Drive Fault",
    re.IGNORECASE,
)
BAD_SENSOR = frozenset({"cr", "nr"})
"""ipmitool's words for critical and non-recoverable."""


@check(
    "unit_failed",
    "A unit of systemd has failed.",
    UNITS,
    Severity.WARNING,
    Action.WATCH,
    "node-mixin, gcm",
)
def _unit_failed(found: Units, _: Asked) -> Iterator[Trouble]:
    for name, unit in sorted(found.units.items()):
        if unit.active == "failed":
            yield Trouble(f"failed: see `journalctl -u {name}`", name, {"active": unit.active, "sub": unit.sub})


@check(
    "unit_required",
    "A unit of the profile does not run.",
    UNITS,
    Severity.FATAL,
    Action.UPDATE_SOFTWARE,
    "gcm, gpud",
)
def _unit_required(found: Units, asked: Asked) -> Iterator[Trouble]:
    expected = asked.profile.host.units
    if not expected:
        raise ProbeError("the profile does not say which units must run")
    for name in expected:
        full = name if "." in name else f"{name}.service"
        active = found.units[full].active if full in found.units else "not loaded"
        if active != "active":
            yield Trouble(f"it is {active}", full, {"active": active})


@check(
    "fabric_manager",
    "NVIDIA's fabric manager is installed and does not run.",
    UNITS,
    Severity.FATAL,
    Action.CHECK_FABRIC,
    "gpud, awslabs gpu-cluster-healthcheck",
)
def _fabric_manager(found: Units, _: Asked) -> Iterator[Trouble]:
    unit = found.units.get(FABRIC_MANAGER)
    if unit is not None and unit.load == "loaded" and unit.active != "active":
        yield Trouble(f"it is {unit.active}", FABRIC_MANAGER, {"active": unit.active, "sub": unit.sub})


@check(
    "bmc_sensors",
    "A fan, a power supply, a voltage or a temperature is out of its limits.",
    SENSORS,
    Severity.FATAL,
    Action.INSPECT,
    "gcm",
    contexts=NOT_IN_JOBS_WAY,
)
def _bmc_sensors(found: Sensors, _: Asked) -> Iterator[Trouble]:
    if not found.states:
        raise ProbeError("the management controller shows no sensor")
    for name, state, reading in found.states:
        if state in BAD_SENSOR:
            yield Trouble(reading or "out of its limits", name, {"state": state, "reading": reading})


@check(
    "bmc_events",
    "The management controller's log tells of a fault of the hardware: copy it before it is cleared.",
    EVENT_LOG,
    Severity.DEGRADED,
    Action.INSPECT,
    "gcm",
    contexts=NOT_IN_JOBS_WAY,
)
def _bmc_events(found: EventLog, _: Asked) -> Iterator[Trouble]:
    faults = [line for line in found.lines if HARDWARE_EVENT.search(line) and "Deasserted" not in line]
    if faults:
        yield Trouble(faults[-1], evidence={"count": len(faults), "line": faults[-1]})


@check(
    "bmc_log_full",
    "The management controller's log has so many lines that new ones may be lost.",
    EVENT_LOG,
    Severity.WARNING,
    Action.WATCH,
    "gcm",
    limits={"lines": 500},
    contexts=NOT_IN_JOBS_WAY,
)
def _bmc_log_full(found: EventLog, asked: Asked) -> Iterator[Trouble]:
    if len(found.lines) > asked.limits["lines"]:
        yield Trouble(f"{len(found.lines)} lines: copy the log, then clear it", evidence={"lines": len(found.lines)})


CHECKS = (_unit_failed, _unit_required, _fabric_manager, _bmc_sensors, _bmc_events, _bmc_log_full)
