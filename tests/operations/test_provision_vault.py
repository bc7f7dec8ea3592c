"""A password of Ansible Vault is tried on all that an inventory has encrypted before any host is touched."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.errors import ExitCode
from fleetward.operations.provision_vault import (
    Encrypted,
    VaultError,
    encrypted,
    opens,
    read_password,
    vault_environment,
)

PASSWORD = "correct horse battery staple"
# `ansible-vault encrypt` of ansible-core 2.19.14 on 1 December 2026 wrote these two with the password above.
VALUE = """\
$ANSIBLE_VAULT;1.1;AES256
31313633343665633035336636653266653232316564653237383836326537663863643737323462
6564336461626330396164613564653962613763333239620a353530376533303263393932386134
33373839343965306633646633333639663236383563356231313836313466663431373638353137
3534393164626334370a653365333134373334316632333636393238393836373439656634653630
6130
"""
LABELLED = """\
$ANSIBLE_VAULT;1.2;AES256;prod
36623734373339356466356232633266386133636635663263373531313831363739636463303737
6466643232336131653131646532623263316232383864650a313164666361366637613235316337
65326161363535313333373533643832623266636232613037616462373066313136613637613161
3437663631653231300a626538666334616334353334313135333230363332643038343535633234
33393963303464636335353366663966656533393762656664353863666161616563
"""


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "group_vars/all").mkdir(parents=True)
    (folder / "hosts.yml").write_text("all: {hosts: {head: {}}}\n")
    (folder / "group_vars/all/plain.yml").write_text("x: $ANSIBLE_VAULT is no secret\n")
    return folder


@pytest.fixture
def secret(inventory: Path) -> Path:
    """Encrypt a value in a list of a file."""
    file = inventory / "group_vars/all/secret.yml"
    file.write_text(f"passwords:\n- plain\n- !vault |\n{indented(VALUE)}")
    return file


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    return file


def said(inventory: Path, file: Path | str, **environment: str) -> str:
    """Return what is said; the password never is."""
    with pytest.raises(VaultError) as caught:
        vault_environment(inventory, str(file), environment)
    assert caught.value.exit_code == ExitCode.USAGE
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


def test_the_right_password_is_named_to_ansible_by_its_file(inventory: Path, secret: Path, password: Path) -> None:
    told = {"ANSIBLE_VAULT_PASSWORD_FILE": str(password)}
    assert vault_environment(inventory, str(password), {}) == told
    assert vault_environment(inventory, "", told) == told


def test_a_file_that_is_named_counts_more_than_the_environment(inventory: Path, secret: Path, password: Path) -> None:
    elsewhere = {"ANSIBLE_VAULT_PASSWORD_FILE": "/nowhere"}
    assert vault_environment(inventory, str(password), elsewhere) == {"ANSIBLE_VAULT_PASSWORD_FILE": str(password)}


def test_without_secrets_no_password_is_wanted(inventory: Path) -> None:
    assert vault_environment(inventory, "", {}) == {}


def test_a_wrong_password_is_told_with_what_it_does_not_open(inventory: Path, secret: Path, password: Path) -> None:
    password.write_text("another\n")
    (inventory / "group_vars/all/whole.yml").write_text(LABELLED)
    assert said(inventory, password) == (
        f"the password of {password} does not open group_vars/all/secret.yml: passwords.1 (and 1 more); nothing was "
        "touched: name another file, or encrypt that anew"
    )
    secret.unlink()
    assert "does not open group_vars/all/whole.yml (vault id prod); nothing" in said(inventory, password)


def test_a_password_that_is_missing_is_asked_for(inventory: Path, secret: Path) -> None:
    assert said(inventory, "") == (
        "group_vars/all/secret.yml: passwords.1 is encrypted by Ansible Vault, and no password is there: name its file "
        "with --vault-password-file, or in the setting provision.vault_password_file"
    )


def test_who_lists_passwords_for_ansible_has_them_checked_by_ansible(inventory: Path, secret: Path) -> None:
    assert vault_environment(inventory, "", {"ANSIBLE_VAULT_IDENTITY_LIST": "dev@a,prod@b"}) == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("secret", "Ansible Vault did not write it"),
        ("$ANSIBLE_VAULT;1.0;AES256\n00", "Ansible Vault did not write it"),
        ("$ANSIBLE_VAULT;1.1;AES\n00", "Ansible Vault did not write it"),
        ("$ANSIBLE_VAULT;1.1;AES256\nxyz", "is damaged"),
        ("$ANSIBLE_VAULT;1.1;AES256\n00", "is damaged"),
        ("$ANSIBLE_VAULT;1.1;AES256", "is damaged"),
    ],
)
def test_what_is_damaged_is_told_as_that(inventory: Path, password: Path, text: str, why: str) -> None:
    (inventory / "group_vars/all/bad.yml").write_text(f"x: !vault |\n{indented(text)}")
    assert f"group_vars/all/bad.yml: x: {'is marked' if 'write' in why else 'is damaged'}" in said(inventory, password)
    assert why in said(inventory, password)


@given(st.text(alphabet="0123456789abcdef\n", max_size=400), st.binary(min_size=1, max_size=20))
def test_what_nobody_encrypted_no_password_opens(text: str, password: bytes) -> None:
    try:
        assert not opens(Encrypted("x", "", text.replace("\n", "")), password)
    except VaultError as error:
        assert "is damaged" in str(error)


def test_every_place_of_an_inventory_is_looked_at(inventory: Path) -> None:
    (inventory / "hosts.yml").write_text(f"all:\n  vars:\n    a: !vault |\n{indented(indented(VALUE))}")
    (inventory / "host_vars").mkdir()
    (inventory / "host_vars/head.yml").write_text(LABELLED)
    (inventory / "group_vars/all/broken.yml").write_text("- [")
    found = [(one.place, one.label) for one in encrypted(inventory)]
    assert found == [("hosts.yml: all.vars.a", ""), ("host_vars/head.yml", "prod")]


class TestWherePasswordsComeFrom:
    @pytest.fixture
    def program(self, tmp_path: Path) -> Path:
        file = tmp_path / "password.sh"
        file.write_text(f"#!/bin/sh\necho '{PASSWORD}'\n")
        file.chmod(0o700)
        return file

    def test_a_program_prints_it(self, program: Path) -> None:
        assert read_password(program) == PASSWORD.encode()

    def test_a_program_that_fails_is_not_quoted(self, program: Path) -> None:
        program.write_text(f"#!/bin/sh\necho '{PASSWORD}'\nexit 3\n")
        with pytest.raises(VaultError, match="ended with status 3 and gave no vault password") as caught:
            read_password(program)
        assert PASSWORD not in str(caught.value)

    @pytest.mark.parametrize(("text", "why"), [("", "holds no vault password"), (" \n", "holds no vault password")])
    def test_an_empty_file_holds_none(self, password: Path, text: str, why: str) -> None:
        password.write_text(text)
        with pytest.raises(VaultError, match=why):
            read_password(password)

    @pytest.mark.parametrize("name", ["nowhere", "."])
    def test_a_file_that_is_none_is_told(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(VaultError, match="the vault password cannot be read"):
            read_password(tmp_path / name)

    def test_a_program_that_cannot_be_run_is_told(self, program: Path) -> None:
        program.write_text("#!/nowhere/sh\n")
        with pytest.raises(VaultError, match="cannot be read"):
            read_password(program)


def test_ansible_itself_opens_it_with_what_it_is_told(inventory: Path, secret: Path, password: Path) -> None:
    told = vault_environment(inventory, str(password), {})
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible"), "-i", inventory, "head", "-m", "debug", "-a", "var=passwords"],
        env=os.environ | told,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "opened" in done.stdout
