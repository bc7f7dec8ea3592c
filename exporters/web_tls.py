"""TLS of an exporter's page: certificates loaded, connections secured, clients' names checked."""

import contextlib
import ipaddress
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

from fleetward.exporters.web_config import Clients, TlsSettings
from fleetward.model.errors import UsageError

HANDSHAKE_SECONDS = 10.0
"""In which a client must have agreed on a key and shown who it is."""
_TLS_RECORD = b"\x16"
"""With what a client's first message begins."""
_NOT_TLS = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    b"TLS is spoken here: ask with https://\n"
)
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_VERIFY = {
    Clients.ANYBODY: ssl.CERT_NONE,
    Clients.CHECKED_IF_SHOWN: ssl.CERT_OPTIONAL,
    Clients.CHECKED: ssl.CERT_REQUIRED,
}


def tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """Load what the settings name; raises UsageError that names the file that is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = _VERSIONS[settings.min_version], _VERSIONS[settings.max_version]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if settings.server_chooses:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if settings.ciphers:
        context.set_ciphers(":".join(settings.ciphers))
    _readable(settings.cert_file)
    _readable(settings.key_file)
    try:
        # without a password of its own, OpenSSL would ask the terminal for an encrypted key's
        context.load_cert_chain(settings.cert_file, settings.key_file, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise UsageError(
            f"{settings.cert_file} and {settings.key_file} are no certificate and its key in PEM, unencrypted: "
            f"{_reason(error)}"
        ) from error
    context.verify_mode = _VERIFY[settings.clients]
    if settings.client_ca_file:
        _readable(settings.client_ca_file)
        try:
            context.load_verify_locations(settings.client_ca_file)
        except OSError as error:
            raise UsageError(f"{settings.client_ca_file} has no certificate in PEM: {_reason(error)}") from error
    return context


def secured(connection: socket.socket, context: ssl.SSLContext, names: tuple[str, ...]) -> ssl.SSLSocket | None:
    """Agree with a client on TLS; None where it does not, or its certificate has none of the names.

    One that speaks plain HTTP is told so. It takes HANDSHAKE_SECONDS at most.
    """
    try:
        connection.settimeout(HANDSHAKE_SECONDS)
        if connection.recv(1, socket.MSG_PEEK) != _TLS_RECORD:
            connection.recv(65536)  # what is left unread would make the kernel throw the answer away
            connection.sendall(_NOT_TLS)
            return None
        encrypted = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    except OSError:
        return None
    try:
        encrypted.do_handshake()
        if not names or _has_one(encrypted, names):
            return encrypted
    except OSError:  # also ssl.SSLError and TimeoutError
        pass
    close(encrypted)
    return None


def close(encrypted: ssl.SSLSocket) -> None:
    """Say goodbye without waiting for the client to say it too."""
    with contextlib.suppress(OSError, ValueError):
        encrypted.settimeout(0)
        encrypted.unwrap()
    encrypted.close()


def _has_one(encrypted: ssl.SSLSocket, names: tuple[str, ...]) -> bool:
    return not set(map(_comparable, names)).isdisjoint(map(_comparable, _names_of(encrypted)))


def _names_of(encrypted: ssl.SSLSocket) -> Iterator[str]:
    """Yield the names, addresses and URIs that a client's certificate is for."""
    certificate = encrypted.getpeercert() or {}
    for entry in certificate.get("subjectAltName", ()):
        if len(entry) == 2 and isinstance(entry[1], str):
            yield entry[1]


def _comparable(name: str) -> str:
    """Return an IP address in its one short form, anything else as it is."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def _readable(file: Path) -> None:
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise UsageError(f"{file}: is no ordinary file; name one in PEM")
        with file.open("rb"):
            return
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror}); correct its name or permissions") from error


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).lower().replace("_", " ") if reason else str(error)
