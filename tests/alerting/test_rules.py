"""The alert rules as the role prometheus renders them, through promtool: what fires, and what does not."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jinja2
import pytest
import yaml

import fleetward
from fleetward.exporters.events.kernel_lines import FELL_OFF_THE_BUS
from fleetward.exporters.slurm.states import OUTCOMES, OWNERS, STATES
from fleetward.model.gpu_fault_files import read_catalogue
from fleetward.model.inventory import read_fleet
from fleetward.node.check_list import BY_ID
from fleetward.node.results import Status
from fleetward.server.health_alerts import DEGRADED, OF_A_GPU, OF_A_NODE, UNHEALTHY
from fleetward.slurm.configuration import SCRAPE_JOBS, render
from fleetward.store.joining import JOINS, JOINS_ANY_GPU

ALERTING = Path(fleetward.__file__).parent / "alerting"
LIBRARY = Path(fleetward.__file__).parent / "runbooks/library"
ROLE = Path(fleetward.__file__).parent / "roles/prometheus"
PAGES = "http://head.test:9720"
ALERTS = {
    *("GpuXidFatal", "GpuOffBus", "GpuCountWrong", "GpuLeftoverProcesses", "NodeDown", "NodeDrainedWithoutIncident"),
    *("NodeUnhealthy", "NodeDegraded", "NodeHealthStale", "NodeReportsRefused", "NodeDrainedItself"),
    *("SlurmControllerDown", "ExporterDown", "TargetMissing", "ChangeStopped", "Watchdog", "JobFailureRatioHigh"),
}
RECORDED = {"account:gpu_utilization_ratio:sum", "account:gpu_utilization_ratio:count", "account:gpus_allocated:count"}


def read(path: Path) -> Any:  # noqa: ANN401  a YAML file may hold anything
    return yaml.safe_load(path.read_text())


def promtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool, which tools/setup.sh puts beside the interpreter."""
    found = shutil.which("promtool", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert found, "promtool is missing: run `make setup-dev`"
    return subprocess.run([found, *map(str, words)], capture_output=True, text=True, timeout=120, check=False)


def rendered(name: str) -> str:
    """Render a file of rules with the delimiters that the role uses."""
    task = next(task for task in read(ROLE / "tasks/configure.yml") if task["name"] == "Write the rules")
    options = task["ansible.builtin.template"]
    delimiters = {key: value for key, value in options.items() if key.endswith("_string")}
    environment = jinja2.Environment(  # noqa: S701  YAML, not HTML
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, **delimiters
    )
    text = (ALERTING / "rules" / name).read_text()
    return environment.from_string(text).render(pages_url=PAGES, thresholds=read(ALERTING / "thresholds.yml"))


def rules() -> Iterator[dict[str, Any]]:
    for path in sorted((ALERTING / "rules").glob("*.yml")):
        for group in yaml.safe_load(rendered(path.name))["groups"]:
            yield from group["rules"]


def rule(alert: str) -> dict[str, Any]:
    return next(rule for rule in rules() if rule.get("alert") == alert)


def cases() -> list[dict[str, Any]]:
    """Return what the files of cases say of alerts."""
    files = [read(path) for path in (ALERTING / "tests").glob("*.yml")]
    return [case for found in files for test in found["tests"] for case in test.get("alert_rule_test", ())]


@dataclass(frozen=True)
class Folder:
    """Rendered rules with the cases beside them, as promtool takes them."""

    path: Path

    def test(self) -> subprocess.CompletedProcess[str]:
        return promtool("test", "rules", *sorted((self.path / "tests").glob("*.yml")))

    def without(self, name: str) -> None:
        for path in (self.path / "rules").glob("*.yml"):
            found = yaml.safe_load(path.read_text())
            for group in found["groups"]:
                group["rules"] = [one for one in group["rules"] if name not in one.values()]
            path.write_text(yaml.safe_dump(found))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "rules").mkdir()
    for path in (ALERTING / "rules").glob("*.yml"):
        (tmp_path / "rules" / path.name).write_text(rendered(path.name))
    shutil.copytree(ALERTING / "tests", tmp_path / "tests")
    return Folder(tmp_path)


def test_every_case_comes_out(folder: Folder) -> None:
    checked = promtool("check", "rules", *sorted((folder.path / "rules").glob("*.yml")))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    done = folder.test()
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_a_case_fails_without_the_rule(folder: Folder, alert: str) -> None:
    folder.without(alert)
    done = folder.test()
    assert done.returncode == 1
    assert f"alertname: {alert}" in done.stdout + done.stderr


@pytest.mark.parametrize("recorded", sorted(RECORDED))
def test_a_case_fails_without_the_recording_rule(folder: Folder, recorded: str) -> None:
    folder.without(recorded)
    done = folder.test()
    assert done.returncode == 1
    assert recorded in done.stdout + done.stderr


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    assert {case["alertname"] for case in cases() if case["exp_alerts"]} == ALERTS
    assert {case["alertname"] for case in cases() if not case["exp_alerts"]} == ALERTS


def test_the_alerts_are_these_each_with_what_a_person_needs() -> None:
    assert {one["record"] for one in rules() if "record" in one} == RECORDED
    found = [one for one in rules() if "record" not in one]
    assert sorted(one["alert"] for one in found) == sorted(ALERTS)
    for one in found:
        assert one["labels"]["severity"] in {"info", "warning", "critical"}
        assert {"summary", "description", "runbook_url"} <= set(one["annotations"])


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_every_alert_links_a_page_that_is_about_it_and_gives_it_its_parameters(alert: str) -> None:
    address = urlsplit(rule(alert)["annotations"]["runbook_url"])
    assert f"{address.scheme}://{address.netloc}" == PAGES
    page = LIBRARY / f"{Path(address.path).name}.md"
    assert address.path == f"/runbooks/{page.stem}"
    about = yaml.safe_load(page.read_text().split("---\n")[1])
    assert about["id"] == page.stem
    assert alert in about["alerts"]
    assert about["severity"] == rule(alert)["labels"]["severity"]
    needed = {name for name, param in about["params"].items() if "default" not in (param or {})}
    assert needed <= set(parse_qs(address.query))


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_the_labels_that_a_page_takes_are_labels_of_the_alert(alert: str) -> None:
    """Those of an expected alert in the cases, which promtool holds against the rule."""
    page = LIBRARY / f"{Path(urlsplit(rule(alert)['annotations']['runbook_url']).path).name}.md"
    params = yaml.safe_load(page.read_text().split("---\n")[1])["params"]
    wanted = {param["from"].removeprefix("labels.") for param in params.values() if "default" not in param}
    fired = [one["exp_labels"] for case in cases() if case["alertname"] == alert for one in case["exp_alerts"]]
    assert fired
    assert all(wanted <= set(labels) for labels in fired)


def test_the_fatal_xids_are_those_of_the_catalogue_that_the_exporter_counts_from_zero() -> None:
    """A counter that is born at 1 has no increase: an XID that is not among them would not fire the first time."""
    listed = read(ALERTING / "thresholds.yml")["gpu_xids_fatal"]
    assert listed == [code for code in read_catalogue().fatal_xids() if code != FELL_OFF_THE_BUS]
    assert sorted([*listed, FELL_OFF_THE_BUS]) == list(read_catalogue().fatal_xids())


def test_what_a_node_reports_and_what_prometheus_sees_of_it_get_the_same_name() -> None:
    """The rule NodeUnhealthy leaves out just those checks to whose findings the daemon gives another rule's name."""
    elsewhere = {**OF_A_GPU, **OF_A_NODE}
    assert read(ALERTING / "thresholds.yml")["node_checks_of_gpu_alerts"] == sorted(elsewhere)
    assert set(elsewhere) <= set(BY_ID)
    assert {*elsewhere.values(), UNHEALTHY, DEGRADED} <= ALERTS


def test_the_alerts_that_join_incidents_of_other_names_are_rules() -> None:
    assert {*JOINS, *JOINS_ANY_GPU, *(name for names in JOINS.values() for name in names)} <= ALERTS


@pytest.mark.parametrize(
    ("label", "metric", "known"),
    [
        ("state", "slurm_node_state", STATES),
        ("owner", "slurm_node_drained", OWNERS),
        ("outcome", "slurm_job_ends_total", OUTCOMES),
        ("status", "node_health_status", tuple(Status)),
    ],
)
def test_rules_ask_for_words_that_the_exporter_says(label: str, metric: str, known: tuple[str, ...]) -> None:
    expressions = " ".join(one["expr"] for one in rules())
    asked = re.findall(rf'{metric}{{{label}[=!]~?"([^"]+)"[,}}]', expressions)
    words = {word for found in asked for word in found.split("|")}
    assert words
    assert words <= set(known)


def test_every_threshold_is_used() -> None:
    texts = "".join(path.read_text() for path in (ALERTING / "rules").glob("*.yml"))
    assert set(re.findall(r"thresholds\.(\w+)", texts)) == set(read(ALERTING / "thresholds.yml"))


@pytest.mark.parametrize("inventory", ["lab", "example"])
def test_what_the_inventory_declares_is_rules_that_prometheus_takes(tmp_path: Path, inventory: str) -> None:
    fleet = read_fleet(Path(fleetward.__file__).parent / "inventories" / inventory)
    (tmp_path / "fleet.json").write_text(render(fleet)["rules/fleet.json"])
    checked = promtool("check", "rules", tmp_path / "fleet.json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    recorded = yaml.safe_load(render(fleet)["rules/fleet.json"])["groups"][0]["rules"]
    declared = {(one["labels"].get("job"), one["expr"]) for one in recorded if one["record"] == "fleet_targets"}
    assert ("gpu", f"vector({len(fleet.members('gpu_exporter'))})") in declared
    profiles = {one["labels"]["hardware_profile"] for one in recorded if one["record"] == "fleet_profile_gpus"}
    assert profiles == {node.profile.name for node in fleet.nodes.values() if node.profile}


def test_the_jobs_that_rules_ask_for_are_those_that_prometheus_scrapes() -> None:
    scraped = set(read(ROLE / "vars/main.yml")["__prometheus_jobs"])
    assert scraped == set(SCRAPE_JOBS)
    asked = re.search(r'up\{job=~"([^"]+)"\}', rule("ExporterDown")["expr"])
    assert asked is not None
    assert set(asked[1].split("|")) == scraped
