"""The daemon as a process: its sockets, who it sees behind them, one at a time, and how it ends."""

import json
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from whole_daemon import TOKEN, alert, eventually

from fleetward.server.client import DaemonClient
from fleetward.store.database import Database
from fleetward.store.embedded import EmbeddedPostgres

ME = pwd.getpwuid(os.geteuid()).pw_name


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Process:
    folder: Path
    port: int
    running: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "daemon.sock"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def begin(self, **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "fleetward", "serve", "--config", str(self.folder / "config.toml")],
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
            )

    def start(self) -> None:
        said = len(self.log) if (self.folder / "log").exists() else 0
        self.running = self.begin()
        eventually(lambda: "serving " in self.log[said:] or self.running.poll() is not None, 60)
        assert self.running.poll() is None, self.log

    def stop(self) -> float:
        assert self.running is not None
        began = time.monotonic()
        self.running.send_signal(signal.SIGTERM)
        assert self.running.wait(30) == 0, self.log
        return time.monotonic() - began

    def client(self) -> DaemonClient:
        return DaemonClient(self.socket, seconds=30)


@pytest.fixture
def process(postgres: EmbeddedPostgres, database: Database, tmp_path: Path) -> Iterator[Process]:
    """Give a daemon that is not started yet, on a database of this test's own."""
    made = Process(tmp_path, free_port())
    (tmp_path / "token").write_text(TOKEN)
    settings = {
        "socket": str(made.socket),
        "listen": f"127.0.0.1:{made.port}",
        "database_url": database._address,
        "webhook_token_file": str(tmp_path / "token"),
        "prometheus_url": "http://127.0.0.1:1",
    }
    (tmp_path / "config.toml").write_text(
        "[daemon]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items())
    )
    yield made
    if made.running is not None and made.running.poll() is None:
        made.running.kill()
        made.running.wait()


def test_from_start_to_stop(process: Process) -> None:
    process.start()
    status = process.socket.stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o660

    headers = {"Authorization": f"Bearer {TOKEN}"}
    posted = httpx.post(
        f"http://127.0.0.1:{process.port}/alertmanager",
        json={"version": "4", "alerts": [alert("Unheard")]},
        headers=headers,
    )
    assert posted.json() == {"incidents": [1]}
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(process.socket)), base_url="http://daemon") as raw:
        lying = {"X-Forwarded-For": "mallory", "X-Forwarded-User": "mallory"}
        answer = raw.post("/v1/incidents/1/ack", json={"note": "it is me"}, headers=lying)
    assert answer.json()["acknowledged_by"] == ME, "the kernel says who asks, not a header"

    second = process.begin(FLEETWARD_DAEMON_SOCKET=str(process.folder / "second.sock"))
    assert second.wait(60) == 4, process.log
    assert "another daemon works on the database" in process.log
    with process.client() as client:
        assert [incident.id for incident in client.incidents()] == [1], "the first goes on"

    assert process.stop() < 10
    assert not process.socket.exists()


def test_it_goes_on_when_nobody_reads_its_log_any_more(process: Process) -> None:
    reads, writes = os.pipe()
    process.running = subprocess.Popen(
        [sys.executable, "-m", "fleetward", "serve", "--config", str(process.folder / "config.toml")], stderr=writes
    )
    os.close(writes)
    with os.fdopen(reads, encoding="utf-8") as log:
        assert any("serving " in line for line in log)
    for name in ("Unheard", "Unseen"):
        posted = httpx.post(
            f"http://127.0.0.1:{process.port}/alertmanager",
            json={"version": "4", "alerts": [alert(name)]},
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        assert posted.status_code == 200
    with process.client() as client:
        assert {one.alert_name for one in client.incidents()} == {"Unheard", "Unseen"}


def test_killed_and_started_again_it_knows_everything(process: Process) -> None:
    process.start()
    httpx.post(
        f"http://127.0.0.1:{process.port}/alertmanager",
        json={"version": "4", "alerts": [alert("Unheard")]},
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    assert process.running is not None
    process.running.kill()
    process.running.wait()
    assert process.socket.exists(), "what a killed daemon leaves is replaced by the next"
    process.start()
    with process.client() as client:
        assert [incident.alert_name for incident in client.incidents()] == ["Unheard"]
    process.stop()


def test_without_its_database_it_says_so_and_ends(process: Process) -> None:
    ended = process.begin(FLEETWARD_DAEMON_DATABASE_URL="postgresql://127.0.0.1:1/fleetward")
    assert ended.wait(60) == 3
    assert "out of reach" in process.log


def test_a_socket_that_is_something_else_is_not_removed(process: Process) -> None:
    process.socket.write_text("precious")
    assert process.begin().wait(60) == 2
    assert process.socket.read_text() == "precious"
