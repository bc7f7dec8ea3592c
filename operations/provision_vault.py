"""Ansible Vault: whether a password opens all that an inventory has encrypted, found out before Ansible is begun.

Only the checksum of each text is compared (the HMAC of Ansible's formats 1.1 and 1.2): nothing is decrypted here. The
password is read from its file, or from what a program prints, as Ansible reads it; to Ansible only the file is named.
"""

import binascii
import hashlib
import hmac
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetward.model.ansible_files import inventory_sources
from fleetward.model.errors import OutOfReachError, UsageError
from fleetward.model.yaml_files import UnreadableFileError, VaultText, read_yaml

PASSWORD_VARIABLE = "ANSIBLE_VAULT_PASSWORD_FILE"  # noqa: S105  the name of a variable that names a file
IDENTITIES_VARIABLE = "ANSIBLE_VAULT_IDENTITY_LIST"

_HEADER = "$ANSIBLE_VAULT;"
_SUFFIXES = ("", ".yml", ".yaml", ".json")
_ROUNDS = 10_000
_KEY_BYTES = 32
_PROGRAM_SECONDS = 120
_NAME_IT = "name its file with --vault-password-file, or in the setting provision.vault_password_file"


class VaultError(UsageError):
    """A password of Ansible Vault is missing, cannot be read, or is the wrong one; no host was touched."""


@dataclass(frozen=True, slots=True)
class Encrypted:
    """One text that Ansible Vault encrypted."""

    place: str
    """File, and the variable where it is not the whole file."""
    label: str
    """The vault id that it was encrypted with; empty where it has none."""
    text: str


def vault_environment(inventory: Path, password_file: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what Ansible has to be told to open an inventory; VaultError where it could not.

    Without a file the one of ANSIBLE_VAULT_PASSWORD_FILE counts. Who lists several passwords for Ansible
    (ANSIBLE_VAULT_IDENTITY_LIST) has them checked by Ansible.
    """
    if environment.get(IDENTITIES_VARIABLE) and not password_file:
        return {}
    file = password_file or environment.get(PASSWORD_VARIABLE, "")
    found = tuple(encrypted(inventory))
    if not file:
        if found:
            raise VaultError(f"{_first(found)} is encrypted by Ansible Vault, and no password is there: {_NAME_IT}")
        return {}
    path = Path(file).expanduser().absolute()
    password = read_password(path)
    if wrong := [one for one in found if not opens(one, password)]:
        label = f" (vault id {wrong[0].label})" if wrong[0].label else ""
        raise VaultError(
            f"the password of {path} does not open {_first(wrong)}{label}; nothing was touched: name another file, "
            "or encrypt that anew"
        )
    return {PASSWORD_VARIABLE: str(path)}


def _first(found: "tuple[Encrypted, ...] | list[Encrypted]") -> str:
    return found[0].place + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")


def read_password(file: Path) -> bytes:
    """Return the password that a file holds, or that a program prints where the file is one; VaultError otherwise."""
    try:
        is_program = file.is_file() and os.access(file, os.X_OK)
        said = _printed_by(file) if is_program else file.read_bytes()
    except OSError as error:
        raise VaultError(f"{file}: the vault password cannot be read ({error.strerror}); nothing was touched") from None
    if not (password := said.strip()):
        raise VaultError(f"{file}: {'printed' if is_program else 'holds'} no vault password; nothing was touched")
    return password


def _printed_by(program: Path) -> bytes:
    """Return what a program prints; what it says of a failure is not repeated, for it may say too much."""
    try:
        done = subprocess.run([str(program)], stdout=subprocess.PIPE, check=False, timeout=_PROGRAM_SECONDS)
    except subprocess.TimeoutExpired:
        raise OutOfReachError(f"{program}: printed no vault password within {_PROGRAM_SECONDS} s") from None
    if done.returncode:
        raise VaultError(
            f"{program}: ended with status {done.returncode} and gave no vault password; nothing was touched"
        )
    return done.stdout


def encrypted(inventory: Path) -> Iterator[Encrypted]:
    """Yield every encrypted text of an inventory: whole files, and values of variables."""
    folder = inventory if inventory.is_dir() else inventory.parent
    files = list(inventory_sources(inventory, lambda _: None))
    for kind in ("group_vars", "host_vars"):
        files += [file for file in sorted((folder / kind).rglob("*")) if file.suffix in _SUFFIXES and file.is_file()]
    for file in files:
        place = str(file.relative_to(folder))
        if (whole := _whole(file)) is not None:
            yield _encrypted(place, whole)
            continue
        try:
            document = read_yaml(file, lambda _: None)
        except UnreadableFileError:
            continue  # whoever reads the inventory says so
        for name, text in _values((), document):
            yield _encrypted(f"{place}: {name}", text)


def _whole(file: Path) -> str | None:
    """Return the text of a file that is encrypted as a whole, None for others."""
    try:
        with file.open("rb") as opened:
            if opened.read(len(_HEADER)) != _HEADER.encode():
                return None
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _values(place: tuple[str, ...], value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401  YAML may hold anything
    if isinstance(value, VaultText):
        yield ".".join(place), str(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _values((*place, str(key)), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _values((*place, str(index)), item)


def _encrypted(place: str, text: str) -> Encrypted:
    lines = text.strip().splitlines()
    words = lines[0].strip().split(";") if lines else []
    if len(words) < 3 or words[0] != "$ANSIBLE_VAULT" or words[1] not in {"1.1", "1.2"} or words[2] != "AES256":
        raise VaultError(f"{place}: is marked as encrypted, but Ansible Vault did not write it; encrypt it anew")
    return Encrypted(place, words[3] if len(words) > 3 else "", "".join(line.strip() for line in lines[1:]))


def opens(one: Encrypted, password: bytes) -> bool:
    """Say whether a password is the one that a text was encrypted with; VaultError where the text is damaged."""
    try:
        salt, checksum, content = map(binascii.unhexlify, binascii.unhexlify(one.text).split(b"\n", 2))
    except ValueError:  # also binascii's own
        raise VaultError(f"{one.place}: is damaged, and no password opens it; encrypt it anew") from None
    keys = hashlib.pbkdf2_hmac("sha256", password, salt, _ROUNDS, 2 * _KEY_BYTES + 16)
    return hmac.compare_digest(hmac.digest(keys[_KEY_BYTES : 2 * _KEY_BYTES], content, "sha256"), checksum)
