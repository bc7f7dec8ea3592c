"""A PostgreSQL of one's own: nobody else gets in, it goes with its owner, and it starts again after a kill."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fleetward.model.errors import UsageError
from fleetward.store.embedded import EmbeddedPostgres

OWNER = """
import sys, time
from pathlib import Path
from fleetward.store.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fleetward-tests-") as made:
        Path(made).chmod(0o711)
        yield Path(made) / "postgres"


def alive(pid: int) -> bool:
    try:
        return b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_keeps_what_was_written_and_is_gone_after_stop(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        pid = server.pid
        with psycopg.connect(server.address) as connection:
            connection.execute("create table kept (word text)")
            connection.execute("insert into kept values ('word')")
    assert not alive(pid)
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.address) as connection:
        assert connection.execute("select word from kept").fetchall() == [("word",)]


def test_listens_on_no_network_and_lets_nobody_else_in(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False) as server:
        with psycopg.connect(server.address) as connection:
            assert connection.execute("show listen_addresses").fetchone() == ("",)
        with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
            psycopg.connect(server.address.replace("user=fleetward", "user=postgres"))
        assert (folder / "socket").stat().st_mode & 0o077 == 0
        assert (folder / "data").stat().st_mode & 0o077 == 0
        if os.geteuid() == 0:
            assert (folder / "socket").stat().st_uid != 0


def test_goes_when_its_owner_is_killed_and_starts_again_with_the_next(folder: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert alive(pid)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.communicate()
    # at once: the one before may still be shutting down, and is waited for
    with EmbeddedPostgres(folder, durable=False) as server:
        assert server.pid != pid
        assert not alive(pid)


def test_starts_after_the_server_itself_was_killed(folder: Path) -> None:
    server = EmbeddedPostgres(folder, durable=False)
    server.start()
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    with server, psycopg.connect(server.address) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_an_initialisation_that_was_cut_off_is_made_anew(folder: Path) -> None:
    (folder / "data.new").mkdir(parents=True)
    folder.chmod(0o711)
    (folder / "data.new" / "PG_VERSION").write_text("half")
    with EmbeddedPostgres(folder, durable=False) as server, psycopg.connect(server.address) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_two_on_one_folder_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetward.store.embedded.STOP_SECONDS", 0.3)
    with EmbeddedPostgres(folder, durable=False) as server:
        begun = time.monotonic()
        with pytest.raises(UsageError, match=rf"process {server.pid}\) runs on"):
            EmbeddedPostgres(folder, durable=False).start()
        assert time.monotonic() - begun < 5
        with psycopg.connect(server.address) as connection:
            assert connection.execute("select 1").fetchone() == (1,)


def test_a_path_too_long_for_a_socket_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="too long a path"):
        EmbeddedPostgres(folder / ("x" * 100)).start()
    assert not folder.exists()


def test_data_of_a_release_that_is_not_here_names_the_package(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    folder.chmod(0o711)
    (folder / "data" / "PG_VERSION").write_text("7\n")
    with pytest.raises(UsageError, match="install postgresql-7"):
        EmbeddedPostgres(folder).start()
