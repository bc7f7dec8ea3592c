"""The way to PostgreSQL: a pool that heals by itself, one transaction at a time, and one error for whatever is lost."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from fleetward.model.errors import OutOfReachError, RefusedError, UsageError
from fleetward.store.patience import Limit, Patience

Connection = psycopg.Connection[DictRow]

MOST_CONNECTIONS = 8
PATIENCE = 1.5
"""Seconds to wait for a connection; asking why there is none comes on top, and is instant where it is refused."""
CONNECT_SECONDS = 2
STATEMENT_SECONDS = 10
SILENCE_SECONDS = 5.0
"""How long a transaction may take beyond what one statement may."""
_ALONE = 0x666C6565
"""Key of the advisory lock that the one daemon holds."""

# The pool warns of every attempt; whoever asked is told once, by the error.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


class StoreOutOfReachError(OutOfReachError):
    """PostgreSQL did not answer, or the connection was lost on the way; what was not committed is not there."""


class AnotherDaemonError(RefusedError):
    """Another daemon holds this database: two that act on one fleet would do things twice."""


class Database:
    """PostgreSQL with Fleetward's schema; safe to use from many threads.

    A commit whose answer is lost may have been made: what callers send again has to be idempotent, as the methods of
    this package are.
    """

    def __init__(
        self, address: str, *, most: int = MOST_CONNECTIONS, statement_seconds: float = STATEMENT_SECONDS
    ) -> None:
        """Take a `postgresql://` URL or libpq's `key=value` words; nothing is connected yet."""
        self._address = address
        self._parameters = _parameters(address, statement_seconds)
        self._pool = ConnectionPool(
            kwargs=self._parameters,
            connection_class=psycopg.Connection[DictRow],
            min_size=0,
            max_size=most,
            timeout=PATIENCE,
            reconnect_timeout=PATIENCE,  # gives up early, so that the next caller tries at once
            name="fleetward-store",
            open=False,
        )
        self._opening = threading.Lock()
        self._patience = Patience()
        self._longest = statement_seconds + SILENCE_SECONDS

    @property
    def place(self) -> str:
        """Where it is, for people: no password, no user."""
        where = self._parameters
        host = where.get("host") or where.get("hostaddr") or "the local socket"
        return f"{where.get('dbname', 'its default')} at {host}:{where.get('port', 5432)}"

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give a connection inside a transaction, committed at the end and rolled back on any error.

        StoreOutOfReachError for a connection that is refused, lost, or too slow at any point of it.
        """
        connection = self._take()
        try:
            with self.limit(connection, self._longest), connection.transaction():
                yield connection
        finally:
            self._pool.putconn(connection)

    def check(self) -> None:
        """Ask whether it answers; StoreOutOfReachError where it does not."""
        with self.transaction() as connection:
            connection.execute("select 1")

    def connect(self) -> Connection:
        """Open a connection of its own, outside the pool, in autocommit mode; the caller closes it."""
        try:
            return psycopg.connect(**self._parameters, autocommit=True)
        except psycopg.OperationalError as error:
            raise self._lost(error) from error

    @contextmanager
    def limit(self, connection: Connection, seconds: float) -> Iterator[None]:
        """Turn what goes wrong with a connection, and silence for so long, into StoreOutOfReachError."""
        limit: Limit | None = None
        try:
            with self._patience.limit(connection, seconds) as limit:
                yield
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise self._lost(f"no answer for {seconds:g} s" if limit and limit.is_over else error) from error

    def migrate(self) -> None:
        """Bring the schema to this release; safe where several do it at once."""
        from fleetward.store.migrations.upgrade import upgrade

        plain = {name: value for name, value in self._parameters.items() if name != "row_factory"}
        try:
            upgrade(lambda: psycopg.connect(**plain))
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise self._lost(error) from error

    @contextmanager
    def hold_alone(self, patience: float = 5.0) -> Iterator["Alone"]:
        """Be the only daemon on this database; AnotherDaemonError where another still is after `patience` seconds."""
        alone = Alone(self)
        deadline = time.monotonic() + patience
        try:
            while True:
                try:
                    alone.ensure()
                    break
                except AnotherDaemonError:
                    # one that was killed a moment ago is still being noticed by the server
                    if time.monotonic() >= deadline:
                        raise
                    time.sleep(0.2)
            yield alone
        finally:
            alone.close()

    def close(self) -> None:
        """Close all connections; the object is not used again."""
        self._pool.close()

    def _take(self) -> Connection:
        """Return a connection that was just seen to work; those that a restart of the server left dead are dropped."""
        with self._opening:
            if self._pool.closed:
                self._pool.open()
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                connection = self._pool.getconn(timeout=max(0.01, deadline - time.monotonic()))
            except PoolTimeout as error:
                raise self._lost(self._why_not() or error) from error
            try:
                with self.limit(connection, PATIENCE):
                    ConnectionPool.check_connection(connection)
            except StoreOutOfReachError:
                connection.close()
                self._pool.putconn(connection)
            else:
                return connection

    def _why_not(self) -> psycopg.Error | None:
        """Return why no connection can be made; None where one can."""
        try:
            psycopg.connect(**self._parameters).close()
        except psycopg.Error as error:
            return error
        return None

    def _lost(self, error: Exception | str) -> StoreOutOfReachError:
        why = " ".join(str(error).split()) or type(error).__name__
        return StoreOutOfReachError(
            f"PostgreSQL ({self.place}) is out of reach: {why.rstrip('.?')}. Nothing is lost that was recorded; "
            "start it again, or correct the database's address in the settings."
        )


class Alone:
    """The lock by which one daemon is the only one; it lives as long as one connection does."""

    def __init__(self, database: Database) -> None:
        """Hold nothing yet."""
        self._database = database
        self._connection: Connection | None = None

    def ensure(self) -> None:
        """Hold the lock still, or again after PostgreSQL was away.

        StoreOutOfReachError where it does not answer; AnotherDaemonError where another took the lock meanwhile.
        """
        if self._connection is not None:
            try:
                with self._database.limit(self._connection, PATIENCE):
                    self._connection.execute("select 1")
            except StoreOutOfReachError:
                self.close()
            else:
                return
        connection = self._database.connect()
        try:
            with self._database.limit(connection, PATIENCE):
                row = the_row(connection.execute("select pg_try_advisory_lock(%s) as held", [_ALONE]))
        except StoreOutOfReachError:
            connection.close()
            raise
        if not row["held"]:
            connection.close()
            raise AnotherDaemonError(
                f"another daemon works on the database {self._database.place}: stop it, or give this one another."
            )
        self._connection = connection

    def close(self) -> None:
        """Give the lock up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def the_row(cursor: psycopg.Cursor[DictRow]) -> DictRow:
    """Return the row of a statement that always gives one, such as an insert that returns what it made."""
    row = cursor.fetchone()
    if row is None:
        raise LookupError("a statement that always gives a row gave none")
    return row


def _parameters(address: str, statement_seconds: float) -> dict[str, Any]:
    """Return what libpq is told, the site's own words winning over ours where both may speak."""
    try:
        given = conninfo.conninfo_to_dict(address)
    except psycopg.ProgrammingError as error:
        # the address may hold a password and is not repeated
        raise UsageError(
            f"the database's address cannot be read: {' '.join(str(error).split())}. "
            "Write it like postgresql://user@host/fleetward or postgresql:///fleetward?host=/run/postgresql."
        ) from error
    settings = {
        "timezone": "UTC",
        "statement_timeout": f"{round(statement_seconds * 1000)}",
        "idle_in_transaction_session_timeout": "60000",
    }
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return {
        "connect_timeout": CONNECT_SECONDS,
        "fallback_application_name": "fleetward",
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 2,
        "tcp_user_timeout": 5000,
        **given,
        "options": f"{options} {given.get('options') or ''}".strip(),
        "row_factory": dict_row,
    }
