"""Which rank this process is, as Slurm's variables say."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ends import SetupError


@dataclass(frozen=True)
class Allocation:
    """One rank's place in the job step."""

    job: str
    step: str
    restarts: int
    """How often Slurm has requeued the job."""
    rank: int
    ranks: int
    local_rank: int
    """Number of this rank among those of its node."""
    node: str
    first_node: str
    """Where rank 0 runs: Slurm places ranks in the order of the step's nodes."""
    gpus: tuple[int, ...]
    """Indices of the GPUs that the step has on this node."""

    @property
    def gpu(self) -> int:
        """Index of this rank's GPU on its node. Raises SetupError where there are fewer GPUs than ranks."""
        if len(self.gpus) == 1:  # bound to the task by Slurm
            return self.gpus[0]
        if self.local_rank >= len(self.gpus):
            raise SetupError(
                f"{self.node} has {len(self.gpus)} GPUs for this step but runs task {self.local_rank} of it: "
                "ask for as many GPUs per node as tasks per node"
            )
        return self.gpus[self.local_rank]


def read_allocation(environment: Mapping[str, str]) -> Allocation:
    """Read Slurm's variables of one task. Raises SetupError where one is missing or not what Slurm writes."""
    nodes = environment.get("SLURM_STEP_NODELIST") or _text(environment, "SLURM_JOB_NODELIST")
    rank, ranks = _number(environment, "SLURM_PROCID"), _number(environment, "SLURM_NTASKS")
    if rank >= ranks:
        raise SetupError(f"SLURM_PROCID is {rank}, but SLURM_NTASKS is {ranks}")
    return Allocation(
        job=_text(environment, "SLURM_JOB_ID"),
        step=environment.get("SLURM_STEP_ID", "0"),
        restarts=int(environment.get("SLURM_RESTART_COUNT") or 0),
        rank=rank,
        ranks=ranks,
        local_rank=_number(environment, "SLURM_LOCALID"),
        node=_text(environment, "SLURMD_NODENAME"),
        first_node=first_host(nodes),
        gpus=_gpus(environment),
    )


def first_host(hostlist: str) -> str:
    """Return the first host of a Slurm host list: `gpu[003-007,9],head` begins with gpu003."""
    first = re.match(r"(?:[^,\[\]]|\[[^\[\]]*\])+", hostlist)
    if first is None:
        raise SetupError(f"{hostlist!r} is not a list of hosts")
    return re.sub(r"\[([^\[\],-]*)[^\[\]]*\]", r"\1", first.group())


def _gpus(environment: Mapping[str, str]) -> tuple[int, ...]:
    # SLURM_STEP_GPUS keeps the node's own numbers. CUDA_VISIBLE_DEVICES counts from 0 wherever Slurm hides the
    # other devices by cgroup, so it is only the second choice.
    name = "SLURM_STEP_GPUS" if environment.get("SLURM_STEP_GPUS") else "CUDA_VISIBLE_DEVICES"
    value = environment.get(name, "")
    if not value:
        raise SetupError("Slurm gave this step no GPU: submit with --gpus-per-node")
    if not re.fullmatch(r"\d+(,\d+)*", value):
        raise SetupError(f"{name} is {value!r}, where indices such as 0,1 were expected")
    return tuple(int(index) for index in value.split(","))


def _text(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value:
        raise SetupError(f"{name} is not set: start this with srun, inside a Slurm job")
    return value


def _number(environment: Mapping[str, str], name: str) -> int:
    value = _text(environment, name)
    if not value.isdecimal():
        raise SetupError(f"{name} is {value!r}, not a number")
    return int(value)
