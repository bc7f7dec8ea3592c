"""`fleetward nodes` and `fleetward jobs`, as a person and as a program see them."""

import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Fleetward = Callable[..., subprocess.CompletedProcess[str]]
Program = Callable[[str, str], Path]


@pytest.fixture
def played(fleetward: Fleetward, recording: Path) -> Fleetward:
    """Run the command on recorded answers."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return fleetward(*arguments, "--backend", "recorded", FLEETWARD_SLURM_RECORDING=str(recording), **variables)

    return run


def test_nodes_in_json(played: Fleetward) -> None:
    done = played("nodes", "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert (document["backend"], document["unread"]) == ("recorded", [])
    drained = document["nodes"][1]
    assert drained["name"] == "gpu002"
    assert drained["state"] == "MIXED+DRAIN"
    assert drained["partitions"] == ["gpu"]
    assert drained["gpus"] == {"h100": {"total": 2, "allocated": 1}}
    assert drained["gres"] == "gpu:h100:2"
    assert drained["cpus"] == {"total": 8, "allocated": 1}
    assert drained["memory_mib"] == {"total": 16000, "allocated": 1024}
    assert drained["reason"] == "disk | odd\nNodeName=gpu009 State=IDLE \x1b[31mred"
    assert drained["reason_at"].startswith("2026-11-28T")
    assert done.stderr == ""


def test_nodes_for_people(played: Fleetward) -> None:
    lines = played("nodes").stdout.split("\n")
    assert lines[0].split() == ["NODE", "STATE", "PARTITIONS", "GPUS", "CPUS", "MEMORY", "REASON"]
    assert lines[1].split() == ["gpu001", "MIXED", "gpu,debug", "h100", "1/2", "1/8", "1G/15.6G", "-"]
    assert lines[2].endswith(r"disk | odd\nNodeName=gpu009 State=IDLE \x1b[31mred [root]")
    assert lines[4:] == [""]


def test_jobs_of_everyone_in_json(played: Fleetward) -> None:
    document = json.loads(played("jobs", "--all", "--json").stdout)
    assert [job["state"] for job in document["jobs"]] == ["RUNNING", *["PENDING"] * 3]
    running, array, held, _ = document["jobs"]
    assert running["name"].startswith("na me \"q' |\nJobId=99")
    assert (running["nodes"], running["gpus"], running["user"]) == (["gpu001", "gpu002"], {"h100": 2}, "root")
    assert running["time_limit_seconds"] == 7440
    assert array["time_limit_seconds"] is None
    assert held["reason"] == "JobHeldUser"


def test_jobs_that_ended_are_shown_on_demand(played: Fleetward) -> None:
    assert "FAILED" not in played("jobs", "--all").stdout
    assert "FAILED" in played("jobs", "--all", "--ended").stdout


def test_a_jobs_name_cannot_draw_on_the_terminal(played: Fleetward) -> None:
    shown = played("jobs", "--all").stdout
    assert "\x1b" not in shown
    assert r"na me \"q' |\nJobId=99 JobState=COMPLETED \x1b[31mred".replace(r"\"", '"') in shown
    assert len(shown.strip().split("\n")) == 5


def test_jobs_are_ones_own_unless_told_otherwise(played: Fleetward) -> None:
    me = pwd.getpwuid(os.getuid()).pw_name
    mine = played("jobs", "--json")
    assert {job["user"] for job in json.loads(mine.stdout)["jobs"]} == ({"root"} if me == "root" else set())
    nobodys = played("jobs", "--user", "nobody")
    assert nobodys.stdout.strip().split("\n")[1:] == []
    assert "4 more of other users; --all shows them" in nobodys.stderr
    assert played("jobs", "--user", "root", "--all").returncode == 2


def test_a_slurmctld_that_is_away_is_exit_code_3(fleetward: Fleetward, program: Program) -> None:
    message = "slurm_load_node error: Unable to contact slurm controller (connect failure)"
    path = program("scontrol", f'echo "{message}" >&2; exit 1')
    done = fleetward("nodes", "--json", "--backend", "command-line", PATH=f"{path}:/usr/bin:/bin")
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr == f"fleetward: scontrol: {message}\n"


def test_what_cannot_be_read_is_counted_and_shown(fleetward: Fleetward, program: Program) -> None:
    path = program("scontrol", "printf 'NodeName=gpu001 State=\\033[31m\\n'")
    done = fleetward("nodes", "--json", "--backend", "command-line", PATH=f"{path}:/usr/bin:/bin")
    assert json.loads(done.stdout)["unread"] == ["NodeName=gpu001 State=\x1b[31m"]
    assert r"1 of Slurm's nodes could not be read, the first: NodeName=gpu001 State=\x1b[31m" in done.stderr


def test_a_backend_that_is_not_there_is_a_wrong_option(fleetward: Fleetward, tmp_path: Path) -> None:
    assert fleetward("nodes", "--backend", "rest").returncode == 2
    absent = fleetward("nodes", "--backend", "pyslurm", FLEETWARD_PYSLURM_PYTHON=str(tmp_path / "no"))
    assert absent.returncode == 2
    assert str(tmp_path / "no") in absent.stderr
    unnamed = fleetward("nodes", FLEETWARD_SLURM_BACKEND="recorded")
    assert unnamed.returncode == 2
    assert "FLEETWARD_SLURM_RECORDING" in unnamed.stderr


def test_auto_without_pyslurm_is_the_command_line_and_no_note(fleetward: Fleetward, program: Program) -> None:
    path = program("scontrol", "exit 0")
    done = fleetward("nodes", "--json", PATH=f"{path}:/usr/bin:/bin", FLEETWARD_PYSLURM_PYTHON=str(path / "no"))
    assert json.loads(done.stdout)["backend"] == "command-line"
    assert done.stderr == ""


def test_the_pyslurm_child_killed_in_the_middle_changes_no_answer(
    program: Program, recording: Path, tmp_path: Path
) -> None:
    answer = recording / "01-scontrol.txt"
    path = program("scontrol", f"cat {answer}")
    # Says hello as the worker does, then hangs over the question; its pid is ours to kill.
    program("python", f'echo $$ > {tmp_path}/pid; echo \'{{"pyslurm": "25.11.2"}}\'; exec sleep 60')
    variables = os.environ | {"PATH": f"{path}:/usr/bin:/bin", "FLEETWARD_PYSLURM_PYTHON": str(path / "python")}
    process = subprocess.Popen(
        [sys.executable, "-m", "fleetward", "nodes", "--json"],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 20
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    printed, said = process.communicate(timeout=20)
    assert process.returncode == 0, said
    document = json.loads(printed)
    assert document["backend"] == "command-line"
    assert [node["name"] for node in document["nodes"]] == ["gpu001", "gpu002", "gpu003"]
    assert "SIGKILL" in said
    assert "Slurm's own commands answer instead" in said


def test_modules_of_the_users_own_change_nothing(played: Fleetward, tmp_path: Path) -> None:
    for name in ("slurm", "model", "pyslurm", "parse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    done = played("nodes", "--json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
