"""What Slurm runs for the checks: it ends with 0 and in time, whatever `fleetward` does."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fleetward
from fleetward.commands.check import check

PIECE = Path(fleetward.__file__).parent / "slurm" / "health" / "check.sh"
USUAL_SECONDS = {"periodic": "20", "prolog": "7", "epilog": "10"}
each = pytest.mark.parametrize("context", USUAL_SECONDS)


def run(context: str, folder: Path, program: str | None, **words: str) -> subprocess.CompletedProcess[str]:
    """Run it with a program in place of `fleetward`, with nothing but these in its environment, no PATH either."""
    command = folder / "fleetward"
    if program is not None:
        command.write_text(f"#!/bin/sh\n{program}\n")
        command.chmod(0o755)
    given = {"FLEETWARD_COMMAND": str(command), "FLEETWARD_NODE_SETTINGS": f"{folder}/node.toml"}
    metrics = {"FLEETWARD_HEALTH_STATE": f"{folder}/state", "FLEETWARD_HEALTH_METRICS": f"{folder}/health.prom"}
    shell = shutil.which("dash") or "/bin/sh"
    done = subprocess.run(
        [shell, str(PIECE)],
        env={**given, **metrics, "FLEETWARD_CHECK_CONTEXT": context, "SLURM_JOB_ID": "7", **words},
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
def test_the_command_gets_what_it_needs_and_all_of_it_are_options_of_its(tmp_path: Path, context: str) -> None:
    before = left_behind()
    done = run(context, tmp_path, f"printf '%s\\n' \"$@\" >{tmp_path}/words; env >{tmp_path}/environment; echo data")
    assert done.stderr == ""
    words = (tmp_path / "words").read_text().splitlines()
    assert words[:4] == ["check", "--report", "--context", context]
    parsed = check.make_context("check", words[1:]).params
    assert parsed["settings"] == tmp_path / "node.toml"
    periodic = context == "periodic"
    assert parsed["metrics"] == (tmp_path / "health.prom" if periodic else None)
    assert (parsed["state"] == tmp_path / "state") is periodic
    assert "SLURM_JOB_ID=7" in (tmp_path / "environment").read_text()
    assert left_behind() == before


@each
@pytest.mark.parametrize("program", ["exit 1", "exit 2", "exit 126", "kill -9 $$", "kill -TERM $$", "exec /none"])
def test_whatever_it_ends_with_slurm_is_told_0_and_a_person_is_told_why(
    tmp_path: Path, context: str, program: str
) -> None:
    before = left_behind()
    done = run(context, tmp_path, f"echo 'fleetward: something is wrong' >&2; {program}")
    assert done.stderr.startswith("fleetward: something is wrong\n")
    assert f"fleetward check --context {context} ended with " in done.stderr.splitlines()[-1]
    assert left_behind() == before


@each
def test_what_it_says_while_all_is_well_is_passed_on(tmp_path: Path, context: str) -> None:
    assert run(context, tmp_path, "echo 'fleetward: drained' >&2").stderr == "fleetward: drained\n"


@each
def test_a_flood_of_words_is_cut(tmp_path: Path, context: str) -> None:
    done = run(context, tmp_path, "head -c 1000000 /dev/zero | tr '\\0' x >&2")
    assert len(done.stderr) == 4000


@each
def test_a_node_without_it_is_no_failure(tmp_path: Path, context: str) -> None:
    assert run(context, tmp_path, None).stderr == ""


@each
def test_what_cannot_be_run_is_told(tmp_path: Path, context: str) -> None:
    (tmp_path / "fleetward").write_text("no program")
    assert "ended with 126" in run(context, tmp_path, None).stderr


@each
@pytest.mark.parametrize("stubborn", ["", "trap '' TERM; "])
def test_one_that_hangs_is_ended_in_time_and_leaves_nothing(tmp_path: Path, context: str, stubborn: str) -> None:
    begun = time.monotonic()
    program = f"{stubborn}echo $$ >{tmp_path}/pid; while :; do :; done"
    done = run(context, tmp_path, program, FLEETWARD_CHECK_SECONDS="1")
    assert time.monotonic() - begun < 12
    assert "ended with 1" in done.stderr
    assert not Path(f"/proc/{int((tmp_path / 'pid').read_text())}").exists()


@each
def test_a_process_that_is_left_with_its_output_open_holds_nobody_up(tmp_path: Path, context: str) -> None:
    """As one does that hangs in a driver: Slurm reads until the pipe is closed by all."""
    begun = time.monotonic()
    run(context, tmp_path, f"sleep 120 & echo $! >{tmp_path}/pid; exit 0")
    os.kill(int((tmp_path / "pid").read_text()), 9)
    assert time.monotonic() - begun < 30


@each
@pytest.mark.parametrize(
    ("seconds", "within"), [("12", "12"), ("08", ""), ("x", ""), ("", ""), ("-1", ""), ("9999", "")]
)
def test_seconds_that_are_none_are_the_usual_ones(tmp_path: Path, context: str, seconds: str, within: str) -> None:
    run(context, tmp_path, f"printf '%s\\n' \"$@\" >{tmp_path}/words", FLEETWARD_CHECK_SECONDS=seconds)
    words = (tmp_path / "words").read_text().splitlines()
    assert words[words.index("--within") + 1] == (within or USUAL_SECONDS[context])


def test_metrics_are_written_where_node_exporter_has_its_folder(tmp_path: Path) -> None:
    metrics = f"{tmp_path}/none/health.prom"
    run("periodic", tmp_path, f"printf '%s\\n' \"$@\" >{tmp_path}/words", FLEETWARD_HEALTH_METRICS=metrics)
    assert "--metrics" not in (tmp_path / "words").read_text()


@each
def test_the_real_command_runs_through_it(tmp_path: Path, context: str) -> None:
    """Of a node that is an empty folder nothing is known, and nothing comes of that."""
    (tmp_path / "node").mkdir()
    (tmp_path / "node.toml").write_text('node = "gpu001"\n')
    command = f'exec {sys.executable} -m fleetward "$@" --root {tmp_path}/node --only raid'
    assert run(context, tmp_path, command).stderr == ""
    assert (tmp_path / "health.prom").exists() is (context == "periodic")


@pytest.mark.parametrize("context", ["", "hand", "periodic; reboot"])
def test_a_context_that_is_none_is_the_periodic_one(tmp_path: Path, context: str) -> None:
    run(context, tmp_path, f"printf '%s\\n' \"$@\" >{tmp_path}/words")
    assert (tmp_path / "words").read_text().splitlines()[2:4] == ["--context", "periodic"]


def test_shellcheck_finds_nothing_and_slurm_may_run_it() -> None:
    shellcheck = shutil.which("shellcheck") or str(Path(sys.executable).with_name("shellcheck"))
    checked = subprocess.run([shellcheck, "--shell=sh", PIECE], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")
    assert os.access(PIECE, os.X_OK)
