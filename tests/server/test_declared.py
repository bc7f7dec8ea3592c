"""What the daemon takes from its copy of the inventory."""

import json
from pathlib import Path

import fleetward
from fleetward.model.inventory import read_fleet
from fleetward.server.declared import Declared
from fleetward.slurm.configuration import render

INVENTORIES = Path(fleetward.__file__).parent / "inventories"


def test_the_copy_that_the_role_makes_tells_hosts_and_racks(tmp_path: Path) -> None:
    (tmp_path / "hosts.json").write_text(render(read_fleet(INVENTORIES / "lab"))["inventory.json"])
    assert Declared(tmp_path).racks() == {"head": "", "gpu001": "lab", "gpu002": "lab", "gpu003": "lab"}


def test_the_copy_tells_nothing_of_how_hosts_are_reached() -> None:
    tree = json.loads(render(read_fleet(INVENTORIES / "example"))["inventory.json"])
    variables = {key for host in tree["all"]["hosts"].values() for key in host}
    assert variables == {"ansible_host", "fleet_rack"}


def test_a_changed_copy_is_read_again(tmp_path: Path) -> None:
    declared = Declared(tmp_path)
    assert declared.racks() == {}
    (tmp_path / "hosts.yml").write_text("all: {hosts: {gpu001: {fleet_rack: r1}}}\n")
    assert declared.racks() == {"gpu001": "r1"}
    (tmp_path / "hosts.yml").write_text("all: {hosts: {gpu001: {fleet_rack: r1}, gpu0002: {}}}\n")
    assert declared.racks() == {"gpu001": "r1", "gpu0002": ""}


def test_without_an_inventory_nothing_is_declared(tmp_path: Path) -> None:
    assert Declared(None).racks() == {}
    assert Declared(tmp_path / "gone").racks() == {}
