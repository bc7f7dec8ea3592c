"""What a lab is, before anything of it exists."""

from pathlib import Path

import pytest
import yaml

from fleetward.lab import bring_up, inventory
from fleetward.lab.bring_up import Asked
from fleetward.lab.spec import LabSpec, LabState, with_free_subnet
from fleetward.model.errors import UsageError


@pytest.fixture
def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": "Lab"}, "--name"),
        ({"name": "a" * 40}, "--name"),
        ({"name": "x; rm -rf /"}, "--name"),
        ({"suite": "sid"}, "--suite"),
        ({"nodes": 0}, "--nodes"),
        ({"nodes": 100}, "--nodes"),
        ({"subnet": "10.1.2.3"}, "--subnet"),
        ({"subnet": "8.8.8.0/24"}, "--subnet"),
        ({"subnet": "nonsense"}, "--subnet"),
    ],
)
def test_what_cannot_be_a_lab_is_refused_by_the_option_to_change(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        LabSpec(**wrong)  # type: ignore[arg-type]


def test_hosts_have_the_addresses_that_the_declared_inventory_gives_them() -> None:
    declared = yaml.safe_load((inventory.DECLARED / "hosts.yml").read_text())["all"]["children"]
    hosts = {host.name: {"ansible_host": host.address} for host in LabSpec().hosts}
    assert {**declared["heads"]["hosts"], **declared["gpu_nodes"]["hosts"]} == hosts


def test_the_default_lab_is_provisioned_from_the_declared_inventory_and_others_from_a_copy(states: Path) -> None:
    assert inventory.of(LabSpec(), LabState.of("lab")) == inventory.DECLARED
    larger = LabSpec(nodes=5)
    assert inventory.of(larger, LabState.of("lab")) == states / "fleetward/lab/lab/inventory"
    other = LabSpec(name="other", subnet="10.213.2.0/24")
    assert inventory.of(other, LabState.of("other")) == states / "fleetward/lab/other/inventory"


def test_a_written_inventory_has_this_labs_hosts_and_all_declared_variables(states: Path) -> None:
    spec = LabSpec(name="other", nodes=2, subnet="10.213.9.0/24")
    state = LabState.of("other")
    inventory.write(spec, state)
    groups = yaml.safe_load((state.inventory() / "hosts.yml").read_text())["all"]["children"]
    assert groups["gpu_nodes"]["hosts"] == {
        "gpu001": {"ansible_host": "10.213.9.101"},
        "gpu002": {"ansible_host": "10.213.9.102"},
    }
    written = {file.name for file in (state.inventory() / "group_vars/all").iterdir()}
    assert {file.name for file in (inventory.DECLARED / "group_vars/all").iterdir()} <= written
    assert yaml.safe_load((state.inventory() / "group_vars/all/zz_this_lab.yml").read_text()) == {
        "lab_state": str(state.folder)
    }


def test_a_second_lab_gets_the_first_subnet_that_no_other_has(states: Path) -> None:
    LabState.of("lab").write(LabSpec(), ready=True)
    second = with_free_subnet(LabSpec(name="second"), frozenset())
    assert second.subnet == "10.213.2.0/24"
    LabState.of("second").write(second, ready=False)
    assert with_free_subnet(LabSpec(name="third"), frozenset()).subnet == "10.213.3.0/24"


def test_what_was_asked_for_is_kept_and_read_back(states: Path) -> None:
    spec = LabSpec(name="kept", suite="forky", nodes=7, bare=True, subnet="10.213.5.0/24")
    state = LabState.of("kept")
    assert state.read() is None
    state.write(spec, ready=False)
    assert state.read() == (spec, False)


def test_a_damaged_record_says_how_to_go_on(states: Path) -> None:
    state = LabState.of("kept")
    state.write(LabSpec(name="kept"), ready=True)
    (state.folder / "lab.json").write_text('{"name": ')
    with pytest.raises(UsageError, match="lab down"):
        state.read()


@pytest.mark.parametrize(
    "asked", [Asked(suite="forky"), Asked(subnet="10.213.7.0/24"), Asked(bare=True)], ids=["suite", "subnet", "bare"]
)
def test_a_running_lab_does_not_become_another_one(asked: Asked) -> None:
    with pytest.raises(UsageError, match="lab down"):
        bring_up.resolve(asked, LabSpec())


def test_a_running_lab_can_be_grown_and_shrunk() -> None:
    assert bring_up.resolve(Asked(nodes=5), LabSpec()) == LabSpec(nodes=5)
    assert bring_up.resolve(Asked(), LabSpec(nodes=5)) == LabSpec(nodes=5)
