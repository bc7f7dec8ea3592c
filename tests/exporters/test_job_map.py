"""The job map: whose job each GPU works for, and what is left out of a folder that something else has written to."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from played_exporter import running, wait_until

from fleetward.exporters.gpu.job_map import MOST_BYTES, MOST_FILES, MOST_JOBS, MOST_LETTERS, JobMap
from fleetward.exporters.gpu.readings import GpuIdentity, GpuInstance, GpuJob, GpuReading
from fleetward.model.node_settings import GpuNumbers

if TYPE_CHECKING:
    from played_nvml import PlayedNode


def gpu(index: int, minor: int | None, uuid: str = "", *, up: bool = True) -> GpuReading:
    return GpuReading(GpuIdentity(index, uuid or f"GPU-{index}", minor_number=minor), [] if up else None)


def gpus(count: int) -> tuple[GpuReading, ...]:
    return tuple(gpu(index, index) for index in range(count))


def of(index: int, job: str, instance: int | None = None, **words: str) -> GpuJob:
    return GpuJob(index, job, instance, uuid=f"GPU-{index}", **words)


GPUS = gpus(4)
WHOLE = of(1, "4711", user="ada", account="physics", partition="gpu", array_task="7", attempt="2")
LINE = "4711\tuser=ada\taccount=physics\tpartition=gpu\tarray_task=7\tattempt=2\n"


@pytest.fixture
def jobs(tmp_path: Path) -> JobMap:
    return JobMap(tmp_path)


def test_a_line_says_whose_job_it_is(tmp_path: Path, jobs: JobMap) -> None:
    (tmp_path / "1").write_text(LINE)
    assert jobs.look(GPUS) == ((WHOLE,), 0)


def test_a_folder_as_dcgm_exporter_reads_it_is_read(tmp_path: Path, jobs: JobMap) -> None:
    (tmp_path / "3").write_text("12\n9\n")
    (tmp_path / "2.11").write_text("13_4\n")
    (tmp_path / "2.2").write_text("14+1\n")
    found, errors = jobs.look(GPUS)
    assert found == (of(2, "14+1", 2), of(2, "13_4", 11), of(3, "12"), of(3, "9"))
    assert errors == 0


def test_what_is_written_removed_or_changed_is_seen_at_the_next_look(tmp_path: Path, jobs: JobMap) -> None:
    assert jobs.look(GPUS) == ((), 0)
    (tmp_path / "0").write_text("1\n")
    assert jobs.look(GPUS)[0] == (of(0, "1"),)
    for job in ("2", "3", "4"):  # within one tick of the file system's clock
        (tmp_path / ".new").write_text(f"{job}\n")
        (tmp_path / ".new").replace(tmp_path / "0")
        assert jobs.look(GPUS)[0] == (of(0, job),)
    with (tmp_path / "0").open("a") as file:
        file.write("5\n")
    assert jobs.look(GPUS)[0] == (of(0, "4"), of(0, "5"))
    (tmp_path / "0").unlink()
    assert jobs.look(GPUS) == ((), 0)


def test_a_file_that_has_not_changed_is_not_opened_again(
    tmp_path: Path, jobs: JobMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1").write_text(LINE)
    jobs.look(GPUS)

    def never(*_: object, **__: object) -> int:
        raise AssertionError("it was opened")

    monkeypatch.setattr(os, "open", never)
    assert jobs.look(GPUS) == ((WHOLE,), 0)


def test_a_folder_that_is_not_there_is_no_error_and_is_found_when_it_comes(tmp_path: Path) -> None:
    jobs = JobMap(tmp_path / "jobs")
    assert jobs.look(GPUS) == ((), 0)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "1").write_text(LINE)
    assert jobs.look(GPUS) == ((WHOLE,), 0)


def test_a_folder_that_is_a_file_is_counted(tmp_path: Path) -> None:
    (tmp_path / "jobs").touch()
    assert JobMap(tmp_path / "jobs").look(GPUS) == ((), 1)


@pytest.mark.parametrize(
    ("content", "kept", "errors"),
    [
        (b"47", [], 1),
        (b"1\n47", ["1"], 1),
        (b"\n", [], 1),
        (b"1\n\n2\n", ["1", "2"], 1),
        (b"a b\n", [], 1),
        (b"\x00\x01\x02\n", [], 1),
        (b"\xff\xfe\n5\n", ["5"], 1),
        (b"5\tuser=\xff\n", [], 1),
        (b"7" * 65 + b"\n", [], 1),
        (b"9" * (MOST_BYTES + 1), [], 1),
        (b"1\n" * (MOST_BYTES // 2), ["1"], 1),
        (b'x"} 1\n', [], 1),
        (b"5\n5\n", ["5"], 0),
        (b"", [], 0),
    ],
)
def test_what_is_wrong_is_left_out_and_counted_once(
    tmp_path: Path, jobs: JobMap, content: bytes, kept: list[str], errors: int
) -> None:
    (tmp_path / "1").write_bytes(content)
    (tmp_path / "2").write_text("8\n")
    for _ in range(3):
        found, counted = jobs.look(GPUS)
        assert [job.job for job in found] == [*kept, "8"]
        assert counted == errors


@pytest.mark.parametrize(
    "word", ["user", "user=a\x1b[1m", "user=" + "x" * (MOST_LETTERS + 1), "user=a\u2028b", ""], ids=ascii
)
def test_a_wrong_word_costs_itself_alone(tmp_path: Path, jobs: JobMap, word: str) -> None:
    (tmp_path / "1").write_text(f"5\t{word}\taccount=physics\n")
    assert jobs.look(GPUS) == ((of(1, "5", account="physics"),), 1)


def test_words_may_hold_any_sign_and_unknown_ones_are_passed_over(tmp_path: Path, jobs: JobMap) -> None:
    (tmp_path / "1").write_text('5\tuser=Zoë="\\}\tcolour=blue\taccount=\n')
    assert jobs.look(GPUS) == ((of(1, "5", user='Zoë="\\}'),), 0)


@pytest.mark.parametrize("name", ["x", "01", "1.", "1.2.3", "-1", "٣", "12345", "1 ", "MIG-", "MIG-a b", "GPU-0"])
def test_a_name_that_is_no_gpu_is_counted_once(tmp_path: Path, jobs: JobMap, name: str) -> None:
    (tmp_path / name).write_text(LINE)
    assert [jobs.look(GPUS) for _ in range(2)] == [((), 1)] * 2


def test_a_gpu_that_is_not_there_is_counted_once_and_shown_when_it_comes(tmp_path: Path, jobs: JobMap) -> None:
    (tmp_path / "9").write_text("5\n")
    assert [jobs.look(GPUS) for _ in range(2)] == [((), 1)] * 2
    assert jobs.look(gpus(10)) == ((of(9, "5"),), 1)


PERMUTED = (gpu(0, 2), gpu(1, 3), gpu(2, 0), gpu(3, 1))
"""As on boards whose GPUs the driver found in another order than that of their addresses."""
GONE = (gpu(0, 0), gpu(1, 1, "GPU-gone", up=False), gpu(1, 2), gpu(2, 3))
"""The second of four has fallen off the bus, and those behind it moved up."""
NEVER_SEEN = (gpu(0, 1), GpuReading(GpuIdentity(1, ""), None), gpu(2, 2))


@pytest.mark.parametrize(
    ("there", "numbers", "name", "index", "uuid"),
    [
        (PERMUTED, GpuNumbers.MINOR, "0", 2, "GPU-2"),
        (PERMUTED, GpuNumbers.MINOR, "3", 1, "GPU-1"),
        (PERMUTED, GpuNumbers.INDEX, "0", 0, "GPU-0"),
        (PERMUTED, GpuNumbers.INDEX, "3", 3, "GPU-3"),
        (GONE, GpuNumbers.MINOR, "1", 1, "GPU-gone"),
        (GONE, GpuNumbers.MINOR, "2", 1, "GPU-1"),
        (GONE, GpuNumbers.MINOR, "3", 2, "GPU-2"),
        (NEVER_SEEN, GpuNumbers.MINOR, "1", 0, "GPU-0"),
        (NEVER_SEEN[1:], GpuNumbers.MINOR, "1", 1, ""),
        ((gpu(0, None), gpu(1, None)), GpuNumbers.MINOR, "1", 1, "GPU-1"),
    ],
)
def test_slurms_number_of_a_gpu_is_the_one_of_its_device_file_or_nvmls_index(
    tmp_path: Path, there: tuple[GpuReading, ...], numbers: GpuNumbers, name: str, index: int, uuid: str
) -> None:
    (tmp_path / name).write_text("5\n")
    found, errors = JobMap(tmp_path, numbers).look(there)
    assert ([(job.index, job.uuid) for job in found], errors) == ([(index, uuid)], 0)


@pytest.mark.parametrize("numbers", GpuNumbers)
def test_a_uuid_says_more_than_a_number(tmp_path: Path, numbers: GpuNumbers) -> None:
    (tmp_path / "0").write_text("5\tgpu_uuid=GPU-3\n6\tgpu_uuid=GPU-elsewhere\n7\tgpu_uuid=\n")
    found, errors = JobMap(tmp_path, numbers).look(PERMUTED)
    seventh = 2 if numbers is GpuNumbers.MINOR else 0
    assert ({job.job: job.index for job in found}, errors) == ({"5": 3, "7": seventh}, 1)


def test_a_job_on_a_mig_instance_is_found_by_the_instances_uuid(tmp_path: Path) -> None:
    parts = tuple(GpuInstance(number, 0, f"MIG-{number}a", "1g.10gb", []) for number in (7, 8))
    cut = GpuReading(GpuIdentity(0, "GPU-0", minor_number=0), [], instances=parts)
    (tmp_path / "MIG-8a").write_text("5\tuser=ada\n")
    (tmp_path / "MIG-9a").write_text("6\n")
    assert JobMap(tmp_path).look((cut,)) == ((of(0, "5", 8, user="ada"),), 1)


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "jobs-of-others").write_text(LINE)
    folder = tmp_path / "map"
    folder.mkdir()
    jobs = JobMap(folder)
    (folder / "0").symlink_to(tmp_path / "jobs-of-others")
    (folder / "1").symlink_to("/nowhere")
    os.mkfifo(folder / "2")
    (folder / "3").mkdir()
    assert [jobs.look(GPUS) for _ in range(2)] == [((), 4)] * 2


def test_what_the_writer_keeps_for_itself_is_neither_read_nor_counted(tmp_path: Path, jobs: JobMap) -> None:
    (tmp_path / ".parts").mkdir()
    (tmp_path / ".new.1.77").write_text("half")
    assert jobs.look(GPUS) == ((), 0)


def test_there_is_a_bound_to_jobs_and_to_files(tmp_path: Path, jobs: JobMap) -> None:
    (tmp_path / "0").write_text("".join(f"{job}\n" for job in range(100, 100 + MOST_JOBS + 5)))
    found, errors = jobs.look(GPUS)
    assert (len(found), errors) == (MOST_JOBS, 1)
    for instance in range(MOST_FILES):
        (tmp_path / f"1.{instance}").write_text("5\n")
    found, errors = jobs.look(GPUS)
    assert len(found) in {MOST_FILES, MOST_FILES - 1 + MOST_JOBS}, "one file is beyond the bound, whichever"
    assert errors == 2
    assert jobs.look(GPUS)[1] == 2


def test_a_job_stands_on_the_gpu_whose_device_file_it_has_open(played: "PlayedNode", tmp_path: Path) -> None:
    """The driver numbered the files in another order than that of the bus, as the stand-in is told here."""
    played.play("".join(f"gpu.{index}.minor_number={(index + 2) % 8}\n" for index in range(8)))
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "3").write_text("4711\n")
    with running(played, "--job-map", str(tmp_path / "jobs")) as exporter, played.device(3).open():
        wait_until(lambda: exporter.value("gpu_processes", gpu="1") == 1)
        assert exporter.value("gpu_info", gpu="1", minor="3") == 1
        assert exporter.value("gpu_job_info", gpu="1", job_id="4711") == 1
        wait_until(lambda: exporter.value("gpu_allocated_idle", gpu="1") == 0)
        assert exporter.value("gpu_job_info", gpu="3") is None
