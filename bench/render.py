"""How quickly a fleet of 2,000 nodes is read, held against what goes with what, and rendered."""

from collections.abc import Callable
from pathlib import Path

import fleetward
from bench.figures import Figure, median_seconds
from fleetward.model.compatibility_files import incompatibilities, read_rules
from fleetward.model.inventory import read_fleet
from fleetward.slurm.configuration import render, render_node

EXAMPLE = Path(fleetward.__file__).parent / "inventories" / "example"
TIMES = 5


def measure() -> list[Figure]:
    """Read, check and render `inventories/example`, every node's own file included, from a cold start each time."""
    fleet = read_fleet(EXAMPLE)
    rules = len(read_rules(fleet.site_rules).rules)
    nodes = len(fleet.nodes)
    return [
        Figure(f"an inventory of {nodes} hosts read and checked", _median(lambda: read_fleet(EXAMPLE)), 5),
        Figure(f"their software held against {rules} rules", _median(lambda: incompatibilities(fleet)), 2),
        Figure(f"rendering everything of {nodes} hosts", _median(_render_everything), 5),
    ]


def _median(run: Callable[[], object]) -> float:
    return median_seconds(run, times=TIMES)


def _render_everything() -> None:
    fleet = read_fleet(EXAMPLE)
    render(fleet)
    for node in fleet.nodes.values():
        render_node(fleet, node)
