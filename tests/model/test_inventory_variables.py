"""Variables that nothing knows are told with where they stand and what may have been meant; others are left alone."""

import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import fleetward
from fleetward.model.inventory_schema import FLEET_VARIABLES, NODE_VARIABLES
from fleetward.model.inventory_variables import KnownVariables, shipped_variables, unknown_variables

ROOT = Path(fleetward.__file__).parent
KNOWN = KnownVariables(
    {"gpu_exporter": frozenset({"gpu_exporter_port"}), "common": frozenset({"common_timezone", "common_users"})},
    frozenset({"fleet_cluster", "fleet_own_prefixes", "fleet_rack"}),
)
SHIPPED = sorted(shipped_variables().names)


def told(folder: Path, files: dict[str, object]) -> list[str]:
    """Return what is told of an inventory with these files."""
    for name, content in {"hosts.yml": {"all": {"hosts": {"h": {}}}}, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return [str(one) for one in unknown_variables(folder, KNOWN)]


@pytest.mark.parametrize("name", ["example", "lab"])
def test_shipped_inventories_have_none(name: str) -> None:
    assert unknown_variables(ROOT / "inventories" / name) == ()


def test_a_misspelt_variable_of_a_role_is_told_with_its_file_and_the_right_name(tmp_path: Path) -> None:
    assert told(tmp_path, {"group_vars/all/site.yml": {"common_timezon": "Etc/UTC", "common_users": []}}) == [
        "group_vars/all/site.yml: common_timezon: the role common has no such variable; did you mean common_timezone?"
    ]


def test_every_place_that_can_set_a_variable_is_looked_at(tmp_path: Path) -> None:
    group = {"vars": {"a": 1}, "hosts": {"h": {"b": 1}}, "children": {"inner": {"hosts": {"g": {"c": 1}}}}}
    found = told(
        tmp_path,
        {
            "hosts.yml": {"all": {"children": {"outer": group}}},
            "group_vars/outer": {"d": 1},
            "group_vars/all/deeper/x.yaml": {"e": 1},
            "host_vars/h.json": '{"f": 1}',
            "host_vars/.kept.yml": {"hidden": 1},
            "group_vars/README.md": "g: 1",
        },
    )
    assert [line.split(": ")[:2] for line in found] == [
        ["hosts.yml", "a"],
        ["hosts.yml", "b"],
        ["hosts.yml", "c"],
        ["group_vars/outer", "d"],
        ["group_vars/all/deeper/x.yaml", "e"],
        ["host_vars/h.json", "f"],
    ]


def test_a_variable_that_several_files_set_is_told_once(tmp_path: Path) -> None:
    [found] = told(tmp_path, {"group_vars/all.yml": {"tz": 1}, "host_vars/h.yml": {"tz": 2}})
    assert found.startswith("group_vars/all.yml, host_vars/h.yml: tz: no role, no fact of the fleet and no template ")


def test_what_a_template_of_the_inventory_names_is_used(tmp_path: Path) -> None:
    files = {"group_vars/all.yml": {"state": "/x", "other": 1, "common_users": [{"name": "{{ state ~ '/y' }}"}]}}
    assert [line.split(": ")[1] for line in told(tmp_path, files)] == ["other"]
    files["group_vars/all.yml"]["common_timezone"] = "{% if other %}UTC{% endif %} state"
    assert told(tmp_path, files) == []


def test_ansibles_own_are_left_alone_and_those_of_the_fleet_are_told_by_who_reads_it(tmp_path: Path) -> None:
    assert told(tmp_path, {"group_vars/all.yml": {"ansible_user": "x", "ansible_become": True, "fleet_rak": "r"}}) == []


@pytest.mark.parametrize(
    ("own", "found"),
    [
        ("site_", ["common_x", "gpu_x", "gpu_exporter_x"]),
        (["site_", "gpu_"], ["common_x", "gpu_exporter_x"]),  # a short prefix does not hide what is a role's
        (["site_", "gpu_exporter_"], ["common_x", "gpu_x", "gpu_exporter_x"]),
        (["site_", "gpu_exporter_x"], ["common_x", "gpu_x"]),
        ([""], ["common_x", "gpu_exporter_x", "gpu_x", "site_x"]),
        (7, ["common_x", "gpu_exporter_x", "gpu_x", "site_x"]),
    ],
)
def test_what_a_site_says_is_its_own_is_left_alone(tmp_path: Path, own: object, found: list[str]) -> None:
    variables = {"site_x": 1, "gpu_x": 1, "gpu_exporter_x": 1, "common_x": 1, "fleet_own_prefixes": own}
    names = [line.split(": ")[1] for line in told(tmp_path, {"group_vars/all.yml": variables})]
    assert sorted(names) == sorted(found)


def test_a_roles_private_variable_has_no_effect_from_an_inventory(tmp_path: Path) -> None:
    assert told(tmp_path, {"group_vars/all.yml": {"__common_packages": []}}) == [
        "group_vars/all.yml: __common_packages: is the role common's own, and what is set here has no effect"
    ]


def test_files_that_hold_no_variables_are_passed_over(tmp_path: Path) -> None:
    files = {
        "group_vars/all/secret.yml": "$ANSIBLE_VAULT;1.1;AES256\n6162\n",
        "group_vars/all/list.yml": ["x"],
        "group_vars/all/broken.yml": "- [",
        "hosts.yml": {"all": {"hosts": None, "vars": ["x"], "children": {"g": None}}, "other": "x"},
    }
    assert told(tmp_path, files) == []


def test_all_that_the_distribution_reads_is_known() -> None:
    known = shipped_variables()
    assert {"common", "slurm_node", "prometheus", "nvidia_driver"} <= set(known.roles)
    assert known.others >= FLEET_VARIABLES | NODE_VARIABLES
    assert "common_timezone" in known.roles["common"]
    assert "hashicorp_vault_address" in known.others


@given(st.sampled_from(SHIPPED), st.integers(min_value=0, max_value=100), st.sampled_from("qzxj"))
def test_a_letter_too_many_in_any_name_is_found_and_mended(name: str, at: int, letter: str) -> None:
    role = shipped_variables().role_of(name)
    if not role:
        return
    start = len(role) + 1  # what stands before is whose variable it is
    at = start + at % (len(name) - start + 1)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "hosts.yml").write_text(yaml.safe_dump({"all": {"vars": {name[:at] + letter + name[at:]: 1}}}))
        [found] = unknown_variables(Path(folder))
    assert found.why == f"the role {role} has no such variable"
    assert found.nearest == name
