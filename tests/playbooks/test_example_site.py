"""playbooks/site.yml over the example's inventory, as far as it goes without its 2,010 hosts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import fleetward
from fleetward.model.inventory import read_fleet

ROOT = Path(fleetward.__file__).parent
EXAMPLE = ROOT / "inventories/example"
SITE = ROOT / "playbooks/site.yml"
ROLES = {folder.name for folder in (ROOT / "roles").iterdir() if (folder / "tasks/main.yml").exists()}
VALIDATES = re.compile(r"(\w+) : Validating arguments against arg spec 'main'")


def ansible_playbook(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", EXAMPLE, SITE, *options],
        cwd=SITE.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def one_of_each_kind() -> list[str]:
    """Return a host for each set of roles and hardware that the inventory has."""
    kinds: dict[tuple[frozenset[str], str], str] = {}
    for node in read_fleet(EXAMPLE).nodes.values():
        kinds.setdefault((node.groups & ROLES, node.profile.name if node.profile else ""), node.name)
    return list(kinds.values())


def roles_of(hosts: list[str]) -> set[str]:
    """Return the roles that site.yml names for groups of these hosts."""
    groups = {group for name in hosts for group in read_fleet(EXAMPLE).nodes[name].groups}
    plays = [play for play in yaml.safe_load(SITE.read_text()) if set(re.split(r"[:,]", play["hosts"])) & groups]
    return {role for play in plays for role in play.get("roles", [])}


def test_its_syntax_is_right() -> None:
    done = ansible_playbook("--syntax-check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_role_that_it_names_has_tasks_to_list() -> None:
    done = ansible_playbook("--list-tasks")
    assert done.returncode == 0, done.stdout + done.stderr
    named = {role for play in yaml.safe_load(SITE.read_text()) for role in play.get("roles", [])}
    assert named <= set(re.findall(r"^ {6}(\w+) : ", done.stdout, re.MULTILINE))
    assert named <= set(VALIDATES.findall(done.stdout))


@pytest.mark.timeout(600)
def test_its_variables_are_what_every_role_takes_on_each_kind_of_host() -> None:
    """The inventory is checked and each argument_specs validated; this machine stands in where facts are asked."""
    hosts = one_of_each_kind()
    assert {"ctl1", "db1", "mon1", "h100-0001", "a100-0001"} <= set(hosts)
    here = {"ansible_connection": "local", "ansible_become": "false", "ansible_python_interpreter": sys.executable}
    done = ansible_playbook(
        "--check",
        "--tags=always",
        f"--limit={','.join(hosts)}",
        *(word for name, value in here.items() for word in ("-e", f"{name}={value}")),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert roles_of(hosts) <= set(VALIDATES.findall(done.stdout))
    ended = re.findall(r"^(\S+) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", done.stdout, re.MULTILINE)
    assert {name for name, *_ in ended} == set(hosts)
    assert {tuple(counts) for _, _, *counts in ended} == {("0", "0", "0")}
