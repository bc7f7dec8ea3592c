"""Fixtures of the whole daemon: see tests/e2e/whole_daemon.py."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from played_slurm import PlayedClock, PlayedSlurm, node
from starlette.testclient import TestClient
from whole_daemon import NODE_KEYS, TOKEN, Daemon, PlayedPlayer, PlayedPrometheus, PlayedRunner, eventually

from fleetward.model.settings import read_settings
from fleetward.runbooks.clock import SystemClock
from fleetward.server.app import Secrets, local_app, public_app
from fleetward.server.daemon import Outside, make, start, stop
from fleetward.store.database import Database


@pytest.fixture
def slurm() -> PlayedSlurm:
    played = PlayedSlurm(PlayedClock())
    played.add(*(node(f"gpu{number:03}") for number in range(1, 5)))
    return played


@pytest.fixture
def at_rest(database: Database, slurm: PlayedSlurm, tmp_path: Path) -> Iterator[Daemon]:
    """Make a daemon whose threads are not at work."""
    (tmp_path / "pages").mkdir()
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    settings = read_settings(
        {
            "runbooks.folders": (str(tmp_path / "pages"),),
            "daemon.webhook_token_file": str(token),
            "cluster.name": "lab",
        },
        environment={},
        files=(),
    )
    prometheus = PlayedPrometheus()
    player = PlayedPlayer()
    out = Outside(slurm, slurm, prometheus, PlayedRunner(), SystemClock(), player)
    made = make(settings, database, lambda: None, out)
    local = TestClient(local_app(made.service, made.changes), client=("ada", 0), raise_server_exceptions=False)
    public = TestClient(
        public_app(
            made.service, made.intake, made.reports, Secrets(settings.webhook_token(), NODE_KEYS), made.registry
        ),
        raise_server_exceptions=False,
    )
    daemon = Daemon(made, slurm, prometheus, tmp_path / "pages", database, local, public, player)
    daemon.page("propose")
    yield daemon
    made.executor.stop(5)


@pytest.fixture
def daemon(at_rest: Daemon) -> Iterator[Daemon]:
    """Set a daemon to work."""
    stopping = threading.Event()
    threads = start(at_rest.made, stopping)
    eventually(lambda: at_rest.get("/v1/status")["reaches"] == {"store": "", "slurm": "", "prometheus": ""})
    yield at_rest
    assert stop(at_rest.made, stopping, threads), "a step was still under way"
