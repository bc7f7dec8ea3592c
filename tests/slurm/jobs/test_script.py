"""Batch scripts: as text, and as they behave with stand-ins for srun and scontrol."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fleetward
from fleetward.model.fleet import GpuProfile, HardwareProfile, InfinibandProfile
from fleetward.slurm.jobs.nccl import nccl_environment
from fleetward.slurm.jobs.script import render
from fleetward.slurm.jobs.spec import JobSpec, read_job_spec

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = Path(fleetward.__file__).parent / "examples" / "specs"
SPECS = {path.stem: path for path in (*GOLDEN.glob("*.yaml"), *EXAMPLES.glob("*.yaml"))}
SCONTROL = """\
case $1 in
  show) printf 'gpu001\\ngpu002\\n' ;;
  requeue) echo "$2" >> requeued; exit "${REFUSED:-0}" ;;
esac"""
SURVIVE = {"warning": 10, "grace": 2, "attempts": 3}


def test_every_launcher_and_feature_has_a_golden_script() -> None:
    assert {"srun", "torchrun", "deepspeed", "mpi", "sweep"} == {path.stem for path in EXAMPLES.glob("*.yaml")}
    assert {path.stem for path in GOLDEN.glob("*.sh")} == set(SPECS)


@pytest.mark.parametrize("name", sorted(SPECS))
def test_the_script_is_as_reviewed(name: str) -> None:
    assert render(read_job_spec(SPECS[name])) == (GOLDEN / f"{name}.sh").read_text()


@pytest.mark.parametrize("name", sorted(SPECS))
def test_bash_and_shellcheck_find_nothing_wrong(name: str) -> None:
    script = GOLDEN / f"{name}.sh"
    subprocess.run(["bash", "-n", script], check=True)
    checker = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if checker is None:
        pytest.skip("shellcheck is not installed")
    # SC2016: what is quoted is not to be expanded. SC2329: traps call functions.
    found = subprocess.run([checker, "--exclude=SC2016,SC2329", script], check=False, capture_output=True, text=True)
    assert found.stdout == ""


def profile(*, gpus: int = 8, infiniband: tuple[str, ...] = ()) -> HardwareProfile:
    return HardwareProfile(
        name="node",
        sockets=2,
        cores_per_socket=8,
        threads_per_core=1,
        memory_mib=1000,
        gpu=GpuProfile("h100", gpus, "NVIDIA H100", 81559, "/dev/nvidia[0-7]") if gpus else None,
        infiniband=InfinibandProfile(infiniband, 400) if infiniband else None,
    )


def test_nccl_is_told_what_the_hardware_profile_says() -> None:
    assert nccl_environment(profile(gpus=0, infiniband=("mlx5_0",))) == {}
    assert nccl_environment(profile()) == {"NCCL_DEBUG": "WARN", "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1"}
    assert nccl_environment(profile(infiniband=("mlx5_0", "mlx5_1")))["NCCL_IB_HCA"] == "=mlx5_0,mlx5_1"


def exports(spec: JobSpec, hardware: HardwareProfile | None) -> dict[str, str]:
    return dict(re.findall(r"^export ((?:TORCH_)?NCCL_\w+)=(.*)$", render(spec, hardware), re.MULTILINE))


def test_the_jobs_own_environment_wins_over_the_profile() -> None:
    fields = {"name": "x", "command": ["true"], "environment": {"NCCL_DEBUG": "INFO"}}
    hardware = profile(infiniband=("mlx5_0",))
    assert exports(JobSpec.model_validate(fields), hardware) == {
        "NCCL_DEBUG": "INFO",
        "NCCL_IB_HCA": "=mlx5_0",
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
    }
    assert exports(JobSpec.model_validate(fields), None) == {"NCCL_DEBUG": "INFO"}
    assert exports(JobSpec.model_validate(fields | {"nccl": False}), hardware) == {"NCCL_DEBUG": "INFO"}


def test_variables_of_nccl_win_over_those_of_the_image() -> None:
    spec = JobSpec.model_validate({"name": "x", "command": ["true"], "container": {"image": "a"}})
    assert "--container-env=NCCL_DEBUG,TORCH_NCCL_ASYNC_ERROR_HANDLING" in render(spec, profile())
    assert "--container-env" not in render(spec)


class Batch:
    """A rendered script, started with an srun and other programs that are shell scripts of ours."""

    def __init__(self, folder: Path, srun: str, programs: dict[str, str] | None = None, **fields: object) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []
        past_options = "while [[ $1 == --* ]]; do shift; done\n"
        for name, text in {"srun": past_options + srun, "scontrol": SCONTROL, **(programs or {})}.items():
            (folder / name).write_text(f"#!/bin/bash\n{text}\n")
            (folder / name).chmod(0o755)
        self.script = render(JobSpec.model_validate({"name": "x", "command": ["true"], **fields}))
        (folder / "job.sh").write_text(self.script)

    def start(self, **variables: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        slurm = {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "gpu[001-002]", "SLURM_JOB_NUM_NODES": "2"}
        process = subprocess.Popen(
            ["bash", "job.sh"],
            cwd=self.folder,
            env=kept | {"PATH": f"{self.folder}:{os.environ['PATH']}"} | slurm | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, **variables: str) -> tuple[int, str, str]:
        """Return exit status, what the step printed, and what went to stderr."""
        return finish(self.start(**variables))

    def end(self) -> None:
        """Kill what is left of the script and its steps."""
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()

    def wait_for(self, name: str) -> None:
        """Return once a stand-in has made this file."""
        until = time.monotonic() + 20
        while not (self.folder / name).exists():
            assert time.monotonic() < until, f"no {name}"
            time.sleep(0.02)

    @property
    def requeued(self) -> list[str]:
        """Return what scontrol was told to requeue."""
        asked = self.folder / "requeued"
        return asked.read_text().split() if asked.exists() else []


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    printed, talk = process.communicate(timeout=20)
    own = "".join(line for line in printed.splitlines(keepends=True) if not line.startswith("fleetward: "))
    return process.returncode, own, talk


MakeBatch = Callable[..., Batch]


@pytest.fixture
def batch_of(tmp_path: Path) -> Iterator[MakeBatch]:
    made: list[Batch] = []

    def make(srun: str, **fields: object) -> Batch:
        made.append(Batch(tmp_path, srun, **fields))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for batch in made:
        batch.end()


GOES_ON = "touch ready\nwhile :; do sleep 0.05; done"
LISTENS = f"trap 'echo got USR1; exit 75' USR1\n{GOES_ON}"


@pytest.mark.parametrize("code", [0, 1, 42, 137, 143])
@pytest.mark.parametrize("fields", [{}, {"survive": SURVIVE}], ids=["plain", "survive"])
def test_the_steps_exit_code_is_the_jobs(code: int, fields: dict[str, object], batch_of: MakeBatch) -> None:
    batch = batch_of(f"exit {code}", **fields)
    assert batch.run()[0] == code
    assert batch.requeued == []


def test_the_log_tells_of_the_attempt_first(batch_of: MakeBatch) -> None:
    batch = batch_of('echo "$FLEETWARD_ATTEMPT $MASTER_ADDR $MASTER_PORT"')
    for restarts, attempt in (({}, 1), ({"SLURM_RESTART_COUNT": "2"}, 3)):
        printed, _ = batch.start(**restarts).communicate(timeout=20)
        first, step = printed.splitlines()
        told = re.fullmatch(rf"fleetward: attempt {attempt} of job 77 on gpu\[001-002\] at (\S+)", first)
        assert told and datetime.fromisoformat(told[1]).tzname() == "UTC"
        assert step == f"{attempt} gpu001 20077"


def test_two_jobs_of_a_node_meet_at_ports_of_their_own(batch_of: MakeBatch) -> None:
    batch = batch_of('echo "$MASTER_PORT"')
    ports = [int(batch.run(SLURM_JOB_ID=number)[1]) for number in ("11999", "12000", "12001", "4294967294")]
    assert len(set(ports)) == len(ports)
    assert all(20000 <= port < 32768 for port in ports)


def test_where_ranks_meet_can_be_said(batch_of: MakeBatch) -> None:
    batch = batch_of('echo "$MASTER_ADDR $MASTER_PORT"', environment={"MASTER_ADDR": "other", "MASTER_PORT": 5})
    assert batch.run()[1] == "other 5\n"


@pytest.mark.parametrize("name", ["USR1", "USR2"])
def test_a_signal_reaches_the_step_and_its_own_exit_code_counts(name: str, batch_of: MakeBatch) -> None:
    batch = batch_of(f"trap 'echo got {name}; exit 7' {name}\n{GOES_ON}")
    process = batch.start()
    batch.wait_for("ready")
    process.send_signal(signal.Signals[f"SIG{name}"])
    assert finish(process) == (7, f"got {name}\n", "")
    assert batch.requeued == []


def test_srun_is_not_told_to_end_its_tasks_when_slurm_ends_the_job(batch_of: MakeBatch) -> None:
    batch = batch_of("trap 'exit 99' TERM\ntouch ready\nuntil [ -e saved ]; do sleep 0.05; done\nexit 3")
    process = batch.start()
    batch.wait_for("ready")
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    (batch.folder / "saved").touch()
    assert finish(process)[0] == 3


def test_a_signal_between_the_steps_start_and_the_next_line_is_not_lost(batch_of: MakeBatch, tmp_path: Path) -> None:
    batch = batch_of(f"trap 'echo got USR1; exit 7' USR1\n{GOES_ON}")
    # bash reads this file first, and signals itself at just that line
    (tmp_path / "first.sh").write_text(
        "trap 'if [[ $BASH_COMMAND == fleetward_step=*! ]]; then trap - DEBUG;"
        " until [ -e ready ]; do sleep 0.02; done; kill -USR1 $$; fi' DEBUG\n"
    )
    assert batch.run(BASH_ENV="first.sh") == (7, "got USR1\n", "")


def test_a_step_that_goes_on_after_a_signal_is_waited_for(batch_of: MakeBatch, tmp_path: Path) -> None:
    batch = batch_of("trap 'touch saved' USR1\ntouch ready\nuntil [ -e saved ]; do sleep 0.05; done\nsleep 0.3\nexit 0")
    process = batch.start()
    batch.wait_for("ready")
    process.send_signal(signal.SIGUSR1)
    assert finish(process)[0] == 0
    assert (tmp_path / "saved").exists()


def test_setup_runs_once_before_the_step_and_its_failure_ends_the_job(batch_of: MakeBatch) -> None:
    good = batch_of("cat order; echo step", setup=[["sh", "-c", "echo setup >> order"]])
    assert good.run()[1] == "setup\nstep\n"
    bad = batch_of("echo step", setup=[["sh", "-c", "exit 3"]])
    assert bad.run()[:2] == (3, "")


TEXTS = st.text(
    st.one_of(st.sampled_from("'\"\\$`!*?~#&|;<>(){}[]=% \n\t\r-"), st.characters(codec="utf-8")), max_size=30
).filter(lambda text: "\0" not in text)


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=4), swept=TEXTS)
def test_hostile_text_reaches_the_task_word_for_word(texts: list[str], swept: str) -> None:
    written = {"command": ["program", *texts], "environment": {f"V_{n}": text for n, text in enumerate(texts)}}
    show = 'printf "%s\\0" "$@" "$V_0" "${FLEETWARD_SWEEP_P-}"'
    with tempfile.TemporaryDirectory() as folder:
        plain = Batch(Path(folder), show, **written)  # type: ignore[arg-type]
        assert words_of(plain) == ["program", *texts, texts[0], ""]
        doubled = [re.sub(r"(?<!\$)\{([A-Za-z_]\w*)\}", r"{{\1}}", text, flags=re.ASCII) for text in texts]
        batch = Batch(
            Path(folder),
            show,
            **{**written, "command": ["program", *doubled, "a{p}b{p}"]},  # type: ignore[arg-type]
            sweep={"points": [{"p": "other"}, {"p": swept}]},
        )
        got = words_of(batch, SLURM_ARRAY_JOB_ID="77", SLURM_ARRAY_TASK_ID="1")
        assert got == ["program", *texts, f"a{swept}b{swept}", texts[0], swept]


def words_of(batch: Batch, **variables: str) -> list[str]:
    process = subprocess.run(
        ["bash", "job.sh"],
        cwd=batch.folder,
        env={
            "PATH": f"{batch.folder}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "77",
            "SLURM_JOB_NODELIST": "gpu001",
            **variables,
        },
        capture_output=True,
        timeout=20,
        check=True,
    )
    assert process.stderr == b""
    *head, rest = process.stdout.split(b"program\0", 1)
    assert all(line.startswith(b"fleetward: ") for line in head[0].splitlines())
    return ["program", *rest.decode().split("\0")[:-1]]


class TestSurvival:
    """A job that is warned, and one that Slurm ends."""

    @pytest.mark.parametrize("signal_name", ["USR1", "USR2"])
    def test_a_warned_job_requeues_itself(self, signal_name: str, batch_of: MakeBatch) -> None:
        srun = f"trap 'echo got it; exit 75' {signal_name}\n{GOES_ON}"
        batch = batch_of(srun, survive={**SURVIVE, "signal": signal_name})
        process = batch.start()
        batch.wait_for("ready")
        process.send_signal(signal.Signals[f"SIG{signal_name}"])
        printed, talk = process.communicate(timeout=20)
        assert (process.returncode, talk) == (0, "")
        assert printed.splitlines()[1:] == [
            "got it",
            "fleetward: job 77, attempt 1 of 3: warned, and its step ended with 75; requeued",
        ]
        assert batch.requeued == ["77"]

    def test_a_task_of_an_array_requeues_itself_alone(self, batch_of: MakeBatch) -> None:
        batch = batch_of(LISTENS, survive=SURVIVE, sweep={"grid": {"seed": [1, 2, 3, 4, 5]}})
        # the last task of an array to start has the number of the array
        process = batch.start(SLURM_JOB_ID="77", SLURM_ARRAY_JOB_ID="77", SLURM_ARRAY_TASK_ID="4")
        batch.wait_for("ready")
        process.send_signal(signal.SIGUSR1)
        assert finish(process)[0] == 0
        assert batch.requeued == ["77_4"]

    def test_a_job_that_an_array_submitted_is_not_taken_for_its_task(self, batch_of: MakeBatch) -> None:
        batch = batch_of(LISTENS, survive=SURVIVE)
        process = batch.start(SLURM_ARRAY_JOB_ID="12", SLURM_ARRAY_TASK_ID="4")
        batch.wait_for("ready")
        process.send_signal(signal.SIGUSR1)
        assert finish(process)[0] == 0
        assert batch.requeued == ["77"]

    def test_beyond_the_last_attempt_nothing_is_run(self, batch_of: MakeBatch) -> None:
        batch = batch_of("echo step", survive=SURVIVE, setup=[["echo", "setup"]])
        last = batch.run(SLURM_RESTART_COUNT="2")
        assert last == (0, "setup\nstep\n", "")
        beyond = batch.run(SLURM_RESTART_COUNT="3")
        assert beyond == (1, "", "fleetward: job 77, attempt 4 of 3: not run; all 3 attempts are used up\n")

    @pytest.mark.parametrize(("code", "status"), [(75, 75), (0, 1)])
    def test_the_last_attempt_ends_in_failure_where_it_was_warned(
        self, code: int, status: int, batch_of: MakeBatch
    ) -> None:
        batch = batch_of(f"trap 'exit {code}' USR1\n{GOES_ON}", survive=SURVIVE)
        process = batch.start(SLURM_RESTART_COUNT="2")
        batch.wait_for("ready")
        process.send_signal(signal.SIGUSR1)
        why = f"fleetward: job 77, attempt 3 of 3: warned, and its step ended with {code}; no attempt is left\n"
        assert finish(process) == (status, "", why)
        assert batch.requeued == []

    def test_a_job_can_be_warned_and_end(self, batch_of: MakeBatch) -> None:
        batch = batch_of(f"trap 'exit 0' USR1\n{GOES_ON}", survive={**SURVIVE, "requeue_on_timeout": False})
        process = batch.start()
        batch.wait_for("ready")
        process.send_signal(signal.SIGUSR1)
        assert finish(process)[0] == 0
        assert batch.requeued == []

    def test_every_warning_is_handed_on(self, batch_of: MakeBatch) -> None:
        srun = f"trap 'echo got USR1; [ -e once ] && exit 0; touch once' USR1\n{GOES_ON}"
        batch = batch_of(srun, survive=SURVIVE)
        process = batch.start()
        batch.wait_for("ready")
        process.send_signal(signal.SIGUSR1)
        batch.wait_for("once")
        process.send_signal(signal.SIGUSR1)
        assert finish(process)[:2] == (0, "got USR1\ngot USR1\n")
        assert batch.requeued == ["77"]

    def test_a_step_that_ignores_the_warning_is_ended_after_its_grace(self, batch_of: MakeBatch) -> None:
        batch = batch_of(f"trap '' USR1\n{GOES_ON}", survive={**SURVIVE, "grace": 1})
        process = batch.start()
        batch.wait_for("ready")
        process.send_signal(signal.SIGUSR1)
        code, _, talk = finish(process)
        assert (code, batch.requeued) == (0, ["77"])
        assert talk == "fleetward: job 77, attempt 1 of 3: the step goes on 1 s after the warning, and is ended\n"

    def test_an_srun_that_does_not_end_either_is_killed(self, batch_of: MakeBatch) -> None:
        batch = batch_of(f"trap '' USR1 TERM\n{GOES_ON}", survive={**SURVIVE, "grace": 1})
        process = batch.start(SLURM_RESTART_COUNT="2")
        batch.wait_for("ready")
        process.send_signal(signal.SIGUSR1)
        code, _, talk = finish(process)
        assert (code, batch.requeued) == (137, [])
        assert "its step ended with 137; no attempt is left" in talk

    def test_a_warning_while_setup_runs_leaves_the_step_out(self, batch_of: MakeBatch) -> None:
        wait = "touch ready; until [ -e go ]; do sleep 0.05; done"
        batch = batch_of("echo step", survive=SURVIVE, setup=[["sh", "-c", wait]])
        process = batch.start()
        batch.wait_for("ready")
        process.send_signal(signal.SIGUSR1)
        (batch.folder / "go").touch()
        printed, _ = process.communicate(timeout=20)
        assert printed.splitlines()[1:] == ["fleetward: job 77, attempt 1 of 3: warned before its step began; requeued"]
        assert (process.returncode, batch.requeued) == (0, ["77"])

    def test_a_warning_just_as_the_step_starts_is_not_lost(self, batch_of: MakeBatch, tmp_path: Path) -> None:
        batch = batch_of(f"trap '' USR1\n{GOES_ON}", survive={**SURVIVE, "grace": 1})
        (tmp_path / "first.sh").write_text(
            "trap 'if [[ $BASH_COMMAND == fleetward_step=*! ]]; then trap - DEBUG;"
            " until [ -e ready ]; do sleep 0.02; done; kill -USR1 $$; fi' DEBUG\n"
        )
        assert batch.run(BASH_ENV="first.sh")[0] == 0
        assert batch.requeued == ["77"]

    @pytest.mark.parametrize("warned_before", [False, True])
    def test_a_job_that_slurm_ends_is_warned_and_never_requeued(self, warned_before: bool, batch_of: MakeBatch) -> None:
        saves = "touch saving; until [ -e saved ]; do sleep 0.05; done; exit 75"
        srun = f"trap 'exit 99' TERM\ntrap '{saves}' USR1\n{GOES_ON}"
        batch = batch_of(srun, survive={**SURVIVE, "warning": 60, "grace": 20})
        process = batch.start()
        batch.wait_for("ready")
        if warned_before:
            process.send_signal(signal.SIGUSR1)
            batch.wait_for("saving")
        process.send_signal(signal.SIGTERM)
        batch.wait_for("saving")
        time.sleep(0.2)
        (batch.folder / "saved").touch()
        assert finish(process)[:2] == (75, "")
        assert batch.requeued == []

    def test_a_controller_that_refuses_is_asked_again_and_then_the_job_fails(self, batch_of: MakeBatch) -> None:
        batch = batch_of(
            "trap 'exit 0' USR1\ntouch ready\nwhile :; do :; done", survive=SURVIVE, programs={"sleep": ""}
        )
        process = batch.start(REFUSED="1")
        batch.wait_for("ready")
        process.send_signal(signal.SIGUSR1)
        code, _, talk = finish(process)
        assert (code, batch.requeued) == (1, ["77"] * 4)
        assert talk.endswith("its step ended with 0; Slurm does not requeue it\n")

    def test_a_job_cancelled_meanwhile_is_not_asked_for_again(self, batch_of: MakeBatch) -> None:
        scontrol = SCONTROL.replace("exit", 'kill -TERM "$PPID"; exit')
        batch = batch_of(
            "trap 'exit 0' USR1\ntouch ready\nwhile :; do :; done",
            survive=SURVIVE,
            programs={"sleep": "", "scontrol": scontrol},
        )
        process = batch.start(REFUSED="1")
        batch.wait_for("ready")
        process.send_signal(signal.SIGUSR1)
        assert finish(process)[0] == 1
        assert batch.requeued == ["77"]


class TestLaunchers:
    """What each launcher starts, and with what."""

    def test_torchrun_is_started_on_every_node_and_meets_on_the_first(self, batch_of: MakeBatch) -> None:
        batch = batch_of(
            'printf "%s\\n" "$@"',
            launcher="torchrun",
            gpus_per_node="h100:8",
            cpus_per_task=8,
            command=["train", "--lr", "1"],
        )
        assert batch.run(SLURM_RESTART_COUNT="2")[1].split() == [
            "torchrun",
            "--nnodes=2",
            "--nproc-per-node=8",
            "--rdzv-backend=c10d",
            "--rdzv-endpoint=gpu001:20077",
            "--rdzv-id=77-3",
            "--max-restarts=0",
            "--no-python",
            "train",
            "--lr",
            "1",
        ]

    @pytest.mark.parametrize("program", ["python", "./venv/bin/python3.12", "/usr/bin/python3"])
    def test_a_python_starts_its_own_torchrun(self, program: str, batch_of: MakeBatch) -> None:
        batch = batch_of(
            'printf "%s\\n" "$@"', launcher="torchrun", gpus_per_node=1, command=[program, "-u", "train.py"]
        )
        words = batch.run()[1].split()
        assert words[:3] == [program, "-m", "torch.distributed.run"]
        assert words[-4:] == ["--no-python", program, "-u", "train.py"]

    def test_deepspeed_finds_its_variables(self, batch_of: MakeBatch) -> None:
        show = 'echo "$RANK/$WORLD_SIZE $LOCAL_RANK/$LOCAL_WORLD_SIZE $MASTER_ADDR $MASTER_PORT"'
        batch = batch_of(
            'SLURM_PROCID=5 SLURM_NTASKS=8 SLURM_LOCALID=1 "$@"',
            launcher="deepspeed",
            nodes=2,
            gpus_per_node=4,
            command=["bash", "-c", show],
        )
        assert "#SBATCH --ntasks-per-node=4\n" in batch.script
        assert batch.run()[1] == "5/8 1/4 gpu001 20077\n"

    def test_the_warning_goes_past_torchrun_to_its_workers(self, batch_of: MakeBatch, tmp_path: Path) -> None:
        (tmp_path / "worker.py").write_text(
            "import pathlib, signal, sys, time\n"
            "signal.signal(signal.SIGUSR1, lambda *_: sys.exit('worker saves'))\n"
            "pathlib.Path('ready').touch()\n"
            "while True: time.sleep(1)\n"
        )
        batch = batch_of(
            'exec "$@"',
            # it knows nothing of the signal, and waits for its worker
            programs={"torchrun": f"{sys.executable} worker.py &\nwait $!\necho torchrun ends after $?\nexit 4"},
            launcher="torchrun",
            gpus_per_node=1,
            survive={**SURVIVE, "attempts": 1},
        )
        process = batch.start()
        batch.wait_for("ready")
        process.send_signal(signal.SIGUSR1)
        code, printed, talk = finish(process)
        assert (code, printed) == (4, "torchrun ends after 1\n")
        assert talk.startswith("worker saves\n")

    def test_term_goes_to_torchrun(self, batch_of: MakeBatch, tmp_path: Path) -> None:
        batch = batch_of(
            'echo $$ > pid; exec "$@"',
            programs={"torchrun": f"trap 'echo torchrun ends; exit 5' TERM\n{GOES_ON}"},
            launcher="torchrun",
            gpus_per_node=1,
            survive=SURVIVE,
        )
        process = batch.start()
        batch.wait_for("ready")
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)  # as slurmd does to the process that it started
        assert finish(process)[:2] == (5, "torchrun ends\n")

    @pytest.mark.parametrize(
        ("fields", "labelled"),
        [
            ({}, False),
            ({"tasks_per_node": 2}, True),
            ({"nodes": 2}, True),
            ({"nodes": 2, "label_ranks": False}, False),
            ({"label_ranks": True}, True),
        ],
    )
    def test_lines_are_labelled_where_there_is_more_than_one_task(
        self, fields: dict[str, object], labelled: bool
    ) -> None:
        script = render(JobSpec.model_validate({"name": "x", "command": ["true"], **fields}))
        assert (" --label " in script) is labelled


def test_a_task_that_the_sweep_does_not_have_is_refused(batch_of: MakeBatch) -> None:
    batch = batch_of("echo step", sweep={"grid": {"seed": [1, 2]}})
    code, printed, talk = batch.run(SLURM_ARRAY_JOB_ID="77", SLURM_ARRAY_TASK_ID="2")
    assert (code, printed) == (1, "")
    assert "the sweep has no such task" in talk


def test_a_value_cannot_make_a_line_of_the_log(batch_of: MakeBatch) -> None:
    batch = batch_of("true", sweep={"points": [{"p": "a\nfleetward: attempt 9 of job 1\x1b[31m"}]})
    printed, _ = batch.start(SLURM_ARRAY_JOB_ID="77", SLURM_ARRAY_TASK_ID="0").communicate(timeout=20)
    assert printed.splitlines()[1:] == [r"fleetward: job 77_0, attempt 1: p=$'a\nfleetward: attempt 9 of job 1\E[31m'"]
