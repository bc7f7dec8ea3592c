"""`fleetward requeue` and `fleetward cancel`, with shell scripts in the place of Slurm's programs."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Fleetward = Callable[..., subprocess.CompletedProcess[str]]
Program = Callable[[str, str], Path]

JOB = (
    "12 12 {state} None ada research gpu normal {nodes} 1 8 gres/gpu:h100=2 0:09 10:00 1795220144 1795220150 1 /data"
    " digits log '' 0:0 '' '' '' ''"
)
ATTEMPT = (
    "12 {state} None 1:0 9 10 gres/gpu=2 gres/gpu=2 1 {nodes} {failed} ada research gpu normal 1795220144 1795220150"
    " 1795220159 /data log digits"
)
SEPARATED = 'for a; do :; done; s=$(echo "$a" | sed "s/.*:0//"); for f in {fields}; do printf "%s%s" "$f" "$s"; done'
RECORD = (
    'for a; do case $a in --delimiter=*) s=${{a#*=}};; esac; done; case "$*" in *--duplicates*) for f in {fields}; do'
    ' printf "%s%s" "$f" "$s"; done;; esac'
)
PARTITION = (
    "PartitionName=gpu State=UP Default=YES Nodes=gpu[001-002] MaxTime=UNLIMITED DefaultTime=NONE MinNodes=0"
    " MaxNodes=UNLIMITED AllowAccounts=ALL AllowQos=ALL QoS=N/A ReqResv=NO PriorityTier=1 PreemptMode=OFF"
)
NODE = "State=IDLE CPUTot=8 CPUAlloc=0 RealMemory=100 AllocMem=0 Gres=gpu:h100:2 Partitions=gpu"


@pytest.fixture
def cluster(program: Program, tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of folders with the programs of a cluster of two nodes, whose job's attempt ended as told."""

    def make(state: str, failed: str = "''", nodes: int = 2) -> Path:
        program("squeue", SEPARATED.format(fields=JOB.format(state=state, nodes="gpu001")))
        program("sacct", RECORD.format(fields=ATTEMPT.format(state=state, nodes="gpu001", failed=failed)))
        listed = "; ".join(f"echo NodeName=gpu00{number} {NODE}" for number in range(1, nodes + 1))
        program("scancel", f'echo "$*" >> {tmp_path}/calls')
        return program(
            "scontrol",
            f'case "$*" in *partitions) echo "{PARTITION}";; *nodes) {listed};; *show*) echo "JobName=digits";;'
            f' *) echo "$*" >> {tmp_path}/calls;; esac',
        )

    return make


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], list[str]]:
    """Return what reads the changes that Slurm was asked for."""

    def read() -> list[str]:
        file = tmp_path / "calls"
        return file.read_text().splitlines() if file.exists() else []

    return read


def test_a_job_that_a_node_failed_goes_back_and_keeps_off_that_node(
    fleetward: Fleetward, cluster: Callable[..., Path], calls: Callable[[], list[str]]
) -> None:
    path = cluster("NODE_FAIL", "gpu001")
    done = fleetward("requeue", "12", "--now", "--json", PATH=f"{path}:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"job_id": "12", "excluded": ["gpu001"], "restarts": 1}
    assert calls() == ["requeue 12", "update jobid=12 excnodelist=gpu001", "update jobid=12 starttime=now"]
    assert "keeps off gpu001" in done.stderr


def test_a_job_that_cannot_do_without_a_node_may_go_back_to_it(
    fleetward: Fleetward, cluster: Callable[..., Path], calls: Callable[[], list[str]]
) -> None:
    path = cluster("NODE_FAIL", "gpu001", nodes=1)
    done = fleetward("requeue", "12", PATH=f"{path}:/usr/bin:/bin")
    assert (done.returncode, calls()) == (0, ["requeue 12"])
    assert "gpu001 failed it, and it cannot do without" in done.stderr


def test_it_may_go_anywhere_where_that_is_asked_for(
    fleetward: Fleetward, cluster: Callable[..., Path], calls: Callable[[], list[str]]
) -> None:
    path = cluster("NODE_FAIL", "gpu001")
    assert fleetward("requeue", "12", "--anywhere", PATH=f"{path}:/usr/bin:/bin").returncode == 0
    assert calls() == ["requeue 12"]


@pytest.mark.parametrize(("state", "words"), [("FAILED", "would end the same way"), ("COMPLETED", "it completed")])
def test_a_job_that_would_end_the_same_way_is_refused(
    state: str, words: str, fleetward: Fleetward, cluster: Callable[..., Path], calls: Callable[[], list[str]]
) -> None:
    path = cluster(state)
    done = fleetward("requeue", "12", PATH=f"{path}:/usr/bin:/bin")
    assert (done.returncode, calls()) == (4, [])
    assert words in done.stderr
    assert fleetward("requeue", "12", "--force", PATH=f"{path}:/usr/bin:/bin").returncode == 0
    assert calls() == ["requeue 12"]


def test_jobs_are_cancelled_and_what_is_no_id_cancels_nothing(
    fleetward: Fleetward, cluster: Callable[..., Path], calls: Callable[[], list[str]]
) -> None:
    path = cluster("RUNNING")
    done = fleetward("cancel", "12", "13_4", "--json", PATH=f"{path}:/usr/bin:/bin")
    assert json.loads(done.stdout) == {"cancelled": ["12", "13_4"]}
    assert calls() == ["12", "13_4"]
    refused = fleetward("cancel", "12", "--user=root", "12;x", PATH=f"{path}:/usr/bin:/bin")
    assert refused.returncode == 2
    assert calls() == ["12", "13_4"]
