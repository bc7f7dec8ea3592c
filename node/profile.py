"""What a node should be, as its hardware profile and its site say: read from a TOML or JSON file.

The tables are those of the inventory's hardware profiles, with `[host]` for what the system should have and
`[limits.CHECK]` for the limits of single checks. What a file does not say is not checked.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from fleetward.model.errors import UsageError

MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class GpuProfile:
    """The GPUs that a node should have."""

    count: int | None = None
    product_name: str = ""
    nvlinks: int | None = None
    power_limit_watts: float | None = None
    driver: str = ""
    vbios: tuple[str, ...] = ()
    """Versions that are allowed."""
    model: str = ""
    memory_mib: int | None = None
    device_files: str = ""
    nvswitch: bool = False
    generation: str = ""


@dataclass(frozen=True)
class InfinibandProfile:
    """The InfiniBand or RoCE devices that a node should have."""

    devices: tuple[str, ...] = ()
    rate_gbits_per_second: float | None = None
    firmware: tuple[str, ...] = ()
    """Versions that are allowed."""


@dataclass(frozen=True)
class HostProfile:
    """What the system of a node should have."""

    modules: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    """systemd units that must be active."""
    mounts: tuple[str, ...] = ()
    """Beside those in /etc/fstab."""
    nvme_count: int | None = None
    interfaces: tuple[str, ...] = ()
    """Network interfaces that must be up."""
    mtu: int | None = None
    """Of those interfaces."""


@dataclass(frozen=True)
class Profile:
    """All that a check may compare with."""

    sockets: int | None = None
    cores_per_socket: int | None = None
    threads_per_core: int | None = None
    memory_mib: int | None = None
    gpu: GpuProfile = field(default_factory=GpuProfile)
    infiniband: InfinibandProfile = field(default_factory=InfinibandProfile)
    host: HostProfile = field(default_factory=HostProfile)
    limits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By the check's id and the limit's name."""
    bandwidth_gbytes_per_second: Mapping[str, float] = field(default_factory=dict)

    @property
    def cpus(self) -> int | None:
        """Return the logical processors; None where the profile does not say."""
        if self.sockets is None or self.cores_per_socket is None:
            return None
        return self.sockets * self.cores_per_socket * (self.threads_per_core or 1)


_TABLES = {"gpu": GpuProfile, "infiniband": InfinibandProfile, "host": HostProfile}
P = TypeVar("P")


def read_profile(file: Path, known_limits: Mapping[str, Mapping[str, float]]) -> Profile:
    """Return what a file says; raises UsageError that names file and key, and says what is allowed."""
    try:
        data = file.read_bytes()[: MOST_BYTES + 1]
        if len(data) > MOST_BYTES:
            raise UsageError(f"{file} is larger than a profile can be ({MOST_BYTES} bytes): give another file")
        found = json.loads(data) if file.suffix == ".json" else tomllib.loads(data.decode())
    except OSError as error:
        raise UsageError(f"the profile {file} cannot be read ({error.strerror}): name a TOML or JSON file") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the profile {file} is neither TOML nor, with the ending .json, JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{file} holds no table: it must be as the inventory's hardware profiles are")
    found = _without_nulls(found)
    limits = _limits(file, found.pop("limits", {}), known_limits)
    bandwidth = _numbers(file, "bandwidth_gbytes_per_second", found.pop("bandwidth_gbytes_per_second", {}))
    inner: dict[str, Any] = {name: _filled(file, name, kind, found.pop(name, {})) for name, kind in _TABLES.items()}
    outer = _filled(file, "", Profile, found)
    return Profile(
        outer.sockets,
        outer.cores_per_socket,
        outer.threads_per_core,
        outer.memory_mib,
        **inner,
        limits=limits,
        bandwidth_gbytes_per_second=bandwidth,
    )


def _without_nulls(found: dict[str, Any]) -> dict[str, Any]:
    """Return what is said: the inventory writes null for what it leaves open."""
    return {
        key: {inner: one for inner, one in value.items() if one is not None} if isinstance(value, dict) else value
        for key, value in found.items()
        if value is not None
    }


def _filled(file: Path, table: str, kind: type[P], found: object) -> P:
    """Return the dataclass with what a table says, each value of the kind that the field has."""
    where = f"{file}, [{table}]" if table else str(file)
    if not isinstance(found, dict):
        raise UsageError(f"{where} is no table")
    allowed = {
        one.name: "str" if one.type is str else "bool" if one.type is bool else str(one.type)
        for one in fields(kind)  # type: ignore[arg-type]  # a bound of dataclasses has no public name
        if one.name not in {*_TABLES, "limits", "bandwidth_gbytes_per_second"}
    }
    values: dict[str, Any] = {}
    for key, value in found.items():
        if key not in allowed:
            raise UsageError(f"{where} says {key!r}, which is none of {', '.join(sorted(allowed))}")
        values[key] = _value(f"{where}, {key}", allowed[key], value)
    return kind(**values)


def _value(where: str, kind: str, value: object) -> object:
    if kind.startswith("tuple"):
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise UsageError(f"{where} must be a list of words")
        return tuple(value)
    if kind == "str":
        if not isinstance(value, str):
            raise UsageError(f"{where} must be a word in quotes")
        return value
    if kind == "bool":
        if not isinstance(value, bool):
            raise UsageError(f"{where} must be true or false")
        return value
    number = (int, float) if "float" in kind else int
    if not isinstance(value, number) or isinstance(value, bool) or not 0 <= value < float("inf"):
        raise UsageError(f"{where} must be a number from 0 up")
    return value


def _limits(file: Path, found: object, known: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    if not isinstance(found, dict):
        raise UsageError(f"{file}, [limits] is no table")
    for name, table in found.items():
        if name not in known:
            raise UsageError(f"{file}, [limits.{name}]: there is no such check; `fleetward check --list` has them all")
        for key in _numbers(file, f"limits.{name}", table):
            if key not in known[name]:
                allowed = ", ".join(known[name]) or "none"
                raise UsageError(f"{file}, [limits.{name}] says {key!r}; the limits of this check: {allowed}")
    return {name: _numbers(file, f"limits.{name}", table) for name, table in found.items()}


def _numbers(file: Path, table: str, found: object) -> dict[str, float]:
    if not isinstance(found, dict):
        raise UsageError(f"{file}, [{table}] is no table")
    for key, value in found.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
            raise UsageError(f"{file}, [{table}], {key} must be a number from 0 up")
    return {str(key): float(value) for key, value in found.items()}
