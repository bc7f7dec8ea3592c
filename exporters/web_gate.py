"""Who may see an exporter's page: the file of `--web-config` as it stands now, with its certificates."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fleetward.exporters.passwords import Passwords, check_bcrypt
from fleetward.exporters.web_config import WebConfig, web_config
from fleetward.exporters.web_file import read_document
from fleetward.exporters.web_tls import close, secured, tls_context
from fleetward.model.errors import UsageError

Signature = tuple[tuple[int, int, int, int] | None, ...]
"""How files looked: when they were changed, which they are and how long; None for one that is not there."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """A file that was right, and what it names."""

    config: WebConfig
    context: ssl.SSLContext | None
    files: tuple[Path, ...]
    seen: Signature


class Gate:
    """Secures connections and judges requests; safe to be asked by many threads at once.

    The file and what it names are read again when they change, so that a renewed certificate needs no restart. Where
    what is there now is wrong, that is told once and what was right before stays in force.
    """

    def __init__(self, file: Path, tell: Callable[[str], None]) -> None:
        """Read the file; raises UsageError where it is wrong. `tell` gets a sentence for the log."""
        self._file = file
        self._tell = tell
        self._told = ""
        self._passwords = Passwords()
        self._lock = threading.Lock()
        self._rules = _load(file)
        if self._rules.config.users and not self._rules.context:
            tell(f"{file}: passwords go through the network unencrypted; add tls_server_config")

    @property
    def scheme(self) -> str:
        """Return how addresses begin here."""
        return "https" if self._rules.context else "http"

    def enter(self, connection: socket.socket) -> socket.socket | None:
        """Return the connection as it is to be spoken on; None where the client is not let in."""
        rules = self._now()
        if rules.context is None or rules.config.tls is None:
            return connection
        return secured(connection, rules.context, rules.config.tls.client_names)

    def leave(self, connection: socket.socket) -> None:
        """End what `enter` gave out."""
        if isinstance(connection, ssl.SSLSocket):
            close(connection)

    def allow(self, authorization: str | None) -> bool:
        """Return whether a request with such a header may be answered."""
        users = self._now().config.users
        return not users or self._passwords.allow(users, authorization)

    def headers(self) -> Mapping[str, str]:
        """Return what goes with each answer."""
        return self._rules.config.headers

    def _now(self) -> _Rules:
        with self._lock:
            if _signature(self._rules.files) != self._rules.seen:
                self._read_again()
            return self._rules

    def _read_again(self) -> None:
        told = ""
        try:
            rules = _load(self._file)
            if (rules.context is None) != (self._rules.context is None):
                raise UsageError(f"{self._file}: TLS is not switched on or off while it serves; restart the exporter")
            self._rules = rules
        except UsageError as error:
            told = f"{error}; until then what was there before stays in force"
        if told and told != self._told:
            self._tell(told)
        self._told = told


def _load(file: Path) -> _Rules:
    before = _signature((file,))
    config = web_config(read_document(file), file)
    files: tuple[Path, ...] = ()
    if config.tls:
        named = (config.tls.cert_file, config.tls.key_file, config.tls.client_ca_file)
        files = tuple(one for one in named if one)
    seen = before + _signature(files)  # before they are read: a change in between is seen the next time
    if config.users:
        check_bcrypt()
    return _Rules(config, tls_context(config.tls) if config.tls else None, (file, *files), seen)


def _signature(files: Iterable[Path]) -> Signature:
    return tuple(map(_look_of, files))


def _look_of(file: Path) -> tuple[int, int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size
