"""The hosts of a scenario, for its verify tests."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import testinfra
import yaml
from testinfra.host import Host

STATE = Path(os.environ.get("FLEETWARD_LAB_STATE", "~/.local/state/fleetward/lab/molecule")).expanduser()


def addresses() -> dict[str, str]:
    """Return the address of every host of the scenario."""
    groups = yaml.safe_load((STATE / "inventory/hosts.yml").read_text())["all"]["children"]
    hosts = (members for group in groups.values() for members in group.get("hosts", {}).items())
    return {name: facts["ansible_host"] for name, facts in hosts}


@cache
def connect(name: str) -> Host:
    """Return a host, reached as Ansible reaches it."""
    options = f"-o UserKnownHostsFile={STATE}/known_hosts -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
    return testinfra.get_host(
        f"ssh://root@{addresses()[name]}", ssh_identity_file=str(STATE / "ssh_key"), ssh_extra_args=options
    )


@pytest.fixture
def on() -> Callable[[str], Host]:
    """Return what gives a host by its name."""
    return connect


@pytest.fixture
def address() -> Callable[[str], str]:
    """Return what gives the address of a host by its name."""
    return addresses().__getitem__
