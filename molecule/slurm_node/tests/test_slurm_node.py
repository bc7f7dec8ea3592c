"""GPU nodes that take jobs, and give each the GPUs that it asked for."""

from collections.abc import Callable

from testinfra.host import Host

On = Callable[[str], Host]

AS_USER = "cd /tmp && runuser --user researcher -- srun --quiet --immediate=60 --account=research"


def test_the_controller_sees_the_nodes_as_idle_with_their_gpus(on: On) -> None:
    lines = on("head").check_output("sinfo --noheader --Node --partition=gpu --format='%N %t %G'").split("\n")
    assert [line.split("(")[0].strip() for line in lines] == ["gpu001 idle gpu:h100:8", "gpu002 idle gpu:h100:8"]


def test_a_job_over_two_nodes_runs_on_both(on: On) -> None:
    said = on("head").check_output(f"{AS_USER} --nodes=2 --gpus-per-node=h100:8 hostname")
    assert sorted(said.split()) == ["gpu001", "gpu002"]


def test_two_steps_at_once_get_different_gpus(on: On) -> None:
    step = f"{AS_USER} --nodelist=gpu001 --gpus-per-node=h100:4 --mem=100 sh -c 'echo $CUDA_VISIBLE_DEVICES; sleep 3'"
    said = on("head").check_output(f"({step}) & ({step}) & wait").split()
    assert sorted(",".join(said).split(",")) == list("01234567")


def test_a_job_that_asks_for_more_than_there_is_is_refused(on: On) -> None:
    refused = on("head").run(f"{AS_USER} --nodes=1 --gpus-per-node=h100:9 hostname")
    assert refused.rc != 0
    assert "node configuration is not available" in refused.stderr


def test_a_node_keeps_no_configuration_of_its_own(on: On) -> None:
    assert not on("gpu001").file("/etc/slurm/slurm.conf").exists
    assert "lab" in on("gpu001").check_output("scontrol show config | grep ^ClusterName")


def test_it_comes_back_with_the_host(on: On) -> None:
    on("gpu002").check_output("systemctl restart slurmd")
    assert on("gpu002").service("slurmd").is_enabled
    said = on("head").check_output(f"{AS_USER} --nodelist=gpu002 hostname")
    assert said == "gpu002"
