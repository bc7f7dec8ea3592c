"""What programs of the node tell: systemd, the NVMe tool, and the management controller."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fleetward.node.checking import Probe
from fleetward.node.results import ProbeError
from fleetward.node.surroundings import Surroundings

PROGRAM_SECONDS = 3.0
BMC_SECONDS = 8.0
"""The controller's bus is slow: some ten sensors a second."""
_UNIT_KEYS = ("Id", "LoadState", "ActiveState", "SubState")
_NVME_NUMBERS = ("critical_warning", "avail_spare", "spare_thresh", "media_errors")


@dataclass(frozen=True)
class Unit:
    """One unit of systemd."""

    name: str
    load: str
    """`loaded`, or `not-found`."""
    active: str
    """`active`, `failed`, `inactive`."""
    sub: str = ""


@dataclass(frozen=True)
class Units:
    """The units that systemd knows, by name."""

    units: Mapping[str, Unit] = field(default_factory=dict)


@dataclass(frozen=True)
class NvmeHealth:
    """What one drive says of itself."""

    device: str
    used_percent: float | None = None
    """Of the writes that it is made for; may be over 100."""
    spare_percent: float | None = None
    spare_threshold_percent: float | None = None
    critical_warning: int | None = None
    """A mask; 0 is well."""
    media_errors: int | None = None


@dataclass(frozen=True)
class NvmeLog:
    """The drives' own accounts."""

    drives: tuple[NvmeHealth, ...] = ()


@dataclass(frozen=True)
class Sensors:
    """What the management controller's sensors say."""

    states: tuple[tuple[str, str, str], ...] = ()
    """Name, state (`ok`, `cr`, `nr`, `nc`, `ns`) and reading of each."""


@dataclass(frozen=True)
class EventLog:
    """The management controller's event log, oldest first."""

    lines: tuple[str, ...] = ()


def read_units(surroundings: Surroundings) -> Units:
    """Ask systemd for every unit."""
    keys = [f"--property={key}" for key in _UNIT_KEYS]
    text = surroundings.run(["systemctl", "show", "--no-pager", *keys, "*.service", "*.mount"], PROGRAM_SECONDS)
    units = {}
    for block in text.split("\n\n"):
        said = dict(line.partition("=")[::2] for line in block.splitlines())
        if said.get("Id"):
            units[said["Id"]] = Unit(*(said.get(key, "") for key in _UNIT_KEYS))
    if not units:
        raise ProbeError("systemctl names no unit: systemd does not run here")
    return Units(units)


def read_nvme_log(surroundings: Surroundings) -> NvmeLog:
    """Ask each drive with the program `nvme`."""
    if not surroundings.path("sys/class").is_dir():
        raise ProbeError("/sys/class is not there: sysfs is not mounted")
    names = surroundings.names("sys/class/nvme")
    return NvmeLog(tuple(_drive(surroundings, name) for name in names))


def _drive(surroundings: Surroundings, name: str) -> NvmeHealth:
    text = surroundings.run(["nvme", "smart-log", f"/dev/{name}", "-o", "json"], PROGRAM_SECONDS)
    try:
        said: Any = json.loads(text)
    except ValueError as error:
        raise ProbeError(f"nvme smart-log of {name} is not JSON: {error}") from error
    if not isinstance(said, dict):
        raise ProbeError(f"nvme smart-log of {name} is no JSON object")
    used = said.get("percent_used", said.get("percentage_used"))
    warning, spare, threshold, errors = (_number(said.get(key)) for key in _NVME_NUMBERS)
    return NvmeHealth(
        name,
        _number(used),
        spare,
        threshold,
        None if warning is None else int(warning),
        None if errors is None else int(errors),
    )


def _number(value: object) -> float | None:
    if isinstance(value, dict):  # newer versions of the program: {"value": 0, ...}
        value = value.get("value")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def read_sensors(surroundings: Surroundings) -> Sensors:
    """Ask the management controller for its sensors."""
    text = _ipmitool(surroundings, "sdr", "elist")
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    return Sensors(tuple((row[0], row[2], row[4]) for row in rows if len(row) > 4))


def read_event_log(surroundings: Surroundings) -> EventLog:
    """Ask the management controller for its event log."""
    text = _ipmitool(surroundings, "sel", "elist")
    return EventLog(tuple(line.strip() for line in text.splitlines() if "|" in line))


def _ipmitool(surroundings: Surroundings, *words: str) -> str:
    if not any(surroundings.path(f"dev/{name}").exists() for name in ("ipmi0", "ipmi/0", "ipmidev/0")):
        raise ProbeError("there is no /dev/ipmi0: the node has no management controller, or ipmi_devintf is not loaded")
    return surroundings.run(["ipmitool", *words], BMC_SECONDS - 1)


UNITS: Probe[Units] = Probe("systemd", read_units, PROGRAM_SECONDS + 1)
NVME_LOG: Probe[NvmeLog] = Probe("nvme smart-log", read_nvme_log, PROGRAM_SECONDS + 1)
SENSORS: Probe[Sensors] = Probe("BMC sensors", read_sensors, BMC_SECONDS)
EVENT_LOG: Probe[EventLog] = Probe("BMC event log", read_event_log, BMC_SECONDS)
