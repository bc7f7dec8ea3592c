"""Slurm's commands on a host that is neither controller nor node."""

from collections.abc import Callable

from testinfra.host import Host

On = Callable[[str], Host]


def test_a_user_sees_the_cluster_and_runs_a_job_from_there(on: On) -> None:
    assert on("gpu002").check_output("runuser --user researcher -- sinfo --noheader --format=%N").split()[0] == "gpu001"
    command = (
        "cd /tmp && runuser --user researcher -- srun --immediate=60 --account=research --gpus-per-node=h100:1 hostname"
    )
    assert on("gpu002").check_output(command) == "gpu001"


def test_who_logs_in_sees_gpus(on: On) -> None:
    said = on("gpu002").check_output("runuser --user researcher -- bash -lc %s", "sinfo --noheader --partition=gpu")
    assert "gpu:h100:8" in said


def test_it_is_no_node(on: On) -> None:
    assert not on("gpu002").service("slurmd").is_running
    assert "gpu002" not in on("head").check_output("sinfo --noheader --Node --format=%N")


def test_it_comes_back_with_the_host(on: On) -> None:
    assert on("gpu002").service("sackd").is_running
    assert on("gpu002").service("sackd").is_enabled
