"""Whose the processes on the GPUs are, and which of them should not be there."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from played_exporter import running, wait_until

from fleetward.exporters.gpu.leftovers import FIRST_USER, Kind, leftovers
from fleetward.exporters.gpu.owners import MOST_PROCESSES, job_of, owners
from fleetward.exporters.gpu.readings import GpuIdentity, GpuInstance, GpuJob, GpuProcess, GpuReading, ProcessOwner

if TYPE_CHECKING:
    from played_nvml import PlayedNode

SLUID = "sEKNKTV3WPV500"
V2 = "0::/system.slice/slurmstepd.scope/job_4711/step_0/user/task_0\n"
V1 = """\
12:memory:/slurm/uid_1000/job_4711/step_batch/task_0
4:devices:/slurm/uid_1000/job_4711/step_batch
1:name=systemd:/system.slice/slurmd.service
0::/system.slice/slurmd.service
"""


@pytest.mark.parametrize(
    ("cgroup", "job", "sluid"),
    [
        (V2, "4711", ""),
        (V1, "4711", ""),
        ("0::/system.slice/gpu001_slurmstepd.scope/job_7/step_extern/user/task_special\n", "7", ""),
        (f"0::/system.slice/slurmstepd.scope/{SLUID}/step_0/user/task_0\n", "", SLUID),
        ("4:freezer:/slurm_gpu001/uid_0/job_7\n", "7", ""),
        ("0::/../../system.slice/slurmstepd.scope/job_7/step_0\n", "7", ""),
        ("0::/kubepods.slice/pod1/system.slice/gpu-1_slurmstepd.scope/job_7/step_0/user/task_3/docker-1\n", "7", ""),
        ("0::/system.slice/slurmstepd.scope/system\n", "", ""),
        ("0::/system.slice/slurmstepd.scope/slurmd\n", "", ""),
        ("0::/system.slice/slurmd.service\n", "", ""),
        ("0::/user.slice/user-1000.slice/session-2.scope\n", "", ""),
        ("0::/user.slice/user-1000.slice/user@1000.service/slurmstepd.scope/job_8/step_0\n", "", ""),
        ("0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0/slurmstepd.scope/job_8\n", "7", ""),
        ("0::/system.slice/slurmstepd.scope/job_7x/step_0\n", "", ""),
        ("0::/system.slice/slurmstepd.scope/job_99999999999/step_0\n", "", ""),
        ("0::/system.slice/my_slurmstepd.scope.d/job_7\n", "", ""),
        ("0::/job_7/step_0\n", "", ""),
        ("0::/slurm/job_7\n", "", ""),
        ("", "", ""),
        ("nonsense\n:\n::\n", "", ""),
        ("0::/" + "a/" * 8000, "", ""),
    ],
)
def test_the_job_stands_in_the_control_group(cgroup: str, job: str, sluid: str) -> None:
    assert job_of(cgroup) == (job, sluid)


def process(proc: Path, pid: int, cgroup: str | bytes, uid: int = 1000, state: str = "S (sleeping)") -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "cgroup").write_bytes(cgroup if isinstance(cgroup, bytes) else cgroup.encode())
    (proc / str(pid) / "status").write_text(f"Name:\tpython\nState:\t{state}\nUid:\t{uid}\t0\t0\t0\n")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    process(tmp_path / "proc", 1, "0::/init.scope\n", uid=0)
    return tmp_path / "proc"


def test_a_process_has_its_job_its_user_and_its_state(proc: Path) -> None:
    process(proc, 70, V2, state="D (disk sleep)")
    process(proc, 71, "0::/user.slice/x\n", uid=1234)
    assert owners([71, 70], proc) == {70: ProcessOwner(1000, "4711", "", "D"), 71: ProcessOwner(1234, state="S")}


def test_one_that_has_ended_or_cannot_be_understood_has_no_owner(proc: Path) -> None:
    process(proc, 70, V2)
    (proc / "70" / "status").write_text("Name:\tpython\n")
    process(proc, 71, b"\xff\xfe\x00" * 100_000)
    process(proc, 72, V2)
    (proc / "72" / "cgroup").unlink()
    assert owners([69, 70, 71, 72], proc) == {71: ProcessOwner(1000, state="S")}


def test_where_processes_are_hidden_nothing_is_known(tmp_path: Path, proc: Path) -> None:
    assert owners([1], tmp_path / "nowhere") is None
    (proc / "1" / "cgroup").unlink()
    assert owners([1], proc) is None


def test_there_is_a_bound_to_how_many_are_looked_up(proc: Path) -> None:
    for pid in range(2, MOST_PROCESSES + 12):
        process(proc, pid, V2)
    assert len(owners(range(2, MOST_PROCESSES + 12), proc) or {}) == MOST_PROCESSES


def test_this_process_is_found_by_the_kernels_own_files() -> None:
    found = owners([os.getpid(), 2**22 + 1]) or {}
    assert {pid: owner.uid for pid, owner in found.items()} == {os.getpid(): os.getuid()}


PIDS = (70, 71)
ADA, BOB = FIRST_USER, FIRST_USER + 1


def gpu(index: int, *pids: int) -> GpuReading:
    return GpuReading(GpuIdentity(index, f"GPU-{index}"), [], tuple(GpuProcess(pid) for pid in pids))


def job(index: int, number: str, uid: int | str = ADA, sluid: str = "", instance: int | None = None) -> GpuJob:
    return GpuJob(index, number, instance, uid=str(uid), sluid=sluid, uuid=f"GPU-{index}")


def found(gpus: tuple[GpuReading, ...], jobs: tuple[GpuJob, ...], known: Mapping[int, ProcessOwner]) -> list[object]:
    return [(one.gpu, one.pid, one.kind) for one in leftovers(gpus, jobs, known)]


IN_5, IN_6 = ProcessOwner(ADA, "5"), ProcessOwner(BOB, "6")
BY_SLUID = ProcessOwner(ADA, "", SLUID)
FREE_OF_ADA, FREE_OF_BOB = ProcessOwner(ADA), ProcessOwner(BOB)


@pytest.mark.parametrize(
    ("owner", "jobs", "kind"),
    [
        (IN_5, (job(0, "5"),), None),
        (IN_5, (job(0, "5"), job(0, "6", BOB)), None),
        (IN_6, (job(0, "5"),), Kind.UNKNOWN_JOB),
        (IN_6, (job(0, "5"), job(1, "6", BOB)), Kind.OTHER_JOB),
        (IN_5, (), Kind.UNKNOWN_JOB),
        (ProcessOwner(0, "6"), (job(0, "5"),), Kind.UNKNOWN_JOB),
        (BY_SLUID, (job(0, "5", sluid=SLUID),), None),
        (BY_SLUID, (job(0, "5", sluid="sEKNKTV3WPV501"),), Kind.UNKNOWN_JOB),
        (BY_SLUID, (job(0, "6", sluid="sEKNKTV3WPV501"), job(1, "5", sluid=SLUID)), Kind.OTHER_JOB),
        (BY_SLUID, (job(0, "5"),), None),
        (BY_SLUID, (job(1, "5"),), None),
        (IN_5, (GpuJob(0, "4_1", uuid="GPU-0"),), None),
        (FREE_OF_ADA, (job(0, "5"),), None),
        (FREE_OF_BOB, (job(0, "5"),), Kind.NO_JOB),
        (FREE_OF_BOB, (job(0, "5"), job(0, "6", BOB)), None),
        (FREE_OF_BOB, (job(0, "5", ""),), None),
        (FREE_OF_BOB, (job(1, "6", BOB),), Kind.NO_JOB),
        (FREE_OF_ADA, (), Kind.NO_JOB),
        (ProcessOwner(0), (job(0, "5"),), None),
        (ProcessOwner(FIRST_USER - 1), (), None),
    ],
)
def test_a_process_is_of_a_job_of_its_gpu_or_left_over(
    owner: ProcessOwner, jobs: tuple[GpuJob, ...], kind: Kind | None
) -> None:
    assert found((gpu(0, 70),), jobs, {70: owner}) == ([] if kind is None else [(0, 70, kind)])


def test_one_that_has_ended_is_none() -> None:
    assert found((gpu(0, 70),), (), {}) == []


def test_of_a_cut_gpu_each_instance_has_jobs_of_its_own() -> None:
    def part(number: int, *pids: int) -> GpuInstance:
        return GpuInstance(number, 0, f"MIG-{number}", "1g.10gb", [], tuple(GpuProcess(pid) for pid in pids))

    silent = GpuInstance(9, 0, "MIG-9", "1g.10gb", [])
    cut = GpuReading(GpuIdentity(0, "GPU-0"), [], (GpuProcess(70),), instances=(part(7, 70), part(8, 71, 72), silent))
    known = {70: IN_5, 71: IN_6, 72: IN_5}
    jobs = (job(0, "5", instance=7), job(0, "6", BOB, instance=8))
    assert found((cut,), jobs, known) == [(0, 72, Kind.OTHER_JOB)]
    assert found((cut,), (job(0, "5"), job(0, "6", BOB)), known) == [], "jobs that have the whole GPU"


def test_the_page_counts_them_where_all_is_known(played: "PlayedNode", tmp_path: Path) -> None:
    """The process that holds the GPU is this one, which is in no job's control group."""
    jobs = tmp_path / "jobs"
    uid = os.getuid()

    def shown(gpu: int) -> float | None:
        return exporter.value("gpu_leftover_processes", gpu=str(gpu))

    with running(played, "--job-map", str(jobs)) as exporter, played.device(3).open():
        wait_until(lambda: exporter.value("gpu_processes", gpu="3") == 1)
        assert shown(3) is None, "nobody keeps a job map here"
        jobs.mkdir()
        expected = 0 if uid < FIRST_USER else 1
        assert (shown(3), shown(4)) == (expected, 0)
        (jobs / "3").write_text(f"5\tuid={uid}\n")
        assert shown(3) == 0
        (jobs / "3").write_text("5\tuid=")
        assert shown(3) is None, "a line that may be half written may be of the job that has the GPU"
