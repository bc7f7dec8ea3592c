"""`fleetward submit`, with shell scripts in the place of Slurm's programs."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import fleetward as fleetward_package

Fleetward = Callable[..., subprocess.CompletedProcess[str]]
Program = Callable[[str, str], Path]

SPEC = "name: digits\ncommand: [python, train.py]\noutput: logs/%x-%j.log\n"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "my jobs" / "job.yaml"
    path.parent.mkdir()
    path.write_text(SPEC)
    return path


def test_a_dry_run_prints_the_script_and_submits_nothing(fleetward: Fleetward, program: Program, spec: Path) -> None:
    path = program("sbatch", f"touch {spec.parent.parent}/submitted")
    done = fleetward("submit", str(spec), "--dry-run", PATH=f"{path}:/usr/bin:/bin")
    assert done.returncode == 0
    assert done.stdout.startswith("#!/bin/bash\n#SBATCH --job-name=digits\n")
    assert str(spec.parent) in done.stderr
    document = json.loads(fleetward("submit", str(spec), "--dry-run", "--json").stdout)
    assert document == {"script": done.stdout, "working_directory": str(spec.parent)}
    assert not (spec.parent.parent / "submitted").exists()


def test_sbatch_gets_the_script_and_the_folder(fleetward: Fleetward, program: Program, spec: Path) -> None:
    seen = spec.parent.parent
    path = program("sbatch", f'printf "%s\\n" "$@" > {seen}/arguments; cat > {seen}/script; echo 12')
    done = fleetward("submit", spec.name, "--json", "--no-check", folder=spec.parent, PATH=f"{path}:/usr/bin:/bin")
    assert json.loads(done.stdout) == {
        "backend": "command-line",
        "job_id": "12",
        "name": "digits",
        "working_directory": str(spec.parent),
        "log": f"{spec.parent}/logs/digits-12.log",
    }
    assert (seen / "arguments").read_text() == f"--parsable\n--chdir={spec.parent}\n"
    assert (seen / "script").read_text().startswith("#!/bin/bash\n")


@pytest.mark.parametrize(
    ("line", "option", "expected"),
    [("", None, "my jobs"), ("working_directory: run", None, "my jobs/run"), ("working_directory: run", "at", "at")],
)
def test_the_folder_is_the_option_or_the_specifications_or_its_own(
    line: str, option: str | None, expected: str, fleetward: Fleetward, spec: Path
) -> None:
    spec.write_text(SPEC + line)
    chosen = [] if option is None else ["--workdir", option]
    done = fleetward("submit", str(spec), "--dry-run", "--json", *chosen)
    assert json.loads(done.stdout)["working_directory"] == str(spec.parent.parent / expected)


def test_what_sbatch_refuses_is_told_even_if_it_reads_no_script(
    fleetward: Fleetward, program: Program, spec: Path
) -> None:
    path = program("sbatch", 'echo "sbatch: error: invalid partition specified: gpu" >&2; exit 1')
    done = fleetward("submit", str(spec), "--no-check", PATH=f"{path}:/usr/bin:/bin")
    assert done.returncode == 1
    assert done.stderr == "fleetward: sbatch: sbatch: error: invalid partition specified: gpu\n"


@pytest.fixture
def cluster(program: Program, tmp_path: Path) -> Path:
    """Return a folder of programs of a cluster with one partition; sbatch notes how it was called."""
    program(
        "scontrol",
        'case "$*" in *partitions) echo "PartitionName=gpu State=UP Default=YES Nodes=gpu001 MaxTime=01:00:00'
        " DefaultTime=NONE MinNodes=0 MaxNodes=UNLIMITED AllowAccounts=ALL AllowQos=ALL QoS=N/A ReqResv=NO"
        ' PriorityTier=1 PreemptMode=OFF";;'
        ' *nodes) echo "NodeName=gpu001 State=IDLE CPUTot=8 CPUAlloc=0 RealMemory=100 AllocMem=0 Gres=gpu:h100:2'
        ' Partitions=gpu";; esac',
    )
    for name in ("sacctmgr", "sshare"):
        program(name, "true")
    estimate = "sbatch: Job 7 to start at 1795866400 using 2 processors on nodes gpu001 in partition gpu"
    return program(
        "sbatch",
        f'echo "$*" >> {tmp_path}/calls; cat > /dev/null; case "$*" in *--test-only*) echo "{estimate}" >&2;;'
        " *) echo 12;; esac",
    )


def test_a_job_is_checked_before_it_is_submitted(fleetward: Fleetward, cluster: Path, spec: Path) -> None:
    spec.write_text(SPEC + "gpus_per_node: 2\ntime: '00:30:00'\n")
    done = fleetward("submit", str(spec), PATH=f"{cluster}:/usr/bin:/bin")
    assert (done.returncode, done.stdout) == (0, "12\n")
    assert "would start about 2026-11-28 11:46:40 UTC on gpu001 of partition gpu" in done.stderr
    assert "takes at most 1.0 GPU-hours" in done.stderr
    assert "logs is no folder here" in done.stderr
    calls = (spec.parent.parent / "calls").read_text().splitlines()
    assert ["--test-only" in call for call in calls] == [True, False]


def test_only_checking_hands_nothing_in(fleetward: Fleetward, cluster: Path, spec: Path) -> None:
    spec.write_text(SPEC + "gpus_per_node: 2\n")
    done = fleetward("submit", str(spec), "--test-only", "--json", PATH=f"{cluster}:/usr/bin:/bin")
    document = json.loads(done.stdout)
    assert (document["estimate"]["nodes"], document["gpu_hours"]) == (["gpu001"], 2.0)
    assert [line for line in (spec.parent.parent / "calls").read_text().splitlines() if "--test-only" not in line] == []


def test_what_the_cluster_does_not_have_is_told_by_field_and_nothing_is_submitted(
    fleetward: Fleetward, cluster: Path, spec: Path
) -> None:
    spec.write_text(SPEC + "partition: gpux\n")
    done = fleetward("submit", str(spec), PATH=f"{cluster}:/usr/bin:/bin")
    assert done.returncode == 2
    assert f"{spec}: partition: gpux is no partition; there are gpu; did you mean gpu?" in done.stderr
    assert not (spec.parent.parent / "calls").exists()


def test_what_cannot_be_asked_is_said_and_keeps_nobody_from_submitting(
    fleetward: Fleetward, program: Program, spec: Path
) -> None:
    path = program("sbatch", "cat > /dev/null; echo 12")
    done = fleetward("submit", str(spec), PATH=f"{path}:/usr/bin:/bin")
    assert (done.returncode, done.stdout) == (0, "12\n")
    assert "not checked: scontrol: not installed here" in done.stderr
    assert "not checked: sbatch: not an estimate" in done.stderr


def test_nccls_variables_come_from_the_inventory(fleetward: Fleetward, spec: Path) -> None:
    example = Path(fleetward_package.__file__).parent / "inventories/example"
    spec.write_text(SPEC + "gpus_per_node: h100:8\n")
    with_it = fleetward("submit", str(spec), "--dry-run", "--inventory", str(example))
    assert with_it.returncode == 0, with_it.stderr
    assert "export NCCL_IB_HCA==mlx5_0" in with_it.stdout
    assert "NCCL" not in fleetward("submit", str(spec), "--dry-run").stdout
    assert fleetward("submit", str(spec), "--dry-run", "--inventory", "/nowhere").returncode == 2


def test_waiting_for_a_sweep_is_refused_before_anything_is_submitted(
    fleetward: Fleetward, cluster: Path, spec: Path
) -> None:
    spec.write_text("name: digits\ncommand: [python, '{lr}']\nsweep: {grid: {lr: ['1', '2']}}\n")
    done = fleetward("submit", str(spec), "--wait", PATH=f"{cluster}:/usr/bin:/bin")
    assert done.returncode == 2
    assert "--wait waits for one" in done.stderr
    assert not (spec.parent.parent / "calls").exists()


def test_a_wrong_specification_is_exit_code_2(fleetward: Fleetward, spec: Path) -> None:
    spec.write_text("name: digits\nnodes: none\n")
    done = fleetward("submit", str(spec), "--dry-run")
    assert done.returncode == 2
    assert f"{spec}: nodes: " in done.stderr
    assert f"{spec}: command: is missing" in done.stderr


FIELDS = (
    "12 12 {state} None ada research gpu normal gpu001 1 8 gres/gpu=8 0:09 10:00 1795220144 1795220150 0 /data digits"
    " digits-%j.log '(null)' {code}:0 '' '' '' ''"
)
RECORD = (
    "12 {state} None {code}:0 9 10 gres/gpu=8 cpu=8,gres/gpu=8 1 gpu001 '' ada research gpu normal"
    " 1795220144 1795220150 1795220159 /data digits-%j.log digits"
)


@pytest.mark.parametrize(("state", "code", "status"), [("COMPLETED", 0, 0), ("FAILED", 7, 1), ("TIMEOUT", 0, 1)])
def test_waiting_ends_with_the_jobs_result(
    state: str, code: int, status: int, fleetward: Fleetward, program: Program, spec: Path
) -> None:
    # Each stand-in writes its fields with the separator that it was given.
    program("sbatch", "cat > /dev/null; echo 12")
    queue = FIELDS.format(state=state, code=code)
    program(
        "squeue",
        f'for a; do :; done; s=$(echo "$a" | sed "s/.*:0//"); for f in {queue}; do printf "%s%s" "$f" "$s"; done',
    )
    program("scontrol", "echo 'JobId=12 JobName=digits'")
    record = RECORD.format(state=state, code=code)
    own = "for a; do case $a in --delimiter=*) s=${a#*=};; esac; done; "
    path = program("sacct", own + f'for f in {record}; do printf "%s%s" "$f" "$s"; done')
    done = fleetward("submit", str(spec), "--wait", "--json", "--no-check", PATH=f"{path}:/usr/bin:/bin")
    assert done.returncode == status, done.stderr
    document = json.loads(done.stdout)
    assert (document["job_id"], document["state"], document["exit_code"]) == ("12", state, code)
    assert (document["elapsed_seconds"], document["restarts"], document["nodes"]) == (9, 1, ["gpu001"])
    assert document["alloc_tres"] == "cpu=8,gres/gpu=8"
    assert ("ended" in done.stderr) is (status == 1)
    shown = fleetward("submit", str(spec), "--wait", "--no-check", PATH=f"{path}:/usr/bin:/bin").stdout
    assert shown.split("\n")[1].split()[:5] == ["12", state, str(code), "00:00:09", "1"]
