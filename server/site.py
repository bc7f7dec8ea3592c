"""The site's whole inventory on the daemon's host, read again when a file of it changes."""

import threading
from pathlib import Path

from fleetward.model.errors import UsageError
from fleetward.model.fleet import SLURM_NODE_GROUP, Fleet, Node
from fleetward.model.inventory import read_fleet
from fleetward.server.declared import Stamp, stamp


class Site:
    """The fleet as the site's inventory declares it."""

    def __init__(self, inventory: Path | None) -> None:
        """Read from this file or folder; None where the site has named none."""
        self._inventory = inventory
        self._lock = threading.Lock()
        self._stamp: Stamp | None = None
        self._fleet: Fleet | None = None

    def fleet(self) -> Fleet:
        """Return it; UsageError where no inventory is named, or it cannot be used."""
        if self._inventory is None:
            raise UsageError("the daemon has no inventory of the site; name it in its settings: provision.inventory")
        with self._lock:
            now = stamp(self._inventory)
            if self._fleet is None or now != self._stamp:
                self._fleet = None
                self._fleet = read_fleet(self._inventory)
                self._stamp = now
            return self._fleet

    def nodes(self) -> dict[str, Node]:
        """Return the nodes that compute, by name; UsageError as above."""
        return {node.name: node for node in self.fleet().members(SLURM_NODE_GROUP)}
