"""A PostgreSQL of one's own: the system's programs on a folder, reached by a socket in it, gone with its owner.

For a head without a database server (`fleetward serve --embedded`) and for tests. Nobody but the user who starts it
gets in: the socket's folder is closed to others, and the server asks the kernel who comes.
"""

import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psycopg

from fleetward.model.errors import FleetwardError, UsageError

ROLE = "fleetward"
START_SECONDS = 30.0
STOP_SECONDS = 20.0
_SOCKET_NAME = "/.s.PGSQL.5432"
_LONGEST_SOCKET = 107
"""Bytes of a unix socket's path on Linux (sun_path, less its end)."""


@dataclass(frozen=True, slots=True)
class _Account:
    """Who the server runs as; it refuses to run as root."""

    name: str
    uid: int
    gid: int


class EmbeddedPostgres:
    """One server on one folder; a context, or `start` and `stop`."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        """Take the folder, made where it is not there; `durable` false gives up safety in a power cut for speed."""
        self._folder = folder.absolute()
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it is reached, for `Database`."""
        return f"host={_quoted(self._socket_folder)} user={ROLE} dbname={ROLE}"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise FleetwardError(f"PostgreSQL on {self._folder} is not running: start it first.")
        return self._process.pid

    def __enter__(self) -> "EmbeddedPostgres":
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    def start(self) -> None:
        """Start the server, making its files first where there are none, and wait until it answers."""
        if len(os.fsencode(self._socket_folder)) + len(_SOCKET_NAME) > _LONGEST_SOCKET:
            raise UsageError(f"the folder {self._folder} has too long a path for a socket in it: choose a shorter one.")
        account = _account()
        self._make_folders(account)
        programs = _programs(self._data)
        if not (self._data / "PG_VERSION").exists():
            self._initialise(programs, account)
        self._write_access()
        self._wait_for_the_one_before()
        with self._log.open("ab") as log:
            # The kernel stops it where this process is killed: SIGINT is PostgreSQL's fast shutdown.
            process = subprocess.Popen(
                [
                    *_as(account, "--pdeathsig=INT"),
                    str(programs / "postgres"),
                    "-D",
                    str(self._data),
                    *self._settings(),
                ],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt typed at the daemon is the daemon's, which then stops it
            )
        self._process = process
        self._wait_until_it_answers(process)

    def stop(self) -> None:
        """Stop the server; what was committed stays."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(STOP_SECONDS)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _socket_folder(self) -> Path:
        return self._folder / "socket"

    @property
    def _log(self) -> Path:
        return self._folder / "postgres.log"

    def _settings(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._socket_folder),
            "port": "5432",
            "max_connections": "30",
            "hba_file": str(self._folder / "hba.conf"),
            "ident_file": str(self._folder / "ident.conf"),
            "logging_collector": "off",
        }
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _make_folders(self, account: _Account) -> None:
        """Make the folder, which stays this user's, and the socket's, which is the server's and closed to others."""
        as_root = os.geteuid() == 0
        self._folder.mkdir(mode=0o711 if as_root else 0o700, parents=True, exist_ok=True)
        self._make_for(account, self._socket_folder)
        if as_root and subprocess.run([*_as(account), "test", "-x", str(self._socket_folder)], check=False).returncode:
            raise UsageError(
                f"PostgreSQL runs as {account.name}, who cannot enter {self._folder}: "
                "choose a folder that has only parents that all may enter."
            )

    def _make_for(self, account: _Account, folder: Path) -> None:
        """Make a folder that only the server and root enter."""
        folder.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(folder, account.uid, account.gid, follow_symlinks=False)

    def _initialise(self, programs: Path, account: _Account) -> None:
        """Make the files next to their place and move them there, so that an interruption leaves nothing half made."""
        fresh = self._folder / "data.new"
        if fresh.exists():
            shutil.rmtree(fresh)
        self._make_for(account, fresh)
        words = [f"--pgdata={fresh}", f"--username={ROLE}", "--auth=peer", "--encoding=UTF8", "--locale=C.UTF-8"]
        if not self._durable:
            words.append("--no-sync")
        made = subprocess.run(
            [*_as(account), str(programs / "initdb"), *words], cwd="/", capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise FleetwardError(
                f"PostgreSQL's files could not be made in {self._folder}: {made.stderr.strip()[-400:]}"
            )
        fresh.rename(self._data)

    def _write_access(self) -> None:
        """Let in the user of this process, as the kernel tells it, and nobody else."""
        me = pwd.getpwuid(os.geteuid()).pw_name
        (self._folder / "hba.conf").write_text(f"local all {ROLE} peer map=fleetward\n")
        (self._folder / "ident.conf").write_text(f'fleetward "{me}" {ROLE}\n')

    def _wait_for_the_one_before(self) -> None:
        """Wait for a server whose owner was killed a moment ago, which is still shutting down."""
        deadline = time.monotonic() + STOP_SECONDS
        while (pid := self._pid_in_file()) is not None:
            if time.monotonic() > deadline:
                raise UsageError(
                    f"another PostgreSQL (process {pid}) runs on {self._folder}: stop the daemon that it belongs to."
                )
            time.sleep(0.1)

    def _pid_in_file(self) -> int | None:
        """Return the process that the lock file names, where that is a PostgreSQL on this folder."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self._data) in words else None

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._make_database()
            except psycopg.OperationalError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    tail = self._log.read_text(errors="replace")[-600:].strip()
                    raise FleetwardError(
                        f"PostgreSQL on {self._folder} did not start: {error}. Its log ends: {tail}"
                    ) from error
                time.sleep(0.05)
            else:
                return

    def _make_database(self) -> None:
        """Make the database where it is not there."""
        with psycopg.connect(self.address.replace(f"dbname={ROLE}", "dbname=postgres"), autocommit=True) as connection:
            if not connection.execute("select 1 from pg_database where datname = %s", [ROLE]).fetchone():
                connection.execute("create database fleetward")


def _account() -> _Account:
    """Return this process's own account, or an unprivileged one where this is root."""
    if os.geteuid() != 0:
        me = pwd.getpwuid(os.geteuid())
        return _Account(me.pw_name, me.pw_uid, me.pw_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return _Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise UsageError(
        "PostgreSQL refuses to run as root and there is no user `postgres`: install the package postgresql."
    )


def _as(account: _Account, *options: str) -> list[str]:
    """Return the words before a command that make it run as this account."""
    change = [f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *change, *options, "--"] if change or options else []


def _programs(data: Path) -> Path:
    """Return the folder of PostgreSQL's programs: of the release that made the data, else of the newest."""
    found = {path.parent.parent.name: path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")}
    on_path = shutil.which("postgres")
    if on_path:
        release = re.search(
            r"\d+", subprocess.run([on_path, "--version"], capture_output=True, text=True, check=True).stdout
        )
        found.setdefault(release.group() if release else "", Path(on_path).parent)
    if (data / "PG_VERSION").exists():
        wanted = (data / "PG_VERSION").read_text().strip()
        if wanted not in found:
            raise UsageError(
                f"the data in {data} is of PostgreSQL {wanted}, which is not here: install postgresql-{wanted}."
            )
        return found[wanted]
    if not found:
        raise UsageError(
            "PostgreSQL's programs are not here: install the package postgresql, or give a database's address."
        )
    return found[max(found, key=lambda release: int(release or 0))]


def _quoted(path: Path) -> str:
    """Return a path as a value of libpq's key=value words."""
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"
