"""Rendered files are made again exactly when the inventory has changed."""

import os
import shutil
from pathlib import Path

import pytest

import fleetward
from fleetward.model.errors import UsageError
from fleetward.slurm import configuration_cache
from fleetward.slurm.configuration_cache import rendered

LAB = Path(fleetward.__file__).parent / "inventories" / "lab"


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(LAB, tmp_path / "inventory"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


def another_process() -> None:
    """Forget what this process knows, as a new fork of Ansible does."""
    configuration_cache._rendered.cache_clear()


def test_an_unchanged_inventory_is_read_once(inventory: Path) -> None:
    assert rendered(inventory) is rendered(inventory)


def test_other_processes_take_it_from_the_cache(inventory: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rendered(inventory, cache)
    another_process()
    monkeypatch.setattr(configuration_cache, "_render", lambda path: pytest.fail(f"{path} was read again"))
    assert rendered(inventory, cache) == first


def test_a_changed_file_is_seen(inventory: Path, cache: Path) -> None:
    assert "SlurmdTimeout=20" in rendered(inventory, cache).text("slurm.conf")
    file = inventory / "group_vars" / "all" / "fleet.yml"
    file.write_text(file.read_text().replace("SlurmdTimeout: 20", "SlurmdTimeout: 30"))
    os.utime(file, ns=(1, 1))  # the same size; only the time tells
    assert "SlurmdTimeout=30" in rendered(inventory, cache).text("slurm.conf")


def test_a_new_file_is_seen(inventory: Path) -> None:
    assert "10.213.1.104 gpu004" not in rendered(inventory).text("hosts")
    (inventory / "more.yml").write_text("gpu_nodes: {hosts: {gpu004: {ansible_host: 10.213.1.104}}}\n")
    assert "10.213.1.104 gpu004" in rendered(inventory).text("hosts")
    assert "NodeName=gpu[001-004] " in rendered(inventory).text("slurm.conf")


def test_variables_beside_an_inventory_file_count(inventory: Path) -> None:
    alone = inventory / "hosts.yml"
    before = rendered(alone)
    (inventory / "host_vars").mkdir()
    (inventory / "host_vars" / "gpu001.yml").write_text("fleet_rack: r9\n")
    assert '"rack": "r9"' in rendered(alone).text("node.json", "gpu001")
    assert '"rack": "lab"' in before.text("node.json", "gpu001")


def test_problems_are_kept_too(inventory: Path, cache: Path) -> None:
    (inventory / "more.yml").write_text("gpu_nodes: {hosts: {gpu004: {ansible_host: 10.213.1.103}}}\n")
    first = rendered(inventory, cache).problems
    another_process()
    assert rendered(inventory, cache).problems == first
    assert len(first) == 1
    assert "duplicate address 10.213.1.103: gpu[003-004]" in first[0]


def test_what_does_not_go_together_is_kept_beside_the_files(inventory: Path, cache: Path) -> None:
    (inventory / "group_vars/gpu_nodes.yml").write_text("fleet_cuda: '13.0'\nfleet_nvidia_driver: '570.86.15'\n")
    first = rendered(inventory, cache)
    another_process()
    assert rendered(inventory, cache) == first
    assert first.problems == ()
    assert [sentence.partition(":")[0] for sentence in first.incompatibilities] == ["gpu[001-003]"]
    assert "NodeName=gpu[001-003] " in first.text("slurm.conf")


def test_a_word_of_the_site_that_means_nothing_is_kept_there_too(inventory: Path) -> None:
    (inventory / "group_vars/all/more.yml").write_text("fleet_compatibility: {rules: {none: {accepted: x}}}\n")
    [sentence] = rendered(inventory).incompatibilities
    assert sentence.startswith("fleet_compatibility.rules.none: is none of the shipped rules")


@pytest.mark.parametrize("host", [None, "gpu009"])
def test_a_nodes_file_needs_a_host_that_is_there(inventory: Path, host: str | None) -> None:
    with pytest.raises(UsageError, match=r"node.json is of one host, and .* is not in the inventory"):
        rendered(inventory).text("node.json", host)
