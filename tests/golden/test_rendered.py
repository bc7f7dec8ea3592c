"""What is rendered from the inventories that come with us, word for word."""

from collections.abc import Callable
from pathlib import Path

import pytest

import fleetward
from fleetward.model.inventory import read_fleet
from fleetward.slurm.configuration import render, render_node
from fleetward.slurm.configuration_scripts import EPILOG, PROLOG

INVENTORIES = Path(fleetward.__file__).parent / "inventories"
NODES = {"lab": ["gpu001", "head"], "example": ["h100-0001", "a100-0980", "db1"]}
TOO_LONG = {"example": {"hosts", "inventory.json", "targets/gpu.json", "targets/node.json"}}
"""Thousands of lines that follow one pattern; tests of the rendering look at them."""
PUT_TOGETHER = {PROLOG, EPILOG}
"""Of scripts that stand in `slurm/`, the same for every fleet."""


@pytest.mark.parametrize("inventory", ["lab", "example"])
def test_every_file_is_as_it_was(inventory: str, golden: Callable[[str, str], None]) -> None:
    fleet = read_fleet(INVENTORIES / inventory)
    files = render(fleet) | {f"nodes/{name}.json": render_node(fleet, fleet.nodes[name]) for name in NODES[inventory]}
    left_out = TOO_LONG.get(inventory, set()) | PUT_TOGETHER
    kept = {name: text for name, text in files.items() if name not in left_out}
    for name, text in kept.items():
        golden(f"{inventory}/{name}", text)
    folder = Path(__file__).parent / inventory
    assert {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} == set(kept)
