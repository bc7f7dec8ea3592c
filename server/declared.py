"""What the daemon takes from its copy of the inventory: which hosts there are, and where they stand."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleetward.model.ansible_inventory import read_inventory


@dataclass(frozen=True, slots=True)
class Place:
    """Where a host stands."""

    rack: str
    leaf: str


Stamp = tuple[tuple[str, int, int], ...]


class Declared:
    """Hosts and where they stand as declared, read again when a file changes; empty where there is no inventory."""

    def __init__(self, inventory: Path | None) -> None:
        self._inventory = inventory
        self._lock = threading.Lock()
        self._stamp: Stamp | None = None
        self._places: Mapping[str, Place] = {}

    def racks(self) -> Mapping[str, str]:
        """Return every host with its rack, empty text where it has none."""
        return {name: place.rack for name, place in self._read().items()}

    def leaves(self) -> Mapping[str, str]:
        """Return every host with its leaf switch, empty text where it has none."""
        return {name: place.leaf for name, place in self._read().items()}

    def _read(self) -> Mapping[str, Place]:
        if self._inventory is None:
            return {}
        now = stamp(self._inventory)
        with self._lock:
            if now != self._stamp:
                # What is wrong with an inventory is told where it is checked, not here.
                hosts = read_inventory(self._inventory, lambda *_: None).hosts if now else {}
                self._places = {name: _place(host.variables) for name, host in hosts.items()}
                self._stamp = now
            return self._places


def _place(variables: Mapping[str, object]) -> Place:
    return Place(str(variables.get("fleet_rack") or ""), str(variables.get("fleet_leaf_switch") or ""))


def stamp(path: Path) -> Stamp:
    """Return what changes when a file, or one in a folder, is written: each with its time and size."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.exists())
