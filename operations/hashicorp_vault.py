"""Secrets of the engine KV version 2 of a HashiCorp Vault, or of an OpenBao, over HTTP.

A token comes from a file, or is got by an AppRole whose IDs are in files. No message holds a token or a secret; names
of keys and paths are told. Within a process each secret is asked for once; nothing is written to a disk.
"""

import ipaddress
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

from fleetward.model.errors import FleetwardError, OutOfReachError, UsageError

if TYPE_CHECKING:
    import httpx

_MOST_BYTES = 4 * 1024 * 1024
_MOST_WORDS = 200
_REDIRECTIONS = {307, 308}


class SecretError(UsageError):
    """A secret that is not there or may not be read, or settings with which Vault cannot be asked."""


class VaultOutOfReachError(OutOfReachError):
    """Vault is sealed, does not answer, or what answers is no Vault."""


@dataclass(frozen=True)
class Connection:
    """How Vault is asked, and as whom."""

    address: str
    token_file: str = "~/.vault-token"  # noqa: S105  the name of a file
    role_id_file: str = ""
    """Where it is given, the token's file is not read."""
    secret_id_file: str = ""
    approle_mount: str = "approle"
    namespace: str = ""
    ca_file: str = ""
    seconds: float = 10.0

    @property
    def who(self) -> str:
        """Name the credentials, for messages."""
        return f"the AppRole of {self.role_id_file}" if self.role_id_file else f"the token of {self.token_file}"


@dataclass(frozen=True)
class _Answer:
    status: int
    document: object

    @property
    def words(self) -> str:
        """What Vault itself says is wrong."""
        errors = _inside(self.document, "errors")
        said = " ".join(str(error) for error in errors) if isinstance(errors, list) else ""
        said = " ".join(said.split()).removeprefix("1 error occurred: * ")
        return "".join(sign if sign.isprintable() else "?" for sign in said)[:_MOST_WORDS]

    def checked(self, connection: Connection, wanted: str) -> object:
        """Return the document where it is what was asked for; raises otherwise."""
        where = f"Vault at {connection.address}"
        if self.status == 200:
            return self.document
        if self.status == 503:
            raise VaultOutOfReachError(f"{where} is sealed, or not ready ({self.words or 503}): unseal it")
        if self.status == 501:
            raise VaultOutOfReachError(f"{where} is not initialised: initialise and unseal it")
        if self.status == 429:
            raise VaultOutOfReachError(f"{where} is asked too often ({self.words or 429}): raise its quota, or wait")
        raise FleetwardError(f"{where} did not {wanted}: status {self.status} {self.words}".rstrip())


def read(connection: Connection, mount: str, path: str, key: str | None = None) -> Any:  # noqa: ANN401  any JSON
    """Return the value of a key, or the whole map of a secret.

    SecretError where it is not there, forbidden, or the settings cannot be; VaultOutOfReachError where Vault is sealed
    or does not answer.
    """
    _check_address(connection.address)
    mount, path = _words(mount, "a mount"), _words(path, "a path")
    secret = json.loads(_secret(connection, mount, path))
    if key is None:
        return secret
    if key not in secret:
        there = ", ".join(sorted(secret)) or "none"
        raise SecretError(f"{mount}/{path} in Vault has no key {key!r}, it has: {there}: correct the key")
    return secret[key]


@lru_cache(maxsize=64)
def _secret(connection: Connection, mount: str, path: str) -> str:
    """Return a secret's map, as JSON."""
    place = f"{mount}/{path}"
    answer = _ask(connection, "GET", f"{mount}/data/{path}", _token(connection))
    if answer.status == 404:
        raise SecretError(_why_not_there(answer, mount, place))
    if answer.status == 403:
        raise SecretError(
            f"Vault forbids {connection.who} to read {place} ({answer.words or 403}): renew it where it has expired, "
            f"or give it a policy with `read` on {mount}/data/{path}"
        )
    secret = _inside(_inside(answer.checked(connection, f"read {place}"), "data"), "data")
    if not isinstance(secret, dict):
        raise SecretError(f"{place} in Vault is no secret of KV version 2: is the engine at {mount} one?")
    return json.dumps(secret)


def _why_not_there(answer: _Answer, mount: str, place: str) -> str:
    metadata = _inside(_inside(answer.document, "data"), "metadata")
    if isinstance(metadata, dict):
        became = "destroyed" if metadata.get("destroyed") else "deleted"
        return f"the newest version of {place} in Vault was {became}: write it anew, or undelete it"
    if "no handler for route" in answer.words:
        return f"Vault has no engine mounted at {mount}: correct the mount (hashicorp_vault_mount)"
    return f"Vault has no secret {place}: correct the path, or write it; the engine at {mount} has to be KV version 2"


@lru_cache(maxsize=8)
def _token(connection: Connection) -> str:
    """Return the token of the file, or one for the AppRole."""
    if not connection.role_id_file:
        return _credential(connection.token_file, "hashicorp_vault_token_file or hashicorp_vault_role_id_file")
    login = {"role_id": _credential(connection.role_id_file, "hashicorp_vault_role_id_file")}
    if connection.secret_id_file:
        login["secret_id"] = _credential(connection.secret_id_file, "hashicorp_vault_secret_id_file")
    mount = _words(connection.approle_mount, "a mount")
    answer = _ask(connection, "POST", f"auth/{mount}/login", None, login)
    if answer.status in {400, 403, 404}:
        raise SecretError(
            f"Vault does not let {connection.who} in ({answer.words or answer.status}): correct the role ID, the "
            "secret ID, which may have expired or been used up, or hashicorp_vault_approle_mount"
        )
    token = _inside(_inside(answer.checked(connection, "log in"), "auth"), "client_token")
    if not isinstance(token, str) or not _is_one_word(token):
        raise FleetwardError(f"Vault at {connection.address} gave no token to {connection.who}")
    return token


def _credential(file: str, setting: str) -> str:
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        text = ""
    except (OSError, RuntimeError) as error:  # also a home folder that cannot be told
        why = getattr(error, "strerror", None) or error
        raise SecretError(f"{file} cannot be read ({why}): name a file that can with {setting}") from None
    if not _is_one_word(text):
        raise SecretError(f"{file} holds no credential of Vault, which is one word: name another with {setting}")
    return text


def _is_one_word(text: str) -> bool:
    return text.isascii() and text.isprintable() and len(text.split()) == 1


def _check_address(address: str) -> None:
    if not address:
        raise SecretError("where Vault is was not said: set hashicorp_vault_address, or VAULT_ADDR")
    try:
        parts = urlsplit(address)
        is_one = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one or "@" in address or "?" in address or "#" in address:
        raise SecretError("the address of Vault is no web address: write it as https://vault.example.org:8200")
    if parts.scheme == "http" and not _is_this_host(str(parts.hostname)):
        raise SecretError(f"{address} would take tokens and secrets over the network in the clear: write https://")


def _is_this_host(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _words(text: str, what: str) -> str:
    path = text.strip("/")
    if not path.isprintable() or any(part in {"", ".", ".."} for part in path.split("/")):
        raise SecretError(f"{text!r} cannot be {what} in Vault: write words with / between, such as fleet/slurm")
    return path


def _inside(document: object, key: str) -> object:
    return document.get(key) if isinstance(document, dict) else None


def _ask(
    connection: Connection, method: str, path: str, token: str | None, body: Mapping[str, str] | None = None
) -> _Answer:
    """Put one request; one redirection, which is how a standby answers, is followed where it is as safe."""
    import httpx

    headers = {"X-Vault-Request": "true"}
    headers |= {"X-Vault-Token": token} if token else {}
    headers |= {"X-Vault-Namespace": connection.namespace} if connection.namespace else {}
    url = f"{connection.address.rstrip('/')}/v1/{quote(path)}"
    try:
        context = ssl.create_default_context(cafile=connection.ca_file or None)
    except OSError as error:
        raise SecretError(f"{connection.ca_file}: no certificates can be read from it ({error})") from None
    try:
        # Not through a proxy that the environment names: it would see token and secret where this host is asked.
        with httpx.Client(verify=context, timeout=connection.seconds, trust_env=False) as client:
            answer = _answer(client, method, url, headers, body)
            if answer.status in _REDIRECTIONS:
                answer = _answer(client, method, _redirected(url, answer), headers, body)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        why = str(error) or type(error).__name__
        raise VaultOutOfReachError(
            f"Vault at {connection.address} cannot be reached: {why}: is it up, and the address right?"
        ) from None
    return answer


def _redirected(url: str, answer: _Answer) -> str:
    target = urljoin(url, str(answer.document))
    if urlsplit(target).scheme != "https" and urlsplit(url).scheme == "https":
        raise ValueError("it leads on to an address without TLS")
    _check_address(target)
    return target


def _answer(
    client: "httpx.Client", method: str, url: str, headers: Mapping[str, str], body: Mapping[str, str] | None
) -> _Answer:
    """Return what is answered; the document of a redirection is where it leads."""
    with client.stream(method, url, headers=headers, json=body) as response:
        text = b""
        for part in response.iter_bytes():
            text += part
            if len(text) > _MOST_BYTES:
                raise ValueError("it answers with more than a secret can be")
    if response.status_code in _REDIRECTIONS:
        return _Answer(response.status_code, response.headers.get("location", ""))
    try:
        return _Answer(response.status_code, json.loads(text))
    except (ValueError, RecursionError):
        if response.status_code == 200:
            raise ValueError("what answers there is no Vault") from None
        return _Answer(response.status_code, None)
