"""What every role has: stages, tags, platforms, and a specification of its variables that agrees with its defaults."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import fleetward

ROLES = sorted(path for path in (Path(fleetward.__file__).parent / "roles").iterdir() if path.is_dir())
STAGES = ["preflight", "install", "configure", "run"]
PLATFORMS = {"Debian": ["bookworm", "trixie", "forky"], "Ubuntu": ["jammy", "noble"]}
TYPES = {"str": str, "int": int, "bool": bool, "list": list, "dict": dict, "path": str, "float": (int, float)}

every_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def read(path: Path) -> Any:  # noqa: ANN401  a YAML file may hold anything
    return yaml.safe_load(path.read_text()) or {}


def options(role: Path) -> dict[str, Any]:
    return read(role / "meta/argument_specs.yml")["argument_specs"]["main"].get("options", {})


def undescribed(known: dict[str, Any]) -> list[str]:
    found = [name for name, option in known.items() if not option.get("description")]
    return found + [name for option in known.values() for name in undescribed(option.get("options", {}))]


def test_the_roles_of_a_cluster_are_there() -> None:
    assert {role.name for role in ROLES} >= {
        *("common", "munge", "mariadb", "slurm_database", "slurm_controller", "slurm_node", "slurm_client"),
        *("node_exporter", "prometheus", "fleetward", "gpu_simulator"),
    }


@every_role
def test_the_four_stages_come_in_order_each_with_its_tags(role: Path) -> None:
    stages = [
        (Path(task["ansible.builtin.import_tasks"]).stem, task["tags"])
        for task in read(role / "tasks/main.yml")
        if "ansible.builtin.import_tasks" in task
    ]
    assert stages == [(stage, [role.name, f"{role.name}_{stage}"]) for stage in STAGES]
    for stage in STAGES:
        assert read(role / f"tasks/{stage}.yml"), f"{stage}.yml has no task"


@every_role
def test_every_variable_is_specified_and_described(role: Path) -> None:
    defaults = read(role / "defaults/main.yml") if (role / "defaults/main.yml").exists() else {}
    assert set(defaults) == set(options(role))
    assert undescribed(options(role)) == []
    assert all(name.startswith(f"{role.name}_") for name in defaults)


@every_role
def test_defaults_are_of_the_type_specified_and_the_same_in_both_places(role: Path) -> None:
    defaults = read(role / "defaults/main.yml") if (role / "defaults/main.yml").exists() else {}
    for name, option in options(role).items():
        templated = isinstance(defaults[name], str) and "{{" in defaults[name]
        if templated:
            assert "default" not in option, f"{name} is a template in defaults/main.yml, so it cannot be literal here"
        else:
            assert isinstance(defaults[name], TYPES[option["type"]]), name
            assert isinstance(defaults[name], bool) == (option["type"] == "bool"), name  # a bool is an int to Python
            assert option["default"] == defaults[name], name


@every_role
def test_the_platforms_are_those_of_all_roles(role: Path) -> None:
    about = read(role / "meta/main.yml")["galaxy_info"]
    assert about["role_name"] == role.name
    assert {platform["name"]: platform["versions"] for platform in about["platforms"]} == PLATFORMS
    assert about["license"] == "MIT"
