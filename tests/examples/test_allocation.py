"""What Slurm's variables say of a rank."""

import pytest
from allocation import first_host, read_allocation
from ClusterShell.NodeSet import NodeSet
from ends import SetupError
from hypothesis import given
from hypothesis import strategies as st

SLURM = {
    "SLURM_JOB_ID": "12",
    "SLURM_JOB_NODELIST": "gpu[001-002]",
    "SLURM_PROCID": "11",
    "SLURM_NTASKS": "16",
    "SLURM_LOCALID": "3",
    "SLURMD_NODENAME": "gpu002",
    "SLURM_STEP_GPUS": "0,1,2,3,4,5,6,7",
}


def test_a_rank_knows_its_place() -> None:
    place = read_allocation(SLURM)
    assert (place.rank, place.ranks, place.local_rank, place.node, place.first_node) == (11, 16, 3, "gpu002", "gpu001")
    assert (place.gpu, place.restarts) == (3, 0)


def test_the_gpus_of_the_step_come_before_the_renumbered_ones_of_cuda() -> None:
    place = read_allocation({**SLURM, "SLURM_STEP_GPUS": "4,5,6,7", "CUDA_VISIBLE_DEVICES": "0,1,2,3"})
    assert place.gpu == 7


def test_a_gpu_bound_to_the_task_is_its_own() -> None:
    assert read_allocation({**SLURM, "SLURM_STEP_GPUS": "5"}).gpu == 5


def test_cuda_serves_where_slurm_names_no_gpu_of_the_step() -> None:
    assert read_allocation({**SLURM, "SLURM_STEP_GPUS": "", "CUDA_VISIBLE_DEVICES": "1,3,5,7"}).gpu == 7


def test_more_tasks_than_gpus_are_refused() -> None:
    place = read_allocation({**SLURM, "SLURM_STEP_GPUS": "0,1"})
    with pytest.raises(SetupError, match="gpu002 has 2 GPUs for this step but runs task 3"):
        _ = place.gpu


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"SLURM_PROCID": ""}, "SLURM_PROCID is not set: start this with srun"),
        ({"SLURM_NTASKS": "many"}, "SLURM_NTASKS is 'many', not a number"),
        ({"SLURM_NTASKS": "4"}, "SLURM_PROCID is 11, but SLURM_NTASKS is 4"),
        ({"SLURM_STEP_GPUS": ""}, "no GPU: submit with --gpus-per-node"),
        ({"SLURM_STEP_GPUS": "GPU-1234"}, "SLURM_STEP_GPUS is 'GPU-1234'"),
    ],
)
def test_what_is_wrong_is_said_by_name(change: dict[str, str], message: str) -> None:
    with pytest.raises(SetupError, match=message):
        read_allocation({**SLURM, **change})


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("gpu001", "gpu001"),
        ("gpu[003-007,009],head", "gpu003"),
        ("gpu[003,007]", "gpu003"),
        ("a,b", "a"),
        ("rack[1-2]n[01-02]", "rack1n01"),
        ("dgx-[1-2]-east,x", "dgx-1-east"),
    ],
)
def test_the_first_host_of_a_list(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


@given(st.sets(st.integers(1, 300), min_size=1))
def test_the_first_host_is_the_one_that_clustershell_finds(numbers: set[int]) -> None:
    folded = NodeSet.fromlist([f"gpu{number:03}" for number in numbers])
    assert first_host(str(folded)) == folded[0]
