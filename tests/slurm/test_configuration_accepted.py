"""The rendered files before the real thing: slurmdbd, slurmctld and slurmd of both suites, in a container each."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import fleetward
from fleetward.lab.host import HostFacts, read_facts
from fleetward.model.fleet import DATABASE_GROUP, SLURM_NODE_GROUP, Fleet
from fleetward.model.host_ranges import expand
from fleetward.model.inventory import read_fleet
from fleetward.slurm.configuration import render

pytestmark = pytest.mark.slurm

INVENTORIES = Path(fleetward.__file__).parent / "inventories"


@dataclass(frozen=True)
class Accepted:
    """A fleet, and what Slurm's programs said about it."""

    fleet: Fleet
    said: Path

    def lines(self, name: str) -> list[dict[str, str]]:
        """Return what `scontrol --oneliner` printed, a map a line."""
        found = []
        for line in (self.said / name).read_text().splitlines():
            words = (word.partition("=") for word in line.split())
            found.append({key: value for key, _, value in words})
        return found

    def config(self) -> dict[str, str]:
        """Return the parameters that slurmctld runs with, names in lower case."""
        found = {}
        for line in (self.said / "config").read_text().splitlines():
            key, equals, value = line.partition("=")
            if equals:
                found[key.strip().lower()] = value.strip()
        return found


def checked_in_turns(folder: Path) -> Path:
    """Copy the lab's inventory, with the checks run as in a fleet that is too large to run them all at once."""
    copy = shutil.copytree(INVENTORIES / "lab", folder / "inventory")
    variables = copy / "group_vars/all/fleet.yml"
    interval = "  HealthCheckInterval: 20\n"
    assert interval in variables.read_text()
    in_turns = f"{interval}  HealthCheckNodeState: ANY,CYCLE\n"
    variables.write_text(variables.read_text().replace(interval, in_turns))
    return copy


@pytest.fixture(scope="module", params=["lab", "example", "checked in turns"])
def accepted(request: pytest.FixtureRequest, node_image: str, tmp_path_factory: pytest.TempPathFactory) -> Accepted:
    plain = INVENTORIES / request.param
    fleet = read_fleet(plain if plain.exists() else checked_in_turns(tmp_path_factory.mktemp("in_turns")))
    rendered, said = tmp_path_factory.mktemp("rendered"), tmp_path_factory.mktemp("said")
    files = render(fleet)
    for name, text in files.items():
        if "/" not in name:
            (rendered / name).write_text(text)
    (rendered / "hosts").write_text(files["hosts"] + _stand_in_dns(fleet))
    done = subprocess.run(
        _container(read_facts(), node_image, fleet, rendered, said),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Accepted(fleet, said)


def _stand_in_dns(fleet: Fleet) -> str:
    """Return addresses for those whose names a site's DNS would know, and this container for the database."""
    unknown = [node.name for node in fleet.nodes.values() if not node.has_ip_address]
    lines = [f"10.250.{index // 250}.{index % 250 + 1} {name}\n" for index, name in enumerate(unknown)]
    return "".join([*lines, *(f"127.0.0.1 {node.name}\n" for node in fleet.members(DATABASE_GROUP))])


def _container(facts: HostFacts, image: str, fleet: Fleet, rendered: Path, said: Path) -> list[str]:
    controller = fleet.members("slurm_controller")[0]
    node = fleet.members(SLURM_NODE_GROUP)[0]
    return [
        *(facts.engine, "run", "--rm", "--network", "none", "--hostname", controller.name),
        *(("--runtime", facts.runtime) if facts.runtime else ()),
        *("--ulimit", f"nofile={facts.open_files}:{facts.open_files}"),
        *("--ulimit", f"nproc={facts.processes}:{facts.processes}"),
        *("--cap-add", "NET_ADMIN", "--cap-add", "MKNOD"),
        *("--volume", f"{rendered}:/rendered:ro", "--volume", f"{said}:/out"),
        *("--volume", f"{Path(__file__).with_name('accept.sh')}:/accept.sh:ro"),
        *(image, "sh", "/accept.sh", controller.address, " ".join(qos.name for qos in fleet.qos), node.name),
    ]


def test_slurmctld_has_every_node_with_its_cpus_memory_and_gpus(accepted: Accepted) -> None:
    nodes = {line["NodeName"]: line for line in accepted.lines("nodes")}
    declared = accepted.fleet.members(SLURM_NODE_GROUP)
    assert set(nodes) == {node.name for node in declared}
    for node in declared:
        profile, line = node.profile, nodes[node.name]
        assert profile is not None
        assert profile.gpu is not None
        assert line["Gres"].split("(")[0] == f"gpu:{profile.gpu.model}:{profile.gpu.count}"
        assert line["CPUTot"] == str(profile.cpus)
        assert line["RealMemory"] == str(profile.memory_mib)


def test_slurmctld_has_every_partition_with_its_nodes(accepted: Accepted) -> None:
    partitions = {line["PartitionName"]: line for line in accepted.lines("partitions")}
    assert set(partitions) == {partition.name for partition in accepted.fleet.partitions}
    for partition in accepted.fleet.partitions:
        assert set(expand(partitions[partition.name]["Nodes"])) == set(partition.nodes)
        assert partitions[partition.name]["MaxTime"] == partition.parameters["MaxTime"]


def test_slurmctld_has_every_switch(accepted: Accepted) -> None:
    switches = {line["SwitchName"]: line for line in accepted.lines("topology") if "SwitchName" in line}
    leaves: dict[str, set[str]] = {}
    for node in accepted.fleet.members(SLURM_NODE_GROUP):
        assert node.leaf_switch is not None
        leaves.setdefault(node.leaf_switch, set()).add(node.name)
    assert {name: set(expand(switches[name]["Nodes"])) for name in leaves} == leaves
    spines = {node.spine_switch for node in accepted.fleet.members(SLURM_NODE_GROUP)} - {None}
    assert spines <= set(switches)


def test_slurmctld_runs_with_the_parameters_that_were_given(accepted: Accepted) -> None:
    config = accepted.config()
    for name, value in accepted.fleet.slurm_parameters.items():
        # Slurm prints some values with their unit or in the other case, and lists in an order of its own
        said = config[name.lower()].removesuffix(" sec").replace("(null)", "task/none").lower()
        assert set(said.split(",")) == set(value.lower().split(",")), name
    assert config["clustername"] == accepted.fleet.cluster
    assert "enable_configless" in config["slurmctldparameters"]
    assert config["accountingstoragetype"] == "accounting_storage/slurmdbd"


def test_accounting_counts_each_model_of_gpu(accepted: Accepted) -> None:
    tres = set((accepted.said / "tres").read_text().split())
    models = {node.profile.gpu.model for node in accepted.fleet.nodes.values() if node.profile and node.profile.gpu}
    assert {"gres|gpu", *(f"gres|gpu:{model}" for model in models)} <= tres


def test_slurmd_finds_the_device_files_in_gres_conf(accepted: Accepted) -> None:
    gpu = next(node.profile.gpu for node in accepted.fleet.members(SLURM_NODE_GROUP) if node.profile)
    assert gpu is not None
    said = (accepted.said / "gres").read_text()
    assert f"Name=gpu Type={gpu.model} Count={gpu.count} " in said
    assert f"File={gpu.device_files}" in said


def test_nothing_in_the_files_is_complained_about(accepted: Accepted) -> None:
    log = (accepted.said / "slurmctld.log").read_text()
    words = (
        "slurm.conf",
        "gres.conf",
        "topology.conf",
        "cgroup.conf",
        "invalid",
        "deprecated",
        "fatal",
        "unrecognized",
    )
    assert [line for line in log.splitlines() if any(word in line.lower() for word in words)] == []
