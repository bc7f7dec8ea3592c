"""Prolog and epilog as Slurm's nodes get them, run by a shell: our pieces, then the site's own."""

import shutil
import subprocess
from pathlib import Path

import pytest

from fleetward.exporters.gpu.job_map import JobMap
from fleetward.exporters.gpu.readings import GpuIdentity, GpuReading
from fleetward.slurm.configuration_scripts import EPILOG, PROLOG, script

SHELL = shutil.which("dash") or "/bin/sh"
SITE = {PROLOG: "FLEETWARD_SITE_PROLOGS", EPILOG: "FLEETWARD_SITE_EPILOGS"}

each = pytest.mark.parametrize("name", [PROLOG, EPILOG])


def put(folder: Path, name: str, text: str, mode: int = 0o755) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(mode)


def run(name: str, folder: Path, job: str = "7", gpus: str = "1,3") -> int:
    """Run one of the two with the job map in `folder/jobs` and the site's own in `folder/site`."""
    done = subprocess.run(
        [SHELL, "-s"],
        input=script(name),
        env={
            "FLEETWARD_JOB_MAP": str(folder / "jobs"),
            SITE[name]: str(folder / "site"),
            "SLURM_JOB_ID": job,
            "SLURM_JOB_GPUS": gpus,
            "FLEETWARD_COMMAND": str(folder / "fleetward"),
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode


def at_work(folder: Path) -> list[tuple[int, str]]:
    gpus = [GpuReading(GpuIdentity(index, f"GPU-{index}", minor_number=index), []) for index in range(8)]
    return [(job.index, job.job) for job in JobMap(folder / "jobs").look(gpus)[0]]


def test_a_job_is_written_down_and_taken_out_again(tmp_path: Path) -> None:
    assert run(PROLOG, tmp_path) == 0
    assert at_work(tmp_path) == [(1, "7"), (3, "7")]
    assert run(EPILOG, tmp_path) == 0
    assert at_work(tmp_path) == []


@each
@pytest.mark.parametrize("ends_with", [0, 1, 5])
def test_the_checks_of_the_moment_are_run_and_never_fail_it(name: str, ends_with: int, tmp_path: Path) -> None:
    put(tmp_path, "fleetward", f'echo "$@" >> {tmp_path}/ran; exit {ends_with}')
    assert run(name, tmp_path) == 0
    ran = (tmp_path / "ran").read_text().splitlines()
    assert len(ran) == 1
    assert ran[0].startswith(f"check --report --context {name.removesuffix('.sh')} ")
    assert at_work(tmp_path) == ([(1, "7"), (3, "7")] if name == PROLOG else [])


@each
def test_a_folder_that_is_not_there_or_empty_is_no_failure(name: str, tmp_path: Path) -> None:
    assert run(name, tmp_path) == 0
    (tmp_path / "site").mkdir()
    assert run(name, tmp_path) == 0


@each
def test_a_job_map_that_cannot_be_written_is_no_failure(name: str, tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("a file where the folder should be")
    assert run(name, tmp_path) == 0


@each
def test_a_site_s_own_are_run_in_order_and_what_is_no_program_is_passed_over(name: str, tmp_path: Path) -> None:
    for piece in ("20-b", "10-a"):
        put(tmp_path / "site", piece, f"echo {piece} >> {tmp_path}/ran")
    put(tmp_path / "site", "15-readme", "exit 9", mode=0o644)
    (tmp_path / "site" / "17-folder").mkdir()
    assert run(name, tmp_path) == 0
    assert (tmp_path / "ran").read_text().split() == ["10-a", "20-b"]


def test_a_prolog_of_the_site_s_that_fails_is_the_last_and_tells_slurm(tmp_path: Path) -> None:
    put(tmp_path / "site", "10-a", "exit 4")
    put(tmp_path / "site", "20-b", f"touch {tmp_path}/ran")
    assert run(PROLOG, tmp_path) == 4
    assert not (tmp_path / "ran").exists()
    assert at_work(tmp_path) == [(1, "7"), (3, "7")], "the job map was written before"


def test_an_epilog_of_the_site_s_that_fails_tells_slurm_and_is_not_the_last(tmp_path: Path) -> None:
    put(tmp_path / "site", "10-a", "exit 4")
    put(tmp_path / "site", "20-b", f"touch {tmp_path}/ran; exit 0")
    assert run(EPILOG, tmp_path) == 4
    assert (tmp_path / "ran").exists()
