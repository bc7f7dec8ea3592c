"""What the file says that `--web-config` names: TLS and passwords of an exporter's page.

Its format is that of Prometheus' exporter-toolkit (docs/web-configuration.md there), so that one file serves all
exporters of a node. What the toolkit knows and is not done here is refused by name, never passed over. Whether
certificates and keys are right is seen when they are loaded (web_tls.py), not here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from fleetward.model.errors import UsageError
from fleetward.model.gpu_fault_tables import Table, shown

HIGHEST_COST = 18
"""Each step doubles the time of a check: at 18 it is some 15 seconds."""


class Clients(Enum):
    """What a client must show; the values are the toolkit's words."""

    ANYBODY = "NoClientCert"
    CHECKED_IF_SHOWN = "VerifyClientCertIfGiven"
    CHECKED = "RequireAndVerifyClientCert"


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Section `tls_server_config`."""

    cert_file: Path
    key_file: Path
    clients: Clients = Clients.ANYBODY
    client_ca_file: Path | None = None
    client_names: tuple[str, ...] = ()
    """A client's certificate must be for one of these names; empty: any that is signed will do."""
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    ciphers: tuple[str, ...] = ()
    """Of TLS 1.2, as OpenSSL calls them; empty: OpenSSL's usual ones."""
    server_chooses: bool = True
    """Whether the order of `ciphers` counts, not the client's."""


@dataclass(frozen=True, slots=True)
class WebConfig:
    """All of the file."""

    tls: TlsSettings | None = None
    users: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    """The bcrypt hash of each user's password; empty: nobody is asked."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Go with each answer."""


_SECTIONS = ("tls_server_config", "http_server_config", "basic_auth_users")
_VERSIONS = ("TLS12", "TLS13")
_HEADERS: Mapping[str, tuple[str, ...]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
"""Those that the toolkit lets be set, and what they may be; anything where that is empty."""
_NOT_DONE: Mapping[str, str] = {
    "rate_limit": "leave it out: a scrape takes about a millisecond, and connections are limited anyway",
    "cert": "write the certificate to a file and name it as cert_file",
    "key": "write the key to a file and name it as key_file",
    "client_ca": "write the certificates to a file and name it as client_ca_file",
    "curve_preferences": "leave it out: OpenSSL's own order holds",
}
"""What the toolkit knows and is not done here, and what to write instead."""
_CIPHERS = {
    f"TLS_ECDHE_{signature}_WITH_{ours}": f"ECDHE-{signature}-{theirs}"
    for ours, theirs in {
        "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
        "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
        "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
        "AES_128_CBC_SHA": "AES128-SHA",
        "AES_256_CBC_SHA": "AES256-SHA",
    }.items()
    for signature in ("ECDSA", "RSA")
}
"""Go's names of suites, and OpenSSL's."""
_CIPHERS_13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
"""Always there with TLS 1.3, in Go as here."""
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")


def web_config(document: object, file: Path) -> WebConfig:
    """Judge a file's content; raises UsageError that names file, section and key, and says what is allowed.

    A path in it that does not begin at the root is taken from the file's own folder. No error shows a password's hash.
    """
    top = _table(str(file), {} if document is None else document, _SECTIONS)
    tls = top.values.get("tls_server_config")
    return WebConfig(
        tls=None if not tls else _tls(_section(top, file, "tls_server_config", _TLS_KEYS), file.parent),
        users=_users(top, file),
        headers=_headers(_section(top, file, "http_server_config", ("http2", "headers"))),
    )


_TLS_KEYS = (
    "cert_file",
    "key_file",
    "client_auth_type",
    "client_ca_file",
    "client_allowed_sans",
    "min_version",
    "max_version",
    "cipher_suites",
    "prefer_server_cipher_suites",
)


def _section(top: Table, file: Path, name: str, keys: Sequence[str]) -> Table:
    return _table(f"{file}: {name}", top.values.get(name) or {}, keys)


def _table(place: str, values: object, keys: Sequence[str]) -> Table:
    if not isinstance(values, dict):
        raise UsageError(f"{place}: is {shown(values)}; write keys with their values, such as {keys[0]}: ...")
    for key in values:
        if key not in keys:
            raise UsageError(f"{place}: {_refused(key, keys)}")
    return Table(place, values)


def _refused(key: object, keys: Sequence[str]) -> str:
    if isinstance(key, str) and key in _NOT_DONE:
        return f"{key} is not supported here; {_NOT_DONE[key]}"
    return f"{shown(key)} is no key; write one of {', '.join(keys)}"


def _tls(table: Table, folder: Path) -> TlsSettings:
    clients = _clients(table)
    ca_file = folder / table.text("client_ca_file") if table.values.get("client_ca_file") else None
    if clients is Clients.ANYBODY and ca_file:
        raise UsageError(
            f"{table.place}: client_ca_file is given, and client_auth_type asks no client for a certificate; "
            f"write client_auth_type: {Clients.CHECKED.value}"
        )
    if clients is not Clients.ANYBODY and not ca_file:
        raise UsageError(f"{table.place}: client_auth_type {clients.value} needs client_ca_file; name it")
    names = table.texts("client_allowed_sans") if table.values.get("client_allowed_sans") else ()
    if names and clients is not Clients.CHECKED:
        raise UsageError(
            f"{table.place}: client_allowed_sans needs client_auth_type: {Clients.CHECKED.value}; "
            "otherwise a client without a certificate would get in"
        )
    least, most = (_version(table, key, usual) for key, usual in (("min_version", "TLS12"), ("max_version", "TLS13")))
    if least > most:
        raise table.error("min_version", least, f"none above max_version, which is {most}")
    return TlsSettings(
        cert_file=folder / table.text("cert_file"),
        key_file=folder / table.text("key_file"),
        clients=clients,
        client_ca_file=ca_file,
        client_names=names,
        min_version=least,
        max_version=most,
        ciphers=_ciphers(table),
        server_chooses=table.flag("prefer_server_cipher_suites") if "prefer_server_cipher_suites" in table else True,
    )


def _clients(table: Table) -> Clients:
    found = table.values.get("client_auth_type") or Clients.ANYBODY.value
    for one in Clients:
        if found == one.value:
            return one
    allowed = " or ".join(one.value for one in Clients)
    raise table.error("client_auth_type", found, f"{allowed}: certificates that nobody checks prove nothing")


def _version(table: Table, key: str, usual: str) -> str:
    found = table.values.get(key, usual)
    if found not in _VERSIONS:
        raise table.error(key, found, f"{' or '.join(_VERSIONS)}: older ones are broken")
    return str(found)


def _ciphers(table: Table) -> tuple[str, ...]:
    asked = table.texts("cipher_suites") if table.values.get("cipher_suites") else ()
    for name in asked:
        if name not in _CIPHERS and name not in _CIPHERS_13:
            raise table.error("cipher_suites", name, f"some of {', '.join((*_CIPHERS, *_CIPHERS_13))}")
    if asked and not set(asked) - set(_CIPHERS_13):
        raise UsageError(
            f"{table.place}: cipher_suites has none of TLS 1.2, and those of TLS 1.3 cannot be chosen; "
            "leave it out and write min_version: TLS13"
        )
    return tuple(_CIPHERS[name] for name in asked if name in _CIPHERS)


def _users(top: Table, file: Path) -> dict[bytes, bytes]:
    found = top.values.get("basic_auth_users") or {}
    place = f"{file}: basic_auth_users"
    if not isinstance(found, dict):
        raise UsageError(f"{place}: is no list of users; write a line USER: HASH for each")
    return {_user(place, user): _hash(f"{place}: {user}", one) for user, one in found.items()}


def _user(place: str, user: object) -> bytes:
    if not isinstance(user, str) or ":" in user:
        raise UsageError(f"{place}: {shown(user)} is no user's name; write it in quotes and without a colon")
    return user.encode()


def _hash(place: str, value: object) -> bytes:
    match = _BCRYPT.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise UsageError(
            f"{place}: has no bcrypt hash; write one that begins with $2y$, $2b$ or $2a$ and has 60 characters, "
            "such as `htpasswd -nBC 10 USER` makes"
        )
    if not 4 <= int(match[1]) <= HIGHEST_COST:
        raise UsageError(f"{place}: the hash has cost {match[1]}; make one of cost 4 to {HIGHEST_COST}, 10 is usual")
    return match[0].encode()


def _headers(table: Table) -> dict[str, str]:
    table.flag("http2")  # an offer of the server: a client takes HTTP/1.1 where there is no other
    found = _table(f"{table.place}: headers", table.values.get("headers") or {}, tuple(_HEADERS))
    headers: dict[str, str] = {}
    for name, value in found.values.items():
        allowed = _HEADERS[name]
        if value and allowed and value not in allowed:
            raise found.error(name, value, " or ".join(allowed))
        if not isinstance(value, str) or not _PRINTABLE.fullmatch(value):
            raise found.error(name, value, "a text of ordinary characters on one line")
        if value:
            headers[name] = value
    return headers
