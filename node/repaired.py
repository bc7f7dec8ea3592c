"""Which GPUs a person said are repaired: what the kernel's log tells of them from before is history.

The log keeps a line until the next boot, also where a reset has put the GPU right. So the word is kept for this boot
alone, and by the kernel's own clock: nobody who sets the time hides a fault by it.
"""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from fleetward.model.errors import FleetwardError
from fleetward.node.files import replace_file
from fleetward.node.surroundings import Surroundings

REPAIRED = Path("/run/fleetward/repaired.json")
EVERYTHING = "*"
"""In the place of an address: all GPUs, and the switches between them."""
MOST_ENTRIES = 1000


def repaired(surroundings: Surroundings) -> Mapping[str, float]:
    """Return how many seconds ago what is at a PCI address was said to be repaired, by address or EVERYTHING.

    A file that is none says nothing: faults are shown then.
    """
    uptime = _uptime(surroundings)
    return {} if uptime is None else {address: uptime - at for address, at in _kept(surroundings) if at <= uptime}


def say_repaired(surroundings: Surroundings, addresses: Iterable[str]) -> None:
    """Put down that what is at these addresses is repaired now; FleetwardError where that may not be."""
    uptime = _uptime(surroundings)
    if uptime is None:
        raise FleetwardError("/proc/uptime cannot be read: what came before now cannot be told")
    file = surroundings.path(str(REPAIRED))
    said = {address: at for address, at in _kept(surroundings) if at <= uptime} | dict.fromkeys(addresses, uptime)
    try:
        file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace_file(file, json.dumps(said) + "\n")
    except OSError as error:
        raise FleetwardError(
            f"cannot write {file}: {error.strerror}. Saying that a GPU is repaired is for root, on the GPU node itself."
        ) from error


def _kept(surroundings: Surroundings) -> list[tuple[str, float]]:
    try:
        found = json.loads(surroundings.text(str(REPAIRED)) or "{}")
    except (ValueError, RecursionError):
        return []
    said = found.items() if isinstance(found, dict) and len(found) <= MOST_ENTRIES else ()
    return [
        (address, float(at))
        for address, at in said
        if isinstance(at, int | float) and not isinstance(at, bool) and math.isfinite(at)
    ]


def _uptime(surroundings: Surroundings) -> float | None:
    words = (surroundings.text("proc/uptime") or "").split()
    return float(words[0]) if words else None
