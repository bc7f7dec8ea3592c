"""Jobs whose epilog never came leave the job map; nobody else does, whatever Slurm says or does not."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fleetward
from fleetward.exporters.gpu.job_map import MOST_BYTES, MOST_FILES, JobMap
from fleetward.node.deadline import Deadline
from fleetward.node.job_map_parts import MOST_JOBS, mend, read_parts, take_out
from fleetward.node.job_map_reconcile import GRACE_SECONDS, MOST_ASKED, Reconciled, reconcile
from fleetward.node.job_map_slurm import asking, is_over, judged, may_be_among
from fleetward.node.probes.job_steps import jobs_with_steps
from fleetward.node.results import ProbeError
from fleetward.node.surroundings import Surroundings

if TYPE_CHECKING:
    from conftest import NodeFiles

PIECES = Path(fleetward.__file__).parent / "slurm" / "job_map"
SHELL = shutil.which("dash") or "/bin/sh"
NODE = {"SLURMD_NODENAME": "gpu001"}
LONG_AGO = 2 * GRACE_SECONDS


def piece(name: str, folder: Path, job: int | str, gpus: str = "", **words: str) -> subprocess.Popen[bytes]:
    given = {"FLEETWARD_JOB_MAP": str(folder), "SLURM_JOB_ID": str(job), "SLURM_JOB_GPUS": gpus, **NODE, **words}
    return subprocess.Popen([SHELL, str(PIECES / f"{name}.sh")], env=given)


def prolog(folder: Path, job: int | str, gpus: str, *, ago: float = LONG_AGO, **words: str) -> None:
    """Write a job down, so long ago."""
    assert piece("prolog", folder, job, gpus, **words).wait(10) == 0
    for line in (folder / ".parts").glob(f"*/{job}"):
        os.utime(line, (time.time() - ago,) * 2)


def on_map(folder: Path) -> list[tuple[str, str]]:
    """Return GPU and job of every line that an exporter sees; nothing in the map may be wrong."""
    lines, errors = JobMap(folder).lines()
    assert errors == 0
    return [(str(line.device), line.job.job) for line in lines]


def nobody_is_asked(job: str, node: str) -> bool:
    raise AssertionError(f"job {job} was asked for on {node}")


def run(folder: Path, is_over: Callable[[str, str], bool], *with_step: str) -> Reconciled:
    return reconcile(folder, frozenset(with_step), is_over, time.time())


def taken(done: Reconciled) -> list[tuple[str, str]]:
    return [(part.gpu, part.job) for part in done.taken_out]


def test_a_job_that_is_over_leaves_every_gpu_and_others_stay(tmp_path: Path) -> None:
    prolog(tmp_path, 5, "0,1", SLURM_JOB_USER="ada")
    prolog(tmp_path, 6, "1,2")
    asked = []

    def over(job: str, node: str) -> bool:
        asked.append((job, node))
        return job == "5"

    done = run(tmp_path, over)
    assert sorted(asked) == [("5", "gpu001"), ("6", "gpu001")], "each once, under the name that Slurm gave the node"
    assert (taken(done), done.kept, done.unknown, done.mended) == ([("0", "5"), ("1", "5")], 2, (), ())
    assert on_map(tmp_path) == [("1", "6"), ("2", "6")]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".parts", "1", "2"]
    assert list((tmp_path / ".parts" / "0").iterdir()) == []


def test_a_job_with_a_step_here_is_not_over_and_slurm_is_not_asked(tmp_path: Path) -> None:
    prolog(tmp_path, 5, "0")
    assert run(tmp_path, nobody_is_asked, "5") == Reconciled((), 1, (), ())


@pytest.mark.parametrize("ago", [0.0, GRACE_SECONDS - 10, -GRACE_SECONDS + 10])
def test_what_was_written_just_now_is_left_alone(tmp_path: Path, ago: float) -> None:
    """Also where the clock was set back a little after it was written."""
    prolog(tmp_path, 5, "0", ago=ago)
    assert run(tmp_path, nobody_is_asked).kept == 1


@pytest.mark.parametrize("ago", [GRACE_SECONDS + 10, 30 * 86400.0, -86400.0])
def test_after_a_clock_that_jumped_slurm_has_the_last_word(tmp_path: Path, ago: float) -> None:
    prolog(tmp_path, 5, "0", ago=ago)
    assert taken(run(tmp_path, lambda *_: False)) == []
    assert taken(run(tmp_path, lambda *_: True)) == [("0", "5")]


def test_a_job_of_which_slurm_says_nothing_stays(tmp_path: Path) -> None:
    prolog(tmp_path, 5, "0")
    prolog(tmp_path, 6, "1")

    def silent(job: str, _: str) -> bool:
        if job == "5":
            raise ProbeError("squeue gave no answer within 5 s")
        return True

    done = run(tmp_path, silent)
    assert (taken(done), done.unknown) == ([("1", "6")], (("5", "squeue gave no answer within 5 s"),))
    assert on_map(tmp_path) == [("0", "5")]


def test_there_is_a_bound_to_how_many_are_asked_for_and_the_oldest_come_first(tmp_path: Path) -> None:
    parts = tmp_path / ".parts" / "0"
    parts.mkdir(parents=True)
    for job in range(MOST_ASKED + 5):
        (parts / f"{job}").write_text(f"{job}\n")
        os.utime(parts / f"{job}", (time.time() - LONG_AGO - job,) * 2)
    asked: list[str] = []
    done = run(tmp_path, lambda job, _: bool(asked.append(job)))
    assert asked == [str(job) for job in range(MOST_ASKED + 4, 4, -1)]
    assert {job for job, _ in done.unknown} == {"0", "1", "2", "3", "4"}


def test_a_line_that_is_written_anew_meanwhile_stays(tmp_path: Path) -> None:
    """The job was put back into the queue, its epilog got lost, and it begins again here while Slurm is asked."""
    prolog(tmp_path, 5, "0,1", SLURM_JOB_RESTART_COUNT="0")

    def begins_again(*_: str) -> bool:
        prolog(tmp_path, 5, "1", ago=0, SLURM_JOB_RESTART_COUNT="1")
        return True

    assert taken(run(tmp_path, begins_again)) == []
    (line,) = JobMap(tmp_path).lines()[0]
    assert (str(line.device), line.job.attempt) == ("1", "1")


def test_who_comes_first_takes_it_out(tmp_path: Path) -> None:
    prolog(tmp_path, 5, "0")
    (part,) = read_parts(tmp_path)
    assert piece("epilog", tmp_path, 5).wait(10) == 0
    assert take_out(tmp_path, part) is False
    assert on_map(tmp_path) == []


def test_at_the_same_time_as_prologs_and_epilogs_nothing_is_lost(tmp_path: Path) -> None:
    for job in range(200, 210):
        prolog(tmp_path, job, "0,1")
    scripts = [piece("prolog", tmp_path, job, "0,1") for job in range(100, 106)]
    scripts += [piece("epilog", tmp_path, job) for job in range(200, 204)]
    over = {str(job) for job in range(202, 208)}
    while any(one.poll() is None for one in scripts):
        run(tmp_path, lambda job, _: job in over)
    run(tmp_path, lambda job, _: job in over)
    jobs = [str(job) for job in [*range(100, 106), 208, 209]]
    assert on_map(tmp_path) == [(gpu, job) for gpu in ("0", "1") for job in jobs]
    assert all(one.wait(10) == 0 for one in scripts)


def test_instances_and_uuids_are_gpus_too(tmp_path: Path) -> None:
    prolog(tmp_path, 5, "2.1")
    prolog(tmp_path, 5, "2.1,7", CUDA_VISIBLE_DEVICES="2,MIG-1a2b")
    assert sorted(taken(run(tmp_path, lambda *_: True))) == [("2.1", "5"), ("MIG-1a2b", "5")]
    assert on_map(tmp_path) == []


@pytest.mark.parametrize(
    ("file", "lines", "mended"),
    [
        (None, {"5": "5\n"}, True),
        ("5\n6\n", {"5": "5\n"}, True),
        ("5\n", {}, True),
        ("5", {"5": "5\n"}, True),
        ("5\n6\n", {"5": "5\n", "6": "6\n"}, False),
        (None, {}, False),
    ],
)
def test_what_a_writer_that_was_killed_half_way_left_is_put_together(
    tmp_path: Path, file: str | None, lines: dict[str, str], mended: bool
) -> None:
    (tmp_path / ".parts" / "0").mkdir(parents=True)
    for name, text in lines.items():
        (tmp_path / ".parts" / "0" / name).write_text(text)
    if file is not None:
        (tmp_path / "0").write_text(file)
    assert mend(tmp_path) == (("0",) if mended else ())
    assert on_map(tmp_path) == [("0", name) for name in lines]
    assert mend(tmp_path) == ()


def test_a_folder_that_another_writer_keeps_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "0").write_text("13_4\n")
    assert run(tmp_path, nobody_is_asked) == Reconciled((), 0, (), ())
    assert (tmp_path / "0").read_text() == "13_4\n"


def test_a_folder_that_is_not_there_has_no_jobs(tmp_path: Path) -> None:
    assert run(tmp_path / "jobs", nobody_is_asked) == Reconciled((), 0, (), ())
    assert list(tmp_path.iterdir()) == []


def test_what_else_stands_in_the_folder_is_harmless(tmp_path: Path) -> None:
    """Links, pipes, folders, names that are none, files that are too large, bytes that are no text."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "7").write_text("7\n")
    folder = tmp_path / "map"
    parts = folder / ".parts"
    (parts / "0").mkdir(parents=True)
    (parts / "1").symlink_to(victim)
    (parts / "x").mkdir()
    (parts / "x" / "8").write_text("8\n")
    (parts / "2").write_text("2\n")
    (parts / "0" / "5").write_bytes(b"5\tuser=\xff\xfe\tnode=gpu001\n")
    (parts / "0" / "6").symlink_to(victim / "7")
    os.mkfifo(parts / "0" / "9")
    (parts / "0" / "10").mkdir()
    (parts / "0" / "11").write_bytes(b"1" * (MOST_BYTES + 1))
    (parts / "0" / "12x").write_text("12\n")
    (parts / "0" / "99999999999").write_text("99999999999\n")
    (parts / "0" / "13").write_text("13\tnode=gpu001;id\n")
    for path in (parts / "0").iterdir():
        os.utime(path, (0, 0), follow_symlinks=False)
    asked = []

    def over(job: str, node: str) -> bool:
        asked.append((job, node))
        return True

    done = run(folder, over)
    assert sorted(asked) == [("13", ""), ("5", "gpu001")]
    assert taken(done) == [("0", "13"), ("0", "5")]
    assert (victim / "7").read_text() == "7\n"
    assert {path.name for path in (parts / "0").iterdir()} == {"6", "9", "10", "11", "12x", "99999999999"}


def test_lines_are_not_looked_for_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "0").mkdir(parents=True)
    (tmp_path / "elsewhere" / "0" / "5").write_text("5\n")
    (tmp_path / ".parts").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="is a link"):
        run(tmp_path, nobody_is_asked)


def test_there_is_a_bound_to_gpus_and_to_lines(tmp_path: Path) -> None:
    for gpu in range(MOST_FILES + 3):
        (tmp_path / ".parts" / f"0.{gpu}").mkdir(parents=True)
    for job in range(1000, 1000 + MOST_JOBS + 9):
        (tmp_path / ".parts" / "0.0" / f"{job}").write_text(f"{job}\n")
    assert len(read_parts(tmp_path)) == MOST_JOBS


@pytest.mark.parametrize(
    ("answer", "over"),
    [
        ("5 RUNNING gpu001\n", False),
        ("5 RUNNING gpu[001-004]\n", False),
        ("5 RUNNING gpu[002-004],head\n", True),
        ("5 COMPLETING gpu001\n", False),
        ("5 COMPLETING gpu002\n", True),
        ("5 CONFIGURING gpu001\n", False),
        ("5 SUSPENDED gpu001\n", False),
        ("5 STAGE_OUT gpu001\n", False),
        ("5 A_STATE_OF_TOMORROW gpu001\n", False),
        ("5 A_STATE_OF_TOMORROW \n", False),
        ("5 COMPLETED gpu001\n", True),
        ("5 NODE_FAIL gpu001\n", True),
        ("5 OUT_OF_MEMORY gpu001\n", True),
        ("5 PENDING \n", True),
        ("5 PENDING\n", True),
        ("5 REQUEUE_HOLD \n", True),
        ("6 RUNNING gpu001\n7 PENDING \n", True),
        ("5 COMPLETED gpu001\n6 RUNNING gpu001\n", True),
        ("6 COMPLETED gpu001\n5 RUNNING gpu001\n", False),
        ("5 COMPLETED gpu001\n5 RUNNING gpu001\n", False),
    ],
)
def test_what_slurms_answer_means(answer: str, over: bool) -> None:
    """The shapes are those of Slurm 24.11.5 and 26.05.5: a waiting job has a blank where its nodes would be."""
    assert judged(answer, "5", "gpu001") is over


@pytest.mark.parametrize(
    ("answer", "over"), [("5 RUNNING gpu002\n", False), ("5 COMPLETED gpu002\n", True), ("5 PENDING \n", True)]
)
def test_where_this_nodes_name_is_not_known_a_job_that_runs_is_not_over(answer: str, over: bool) -> None:
    assert judged(answer, "5", "") is over


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "5 COMPL",
        "5 COMPLETED gpu001",
        "COMPLETED\n",
        "5\n",
        "\n",
        "5 COMPLETED gpu001 extra\n",
        "squeue: error\n",
        "\0\n",
        "5 COMPLETED gpu001\n6 RUN",
    ],
)
def test_an_answer_that_is_not_whole_means_nothing(answer: str) -> None:
    with pytest.raises(ProbeError, match="is not whole"):
        judged(answer, "5", "gpu001")


@pytest.mark.parametrize(
    ("node", "names", "among"),
    [
        ("gpu001", "gpu001", True),
        ("gpu001", "gpu0011", False),
        ("gpu001", "gpu[002-003,001]", True),
        ("gpu001", "head,gpu[001-002]", True),
        ("gpu001", "gpu[1-2]", False),
        ("gpu1", "gpu[001-002]", False),
        ("gpu10", "gpu[8-12]", True),
        ("gpu08", "gpu[8-12]", False),
        ("gpu001", "gpu[002-999]", False),
        ("gpu001-ib", "gpu[001-002]-ib", True),
        ("gpu001", "gpu[001-002]-ib", False),
        ("rack1n2", "rack[0-1]n[0-3]", True),
        ("rack1n2", "row[0-1]n[0-3]", False),
        ("n.1", "nx1", False),
        ("gpu001", "gpu[a-b]", True),
        ("gpu001", "gpu[001", True),
        ("gpu001", "gpu[-]", True),
        ("gpu001", "(null)", False),
    ],
)
def test_a_node_is_found_in_a_list_that_slurm_folded_and_kept_where_that_is_not_clear(
    node: str, names: str, among: bool
) -> None:
    assert may_be_among(node, names) is among


GONE = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"
DEAD = "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1"


def test_slurm_is_asked_for_this_one_job(node_files: "NodeFiles") -> None:
    node_files.program("squeue", f'echo "$@" > {node_files.root}/asked; echo "5 RUNNING gpu002"')
    assert is_over(Surroundings(node_files.root), "5", "gpu001", 5.0) is True
    assert (node_files.root / "asked").read_text() == ("--local --noheader --states=all --jobs=5 --format=%A %T %N\n")


def test_a_job_that_slurm_has_forgotten_is_over(node_files: "NodeFiles") -> None:
    node_files.program("squeue", GONE)
    assert is_over(Surroundings(node_files.root), "5", "gpu001", 5.0) is True


@pytest.mark.parametrize(
    ("script", "words"),
    [(DEAD, "Unable to contact"), ("exit 1", "failed with 1"), ("exec sleep 60", "no answer within")],
)
def test_where_slurm_does_not_answer_nothing_is_known(node_files: "NodeFiles", script: str, words: str) -> None:
    node_files.program("squeue", script)
    ask = asking(Surroundings(node_files.root), Deadline(1.0))
    with pytest.raises(ProbeError, match=words):
        ask("5", "gpu001")


def test_all_answers_have_one_deadline(node_files: "NodeFiles") -> None:
    node_files.program("squeue", "exec sleep 60")
    ask = asking(Surroundings(node_files.root), Deadline(1.0))
    told = []
    for job in ("5", "6", "7"):
        with pytest.raises(ProbeError) as said:
            ask(job, "gpu001")
        told.append(str(said.value))
    assert "no answer" in told[0]
    assert told[1:] == ["no time was left to ask Slurm"] * 2


def test_a_node_without_squeue_knows_nothing(node_files: "NodeFiles") -> None:
    with pytest.raises(ProbeError, match="squeue is not installed"):
        is_over(Surroundings(node_files.root), "5", "gpu001", 5.0)


def stepd(files: "NodeFiles", pid: int, title: str, uid: int = 0, cgroup: str = "", comm: str = "slurmstepd") -> None:
    files.write(f"proc/{pid}/comm", f"{comm}\n")
    files.write(f"proc/{pid}/cmdline", f"{title}\0\0")
    files.write(f"proc/{pid}/status", f"Name:\t{comm}\nUid:\t{uid}\t0\t0\t0\n")
    files.write(f"proc/{pid}/cgroup", cgroup)


def test_a_job_has_a_step_here_where_a_slurmstepd_of_roots_says_so(node_files: "NodeFiles") -> None:
    stepd(node_files, 101, "slurmstepd: [4711.extern]")
    stepd(node_files, 102, "slurmstepd: [4712.0 stepmgr]")
    stepd(node_files, 103, "slurmstepd: [4713.2+1]", cgroup="0::/system.slice/slurmstepd.scope/sEKNKTV3WPV500/step_2\n")
    stepd(node_files, 104, "slurmstepd: [4714.batch]", uid=1000)
    stepd(node_files, 105, "slurmstepd: [4715.batch]", comm="python")
    stepd(node_files, 106, "/usr/sbin/slurmstepd infinity")
    stepd(node_files, 107, "slurmstepd: [x.batch]")
    (node_files.root / "proc/108").mkdir()
    assert jobs_with_steps(Surroundings(node_files.root)) == {"4711", "4712", "4713", "sEKNKTV3WPV500"}


@contextmanager
def calling_itself_slurmstepd(folder: Path) -> Iterator[int]:
    """Start a real process whose name and title are those of a slurmstepd."""
    program = folder / "slurmstepd"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    with subprocess.Popen(["slurmstepd: [4711.extern]", "60"], executable=program) as process:
        yield process.pid
        process.kill()


def test_the_kernels_own_table_is_read(tmp_path: Path) -> None:
    with calling_itself_slurmstepd(tmp_path):
        deadline = time.monotonic() + 10
        expected = os.getuid() == 0
        while ("4711" in jobs_with_steps(Surroundings())) is not expected:
            assert time.monotonic() < deadline
            time.sleep(0.05)
