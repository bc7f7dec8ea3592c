"""The programs that Slurm runs for the checks: they end with 0 and in time, whatever `fleetward` does."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fleetward
from fleetward.commands.check import check

PIECES = Path(fleetward.__file__).parent / "slurm" / "health"
NAMES = ("health_check", "prolog", "epilog")
CONTEXTS = {"health_check": "periodic", "prolog": "prolog", "epilog": "epilog"}
SECONDS = {
    "health_check": "FLEETWARD_HEALTH_SECONDS",
    "prolog": "FLEETWARD_PROLOG_SECONDS",
    "epilog": "FLEETWARD_EPILOG_SECONDS",
}
each = pytest.mark.parametrize("name", NAMES)


def run(name: str, folder: Path, program: str | None, **words: str) -> subprocess.CompletedProcess[str]:
    """Run a piece with a program in place of `fleetward`, with nothing but these in its environment, no PATH either."""
    command = folder / "fleetward"
    if program is not None:
        command.write_text(f"#!/bin/sh\n{program}\n")
        command.chmod(0o755)
    given = {"FLEETWARD_COMMAND": str(command), "FLEETWARD_NODE_SETTINGS": f"{folder}/node.toml"}
    metrics = {"FLEETWARD_HEALTH_STATE": f"{folder}/state", "FLEETWARD_HEALTH_METRICS": f"{folder}/health.prom"}
    shell = shutil.which("dash") or "/bin/sh"
    done = subprocess.run(
        [shell, str(PIECES / f"{name}.sh")],
        env={**given, **metrics, "SLURM_JOB_ID": "7", **words},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    return done


def left_behind() -> set[str]:
    return {path.name for path in Path("/tmp").glob("fleetward-health.*")}


@each
def test_the_command_gets_what_it_needs_and_all_of_it_are_options_of_its(tmp_path: Path, name: str) -> None:
    before = left_behind()
    done = run(name, tmp_path, f"printf '%s\\n' \"$@\" >{tmp_path}/words; env >{tmp_path}/environment; echo data")
    assert done.stderr == ""
    words = (tmp_path / "words").read_text().splitlines()
    assert words[:4] == ["check", "--report", "--context", CONTEXTS[name]]
    parsed = check.make_context("check", words[1:]).params
    assert parsed["settings"] == tmp_path / "node.toml"
    periodic = name == "health_check"
    assert parsed["metrics"] == (tmp_path / "health.prom" if periodic else None)
    assert (parsed["state"] == tmp_path / "state") is periodic
    assert "SLURM_JOB_ID=7" in (tmp_path / "environment").read_text()
    assert left_behind() == before


@each
@pytest.mark.parametrize("program", ["exit 1", "exit 2", "exit 126", "kill -9 $$", "kill -TERM $$", "exec /none"])
def test_whatever_it_ends_with_slurm_is_told_0_and_a_person_is_told_why(
    tmp_path: Path, name: str, program: str
) -> None:
    before = left_behind()
    done = run(name, tmp_path, f"echo 'fleetward: something is wrong' >&2; {program}")
    assert done.stderr.startswith("fleetward: something is wrong\n")
    assert f"fleetward check --context {CONTEXTS[name]} ended with " in done.stderr.splitlines()[-1]
    assert left_behind() == before


@each
def test_what_it_says_while_all_is_well_is_passed_on(tmp_path: Path, name: str) -> None:
    assert run(name, tmp_path, "echo 'fleetward: drained' >&2").stderr == "fleetward: drained\n"


@each
def test_a_flood_of_words_is_cut(tmp_path: Path, name: str) -> None:
    done = run(name, tmp_path, "head -c 1000000 /dev/zero | tr '\\0' x >&2")
    assert len(done.stderr) == 4000


@each
def test_a_node_without_it_is_no_failure(tmp_path: Path, name: str) -> None:
    assert run(name, tmp_path, None).stderr == ""


@each
def test_what_cannot_be_run_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "fleetward").write_text("no program")
    assert "ended with 126" in run(name, tmp_path, None).stderr


@each
@pytest.mark.parametrize("stubborn", ["", "trap '' TERM; "])
def test_one_that_hangs_is_ended_in_time_and_leaves_nothing(tmp_path: Path, name: str, stubborn: str) -> None:
    begun = time.monotonic()
    program = f"{stubborn}echo $$ >{tmp_path}/pid; while :; do :; done"
    done = run(name, tmp_path, program, **{SECONDS[name]: "1"})
    assert time.monotonic() - begun < 12
    assert "ended with 1" in done.stderr
    assert not Path(f"/proc/{int((tmp_path / 'pid').read_text())}").exists()


@each
def test_a_process_that_is_left_with_its_output_open_holds_nobody_up(tmp_path: Path, name: str) -> None:
    """As one does that hangs in a driver: Slurm reads until the pipe is closed by all."""
    begun = time.monotonic()
    run(name, tmp_path, f"sleep 120 & echo $! >{tmp_path}/pid; exit 0")
    os.kill(int((tmp_path / "pid").read_text()), 9)
    assert time.monotonic() - begun < 30


@each
@pytest.mark.parametrize(
    ("seconds", "within"), [("12", "12"), ("08", ""), ("x", ""), ("", ""), ("-1", ""), ("9999", "")]
)
def test_seconds_that_are_none_are_the_usual_ones(tmp_path: Path, name: str, seconds: str, within: str) -> None:
    run(name, tmp_path, f"printf '%s\\n' \"$@\" >{tmp_path}/words", **{SECONDS[name]: seconds})
    words = (tmp_path / "words").read_text().splitlines()
    usual = {"health_check": "20", "prolog": "6", "epilog": "10"}[name]
    assert words[words.index("--within") + 1] == (within or usual)


def test_metrics_are_written_where_node_exporter_has_its_folder(tmp_path: Path) -> None:
    metrics = f"{tmp_path}/none/health.prom"
    run("health_check", tmp_path, f"printf '%s\\n' \"$@\" >{tmp_path}/words", FLEETWARD_HEALTH_METRICS=metrics)
    assert "--metrics" not in (tmp_path / "words").read_text()


@each
def test_the_real_command_runs_through_it(tmp_path: Path, name: str) -> None:
    """Of a node that is an empty folder nothing is known, and nothing comes of that."""
    (tmp_path / "node").mkdir()
    (tmp_path / "node.toml").write_text('node = "gpu001"\n')
    command = f'exec {sys.executable} -m fleetward "$@" --root {tmp_path}/node --only raid'
    assert run(name, tmp_path, command).stderr == ""
    assert (tmp_path / "health.prom").exists() is (name == "health_check")


def test_what_all_three_do_is_the_same_text() -> None:
    texts = [(PIECES / f"{name}.sh").read_text() for name in NAMES]
    assert len({text[text.index("\ncommand=") :] for text in texts}) == 1


def test_shellcheck_finds_nothing_and_slurm_may_run_them() -> None:
    pieces = [PIECES / f"{name}.sh" for name in NAMES]
    shellcheck = shutil.which("shellcheck") or str(Path(sys.executable).with_name("shellcheck"))
    checked = subprocess.run([shellcheck, "--shell=sh", *pieces], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")
    assert all(os.access(piece, os.X_OK) for piece in pieces)
