"""Where the picture comes from: the daemon, Slurm while there is none, what was known while neither answers."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from fleetward.model.errors import OutOfReachError
from fleetward.server.client import DaemonClient, DaemonOutOfReachError
from fleetward.tui.daemon_source import DaemonSource
from fleetward.tui.direct_source import DirectSource
from fleetward.tui.picture import Picture, take
from fleetward.tui.recorded_source import RecordedSource
from fleetward.tui.source import NoDaemonError

RECORDINGS = Path(__file__).parent.parent / "slurm" / "recordings"


@pytest.fixture(params=["slurm-24.11", "slurm-26.05"])
def direct(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> DirectSource:
    monkeypatch.setenv("FLEETWARD_SLURM_RECORDING", str(RECORDINGS / str(request.param)))
    return DirectSource("recorded")


def test_slurm_alone_makes_a_fleet_with_gpus_of_unknown_state(direct: DirectSource) -> None:
    fleet = direct.fleet()
    nodes = {node.name: node for node in fleet.nodes}
    assert set(nodes) == {"gpu001", "gpu002", "gpu003"}
    assert nodes["gpu002"].state == "mixed+drain"
    assert nodes["gpu002"].reason_by == "root"
    assert [gpu.up for gpu in nodes["gpu001"].gpus] == [None, None]
    running = [job for job in fleet.jobs if job.state == "RUNNING"]
    assert [job.gpus for job in running] == [2]
    assert nodes["gpu001"].jobs == (running[0].id,)
    assert set(fleet.ages) == {"nodes", "jobs", "partitions"}
    assert fleet.problems == ()


def test_without_a_socket_slurm_is_asked_and_the_daemon_missed(direct: DirectSource, tmp_path: Path) -> None:
    source = DaemonSource(DaemonClient(tmp_path / "none.sock"), direct)
    picture = take(source, Picture(), lambda: 5.0)
    source.close()
    assert picture.fleet is not None
    assert not picture.has_daemon
    assert any("none.sock: no daemon there" in problem for problem in picture.problems)
    with pytest.raises(NoDaemonError):
        source.status()


def test_a_dead_socket_is_out_of_reach_and_slurm_is_asked(direct: DirectSource, tmp_path: Path) -> None:
    (tmp_path / "dead.sock").touch()
    source = DaemonSource(DaemonClient(tmp_path / "dead.sock"), direct)
    picture = take(source, Picture(), lambda: 5.0)
    assert picture.fleet is not None
    assert any("out of reach" in problem for problem in picture.problems)
    with pytest.raises(DaemonOutOfReachError):
        source.approve(1, "x")
    source.close()


def test_what_was_known_is_kept_and_grows_old(sample: ModuleType, source: RecordedSource) -> None:
    before = take(source, Picture(), lambda: 100.0)
    source.trouble = {"fleet": OutOfReachError("slurmctld:\n no answer"), "status": OutOfReachError("gone")}
    after = take(source, before, lambda: 130.0)
    assert after.fleet is before.fleet
    assert after.incidents == before.incidents
    assert after.ages(130.0) == {"nodes": 31.0, "jobs": 31.0, "partitions": 70.0, "prometheus": 32.0}
    assert after.problems == ("slurmctld: no answer", "the daemon is out of reach: gone")
    assert not after.has_daemon


def test_a_source_that_is_away_is_told_once(source: RecordedSource) -> None:
    source.fleet_view = replace(source.fleet_view, problems=("Prometheus does not answer, since 03:10: refused",))
    assert source.daemon is not None
    source.daemon = replace(source.daemon, reaches={"prometheus": "since 03:10: refused", "store": "no connection"})
    picture = take(source, Picture(), lambda: 1.0)
    assert picture.problems == ("Prometheus does not answer, since 03:10: refused", "store: no connection")


def test_the_newest_run_of_an_incident_counts(sample: ModuleType, source: RecordedSource) -> None:
    newer = sample.run(id=9)
    picture = Picture(runs=(sample.run(), newer, sample.run(id=8, incident=13)))
    assert picture.run_of(12) is newer
    assert picture.run_of(99) is None
