"""How far hosts are from the inventory, as a play in check mode tells it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from prometheus_client.parser import text_string_to_metric_families

from fleetward.commands.drift import drift as command
from fleetward.operations import drift as drifting
from fleetward.operations.drift import HostDrift, drift_of, look, metrics
from fleetward.operations.playbook import PlaybookResult, PlaybookRun, TaskChange, TaskFailure, task_change

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
RESULT = PlaybookResult(
    status=2,
    changed={"gpu001": 3},
    ok={"gpu001": 40, "gpu002": 40, "gpu003": 7},
    failures=(TaskFailure("gpu003", "Start slurmd", "no such unit"), TaskFailure("gpu004", "Facts", "timed out", True)),
    changes=(
        TaskChange("gpu001", "slurm_node", "Write gres.conf"),
        TaskChange("gpu001", "munge", "Write the key"),
        TaskChange("gpu001", "slurm_node", "Start slurmd"),
        TaskChange("gpu001", "slurm_node", "Write gres.conf"),
        TaskChange("gpu003", "", "A task of the playbook"),
    ),
)


def test_what_would_change_is_told_by_host_and_role_each_task_once() -> None:
    found = drift_of(RESULT, NOW)
    assert found.hosts == (
        HostDrift("gpu001", {"munge": ("Write the key",), "slurm_node": ("Write gres.conf", "Start slurmd")}),
        HostDrift("gpu002", {}),
        HostDrift("gpu003", {"site.yml": ("A task of the playbook",)}, "Start slurmd: no such unit"),
        HostDrift("gpu004", {}, "Facts: timed out"),
    )
    assert [host.host for host in found.found] == ["gpu001", "gpu003", "gpu004"]


def test_a_play_that_took_too_long_leaves_every_host_unknown() -> None:
    found = drift_of(PlaybookResult(1, ok={"gpu001": 1, "gpu002": 1}, timed_out=True), NOW)
    assert {host.unknown for host in found.hosts} == {"there was no time to look at it to its end"}


def test_it_is_always_played_in_check_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[PlaybookRun] = []
    monkeypatch.setattr(drifting, "run_playbook", lambda wanted, _: (played.append(wanted), RESULT)[1])
    look(PlaybookRun(inventory=Path("inventory"), limit="gpu001"), NOW)
    assert [(run.check, run.limit) for run in played] == [(True, "gpu001")]


def test_metrics_count_what_is_known_and_nothing_else() -> None:
    families = {family.name: family for family in text_string_to_metric_families(metrics(drift_of(RESULT, NOW)))}
    counts = {(s.labels["node"], s.labels["role"]): s.value for s in families["fleet_drift_tasks"].samples}
    assert counts == {("gpu001", "munge"): 1, ("gpu001", "slurm_node"): 2, ("gpu002", "all"): 0}
    known = {s.labels["node"]: s.value for s in families["fleet_drift_known"].samples}
    assert known == {"gpu001": 1, "gpu002": 1, "gpu003": 0, "gpu004": 0}
    (looked,) = families["fleet_drift_looked_timestamp_seconds"].samples
    assert looked.value == NOW.timestamp()


def test_names_are_kept_from_breaking_the_page() -> None:
    evil = PlaybookResult(0, ok={'a"b\\c\nd': 1}, changes=(TaskChange('a"b\\c\nd', "r", "t"),))
    (family, *_) = text_string_to_metric_families(metrics(drift_of(evil, NOW)))
    assert family.samples[0].labels == {"node": 'a"b\\c\nd', "role": "r"}


def test_an_event_of_a_task_tells_host_role_and_name() -> None:
    assert task_change({"host": "a", "role": "munge", "task": "t"}) == TaskChange("a", "munge", "t")
    assert task_change({"host": "a", "task": "t", "role": None}) == TaskChange("a", "", "t")


def run(monkeypatch: pytest.MonkeyPatch, result: PlaybookResult, *words: str) -> Result:
    monkeypatch.setattr(drifting, "run_playbook", lambda wanted, _: result)
    return CliRunner().invoke(command, [*words])


def test_the_command_shows_what_differs_and_ends_with_findings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "drift.prom"
    done = run(monkeypatch, RESULT, "--metrics", str(file))
    assert done.exit_code == 5
    assert "slurm_node  2      Write gres.conf; Start slurmd" in done.stdout
    assert "gpu003: not known: Start slurmd: no such unit" in done.stderr
    assert "4 hosts, 1 as declared" in done.stderr
    assert 'fleet_drift_tasks{node="gpu001",role="munge"} 1' in file.read_text()


def test_hosts_as_declared_end_well_and_are_told_in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(monkeypatch, PlaybookResult(0, ok={"gpu001": 9}), "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["hosts"] == [{"host": "gpu001", "differs": {}, "unknown": ""}]


def test_where_nobody_answers_it_is_out_of_reach_and_where_nothing_was_looked_at_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    away = PlaybookResult(4, failures=(TaskFailure("gpu001", "Facts", "timed out", True),))
    done = run(monkeypatch, away)
    assert done.exception is not None
    assert getattr(done.exception, "exit_code", None) == 3
    done = run(monkeypatch, PlaybookResult(4))
    assert "looked at no host" in str(done.exception)
    done = run(monkeypatch, RESULT, "--metrics", str(tmp_path / "none" / "x.prom"))
    assert "cannot be written" in str(done.exception)
