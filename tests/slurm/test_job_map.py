"""The pieces of Prolog and Epilog that write the job map, run by a shell and read back by who reads it on a node."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

import fleetward
from fleetward.exporters.gpu.job_map import JobMap
from fleetward.exporters.gpu.readings import GpuIdentity, GpuInstance, GpuJob, GpuReading

PIECES = Path(fleetward.__file__).parent / "slurm" / "job_map"
ADA = {"SLURM_JOB_USER": "ada", "SLURM_JOB_ACCOUNT": "physics", "SLURM_JOB_PARTITION": "gpu"}
GPUS = tuple(GpuReading(GpuIdentity(index, f"GPU-{index}", minor_number=index), []) for index in range(16))


def of(index: int, job: str, instance: int | None = None, **words: str) -> GpuJob:
    return GpuJob(index, job, instance, uuid=f"GPU-{index}", **words)


def command(piece: str) -> list[str]:
    return [shutil.which("dash") or "/bin/sh", str(PIECES / f"{piece}.sh")]


def run(folder: Path | str, piece: str, job: int | str, gpus: str | None = None, **words: str) -> str:
    """Run a piece with nothing but these in its environment, no PATH either, and return what it complained of."""
    done = subprocess.run(
        command(piece),
        env=environment(folder, job, gpus, words),
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    assert done.stdout == ""
    return done.stderr


def environment(folder: Path | str, job: int | str, gpus: str | None, words: Mapping[str, str]) -> dict[str, str]:
    given = {} if gpus is None else {"SLURM_JOB_GPUS": gpus}
    return {"FLEETWARD_JOB_MAP": str(folder), "SLURM_JOB_ID": str(job), **given, **words}


def seen(folder: Path) -> tuple[GpuJob, ...]:
    """Return the jobs in the map; nothing in it may be wrong."""
    jobs, errors = JobMap(folder).look(GPUS)
    assert errors == 0
    return jobs


def test_a_job_is_on_its_gpus_until_it_ends(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "jobs"
    assert run(folder, "prolog", 4711, "1,3", **ADA, SLURM_ARRAY_TASK_ID="7", SLURM_JOB_RESTART_COUNT="2") == ""
    assert seen(folder) == tuple(
        of(gpu, "4711", user="ada", account="physics", partition="gpu", array_task="7", attempt="2") for gpu in (1, 3)
    )
    assert (folder / "1").stat().st_mode & 0o777 == 0o644, "who reads it is not root"
    assert run(folder, "epilog", 4711, "1,3") == ""
    assert seen(folder) == ()
    assert [path.name for path in folder.iterdir()] == [".parts"]


def test_dcgm_exporter_finds_the_job_at_the_beginning_of_the_line(tmp_path: Path) -> None:
    run(tmp_path, "prolog", 5, "0")
    assert (tmp_path / "0").read_text() == "5\n"


def test_jobs_that_share_a_gpu_leave_it_one_by_one(tmp_path: Path) -> None:
    run(tmp_path, "prolog", 5, "0,1", SLURM_JOB_USER="ada")
    run(tmp_path, "prolog", 6, "1", SLURM_JOB_USER="bob")
    assert [(job.index, job.job, job.user) for job in seen(tmp_path)] == [
        (0, "5", "ada"),
        (1, "5", "ada"),
        (1, "6", "bob"),
    ]
    run(tmp_path, "epilog", 5)
    assert [(job.index, job.job) for job in seen(tmp_path)] == [(1, "6")]


def test_instances_have_files_of_their_own(tmp_path: Path) -> None:
    run(tmp_path, "prolog", 5, "2.1,2.13")
    assert seen(tmp_path) == (of(2, "5", 1), of(2, "5", 13))


@pytest.mark.parametrize(
    ("gpus", "visible", "files"),
    [
        ("4,5", "4,5", {"4": "5\n", "5": "5\n"}),
        ("4", "", {"4": "5\n"}),
        ("4,5", "GPU-a,GPU-b", {"4": "5\tgpu_uuid=GPU-a\n", "5": "5\tgpu_uuid=GPU-b\n"}),
        ("3,2.1", "MIG-1a2b,MIG-3c4d", {"MIG-1a2b": "5\n", "2.1": "5\n"}),
        ("3,9,4", "MIG-1a,GPU-b,MIG-2b", {"MIG-1a": "5\n", "9": "5\tgpu_uuid=GPU-b\n", "MIG-2b": "5\n"}),
        ("3,4", "MIG-GPU-1a2b/1/0,MIG-../../x", {}),
        ("3,9", "MIG-1a,9", {"MIG-1a": "5\n"}),
        ("3,4", "MIG-1a", {"MIG-1a": "5\n"}),
    ],
)
def test_a_uuid_is_written_down_and_a_number_that_may_be_of_an_instance_is_taken_for_no_gpu(
    tmp_path: Path, gpus: str, visible: str, files: dict[str, str]
) -> None:
    run(tmp_path, "prolog", 5, gpus, CUDA_VISIBLE_DEVICES=visible)
    assert {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()} == files
    run(tmp_path, "epilog", 5)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_a_job_on_an_instance_is_found_by_its_uuid(tmp_path: Path) -> None:
    run(tmp_path, "prolog", 5, "3", **ADA, CUDA_VISIBLE_DEVICES="MIG-1a2b")
    cut = GpuReading(GpuIdentity(0, "GPU-0"), [], instances=(GpuInstance(7, 0, "MIG-1a2b", "1g.10gb", []),))
    assert JobMap(tmp_path).look((cut,))[0] == (of(0, "5", 7, user="ada", account="physics", partition="gpu"),)


def test_what_tells_one_attempt_from_another_is_written_down(tmp_path: Path) -> None:
    words = {"SLURM_JOB_RESTART_COUNT": "3", "SLURMD_NODENAME": "gpu001", "SLURM_JOB_SLUID": "sEKNKTV3WPV500"}
    run(tmp_path, "prolog", 5, "0", **words)
    assert (tmp_path / "0").read_text() == "5\tattempt=3\tnode=gpu001\tsluid=sEKNKTV3WPV500\n"
    assert seen(tmp_path) == (of(0, "5", attempt="3", sluid="sEKNKTV3WPV500"),)


def test_a_job_that_was_put_back_into_the_queue_stands_there_once_with_its_new_attempt(tmp_path: Path) -> None:
    run(tmp_path, "prolog", 5, "0")
    run(tmp_path, "prolog", 5, "0", SLURM_JOB_RESTART_COUNT="1")
    assert seen(tmp_path) == (of(0, "5", attempt="1"),)


@pytest.mark.parametrize(
    ("gpus", "left"), [("2,3", [(2, "5"), (3, "5"), (3, "6")]), (None, [(3, "6")]), ("0,1", [(0, "5"), (1, "5")])]
)
def test_a_new_attempt_takes_out_what_an_attempt_before_it_left(
    tmp_path: Path, gpus: str | None, left: list[tuple[int, str]]
) -> None:
    run(tmp_path, "prolog", 5, "0,1", SLURM_JOB_RESTART_COUNT="0")
    run(tmp_path, "prolog", 6, "3")
    run(tmp_path, "prolog", 5, gpus, SLURM_JOB_RESTART_COUNT="1")
    assert [(job.index, job.job) for job in seen(tmp_path) if (job.index, job.job) in left] == left
    assert {job.attempt for job in seen(tmp_path) if job.job == "5"} <= {"1"}


def test_the_epilog_needs_no_gpus_and_may_come_twice(tmp_path: Path) -> None:
    run(tmp_path, "prolog", 5, "0,1")
    assert [run(tmp_path, "epilog", 5) for _ in range(2)] == ["", ""]
    assert seen(tmp_path) == ()


def test_all_at_once_on_one_gpu_and_none_is_lost(tmp_path: Path) -> None:
    def at_once(piece: str, jobs: range) -> list[subprocess.Popen[bytes]]:
        return [subprocess.Popen(command(piece), env=environment(tmp_path, job, "0,1", ADA)) for job in jobs]

    def ended(started: list[subprocess.Popen[bytes]]) -> None:
        assert [one.wait(30) for one in started] == [0] * len(started)

    ended(at_once("prolog", range(100, 112)))
    assert [job.job for job in seen(tmp_path)] == [str(job) for job in range(100, 112)] * 2
    ended(at_once("epilog", range(100, 110)) + at_once("prolog", range(112, 116)))
    assert [job.job for job in seen(tmp_path)] == [str(job) for job in range(110, 116)] * 2
    ended(at_once("epilog", range(110, 116)))
    assert seen(tmp_path) == ()


def test_what_is_read_meanwhile_is_never_half_written(tmp_path: Path) -> None:
    jobs, looks = JobMap(tmp_path), 0
    user = "u" * 120
    writers = [
        subprocess.Popen(command("prolog"), env=environment(tmp_path, job, "0", {"SLURM_JOB_USER": user}))
        for job in range(100, 110)
    ]
    while any(one.poll() is None for one in writers):
        found, errors = jobs.look(GPUS)
        assert errors == 0
        assert {job.user for job in found} <= {user}
        looks += 1
        time.sleep(0.001)
    assert looks > 3
    assert len(jobs.look(GPUS)[0]) == 10


@pytest.mark.parametrize(
    ("user", "shown"),
    [
        ("Zoë", "Zoë"),
        ("$(touch /tmp/hurt) `id` 'a' \"b\" \\n %s *", "$(touch /tmp/hurt) `id` 'a' \"b\" \\n %s *"),
        ("a\tuser=root\nb\r\x1b", "auser=rootb"),
        ("a=b", "a=b"),
        ("-n", "-n"),
        ("", ""),
    ],
)
def test_names_with_odd_signs_stay_names(tmp_path: Path, user: str, shown: str) -> None:
    assert run(tmp_path, "prolog", 5, "0", SLURM_JOB_USER=user, SLURM_JOB_ACCOUNT="physics") == ""
    assert seen(tmp_path) == (of(0, "5", user=shown, account="physics"),)


@pytest.mark.parametrize("gpus", [None, "", "N/A", "0;id", "../../etc", "*", "0 1", "0-3"])
def test_gpus_that_are_no_list_of_numbers_write_nothing(tmp_path: Path, gpus: str | None) -> None:
    assert run(tmp_path, "prolog", 5, gpus) == ""
    assert list(tmp_path.iterdir()) == []


def test_words_of_the_list_that_are_no_gpu_are_passed_over(tmp_path: Path) -> None:
    run(tmp_path, "prolog", 5, ",0,.,..,1.,.1,1.2.3,,2")
    assert [job.index for job in seen(tmp_path)] == [0, 2]


@pytest.mark.parametrize("piece", ["prolog", "epilog"])
@pytest.mark.parametrize("job", ["", "x", "../0", "5 6", "*"])
def test_an_id_that_is_no_number_changes_nothing(tmp_path: Path, piece: str, job: str) -> None:
    run(tmp_path, "prolog", 5, "0")
    assert run(tmp_path, piece, job, "0") == ""
    assert seen(tmp_path) == (of(0, "5"),)


@pytest.mark.parametrize("piece", ["prolog", "epilog"])
def test_without_a_job_they_end_well(tmp_path: Path, piece: str) -> None:
    done = subprocess.run(
        command(piece), env={"FLEETWARD_JOB_MAP": str(tmp_path)}, capture_output=True, timeout=10, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["/proc", "/proc/fleetward/jobs", "/dev/null/jobs"])
def test_a_folder_that_takes_nothing_is_told_and_is_no_failure(folder: str) -> None:
    """The first is there and nobody may write to it, root neither; the others cannot be made."""
    assert run(folder, "prolog", 5, "0,1") == "".join(
        f"job map: {folder} does not take job 5 of GPU {gpu}\n" for gpu in (0, 1)
    )
    assert run(folder, "epilog", 5, "0,1") == ""


def test_a_folder_that_is_not_there_is_nothing_to_an_epilog(tmp_path: Path) -> None:
    assert run(tmp_path / "jobs", "epilog", 5, "0") == ""
    assert list(tmp_path.iterdir()) == []


def test_who_was_killed_half_way_leaves_nothing_that_lasts(tmp_path: Path) -> None:
    (tmp_path / ".parts" / "0").mkdir(parents=True)
    (tmp_path / ".parts" / "0" / ".new.77").write_text("4")
    (tmp_path / ".parts" / "0" / "4").write_text("4\tattempt=0\n")
    (tmp_path / ".new.0.77").write_text("4\tatt")
    assert seen(tmp_path) == ()
    run(tmp_path, "prolog", 5, "0")
    assert [job.job for job in seen(tmp_path)] == ["4", "5"]
    run(tmp_path, "epilog", 4)
    assert [job.job for job in seen(tmp_path)] == ["5"]


def test_neither_starts_anything_of_slurm_or_of_the_driver() -> None:
    for piece in ("prolog", "epilog"):
        words = {
            word
            for line in (PIECES / f"{piece}.sh").read_text().splitlines()
            if not line.startswith("#")
            for word in line.replace("(", " ").split()
        }
        assert not words & {"scontrol", "squeue", "sacct", "nvidia-smi", "dcgmi", "python3", "flock", "sleep"}


def test_what_both_do_is_the_same_text() -> None:
    def shared(piece: str) -> str:
        text = (PIECES / f"{piece}.sh").read_text()
        return text[text.index("lines_of() {") : text.index("\n}\n", text.index("take_out() {"))]

    assert shared("prolog") == shared("epilog")
    assert "rm -f" in shared("prolog")


def test_shellcheck_finds_nothing_and_slurm_may_run_them() -> None:
    pieces = [PIECES / f"{piece}.sh" for piece in ("prolog", "epilog")]
    shellcheck = shutil.which("shellcheck") or str(Path(sys.executable).with_name("shellcheck"))
    checked = subprocess.run([shellcheck, "--shell=sh", *pieces], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")
    assert all(os.access(piece, os.X_OK) for piece in pieces)
