"""`fleetward autopilot` against a daemon that plays the contract, and `fleetward config`."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from played_daemon import PlayedDaemon

Asking = Callable[..., subprocess.CompletedProcess[str]]


def test_status_tells_modes_the_guardrail_and_what_is_out_of_reach(asking: Asking) -> None:
    shown = asking("autopilot", "status").stdout
    assert "nodes held: 1 of 2 allowed; runs: 1 running" in shown
    assert "prometheus: since 12:00: connection refused" in shown
    assert "store: ok" in shown
    assert shown.splitlines()[-2:] == ["gpu-off-bus  propose", "node-down    auto"]
    assert json.loads(asking("autopilot", "status", "--json").stdout)["drained_allowed"] == 2


def test_mode_is_set_for_one_page_or_all(asking: Asking, daemon: PlayedDaemon) -> None:
    assert asking("autopilot", "mode", "gpu-off-bus", "auto").stdout.splitlines()[1] == "gpu-off-bus  auto"
    modes = json.loads(asking("autopilot", "mode", "all", "observe", "--json").stdout)["modes"]
    assert modes == {"gpu-off-bus": "observe", "node-down": "observe"}
    assert asking("autopilot", "mode", "all", "reckless").returncode == 2
    assert daemon.posted() == [
        ("/v1/modes", {"runbook": "gpu-off-bus", "mode": "auto"}),
        ("/v1/modes", {"runbook": "all", "mode": "observe"}),
    ]


def test_config_shows_where_each_setting_came_from_and_no_secret(fleetward: Asking, tmp_path: Path) -> None:
    (tmp_path / "fleetward").mkdir()
    file = tmp_path / "fleetward/config.toml"
    file.write_text('[daemon]\nsocket = "/run/other.sock"\ndatabase_url = "postgresql://a:hunter2@b/c"\n')
    variables = {"XDG_CONFIG_HOME": str(tmp_path), "FLEETWARD_GUARDRAILS_ABSOLUTE": "3"}
    done = fleetward("config", "show", "--json", **variables)
    settings = {one["name"]: (one["value"], one["source"]) for one in json.loads(done.stdout)["settings"]}
    assert settings["daemon.socket"] == ("/run/other.sock", str(file))
    assert settings["guardrails.absolute"] == (3, "FLEETWARD_GUARDRAILS_ABSOLUTE")
    assert settings["daemon.database_url"] == ("***", str(file))
    assert settings["daemon.listen"][1] == "default"
    people = fleetward("config", "show", **variables)
    assert "hunter2" not in done.stdout + people.stdout
    assert people.stdout.splitlines()[1].split() == ["daemon.socket", "/run/other.sock", str(file)]


def test_the_socket_of_the_settings_is_the_one_that_is_asked(
    fleetward: Asking, daemon: PlayedDaemon, tmp_path: Path
) -> None:
    (tmp_path / "fleetward").mkdir()
    (tmp_path / "fleetward/config.toml").write_text(f'[daemon]\nsocket = "{daemon.socket}"\n')
    assert fleetward("autopilot", "status", XDG_CONFIG_HOME=str(tmp_path)).returncode == 0
    typed = fleetward("autopilot", "status", "--socket", f"{tmp_path}/other", XDG_CONFIG_HOME=str(tmp_path))
    assert (typed.returncode, f"{tmp_path}/other" in typed.stderr) == (3, True)


def test_a_wrong_setting_is_named_with_its_file(fleetward: Asking, tmp_path: Path) -> None:
    (tmp_path / "fleetward").mkdir()
    (tmp_path / "fleetward/config.toml").write_text("[daemon]\nsockt = 1\n")
    done = fleetward("incident", "list", XDG_CONFIG_HOME=str(tmp_path))
    assert done.returncode == 2
    assert f"{tmp_path}/fleetward/config.toml" in done.stderr
    assert "socket" in done.stderr
