"""The client over a real unix socket: what it asks, what it reads, and what it says where nobody answers."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from played_daemon import DIGEST, ME, PlayedDaemon, incident, run
from starlette.responses import PlainTextResponse

from fleetward.model.claims import ClaimClass
from fleetward.model.errors import ExitCode, FleetwardError, OutOfReachError, RefusedError, UsageError
from fleetward.model.incidents import IncidentState
from fleetward.model.runs import Mode, RunState, StepState
from fleetward.server.client import DaemonClient, DaemonOutOfReachError


@pytest.fixture
def client(daemon: PlayedDaemon) -> Iterator[DaemonClient]:
    with DaemonClient(daemon.socket, seconds=5) as client:
        yield client


def test_read_models_come_back_as_they_are(client: DaemonClient, daemon: PlayedDaemon) -> None:
    daemon.looks_at_run = [run(RunState.WAITING, StepState.DONE, StepState.RESERVED, why="for Prometheus")]
    view = client.incident(12)
    assert view.incident == incident()
    assert view.runs == (daemon.looks_at_run[0],)
    assert list(view.timeline) == daemon.timeline
    assert client.run(7) == daemon.looks_at_run[0]
    assert client.runs(limit=1) == (daemon.looks_at_run[0],)
    assert client.incidents() == (incident(),)
    assert client.status().reaches["prometheus"] == "since 12:00: connection refused"
    assert client.fleet().cluster == "lab"
    assert client.runbook("gpu-off-bus") == daemon.pages[0]
    assert [page.text for page in client.runbooks()] == [""]
    assert client.modes() == {"gpu-off-bus": Mode.PROPOSE, "node-down": Mode.AUTO}


def test_what_is_asked_for_is_what_the_daemon_hears(client: DaemonClient, daemon: PlayedDaemon) -> None:
    assert client.acknowledge(12, "mine").state is IncidentState.ACKNOWLEDGED
    assert client.close_incident(12, "replaced").closed_by == ME
    assert client.propose("gpu-off-bus", {"node": "gpu002"}, 12).state is RunState.PROPOSED
    assert client.approve(7, DIGEST).state is RunState.RUNNING
    client.decide(7, 1, "again")
    assert client.abort(7).state is RunState.ABORTED
    assert client.set_mode("all", Mode.OBSERVE) == {"gpu-off-bus": Mode.OBSERVE, "node-down": Mode.OBSERVE}
    assert client.drain("gpu002", "odd noise", ClaimClass.MAINTENANCE).claims[0].why == "odd noise"
    assert client.resume("gpu002").result == "resumed"
    assert daemon.posted() == [
        ("/v1/incidents/12/ack", {"note": "mine"}),
        ("/v1/incidents/12/close", {"why": "replaced"}),
        ("/v1/runs", {"runbook": "gpu-off-bus", "params": {"node": "gpu002"}, "incident": 12}),
        ("/v1/runs/7/approve", {"digest": DIGEST}),
        ("/v1/runs/7/decide", {"step": 1, "decision": "again"}),
        ("/v1/runs/7/abort", {}),
        ("/v1/modes", {"runbook": "all", "mode": "observe"}),
        ("/v1/nodes/gpu002/drain", {"why": "odd noise", "class": "maintenance"}),
        ("/v1/nodes/gpu002/resume", {}),
    ]


@pytest.mark.parametrize("kind", [UsageError, OutOfReachError, RefusedError, FleetwardError])
def test_an_error_of_the_daemon_keeps_its_words_and_exit_code(
    client: DaemonClient, daemon: PlayedDaemon, kind: type[FleetwardError]
) -> None:
    daemon.refuses = kind("the very words")
    with pytest.raises(FleetwardError, match=r"^the very words$") as raised:
        client.drain("gpu002", "why", ClaimClass.MAINTENANCE)
    assert type(raised.value) is kind


def test_a_name_stays_one_segment_of_the_path(client: DaemonClient, daemon: PlayedDaemon) -> None:
    with pytest.raises(UsageError, match="Not Found"):  # the router sees the decoded slashes: no route has them
        client.resume("gpu002/../../v1/modes?x=#")
    assert [asked.path for asked in daemon.asked] == ["/v1/nodes/gpu002/../../v1/modes%3Fx=%23/resume"]
    assert client.drain("gpu 002?#%2f", "odd", ClaimClass.MAINTENANCE).node == "gpu 002?#%2f"
    with pytest.raises(UsageError, match="is not a name"):
        client.runbook("..")


def test_a_wrong_answer_is_told_and_not_believed(client: DaemonClient, daemon: PlayedDaemon) -> None:
    daemon.says = PlainTextResponse("a proxy's page", 502)
    with pytest.raises(FleetwardError, match="HTTP 502 without saying why"):
        client.status()
    daemon.says = PlainTextResponse('{"id": 7, "state": "exploded"}')
    with pytest.raises(FleetwardError, match="are daemon and command of one version"):
        client.run(7)


def test_no_socket_no_listener_no_permission(tmp_path: Path) -> None:
    with pytest.raises(DaemonOutOfReachError, match=r"there is no such socket.*--socket"):
        DaemonClient(tmp_path / "none.sock").status()
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "dead.sock"))
    dead.close()
    with pytest.raises(DaemonOutOfReachError, match=r"nobody listens.*systemctl start"):
        DaemonClient(tmp_path / "dead.sock").status()
    with pytest.raises(DaemonOutOfReachError, match="no connection to the daemon"):
        DaemonClient(Path("/" + "x" * 200)).status()


def test_a_socket_of_another_group_names_the_group(daemon: PlayedDaemon) -> None:
    program = (
        "import os, sys; from pathlib import Path; from fleetward.server.client import *\n"
        "client = DaemonClient(Path(sys.argv[1]))\n"
        "if os.geteuid() == 0: os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"  # root may open everything
        "try: client.status()\n"
        "except DaemonOutOfReachError as error: print(error)\n"
    )
    daemon.socket.chmod(0)
    said = subprocess.run(
        [sys.executable, "-c", program, str(daemon.socket)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "group fleetward" in said.stdout, said.stderr


def test_a_daemon_that_hangs_is_left_in_time(daemon: PlayedDaemon) -> None:
    daemon.delay = 1.0
    with DaemonClient(daemon.socket, seconds=0.2) as client:
        with pytest.raises(DaemonOutOfReachError, match=r"within 0\.2 s$"):
            client.status()
        with pytest.raises(DaemonOutOfReachError, match="may have been done: look before you ask again"):
            client.abort(7)


def test_a_daemon_killed_in_the_middle_is_out_of_reach(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        listener.listen()

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(4096)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(DaemonOutOfReachError, match="went away before it answered; what you asked for may"):
            DaemonClient(tmp_path / "sock").approve(7, DIGEST)
        thread.join(10)
    assert DaemonOutOfReachError.exit_code == ExitCode.OUT_OF_REACH


def test_one_client_serves_several_threads(client: DaemonClient) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(client.run(7).id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [7] * 8


def test_the_proxies_of_the_environment_are_not_asked(daemon: PlayedDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with DaemonClient(daemon.socket) as client:
        assert client.run(7).id == 7
