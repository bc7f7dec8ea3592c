"""The way to PostgreSQL: one error for what is lost, and it heals by itself."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from fleetward.model.errors import FleetwardError, UsageError
from fleetward.store.database import AnotherDaemonError, Database, StoreOutOfReachError
from fleetward.store.embedded import EmbeddedPostgres
from fleetward.store.patience import Patience


def count_of_tables(database: Database) -> int:
    with database.transaction() as connection:
        row = connection.execute(
            "select count(*) as tables from information_schema.tables where table_schema = 'public'"
        ).fetchone()
    assert row is not None
    return int(row["tables"])


def of(server: EmbeddedPostgres, database: str) -> str:
    return server.address.replace("dbname=fleetward", f"dbname={database}")


class TestTransaction:
    def test_is_undone_by_an_error(self, database: Database) -> None:
        with pytest.raises(ZeroDivisionError), database.transaction() as connection:
            connection.execute("insert into mode_changes (runbook, mode, who) values ('a', 'auto', 'me')")
            raise ZeroDivisionError
        with database.transaction() as connection:
            assert connection.execute("select * from mode_changes").fetchall() == []

    def test_times_come_back_aware_and_in_utc(self, database: Database) -> None:
        with database.transaction() as connection:
            row = connection.execute("select '2026-01-01 00:00+02'::timestamptz as at").fetchone()
        assert row is not None
        assert row["at"].isoformat() == "2025-12-31T22:00:00+00:00"

    def test_a_statement_that_takes_too_long_is_out_of_reach(self, postgres: EmbeddedPostgres) -> None:
        hasty = Database(of(postgres, "postgres"), statement_seconds=0.1)
        with pytest.raises(StoreOutOfReachError, match="timeout"), hasty.transaction() as connection:
            connection.execute("select pg_sleep(5)")
        hasty.check()
        hasty.close()


class TestOutOfReach:
    def test_of_a_server_that_never_was_says_where_and_is_quick(self) -> None:
        database = Database("postgresql://me:secret@127.0.0.1:1/things")
        begun = time.monotonic()
        with pytest.raises(StoreOutOfReachError, match=r"things at 127\.0\.0\.1:1.*refused") as caught:
            database.check()
        assert time.monotonic() - begun < 4
        assert "secret" not in str(caught.value)
        database.close()

    def test_says_which_database_is_not_there(self, postgres: EmbeddedPostgres) -> None:
        database = Database(of(postgres, "nowhere"))
        with pytest.raises(StoreOutOfReachError, match='database "nowhere" does not exist'):
            database.check()
        database.close()

    def test_of_an_address_that_is_none_is_a_usage_error_that_keeps_the_secret(self) -> None:
        with pytest.raises(UsageError, match="cannot be read") as caught:
            Database("host=here password='s3cret wrong")
        assert "s3cret" not in str(caught.value)

    def test_a_lost_connection_in_the_middle_commits_nothing_and_the_next_one_works(self, database: Database) -> None:
        with database.transaction() as other:
            victim = other.execute("select pg_backend_pid() as pid").fetchone()
        assert victim is not None
        with pytest.raises(StoreOutOfReachError), database.transaction() as connection:
            connection.execute("insert into mode_changes (runbook, mode, who) values ('a', 'auto', 'me')")
            mine = connection.execute("select pg_backend_pid() as pid").fetchone()
            assert mine is not None
            with database.connect() as killer:
                killer.execute("select pg_terminate_backend(%s)", [mine["pid"]])
            connection.execute("select 1")
        with database.transaction() as connection:
            assert connection.execute("select * from mode_changes").fetchall() == []


class TestStopAndStart:
    def test_the_pool_heals_by_itself(self, database: Database, postgres: EmbeddedPostgres) -> None:
        # several connections of before, all of them dead afterwards
        with database.transaction(), database.transaction(), database.transaction():
            pass
        postgres.stop()
        try:
            begun = time.monotonic()
            with pytest.raises(StoreOutOfReachError, match="is out of reach"):
                database.check()
            assert time.monotonic() - begun < 4
        finally:
            postgres.start()
        database.check()
        with database.transaction(), database.transaction(), database.transaction() as third:
            assert third.execute("select 1 as one").fetchone() == {"one": 1}

    def test_without_a_try_in_between_nobody_notices(self, database: Database, postgres: EmbeddedPostgres) -> None:
        with database.transaction(), database.transaction(), database.transaction():
            pass
        postgres.stop()
        postgres.start()
        for _ in range(5):
            database.check()


class TestSilence:
    """A server that hangs: it accepts connections and answers nothing."""

    @pytest.fixture
    def frozen(self, database: Database, postgres: EmbeddedPostgres) -> Iterator[None]:
        """Stop the server's processes where they stand, the one that serves our connection with it."""
        with database.transaction() as connection:
            row = connection.execute("select pg_backend_pid() as pid").fetchone()
        assert row is not None
        pids = [postgres.pid, int(row["pid"])]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    @pytest.mark.usefixtures("frozen")
    def test_is_out_of_reach_within_seconds(self, database: Database) -> None:
        begun = time.monotonic()
        with pytest.raises(StoreOutOfReachError, match="timeout"):
            database.check()
        assert time.monotonic() - begun < 6

    def test_in_the_middle_of_a_transaction_ends_it(self, database: Database, postgres: EmbeddedPostgres) -> None:
        hasty = Database(of(postgres, "postgres"), statement_seconds=0)  # 0: PostgreSQL itself sets no limit
        with hasty.transaction():
            pass
        begun = time.monotonic()
        with pytest.raises(StoreOutOfReachError, match="no answer for 5 s"), hasty.transaction() as connection:
            connection.execute("select pg_sleep(30)")
        assert 5 <= time.monotonic() - begun < 8
        hasty.check()
        hasty.close()

    def test_does_not_cut_what_is_in_time(self, database: Database) -> None:
        patience = Patience()
        with database.connect() as first, database.connect() as second:
            with patience.limit(first, 0.2) as over, pytest.raises(psycopg.OperationalError):
                first.execute("select pg_sleep(5)")
            assert over.is_over
            with patience.limit(second, 0.5) as limit:
                second.execute("select pg_sleep(0.1)")
            time.sleep(0.6)
            assert not limit.is_over
            assert second.execute("select 1 as one").fetchone() == {"one": 1}


class TestMigrate:
    def test_of_an_up_to_date_database_changes_nothing(self, database: Database) -> None:
        before = count_of_tables(database)
        database.migrate()
        assert count_of_tables(database) == before > 5

    def test_by_several_at_once_makes_the_schema_once(self, postgres: EmbeddedPostgres) -> None:
        with Database(of(postgres, "postgres")).connect() as connection:
            connection.execute("create database at_once")
        databases = [Database(of(postgres, "at_once")) for _ in range(3)]
        failed: list[FleetwardError] = []

        def migrate(one: Database) -> None:
            try:
                one.migrate()
            except FleetwardError as error:
                failed.append(error)

        threads = [threading.Thread(target=migrate, args=[one]) for one in databases]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert count_of_tables(databases[0]) > 5
        for one in databases:
            one.close()

    def test_refuses_the_database_of_a_later_release(self, database: Database) -> None:
        with database.transaction() as connection:
            connection.execute("update schema_version set version_num = '9999'")
        with pytest.raises(FleetwardError, match="later release"):
            database.migrate()


class TestHoldAlone:
    def test_a_second_one_is_refused_until_the_first_lets_go(self, database: Database) -> None:
        with (
            database.hold_alone(),
            pytest.raises(AnotherDaemonError, match="another daemon"),
            database.hold_alone(patience=0.1),
        ):
            pass
        with database.hold_alone(patience=0.1) as alone:
            alone.ensure()

    def test_one_that_was_just_killed_is_waited_for(self, database: Database) -> None:
        with database.hold_alone() as first:
            threading.Timer(0.5, first.close).start()
            with database.hold_alone(patience=5):
                pass

    def test_is_held_again_after_the_server_was_away(self, database: Database, postgres: EmbeddedPostgres) -> None:
        with database.hold_alone() as alone:
            postgres.stop()
            try:
                with pytest.raises(StoreOutOfReachError):
                    alone.ensure()
            finally:
                postgres.start()
            alone.ensure()
            with pytest.raises(AnotherDaemonError), database.hold_alone(patience=0.1):
                pass

    def test_tells_who_lost_it_meanwhile(self, database: Database) -> None:
        with database.hold_alone() as first:
            with database.connect() as killer:
                killer.execute(
                    "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and database ="
                    " (select oid from pg_database where datname = current_database())"
                )
            with database.hold_alone(), pytest.raises(AnotherDaemonError):
                first.ensure()
