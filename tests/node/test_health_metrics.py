"""What node_exporter's textfile collector reads of a run of checks."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from fleetward.model.gpu_faults import Severity
from fleetward.node.files import replace_file
from fleetward.node.health_metrics import LONGEST_LABEL, MOST_SERIES, HealthRun, page
from fleetward.node.results import Finding, Problem, Status

FINDINGS = (
    Finding("gpu_lost", Status.UNHEALTHY, "GPU is lost", "GPU 3", severity=Severity.FATAL),
    Finding("xid_program", Status.DEGRADED, "XID 13", "GPU 3", severity=Severity.WARNING, problem=Problem.USER),
    Finding("gpu_lost", Status.UNKNOWN, "no answer", "GPU 4"),
    Finding("raid", Status.UNKNOWN, "no mdadm"),
    Finding("disk_full", Status.HEALTHY, ""),
    Finding("clock_offset", Status.HEALTHY, ""),
)
RUN = HealthRun(FINDINGS, "periodic", 1_795_000_000.25, 0.4, accepted=True, drained_for="gpu_lost")


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Read a page back with Prometheus' own parser; no series may be there twice."""
    found = [
        ((sample.name, tuple(sorted(sample.labels.items()))), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


def test_a_page_has_each_finding_and_how_many_checks_are_how() -> None:
    told = samples(page(RUN))
    counts = {"unhealthy": 1, "degraded": 1, "unknown": 1, "healthy": 2}
    for status, count in counts.items():
        assert told.pop(("node_health_checks", (("status", status),))) == count
    findings = {labels for name, labels in told if name == "node_health_status"}
    assert {tuple(value for _, value in one) for one in findings} == {
        ("gpu_lost", "GPU 3", "node_problem", "fatal", "unhealthy"),
        ("xid_program", "GPU 3", "user_problem", "warning", "degraded"),
        ("gpu_lost", "GPU 4", "node_problem", "", "unknown"),
        ("raid", "", "node_problem", "", "unknown"),
    }
    assert {name: value for (name, _), value in told.items() if name != "node_health_status"} == {
        "node_health_last_run_timestamp_seconds": 1_795_000_000.25,
        "node_health_run_duration_seconds": 0.4,
        "node_health_report_accepted": 1,
        "node_health_local_drain": 1,
    }
    assert ("node_health_local_drain", (("check", "gpu_lost"),)) in told
    assert ("node_health_last_run_timestamp_seconds", (("context", "periodic"),)) in told


@pytest.mark.parametrize(("accepted", "value"), [(True, 1.0), (False, 0.0), (None, None)])
def test_whether_the_daemon_took_it_is_absent_where_there_is_none(accepted: bool | None, value: float | None) -> None:
    told = samples(page(HealthRun((), "periodic", 1.0, 1.0, accepted)))
    assert told.get(("node_health_report_accepted", ())) == value
    assert not [name for name, _ in told if name == "node_health_local_drain"]


@pytest.mark.parametrize("run", [RUN, HealthRun((), "periodic", 0.0, 0.0)])
def test_promtool_has_nothing_to_say_of_the_page(run: HealthRun) -> None:
    promtool = shutil.which("promtool") or str(Path(sys.executable).with_name("promtool"))
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=page(run), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@settings(deadline=None)
@given(st.text())
def test_whatever_an_entity_is_called_the_page_can_be_read(entity: str) -> None:
    told = samples(page(HealthRun([Finding("mount_hung", Status.UNHEALTHY, "hung", entity)], "periodic", 1.0, 1.0)))
    ((_, labels),) = [one for one in told if one[0] == "node_health_status"]
    shown = dict(labels)["entity"]
    assert len(shown) <= LONGEST_LABEL
    if len(entity) < LONGEST_LABEL and entity.isprintable():
        assert shown == entity


def test_a_node_with_thousands_of_findings_makes_no_thousands_of_series() -> None:
    many = [Finding("mount_hung", Status.UNHEALTHY, "hung", f"/mnt/{number}") for number in range(9999)]
    told = samples(page(HealthRun([*many, *FINDINGS], "periodic", 1.0, 1.0)))
    assert sum(name == "node_health_status" for name, _ in told) == MOST_SERIES
    assert told["node_health_checks", (("status", "unhealthy"),)] == 2


def test_findings_that_differ_in_their_words_alone_are_one_series() -> None:
    twice = [Finding("xid_gpu", Status.UNHEALTHY, f"XID {code}", "0000:1b:00") for code in (62, 119)]
    told = samples(page(HealthRun(twice, "periodic", 1.0, 1.0)))
    assert sum(name == "node_health_status" for name, _ in told) == 1


def test_a_file_is_replaced_whole_and_all_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "fleetward_health.prom"
    file.write_text("old")
    file.chmod(0o600)
    old = file.open()
    replace_file(file, "new\n")
    with old:
        assert old.read() == "old", "who reads it meanwhile has one or the other"
    assert file.read_text() == "new\n"
    assert file.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [file]


def test_writers_at_the_same_time_leave_one_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "fleetward_health.prom"
    program = (
        "import sys; from pathlib import Path; from fleetward.node.files import replace_file;"
        "[replace_file(Path(sys.argv[1]), sys.argv[2] * 100_000) for _ in range(30)]"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, file, letter]) for letter in "abc"]
    seen: set[str] = set()
    while any(one.poll() is None for one in writers):
        if file.exists():
            seen.add(file.read_text())
    assert [one.returncode for one in writers] == [0, 0, 0]
    assert seen <= {letter * 100_000 for letter in "abc"}
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_cannot_be_put_in_place_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken.prom").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(tmp_path / "taken.prom", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.prom"]
