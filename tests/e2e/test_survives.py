"""A training job that survives: whatever ends an attempt, the next goes on from the checkpoint, and the cause is named.

Four GPU nodes. Two hold the job, whose ranks hold their GPUs; the others are there to go to.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from labs import Lab
from loops import (
    FOLDER,
    Gpu,
    accounted,
    any_gpu_of,
    break_gpu,
    mend,
    node,
    prepare_job,
    put_right,
    result,
    running_job,
    wait_for,
)

pytestmark = [pytest.mark.lab, pytest.mark.verify]

PATIENCE = 300.0


@dataclass(frozen=True)
class Training:
    """A job in a lab, from its submission on."""

    lab: Lab
    job: str

    @property
    def nodes(self) -> list[str]:
        """The nodes of the present attempt."""
        folded = self.lab.told("head", "squeue", "-h", "-j", self.job, "-o", "%N").strip()
        return self.lab.told("head", "scontrol", "show", "hostnames", folded).split()

    def causes(self) -> list[str]:
        """Return what `fleetward why` names for each attempt."""
        return [one["verdict"]["cause"] for one in self.why()["attempts"]]

    def why(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.lab.told("head", "fleetward", "why", self.job, "--json"))
        return found

    def hurry(self) -> None:
        """Lift the two minutes that Slurm holds a requeued job back."""
        if self.lab.told("head", "squeue", "-h", "-j", self.job, "-o", "%T %r").strip() == "PENDING BeginTime":
            self.lab.told("head", "scontrol", "update", f"jobid={self.job}", "starttime=now")

    def completes(self, causes: list[str]) -> None:
        """Check that it completes from a checkpoint, and that its attempts ended of these causes."""

        def done() -> bool:
            self.hurry()
            return accounted(self.lab, self.job)[0] == "COMPLETED"

        wait_for(done, PATIENCE, "the job completed")
        ended = result(self.lab)
        assert ended["accuracy"] > 0.95
        assert ended["restarts"] == len(causes) - 1
        assert (ended["resumed_from_step"] or 0) > 0
        wait_for(lambda: self.causes() == causes, 60, f"causes {causes}")


def submitted(lab: Lab, **fields: object) -> Training:
    """Submit the slow sample job with more fields, and wait until it has a checkpoint."""
    lab.told("head", "sh", "-c", f"rm -rf {FOLDER}/checkpoints")
    lines = "".join(f"{name}: {json.dumps(value)}\n" for name, value in fields.items())
    write = f"grep -v '^requeue:\\|^time:' {FOLDER}/slow.yaml > {FOLDER}/surviving.yaml; cat >> {FOLDER}/surviving.yaml"
    lab.told("head", "sh", "-c", f"cd {FOLDER}; {write} <<'END'\n{lines}END")
    submit = f"cd {FOLDER} && fleetward submit surviving.yaml"
    job = lab.told("head", "sh", "-c", submit, user="researcher").strip()
    assert running_job(lab) == job
    return Training(lab, job)


@pytest.fixture
def whole(four_nodes: Lab) -> Iterator[Lab]:
    """Return the lab with all nodes idle and the sample job at hand, and leave no job behind."""
    put_right(four_nodes)
    prepare_job(four_nodes)
    yield four_nodes
    four_nodes.on("head", "scancel", "--user=researcher")


SURVIVE = {"warning": 40, "grace": 15, "attempts": 9}


def test_a_lost_gpu_that_kills_a_rank(whole: Lab) -> None:
    whole.told("head", "fleetward", "autopilot", "mode", "gpu-off-bus", "auto")
    training = submitted(whole, time="00:30:00", survive=SURVIVE)
    gpu: Gpu = any_gpu_of(whole, training.job)
    try:
        break_gpu(whole, gpu)
        training.completes(["gpu_fault", "completed"])
        first = training.why()["attempts"][0]
        assert first["verdict"]["nodes"] == [gpu.node]
        assert any(f"{gpu.node} GPU {gpu.index}: XID 79" in line for line in first["verdict"]["evidence"])
    finally:
        mend(whole, gpu.node)
        whole.told("head", "fleetward", "autopilot", "mode", "gpu-off-bus", "propose")
    wait_for(lambda: node(whole, gpu.node)["state"] == ["IDLE"], 180, "the node back in service")


def test_a_killed_slurmd(whole: Lab) -> None:
    training = submitted(whole, time="00:30:00", survive=SURVIVE)
    lost = training.nodes[1]
    whole.told(lost, "systemctl", "kill", "--signal=KILL", "slurmd")
    whole.told(lost, "systemctl", "stop", "slurmd")
    try:
        training.completes(["node_failure", "completed"])
    finally:
        whole.told(lost, "systemctl", "start", "slurmd")


def test_a_killed_slurmctld(whole: Lab) -> None:
    """The job lives on; nothing is lost, so there is nothing to resume from."""
    training = submitted(whole, time="00:30:00", survive=SURVIVE)
    whole.told("head", "systemctl", "kill", "--signal=KILL", "slurmctld")
    whole.told("head", "systemctl", "restart", "slurmctld")
    wait_for(lambda: accounted(whole, training.job)[0] == "COMPLETED", PATIENCE, "the job completed")
    wait_for(lambda: training.causes() == ["completed"], 60, "one attempt, completed")
    assert result(whole)["restarts"] == 0


def test_a_preemption(whole: Lab) -> None:
    training = submitted(whole, time="00:30:00", survive=SURVIVE, qos="low")
    urgent = ("--qos=high", "--account=research", "--nodes=4", "--gpus-per-node=8", "--time=5", "--output=/dev/null")
    whole.told("head", "sbatch", *urgent, "--chdir=/tmp", "--wrap=sleep 5", user="researcher")
    training.completes(["preempted", "completed"])


def test_a_time_limit(whole: Lab) -> None:
    """The job takes longer than its limit, so that it is warned, saves and goes on."""
    training = submitted(whole, time="00:01:00", survive=SURVIVE)

    def done() -> bool:
        training.hurry()
        return accounted(whole, training.job)[0] == "COMPLETED"

    wait_for(done, 2 * PATIENCE, "the job completed")
    causes = training.causes()
    assert len(causes) >= 2
    assert causes == ["time_limit"] * (len(causes) - 1) + ["completed"]
    assert result(whole)["resumed_from_step"] > 0
