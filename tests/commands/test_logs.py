"""`fleetward logs`: what it prints of files, of files that Slurm names, while they grow, and the first error."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from in_process import check_words, run_command

from fleetward.commands import _log_words
from fleetward.commands import logs as command
from fleetward.slurm.accounting import Attempt
from fleetward.slurm.answers import Job, JobDetail
from fleetward.slurm.client import NoSuchJobError, SlurmOutOfReachError

Fleetward = Callable[..., subprocess.CompletedProcess[str]]
Program = Callable[[str, str], Path]

JOB = Job(
    id="12",
    number=12,
    name="digits",
    user="ada",
    account="research",
    partition="gpu",
    qos="normal",
    state="COMPLETED",
    reason="None",
    nodes=("gpu001",),
    node_count=1,
    cpus=8,
    gpus={"h100": 8},
    elapsed=0,
    time_limit=600,
    submitted_at=datetime(2026, 11, 28, tzinfo=UTC),
    started_at=None,
    restarts=0,
    working_directory="/data",
)
LOG = """\
fleetward: attempt 1 of job 12 on gpu[001-002] at 2026-11-28T09:00:00Z
 0: step 1
 9: step 1
srun: error: gpu002: task 9: Bus error
fleetward: attempt 2 of job 12 on gpu[001-002] at 2026-11-28T10:00:00Z
 0: 2026-11-28 10:00:01 step 1
 9: [rank9]: Traceback (most recent call last):
 9: [rank9]:   File "/data/train.py", line 3, in <module>
 9: [rank9]: ValueError: \x1b[31mbad\x1b]0;title\x07 thing
 0: [rank0]: Traceback (most recent call last):
 0: [rank0]:   File "/data/train.py", line 3, in <module>
 0: [rank0]: torch.distributed.DistBackendError: NCCL error in: x.cpp:1, remote process exited
srun: error: gpu002: task 9: Exited with exit code 1
srun: error: gpu001: task 0: Exited with exit code 1
"""


@dataclass
class PlayedSlurm:
    """What the command asks Slurm; the last answer stays."""

    answers: list[JobDetail | Exception] = field(default_factory=list)
    records: list[Attempt] | Exception = field(default_factory=list)

    def job(self, job_id: str) -> JobDetail:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def attempts(self, job_id: str) -> tuple[Attempt, ...]:
        if isinstance(self.records, Exception):
            raise self.records
        return tuple(self.records)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "digits-12.log"
    path.write_text(LOG)
    return path


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleetward:
    """Return a way to run `fleetward logs 12` where Slurm must not be asked."""

    @contextmanager
    def refuse(backend: str) -> Iterator[None]:
        raise AssertionError(f"Slurm was asked through {backend}")
        yield

    monkeypatch.setattr(command, "slurm", refuse)
    return lambda *arguments: run_command(tmp_path, "logs", "12", *arguments)


@pytest.fixture
def played(logs: Fleetward, monkeypatch: pytest.MonkeyPatch) -> PlayedSlurm:
    """Return a Slurm that `logs` asks."""
    played = PlayedSlurm()

    @contextmanager
    def give(backend: str) -> Iterator[PlayedSlurm]:
        yield played

    monkeypatch.setattr(command, "slurm", give)
    return played


def detail(log: Path, **changes: object) -> JobDetail:
    return JobDetail(replace(JOB, **changes), (), output=str(log))  # type: ignore[arg-type]


def documents(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_last_lines_of_the_file_that_slurm_names(logs: Fleetward, played: PlayedSlurm, log: Path) -> None:
    played.answers = [detail(log.with_name("%x-%j.log"))]
    done = logs("--lines", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "".join(LOG.splitlines(keepends=True)[-2:])


def test_a_hundred_lines_are_shown_unless_told_otherwise(logs: Fleetward, log: Path) -> None:
    log.write_text("".join(f"{number}\n" for number in range(500)))
    assert logs("--file", str(log)).stdout == "".join(f"{number}\n" for number in range(400, 500))
    assert len(logs("--file", str(log), "--lines", "0").stdout.splitlines()) == 500


def test_output_and_errors_are_told_apart(logs: Fleetward, played: PlayedSlurm, log: Path) -> None:
    errors = log.with_name("errors")
    errors.write_text("oh\n")
    played.answers = [replace(detail(log), error=str(errors))]
    done = logs("--lines", "1")
    assert done.stdout == f"==> {log} <==\n{LOG.splitlines()[-1]}\n==> {errors} <==\noh\n"
    played.answers = [replace(detail(log), error=str(log))]
    assert logs("--lines", "1").stdout == f"{LOG.splitlines()[-1]}\n"


def test_files_that_are_named_are_read_without_slurm(logs: Fleetward, log: Path) -> None:
    done = logs("--file", str(log), "--lines", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(LOG.splitlines())


def test_a_log_cannot_draw_on_the_terminal(logs: Fleetward, log: Path) -> None:
    log.write_bytes(b"\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b \xff\ta\rshown \xe2\x80\xae\xc3\xa9\n")
    assert logs("--file", str(log)).stdout == "shown \\u202eé\n"
    log.write_bytes(b"\x1b]0;title\x07 \xff\ta\n")
    assert logs("--file", str(log)).stdout == "\\x1b]0;title\\x07 \\xff a\n"


def test_one_rank_is_shown(logs: Fleetward, log: Path) -> None:
    done = logs("--file", str(log), "--rank", "9", "--lines", "3")
    assert [line[:6] for line in done.stdout.splitlines()] == [" 9: [r"] * 3
    assert logs("--file", str(log), "--rank", "9", "--attempt", "1").stdout == " 9: step 1\n"
    nothing = logs("--file", str(log), "--rank", "77")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "no line fits" in nothing.stderr


def test_one_attempt_is_shown(logs: Fleetward, log: Path) -> None:
    assert logs("--file", str(log), "--attempt", "1").stdout.splitlines() == LOG.splitlines()[:4]
    assert logs("--file", str(log), "--attempt", "2", "--lines", "1").stdout.splitlines() == LOG.splitlines()[-1:]


def test_lines_in_json(logs: Fleetward, log: Path) -> None:
    found = documents(logs("--file", str(log), "--json", "--lines", "0"))
    assert len(found) == len(LOG.splitlines())
    assert found[5] == {
        "file": str(log),
        "rank": 0,
        "attempt": 2,
        "at": found[5]["at"],
        "text": " 0: 2026-11-28 10:00:01 step 1",
    }
    assert str(found[5]["at"]).startswith("2026-11-28T10:00:01")
    assert [one["rank"] for one in found[:4]] == [None, 0, 9, None]
    assert [one["attempt"] for one in found] == [1] * 4 + [2] * 10
    assert [one["attempt"] for one in documents(logs("--file", str(log), "--json", "--lines", "1"))] == [None]


def test_the_first_error_is_told_with_what_came_of_it(logs: Fleetward, log: Path) -> None:
    done = logs("--file", str(log), "--first-error")
    assert (done.returncode, done.stderr) == (5, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "traceback: ValueError: bad\\x1b]0;title\\x07 thing"
    assert lines[1].startswith("  rank 9, 2026-11-28 10:00:01")
    assert lines[1].endswith(", attempt 2")
    assert lines[2:5] == [f"  {log}:7", "", lines[4]]
    assert lines[4].split() == ["ERROR", "ROLE", "RANKS", "NODES", "FIRST", "AT", "TEXT"]
    assert [line.split()[:4] for line in lines[5:]] == [
        ["traceback", "cause", "9", "-"],
        ["nccl", "error", "consequence", "0"],
        ["srun", "exit", "consequence", "0,9"],
    ]


def test_the_findings_in_json(logs: Fleetward, log: Path) -> None:
    done = logs("--file", str(log), "--first-error", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 5
    assert (document["job"], document["attempt"], document["left_out"]) == ("12", 2, 0)
    assert document["first"] == document["findings"][0]
    assert document["first"] == document["first"] | {
        "kind": "traceback",
        "rank": 9,
        "node": None,
        "line_number": 7,
        "file": str(log),
        "attempt": 2,
        "consequence": False,
    }
    assert [one["kind"] for one in document["findings"]] == ["traceback", "nccl_error", "srun_exit", "srun_exit"]


def test_the_first_error_of_one_rank_or_attempt(logs: Fleetward, log: Path) -> None:
    of_rank = json.loads(logs("--file", str(log), "--first-error", "--json", "--rank", "0").stdout)
    assert of_rank["first"]["kind"] == "nccl_error"
    of_attempt = json.loads(logs("--file", str(log), "--first-error", "--json", "--attempt", "1").stdout)
    assert (of_attempt["first"]["kind"], of_attempt["first"]["node"]) == ("bus_error", "gpu002")
    none = logs("--file", str(log), "--first-error", "--attempt", "3")
    assert (none.returncode, none.stdout) == (2, "")
    assert none.stderr == "fleetward: the log tells of no attempt 3; the last is 2\n"


def test_a_log_without_errors_is_exit_code_0(logs: Fleetward, log: Path) -> None:
    log.write_text("error rate: 0.1, 0 errors\n")
    done = logs("--file", str(log), "--first-error")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "fleetward: no error found in attempt 1\n")
    document = json.loads(logs("--file", str(log), "--first-error", "--json").stdout)
    assert (document["first"], document["findings"]) == (None, [])


def test_errors_of_several_files_are_put_in_order(logs: Fleetward, tmp_path: Path) -> None:
    names = []
    for rank, minute in ((0, 9), (1, 5), (2, 7)):
        names += ["--file", str(tmp_path / f"rank{rank}.log")]
        (tmp_path / f"rank{rank}.log").write_text(f"[2026-11-28 10:0{minute}:00] CUDA error: rank {rank}\n" * 9)
    done = logs("--first-error", *names)
    assert done.stdout.startswith("cuda error: [2026-11-28 10:05:00] CUDA error: rank 1\n")
    assert "15 more errors are like those" in done.stderr


def test_many_nodes_and_ranks_are_folded() -> None:
    assert _log_words.ranges({0, 1, 2, 5, 7, 8}) == "0-2,5,7-8"
    assert _log_words.ranges(()) == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--follow", "--first-error"],
        ["--follow", "--attempt", "1"],
        ["--raw", "--json"],
        ["--raw", "--first-error"],
        ["--rank", "-1"],
        ["--attempt", "0"],
        ["--lines", "x"],
    ],
)
def test_options_that_exclude_each_other(arguments: list[str], logs: Fleetward, log: Path) -> None:
    done = logs("--file", str(log), *arguments)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_file_that_is_not_there_is_a_wrong_option(logs: Fleetward, log: Path, tmp_path: Path) -> None:
    done = logs("--file", str(log), "--file", str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"fleetward: {tmp_path / 'none'}: there is no such file here\n"


def test_a_log_that_is_not_there_yet(logs: Fleetward, played: PlayedSlurm, tmp_path: Path) -> None:
    played.answers = [detail(tmp_path / "none", state="RUNNING")]
    done = logs()
    assert done.returncode == 2
    assert "is not there yet: job 12 is RUNNING; --follow waits for it" in done.stderr
    played.answers = [detail(tmp_path / "none")]
    assert "give it by --file PATH" in logs().stderr
    played.answers = [detail(Path("%N.log"), state="PENDING", nodes=())]
    assert "named after its first node, and it is PENDING" in logs("--follow").stderr


def test_one_of_two_logs_that_is_not_there_is_noted(logs: Fleetward, played: PlayedSlurm, log: Path) -> None:
    played.answers = [replace(detail(log), error=str(log.with_name("none")))]
    done = logs("--lines", "1")
    assert (done.returncode, done.stdout) == (0, LOG.splitlines(keepends=True)[-1])
    assert done.stderr == f"fleetward: {log.with_name('none')} is not there\n"


RECORD = Attempt(
    job_id="12",
    name="digits",
    user="ada",
    account="research",
    partition="gpu",
    qos="normal",
    state="FAILED",
    reason="",
    cancelled_by="",
    exit_code=1,
    exit_signal=0,
    elapsed=9,
    time_limit=600,
    asked={},
    allocated={},
    restarts=0,
    nodes=("gpu001",),
    failed_node="",
    working_directory="/data",
    submitted_at=None,
    started_at=None,
    ended_at=None,
)


def test_a_forgotten_job_is_found_by_its_record(logs: Fleetward, played: PlayedSlurm, log: Path) -> None:
    played.answers = [NoSuchJobError("slurmctld knows no job 12")]
    played.records = [replace(RECORD, output="/other"), replace(RECORD, output=str(log))]
    assert logs("--lines", "1").stdout == LOG.splitlines(keepends=True)[-1]
    assert logs("--lines", "1", "--follow").stdout == LOG.splitlines(keepends=True)[-1]


@pytest.mark.parametrize("records", [[], SlurmOutOfReachError("no slurmdbd")])
def test_a_job_without_a_trace_says_what_to_do(
    records: list[Attempt] | Exception, logs: Fleetward, played: PlayedSlurm
) -> None:
    played.answers = [NoSuchJobError("slurmctld knows no job 12")]
    played.records = records
    done = logs()
    assert done.returncode == 2
    assert "no longer knows job 12" in done.stderr
    assert "give it by --file PATH" in done.stderr


def test_following_goes_on_until_the_job_has_ended(
    logs: Fleetward, played: PlayedSlurm, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write_text("one\n")
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if now[0] == 1.0:
            with log.open("a") as file:
                file.write("two\nthr")
        elif now[0] == 4.0:
            with log.open("a") as file:
                file.write("ee\nthe end")

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    played.answers = [detail(log, state="RUNNING"), detail(log, state="RUNNING"), AWAY, detail(log)]
    done = logs("--follow", "--lines", "1")
    assert (done.returncode, done.stdout) == (0, "one\ntwo\nthree\nthe end\n")
    assert done.stderr.splitlines() == [
        "fleetward: job 12 is RUNNING",
        "fleetward: slurmctld is away; the log is followed on",
        "fleetward: Slurm answers again",
        "fleetward: job 12 is COMPLETED",
    ]


AWAY = SlurmOutOfReachError("slurmctld is away")


def test_following_one_rank_in_json(logs: Fleetward, played: PlayedSlurm, log: Path) -> None:
    played.answers = [detail(log)]
    found = documents(logs("--follow", "--json", "--rank", "9", "--lines", "0", "--file", str(log)))
    assert [(one["rank"], one["attempt"]) for one in found] == [(9, 1), (9, 2), (9, 2), (9, 2)]


def test_slurm_out_of_reach_is_exit_code_3_without_a_file(fleetward: Fleetward, program: Program, log: Path) -> None:
    path = program("squeue", 'echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1')
    slurm = {"PATH": f"{path}:/usr/bin:/bin", "FLEETWARD_SLURM_BACKEND": "command-line"}
    done = fleetward("logs", "12", **slurm)
    assert (done.returncode, done.stdout) == (3, "")
    assert "Unable to contact slurm controller" in done.stderr
    assert fleetward("logs", "12", "--file", str(log), **slurm).returncode == 0
    assert fleetward("logs", "--", "-x", **slurm).returncode == 2


def test_raw_bytes_go_into_a_pipe(log: Path, tmp_path: Path) -> None:
    raw = b"\x1b[31mred \xff\r\x07\nno newline"
    log.write_bytes(raw)
    argv = [sys.executable, "-m", "fleetward", "logs", "12", "--raw", "--file", str(log)]
    assert subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout == raw + b"\n"


def test_raw_bytes_do_not_go_to_a_terminal(log: Path) -> None:
    log.write_bytes(b"\x1b]0;title\x07x\n")
    terminal, its_end = pty.openpty()
    argv = [sys.executable, "-m", "fleetward", "logs", "12", "--raw", "--file", str(log)]
    done = subprocess.run(argv, stdout=its_end, stderr=subprocess.PIPE, check=True, timeout=60)
    os.close(its_end)
    shown = os.read(terminal, 1000)
    os.close(terminal)
    assert shown == b"\\x1b]0;title\\x07x\r\n"
    assert b"--raw is for a pipe or a file" in done.stderr


def test_a_reader_that_goes_away_ends_it_quietly(log: Path) -> None:
    log.write_text("line\n" * 500_000)
    argv = [sys.executable, "-m", "fleetward", "logs", "12", "--lines", "0", "--file", str(log)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        said = process.stderr.read()
        process.wait(60)
    assert (process.returncode, said) == (-signal.SIGPIPE, b"")


def test_ctrl_c_ends_the_following_with_130(program: Program, log: Path) -> None:
    path = program("squeue", "exit 1")
    log.write_text("one\n")
    argv = [sys.executable, "-m", "fleetward", "logs", "12", "--follow", "--file", str(log)]
    variables = os.environ | {"PATH": f"{path}:/usr/bin:/bin", "FLEETWARD_SLURM_BACKEND": "command-line"}
    program("squeue", 'echo "Unable to contact slurm controller" >&2; exit 1')
    # Whoever runs the tests in the background of a shell has them, and what they start, ignore it.
    listens = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=variables)
    finally:
        signal.signal(signal.SIGINT, listens)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.endswith(b"fleetward: interrupted\n")


def test_what_people_are_told_to_type_is_a_command() -> None:
    check_words("fleetward logs 12 --follow --rank 3 --lines 0")
    check_words("fleetward logs 12 --first-error --attempt 2 --json --file a --file b")
