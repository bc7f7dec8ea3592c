"""Every role has a scenario that runs the whole sequence on it, with tests that look from outside."""

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

import fleetward

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (Path(fleetward.__file__).parent / "roles").iterdir() if path.is_dir())

every_role = pytest.mark.parametrize("role", ROLES)


def read(path: Path) -> Any:  # noqa: ANN401  a YAML file may hold anything
    return yaml.safe_load(path.read_text())


def test_the_sequence_is_check_converge_idempotence_verify() -> None:
    sequence = read(ROOT / ".config/molecule/config.yml")["scenario"]["test_sequence"]
    assert sequence[0] == sequence[-1] == "destroy"
    order = [sequence.index(step) for step in ("create", "prepare", "check", "converge", "idempotence", "verify")]
    assert order == sorted(order)


@every_role
def test_a_scenario_converges_that_role_and_no_other(role: str) -> None:
    plays = read(ROOT / "molecule" / role / "converge.yml")
    assert [play["roles"] for play in plays] == [[role]]
    assert "scenario" not in (read(ROOT / "molecule" / role / "molecule.yml") or {}), (
        "the shared sequence holds for all"
    )


@every_role
def test_its_hosts_are_those_that_the_site_gives_the_role_to(role: str) -> None:
    site = read(ROOT / "playbooks/site.yml")
    hosts = [play["hosts"] for play in site if role in play.get("roles", [])]
    assert hosts == [read(ROOT / "molecule" / role / "converge.yml")[0]["hosts"]]


@every_role
def test_its_verify_asserts_something(role: str) -> None:
    tree = ast.parse((ROOT / "molecule" / role / "tests" / f"test_{role}.py").read_text())
    tests = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    assert len(tests) >= 2
    for test in tests:
        looks = [node for node in ast.walk(test) if isinstance(node, ast.Assert | ast.With)]
        asked = [node for node in ast.walk(test) if isinstance(node, ast.Attribute) and node.attr == "check_output"]
        assert looks or asked, f"{test.name} asserts nothing"
