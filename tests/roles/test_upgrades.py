"""Where the role fleetward has installed another version, what runs of it is started again."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import fleetward

ROLES = Path(fleetward.__file__).parent / "roles"
RUNNING = sorted(
    {
        unit.parents[1].name
        for unit in ROLES.glob("*/templates/*.service.j2")
        if "fleetward" in unit.read_text() and "Type=oneshot" not in unit.read_text()
    }
)
ENDED = "notified"


def tasks(role: str) -> list[dict[str, Any]]:
    """Return the tasks of a role that look at whether another version was installed."""
    found: list[dict[str, Any]] = []
    for file in (ROLES / role / "tasks").glob("*.yml"):
        found += [task for task in yaml.safe_load(file.read_text()) if "fleetward_installed" in json.dumps(task)]
    return found


def test_the_roles_are_found() -> None:
    assert {"fleetward_server", "gpu_exporter", "slurm_exporter"} <= set(RUNNING)


@pytest.mark.parametrize("role", RUNNING)
@pytest.mark.parametrize("changed", [True, False])
def test_what_runs_is_started_again(role: str, changed: bool, tmp_path: Path) -> None:
    found = tasks(role)
    assert found, f"nothing of {role} is started again when another version is installed"
    handlers = [
        {"name": task["notify"], "ansible.builtin.command": {"argv": ["touch", str(tmp_path / ENDED)]}}
        for task in found
    ]
    installed = {"changed": changed, "failed": False}
    variables = {"fleetward_installed": installed, "ansible_python_interpreter": sys.executable}
    play = {"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": found, "handlers": handlers}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local", "play.yml"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "ANSIBLE_CONFIG": ""}
    )
    assert done.returncode == 0, done.stdout
    assert (tmp_path / ENDED).exists() == changed


@pytest.mark.parametrize("role", RUNNING)
def test_the_handler_that_is_notified_is_there(role: str) -> None:
    there = {handler["name"] for handler in yaml.safe_load((ROLES / role / "handlers" / "main.yml").read_text())}
    assert {task["notify"] for task in tasks(role)} <= there
