"""Batch scripts: as text, and as they behave with a stand-in for srun."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetward.slurm.job_script import render
from fleetward.slurm.job_spec import JobSpec, read_job_spec

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", ["digits", "everything"])
def test_the_script_is_as_reviewed(name: str) -> None:
    assert render(read_job_spec(GOLDEN / f"{name}.yaml")) == (GOLDEN / f"{name}.sh").read_text()


class Batch:
    """A rendered script, started with an srun that is a shell script of ours."""

    def __init__(self, folder: Path, srun: str, **fields: object) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []
        (folder / "srun").write_text(f"#!/bin/bash\nshift 2\n{srun}\n")
        (folder / "srun").chmod(0o755)
        self.script = render(JobSpec.model_validate({"name": "x", "command": ["true"], **fields}))
        (folder / "job.sh").write_text(self.script)

    def start(self, **variables: str) -> subprocess.Popen[str]:
        environment = os.environ | {"PATH": f"{self.folder}:{os.environ['PATH']}"} | variables
        process = subprocess.Popen(
            ["bash", "job.sh"],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """Kill what is left of the script and its steps."""
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
            if process.stdout:
                process.stdout.close()

    def ready(self) -> None:
        """Return once the stand-in has said so."""
        until = time.monotonic() + 10
        while not (self.folder / "ready").exists():
            assert time.monotonic() < until, "srun did not start"
            time.sleep(0.02)


MakeBatch = Callable[..., Batch]


@pytest.fixture
def batch_of(tmp_path: Path) -> Iterator[MakeBatch]:
    made: list[Batch] = []

    def make(srun: str, **fields: object) -> Batch:
        made.append(Batch(tmp_path, srun, **fields))
        return made[-1]

    yield make
    for batch in made:
        batch.end()


@pytest.mark.parametrize("code", [0, 1, 42, 137, 143])
def test_the_steps_exit_code_is_the_jobs(code: int, batch_of: MakeBatch) -> None:
    assert batch_of(f"exit {code}").start().wait(10) == code


def test_arguments_and_variables_arrive_as_written(batch_of: MakeBatch) -> None:
    odd = "a b'c\"d$HOME`id`\n\\*"
    batch = batch_of(
        'printf "%s|" "$ODD" "$@"',
        command=["python", odd],
        environment={"ODD": odd, "name": "kept", "task": "kept"},
    )
    printed, _ = batch.start().communicate(timeout=10)
    assert printed == f"{odd}|python|{odd}|"


@pytest.mark.parametrize("name", ["TERM", "USR1", "USR2"])
def test_a_signal_reaches_the_step_and_its_own_exit_code_counts(name: str, batch_of: MakeBatch) -> None:
    srun = f"trap 'echo got {name}; exit 7' {name}\ntouch ready\nwhile :; do sleep 0.05; done"
    batch = batch_of(srun)
    process = batch.start()
    batch.ready()
    process.send_signal(signal.Signals[f"SIG{name}"])
    printed, _ = process.communicate(timeout=10)
    assert printed == f"got {name}\n"
    assert process.returncode == 7


def test_a_signal_between_the_steps_start_and_the_next_line_is_not_lost(batch_of: MakeBatch, tmp_path: Path) -> None:
    batch = batch_of("trap 'echo got USR1; exit 7' USR1\ntouch ready\nfor n in {1..100}; do sleep 0.05; done")
    # bash reads this file first, and signals itself at just that line
    (tmp_path / "first.sh").write_text(
        "trap 'if [[ $BASH_COMMAND == fleetward_step=*! ]]; then trap - DEBUG;"
        " until [ -e ready ]; do sleep 0.02; done; kill -USR1 $$; fi' DEBUG\n"
    )
    process = batch.start(BASH_ENV="first.sh")
    printed, _ = process.communicate(timeout=10)
    assert printed == "got USR1\n"
    assert process.returncode == 7


def test_a_step_that_goes_on_after_a_signal_is_waited_for(batch_of: MakeBatch, tmp_path: Path) -> None:
    srun = "trap 'touch saved' USR1\ntouch ready\nuntil [ -e saved ]; do sleep 0.05; done\nsleep 0.3\nexit 0"
    batch = batch_of(srun)
    process = batch.start()
    batch.ready()
    process.send_signal(signal.SIGUSR1)
    assert process.wait(10) == 0
    assert (tmp_path / "saved").exists()


def test_setup_runs_once_before_the_step_and_its_failure_ends_the_job(batch_of: MakeBatch) -> None:
    good = batch_of("cat order; echo step", setup=[["sh", "-c", "echo setup >> order"]])
    assert good.start().communicate(timeout=10)[0] == "setup\nstep\n"
    bad = batch_of("echo step", setup=[["sh", "-c", "exit 3"]])
    process = bad.start()
    assert process.communicate(timeout=10)[0] == ""
    assert process.returncode == 3
