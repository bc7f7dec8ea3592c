"""Fixtures of the whole daemon: see tests/e2e/whole_daemon.py."""

import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from in_process import run_command
from played_daemon import Served
from played_slurm import PlayedClock, PlayedSlurm, node
from starlette.testclient import TestClient
from whole_daemon import NODE_KEYS, TOKEN, Daemon, PlayedPlayer, PlayedPrometheus, PlayedRunner, eventually

from fleetward.model.settings import read_settings
from fleetward.runbooks.clock import SystemClock
from fleetward.server.app import Secrets, local_app, public_app
from fleetward.server.assembly import Outside, make
from fleetward.server.daemon import start, stop
from fleetward.store.database import Database


def site(folder: Path) -> Path:
    """Write the site's inventory: four nodes of one profile."""
    gpu = {
        "model": "h100",
        "count": 8,
        "product_name": "NVIDIA H100 80GB HBM3",
        "memory_mib": 81559,
        "device_files": "/dev/nvidia[0-7]",
    }
    profile = {"sockets": 2, "cores_per_socket": 8, "threads_per_core": 1, "memory_mib": 16000, "gpu": gpu}
    hosts = {f"gpu00{number}": {"ansible_host": f"10.0.1.{number}"} for number in range(1, 5)}
    tree = {
        "vars": {
            "fleet_cluster": "lab",
            "fleet_hardware_profiles": {"hgx": profile},
            "fleet_partitions": {"gpu": {"nodes": "gpus", "Default": True}},
        },
        "children": {
            "slurm_controller": {"hosts": {"head": {"ansible_host": "10.0.0.1"}}},
            "gpus": {"vars": {"fleet_hardware_profile": "hgx"}, "hosts": hosts},
            "slurm_node": {"children": {"gpus": {}}},
        },
    }
    folder.mkdir()
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": tree}))
    return folder


@pytest.fixture
def slurm() -> PlayedSlurm:
    played = PlayedSlurm(PlayedClock())
    played.add(*(node(f"gpu{number:03}") for number in range(1, 5)))
    return played


@pytest.fixture
def at_rest(request: pytest.FixtureRequest, database: Database, slurm: PlayedSlurm, tmp_path: Path) -> Iterator[Daemon]:
    """Make a daemon whose threads are not at work; the parameter says whether its gate is closed."""
    (tmp_path / "pages").mkdir()
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    settings = read_settings(
        {
            "runbooks.folders": (str(tmp_path / "pages"),),
            "daemon.webhook_token_file": str(token),
            "cluster.name": "lab",
            "provision.inventory": str(site(tmp_path / "site")),
            "qualification.required": ("dcgm_medium",),
            "qualification.gate": request.param if hasattr(request, "param") else False,
        },
        environment={},
        files=(),
    )
    prometheus = PlayedPrometheus()
    player, runner = PlayedPlayer(), PlayedRunner()
    out = Outside(slurm, slurm, prometheus, runner, SystemClock(), player)
    made = make(settings, database, lambda: None, out)
    interface = local_app(made.service, made.changes, made.burn_ins)
    local = TestClient(interface, client=("ada", 0), raise_server_exceptions=False)
    public = TestClient(
        public_app(
            made.service, made.intake, made.reports, Secrets(settings.webhook_token(), NODE_KEYS), made.registry
        ),
        raise_server_exceptions=False,
    )
    daemon = Daemon(made, slurm, prometheus, tmp_path / "pages", database, local, public, player, runner)
    daemon.page("propose")
    daemon.change_page()
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


@pytest.fixture
def typed(daemon: Daemon, tmp_path: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Return a way to run the command against the daemon; it must do what was asked unless a code is named."""
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "daemon.sock"

        def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
            variables = {"FLEETWARD_DAEMON_SOCKET": str(socket), "FLEETWARD_RUNBOOKS_FOLDERS": str(daemon.folder)}
            done = run_command(tmp_path, *arguments, **variables)
            assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            return done

        with Served(local_app(daemon.made.service, daemon.made.changes, daemon.made.burn_ins), socket):
            yield run
