"""The lookup `hashicorp_vault`, driven by ansible-playbook against a Vault that a small HTTP server plays."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from played_vault import ROLE_ID, SECRET, SECRET_ID, TOKEN, PlayedVault, served

import fleetward

ROOT = Path(fleetward.__file__).parent
LOOKUP = "{{ lookup('hashicorp_vault', 'fleet/slurm', key='database_password') }}"


@pytest.fixture
def vault() -> Iterator[PlayedVault]:
    with served(PlayedVault()) as vault:
        yield vault


class Site:
    """An inventory of one host, this one, whose variables hold lookups."""

    def __init__(self, folder: Path, vault: PlayedVault) -> None:
        self.folder = folder
        for name, text in (("token", TOKEN), ("role", ROLE_ID), ("secret", SECRET_ID)):
            (folder / name).write_text(text + "\n")
        self.variables: dict[str, object] = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "hashicorp_vault_address": vault.address,
            "hashicorp_vault_token_file": str(folder / "token"),
            "slurm_database_password": LOOKUP,
        }

    def play(self, task: dict[str, object], *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "hosts.json").write_text(json.dumps({"all": {"hosts": {"h": self.variables}}}))
        play = [{"name": "Play", "hosts": "all", "gather_facts": False, "tasks": [{"name": "Task", **task}]}]
        (self.folder / "play.yml").write_text(json.dumps(play))
        return subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.json", "play.yml", *options],
            env=os.environ | {"ANSIBLE_LOOKUP_PLUGINS": str(ROOT / "playbooks/lookup_plugins")} | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def write(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Have the password written into a file, as roles do it."""
        copy = {"content": "{{ slurm_database_password }}", "dest": str(self.folder / "out"), "mode": "0600"}
        return self.play({"ansible.builtin.copy": copy, "no_log": True}, *options, **environment)


@pytest.fixture
def site(tmp_path: Path, vault: PlayedVault) -> Site:
    return Site(tmp_path, vault)


def test_a_secret_reaches_its_file_and_nothing_that_ansible_prints(site: Site) -> None:
    done = site.write("-vvvv", "--diff")
    assert done.returncode == 0, done.stdout
    assert (site.folder / "out").read_text() == SECRET
    assert not [secret for secret in (SECRET, TOKEN) if secret in done.stdout + done.stderr]


def test_an_approle_is_used_where_its_files_are_named(site: Site, vault: PlayedVault) -> None:
    site.variables |= {
        "hashicorp_vault_token_file": "/nowhere",
        "hashicorp_vault_role_id_file": str(site.folder / "role"),
        "hashicorp_vault_secret_id_file": str(site.folder / "secret"),
    }
    done = site.write("-vvvv")
    assert done.returncode == 0, done.stdout
    assert (site.folder / "out").read_text() == SECRET
    assert not [secret for secret in (SECRET, TOKEN, SECRET_ID) if secret in done.stdout + done.stderr]
    assert vault.asked[0][1] == "/v1/auth/approle/login"


def test_the_address_may_come_from_where_vaults_own_command_has_it(site: Site, vault: PlayedVault) -> None:
    del site.variables["hashicorp_vault_address"]
    assert site.write(VAULT_ADDR=vault.address).returncode == 0


def test_a_secret_that_looks_like_a_template_is_none(site: Site, vault: PlayedVault) -> None:
    vault.secrets["secret/fleet/slurm"]["database_password"] = "{{ 1 + 1 }}"
    assert site.write().returncode == 0
    assert (site.folder / "out").read_text() == "{{ 1 + 1 }}"


def test_what_is_wrong_is_said_in_a_sentence_even_where_the_task_hides_its_result(
    site: Site, vault: PlayedVault
) -> None:
    vault.answers = (503, b'{"errors":["Vault is sealed"]}')
    done = site.write()
    assert done.returncode == 2
    said = done.stdout + done.stderr
    assert "is sealed, or not ready (Vault is sealed): unseal it" in " ".join(said.split())
    assert "Traceback" not in said


def test_without_the_package_it_says_what_is_needed(site: Site) -> None:
    shadow = site.folder / "shadow" / "fleetward"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("raise ImportError('no fleetward here')\n")
    done = site.play({"ansible.builtin.debug": {"msg": "{{ slurm_database_password }}"}}, PYTHONPATH=str(shadow.parent))
    assert "needs the package fleetward with its head extra" in " ".join((done.stdout + done.stderr).split())
