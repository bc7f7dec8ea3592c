"""The unit that tells the daemon what a node has: its command line, its times, and where its timer runs."""

import configparser
import shlex
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from jinja2.nativetypes import NativeEnvironment

import fleetward
from fleetward.commands.fingerprint import fingerprint
from fleetward.model.errors import ExitCode
from fleetward.model.node_settings import NODE_SETTINGS

ROLE = Path(fleetward.__file__).parent / "roles/node_health"
OF_THE_JOB_MAP = {"ExecStart", "ReadWritePaths", "ProtectProc", "TimeoutStartSec"}
URL = "http://head:9720"


def read(path: Path) -> Any:  # noqa: ANN401  a YAML file may hold anything
    return yaml.safe_load(path.read_text())


NAMES = {**read(ROLE / "vars/main.yml"), "ansible_managed": "managed"}


def unit(name: str) -> configparser.ConfigParser:
    """Return a unit as its template gives it; a key that it has twice is an error."""
    plain = jinja2.Environment(undefined=jinja2.StrictUndefined)  # noqa: S701  a unit, not HTML
    found = configparser.ConfigParser(interpolation=None)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(plain.from_string((ROLE / f"templates/{name}.j2").read_text()).render(NAMES))
    return found


SERVICE = unit("fleetward-fingerprint.service")["Service"]


def test_its_command_line_is_one_that_the_command_takes() -> None:
    program, name, *words = shlex.split(SERVICE["ExecStart"])
    assert (program, name) == (NAMES["__node_health_command"], "fingerprint")
    taken = fingerprint.make_context(name, list(words)).params
    assert taken["report"] is True
    assert taken["settings"] == NODE_SETTINGS
    assert taken["within"] < int(SERVICE["TimeoutStartSec"])


def test_a_daemon_that_is_away_is_no_failure_of_the_unit() -> None:
    assert int(SERVICE["SuccessExitStatus"]) == ExitCode.OUT_OF_REACH


def test_it_may_do_no_more_than_what_mends_the_job_map() -> None:
    neighbour = dict(unit("fleetward-job-map.service")["Service"])
    assert dict(SERVICE).items() >= {(key, value) for key, value in neighbour.items() if key not in OF_THE_JOB_MAP}
    assert "ReadWritePaths" not in SERVICE
    assert "PrivateDevices" not in SERVICE, "the GPUs are devices"


def test_it_runs_after_a_start_and_every_quarter_of_an_hour_not_on_all_nodes_at_once() -> None:
    timer = unit("fleetward-fingerprint.timer")["Timer"]
    assert (timer["OnBootSec"], timer["OnUnitInactiveSec"]) == ("1min", "15min")
    assert timer["RandomizedDelaySec"] == "2min"


def timers(url: str) -> list[tuple[object, object]]:
    """Return the states that the role gives the timer, and whether it is enabled, in handler and task."""
    native = NativeEnvironment(undefined=jinja2.StrictUndefined)
    tasks = [*read(ROLE / "handlers/main.yml"), *read(ROLE / "tasks/run.yml")]
    asked = [task["ansible.builtin.systemd_service"] for task in tasks if "ansible.builtin.systemd_service" in task]
    names = {**NAMES, "node_health_daemon_url": url}

    def rendered(value: object) -> object:
        return native.from_string(value).render(names) if isinstance(value, str) else value

    return [
        (rendered(one["state"]), rendered(one.get("enabled")))
        for one in asked
        if rendered(one["name"]) == "fleetward-fingerprint.timer"
    ]


@pytest.mark.parametrize(
    ("url", "states"),
    [(URL, [("restarted", None), ("started", True)]), ("", [("stopped", None), ("stopped", False)])],
)
def test_its_timer_runs_where_there_is_a_daemon_to_tell(url: str, states: list[tuple[object, object]]) -> None:
    assert timers(url) == states
