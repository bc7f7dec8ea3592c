"""How quickly everything that follows from a fleet of 2,000 nodes is rendered."""

from pathlib import Path

import fleetward
from bench.figures import Figure, median_seconds
from fleetward.model.inventory import read_fleet
from fleetward.slurm.configuration import render, render_node

EXAMPLE = Path(fleetward.__file__).parent / "inventories" / "example"
TIMES = 5


def measure() -> list[Figure]:
    """Read, check and render `inventories/example`, every node's own file included, from a cold start each time."""
    nodes = len(read_fleet(EXAMPLE).nodes)
    seconds = median_seconds(_render_everything, times=TIMES)
    return [Figure(f"rendering everything of {nodes} hosts", seconds, 5)]


def _render_everything() -> None:
    fleet = read_fleet(EXAMPLE)
    render(fleet)
    for node in fleet.nodes.values():
        render_node(fleet, node)
