"""`fleetward adopt` as a person runs it: on recorded answers, on hostile ones, and again."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from in_process import run_command

from fleetward.model.inventory import read_fleet
from fleetward.slurm.adoption.files import HARDWARE_FILE, HOSTS_FILE, SLURM_FILE

RECORDINGS = Path(__file__).parent.parent / "slurm/recordings"
Adopt = Callable[..., subprocess.CompletedProcess[str]]
Says = Callable[[str, str], None]


@pytest.fixture(params=["24.11", "26.05"])
def slurm(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a recording of one release: its nodes, and the partitions of the recording that has more of them."""
    folder = tmp_path / "recording"
    folder.mkdir()
    calls = []
    for part, listed in (("slurm", "nodes"), ("records", "partitions")):
        source = RECORDINGS / f"{part}-{request.param}"
        index = json.loads((source / "recording.json").read_text())
        [call] = [call for call in index["calls"] if call["argv"][0] == "scontrol" and call["argv"][-1] == listed]
        (folder / listed).write_bytes((source / call["stdout"]).read_bytes())
        calls.append({**call, "stdout": listed})
    (folder / "recording.json").write_text(json.dumps({"separator": index["separator"], "calls": calls}))
    return folder


@pytest.fixture
def played(slurm: Path, tmp_path: Path) -> Adopt:
    """Run the command on recorded answers."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        variables = {"FLEETWARD_SLURM_RECORDING": str(slurm), "FLEETWARD_SLURM_BACKEND": "recorded"}
        return run_command(tmp_path, "adopt", *arguments, **variables)

    return run


@pytest.fixture
def says(program: Callable[[str, str], Path]) -> Says:
    """Have a played scontrol tell of these nodes and partitions."""

    def tell(nodes: str, partitions: str) -> None:
        folder = program("scontrol", 'case "$*" in *nodes) cat "$0.nodes";; *) cat "$0.partitions";; esac')
        (folder / "scontrol.nodes").write_text(nodes)
        (folder / "scontrol.partitions").write_text(partitions)

    return tell


@pytest.fixture
def adopt(tmp_path: Path) -> Adopt:
    """Run the command on what the played scontrol says."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
        return run_command(tmp_path, "adopt", *arguments, PATH=path, FLEETWARD_SLURM_BACKEND="command-line")

    return run


def a_node(name: str, gres: str = "gpu:h100:8", memory: int = 515_000, more: str = "") -> str:
    return f"NodeName={name} State=IDLE Gres={gres} CPUTot=64 CPUAlloc=0 RealMemory={memory} AllocMem=0 {more}\n"


def a_partition(name: str, nodes: str) -> str:
    return (
        f"PartitionName={name} State=UP Default=NO Nodes={nodes} MaxTime=UNLIMITED DefaultTime=NONE MinNodes=0 "
        "MaxNodes=UNLIMITED PriorityTier=1 PreemptMode=OFF ReqResv=NO\n"
    )


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_recorded_cluster_becomes_an_inventory_that_passes_the_check(played: Adopt, tmp_path: Path) -> None:
    done = played("theirs", "--cluster", "lab1")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "theirs/group_vars/all/hardware.yml: written",
        "theirs/group_vars/all/slurm.yml: written",
        "theirs/hosts.yml: written",
        "theirs: cluster lab1, nodes 3, hardware profiles 1, partitions 3",
    ]
    assert done.stderr == "fleetward: partition empty: left out, since it has no nodes\n"
    fleet = read_fleet(tmp_path / "theirs")
    assert fleet.cluster == "lab1"
    assert {one.name: one.nodes for one in fleet.partitions} == {
        "debug": ("gpu001",),
        "gpu": ("gpu001", "gpu002", "gpu003"),
        "night": ("gpu002", "gpu003"),
    }
    assert {one.name: dict(one.parameters) for one in fleet.partitions}["night"] == {
        "MaxTime": "02:00:00",
        "DefaultTime": "00:30:00",
        "PriorityTier": "5",
    }
    profile = fleet.nodes["gpu003"].profile
    assert profile is not None
    assert (profile.name, profile.cpus, profile.memory_mib) == ("h100x2-8c-16g", 8, 16000)
    assert not any(
        "odd" in text or "\x1b" in text for text in texts(tmp_path / "theirs").values()
    )  # its drain's reason
    check = run_command(tmp_path, "inventory", "check", "-i", "theirs")
    assert (check.returncode, check.stdout) == (0, "theirs: 3 hosts, 3 partitions, no problems\n")


def test_a_second_run_says_unchanged_and_remembers_what_was_chosen(played: Adopt, tmp_path: Path) -> None:
    assert played("theirs", "--cluster", "lab1", "--with", "gpu_exporter").returncode == 0
    before = texts(tmp_path / "theirs")
    for arguments in ([], ["--update"], ["--with", "gpu_exporter"]):
        done = played("theirs", *arguments)
        assert done.returncode == 0
        assert done.stdout.count(": unchanged\n") == 3
        assert "cluster lab1" in done.stdout
    assert texts(tmp_path / "theirs") == before
    assert read_fleet(tmp_path / "theirs").groups["gpu_exporter"] == ("gpu001", "gpu002", "gpu003")


def test_exporters_are_taken_out_on_demand(played: Adopt, tmp_path: Path) -> None:
    assert played("theirs", "--with", "gpu_exporter", "--with", "node_exporter").returncode == 0
    assert played("theirs", "--with", "none").returncode == 2
    assert "node_exporter" in read_fleet(tmp_path / "theirs").groups
    assert played("theirs", "--with", "none", "--update").returncode == 0
    assert not {"gpu_exporter", "node_exporter"} & set(read_fleet(tmp_path / "theirs").groups)
    refused = played("theirs", "--with", "none", "--with", "gpu_exporter")
    assert (refused.returncode, "--with none takes every exporter out" in refused.stderr) == (2, True)


def test_json_tells_all_of_it(played: Adopt) -> None:
    document = json.loads(played("theirs", "--json").stdout)
    assert document == {
        "inventory": "theirs",
        "cluster": "theirs",
        "backend": "recorded",
        "dry_run": False,
        "nodes": 3,
        "hardware_profiles": {"h100x2-8c-16g": 3},
        "partitions": {"debug": 1, "gpu": 3, "night": 2},
        "files": {HARDWARE_FILE: "written", SLURM_FILE: "written", HOSTS_FILE: "written"},
        "texts": {},
        "remarks": ["partition empty: left out, since it has no nodes"],
        "unread": {"nodes": [], "partitions": []},
    }


def test_a_dry_run_prints_the_files_and_writes_none(played: Adopt, tmp_path: Path) -> None:
    shown = played("theirs", "--dry-run")
    document = json.loads(played("theirs", "--dry-run", "--json").stdout)
    assert (shown.returncode, document["dry_run"]) == (0, True)
    assert "theirs/hosts.yml: would be written\n" in shown.stdout
    assert not (tmp_path / "theirs").exists()
    assert played("theirs").returncode == 0
    assert document["texts"] == texts(tmp_path / "theirs")
    assert all(text in shown.stdout for text in document["texts"].values())


def test_what_slurm_says_anew_is_written_only_on_demand(adopt: Adopt, says: Says, tmp_path: Path) -> None:
    says(a_node("gpu1"), a_partition("p", "gpu1"))
    assert adopt("theirs").returncode == 0
    before = texts(tmp_path / "theirs")
    says(a_node("gpu1") + a_node("gpu2"), a_partition("p", "gpu[1-2]"))
    refused = adopt("theirs")
    assert (refused.returncode, refused.stdout, texts(tmp_path / "theirs")) == (2, "", before)
    assert "nothing was written, since there are files that differ:" in refused.stderr
    assert "theirs/hosts.yml: Slurm says something else now\n" in refused.stderr
    assert "hardware.yml" not in refused.stderr
    assert json.loads(adopt("theirs", "--update", "--dry-run", "--json").stdout)["files"][HOSTS_FILE] == "rewritten"
    assert texts(tmp_path / "theirs") == before
    done = adopt("theirs", "--update")
    assert (done.returncode, "theirs/hosts.yml: rewritten\n" in done.stdout) == (0, True)
    assert set(read_fleet(tmp_path / "theirs").nodes) == {"gpu1", "gpu2"}


def test_what_a_person_changed_is_never_written_over(adopt: Adopt, says: Says, tmp_path: Path) -> None:
    says(a_node("gpu1"), a_partition("p", "gpu1"))
    assert adopt("theirs").returncode == 0
    hardware = tmp_path / "theirs" / HARDWARE_FILE
    mine = (
        hardware.read_text().replace("sockets: 1", "sockets: 2").replace("cores_per_socket: 64", "cores_per_socket: 32")
    )
    hardware.write_text(mine)
    refused = adopt("theirs")
    assert refused.returncode == 2
    assert f"theirs/{HARDWARE_FILE}: not as adopt wrote it" in refused.stderr
    says(a_node("gpu1") + a_node("gpu2"), a_partition("p", "gpu[1-2]"))
    done = adopt("theirs", "--update", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["files"] == {HARDWARE_FILE: "kept", SLURM_FILE: "unchanged", HOSTS_FILE: "rewritten"}
    assert "not as adopt wrote it, and is kept" in done.stderr
    assert hardware.read_text() == mine
    fleet = read_fleet(tmp_path / "theirs")
    assert {name: node.profile.sockets for name, node in fleet.nodes.items() if node.profile} == {"gpu1": 2, "gpu2": 2}


def test_what_would_not_fit_what_a_person_changed_is_refused(adopt: Adopt, says: Says, tmp_path: Path) -> None:
    says(a_node("gpu1"), a_partition("p", "gpu1"))
    assert adopt("theirs").returncode == 0
    with (tmp_path / "theirs" / HARDWARE_FILE).open("a") as file:
        file.write("# mine\n")
    before = texts(tmp_path / "theirs")
    says(a_node("gpu1") + a_node("gpu2", "gpu:h200:8"), a_partition("p", "gpu[1-2]"))
    refused = adopt("theirs", "--update")
    assert refused.returncode == 2
    assert "gpu2: unknown hardware profile h200x8-64c-512g" in refused.stderr
    assert texts(tmp_path / "theirs") == before


@pytest.mark.parametrize("update", [[], ["--update"]])
def test_an_inventory_that_is_somebody_elses_stays_as_it_is(
    update: list[str], adopt: Adopt, says: Says, tmp_path: Path
) -> None:
    says(a_node("gpu1"), a_partition("p", "gpu1"))
    (tmp_path / "own").mkdir()
    (tmp_path / "own/hosts.yml").write_text("slurm_adopted: {hosts: {gpu1: {}}}\n")  # with the rest it would add up
    refused = adopt("own", *update)
    assert refused.returncode == 2
    assert "own/hosts.yml: not as adopt wrote it" in refused.stderr
    assert list(texts(tmp_path / "own")) == ["hosts.yml"]


def test_a_controller_that_does_not_answer_leaves_everything_as_it_is(
    adopt: Adopt, program: Callable[[str, str], Path], tmp_path: Path
) -> None:
    program("scontrol", "echo 'Unable to contact slurm controller (connect failure)' >&2; exit 1")
    done = adopt("theirs", "--json")
    assert (done.returncode, done.stdout) == (3, "")
    assert not (tmp_path / "theirs").exists()


def test_partitions_that_are_not_told_leave_everything_as_it_is(
    adopt: Adopt, program: Callable[[str, str], Path], tmp_path: Path
) -> None:
    refuse = "echo 'slurm_load_partitions: Zero Bytes were transmitted or received' >&2; exit 1"
    program("scontrol", f"case \"$*\" in *nodes) echo '{a_node('gpu1').strip()}';; *) {refuse};; esac")
    assert adopt("theirs").returncode == 3
    assert not (tmp_path / "theirs").exists()


def test_what_cannot_be_read_is_told_and_the_rest_is_adopted(adopt: Adopt, says: Says, tmp_path: Path) -> None:
    says(a_node("gpu1") + "NodeName=gpu2 State=\x1b[31m\n", a_partition("p", "gpu[1-2]") + "PartitionName=q\n")
    done = adopt("theirs", "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert document["unread"] == {"nodes": ["NodeName=gpu2 State=\x1b[31m"], "partitions": ["PartitionName=q"]}
    assert document["remarks"] == ["partition p: its nodes 'gpu2' are left out; they are not adopted"]
    assert "1 of Slurm's nodes could not be read, the first: NodeName=gpu2 State=\\x1b[31m" in done.stderr
    assert "1 of Slurm's partitions could not be read" in done.stderr
    assert set(read_fleet(tmp_path / "theirs").nodes) == {"gpu1"}


def test_hostile_words_reach_neither_files_nor_terminal(adopt: Adopt, says: Says, tmp_path: Path) -> None:
    says(
        a_node("on")
        + a_node("1e3", "gpu:{{x}}:2")
        + a_node("n_1\x1b[31m")
        + a_node("null", more="Reason={{evil}}\nall:"),
        a_partition("{{y}}", "on") + a_partition("no", "on,1e3") + a_partition("yes", "null"),
    )
    done = adopt("theirs")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert r"'n_1\x1b[31m': left out, since no host can be called so" in done.stderr
    assert "partition '{{y}}': left out" in done.stderr
    assert not any("{{" in text for text in texts(tmp_path / "theirs").values())
    fleet = read_fleet(tmp_path / "theirs")
    assert set(fleet.nodes) == {"on", "1e3", "null"}
    assert {one.name for one in fleet.partitions} == {"no", "yes"}


def test_a_cluster_without_gpus_is_adopted(adopt: Adopt, says: Says, tmp_path: Path) -> None:
    says(a_node("cpu1", "(null)"), a_partition("p", "cpu1"))
    done = adopt("theirs", "--with", "gpu_exporter")
    assert done.returncode == 0
    assert "no node has a GPU: gpu_exporter has no members and is left out" in done.stderr
    assert "gpu_exporter" not in read_fleet(tmp_path / "theirs").groups


def test_a_cluster_without_nodes_is_none(adopt: Adopt, says: Says, tmp_path: Path) -> None:
    says("NodeName=gpu_1\n", "")
    done = adopt("theirs")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("fleetward: Slurm told of no node that can be adopted; nothing was written\n")
    assert not (tmp_path / "theirs").exists()


@pytest.mark.parametrize(
    ("folder", "words"), [("My Cluster", []), ("ok", ["--cluster", "a b"]), ("ok", ["--cluster", ""])]
)
def test_a_name_that_no_cluster_can_have_is_refused(
    folder: str, words: list[str], adopt: Adopt, says: Says, tmp_path: Path
) -> None:
    says(a_node("gpu1"), a_partition("p", "gpu1"))
    done = adopt(folder, *words)
    assert done.returncode == 2
    assert "is no name for a cluster: give --cluster NAME" in done.stderr
    assert not (tmp_path / folder).exists()


def test_of_many_remarks_the_first_are_shown_and_json_has_all(adopt: Adopt, says: Says) -> None:
    says(a_node("gpu1"), "".join(a_partition(f"p{index}", "(null)") for index in range(30)) + a_partition("p", "gpu1"))
    done = adopt("theirs", "--json")
    assert len(json.loads(done.stdout)["remarks"]) == 30
    assert done.stderr.count("left out, since it has no nodes") == 20
    assert "and 10 remarks more; --json has them all" in done.stderr


def test_a_folder_that_cannot_be_written_is_an_error(adopt: Adopt, says: Says) -> None:
    says(a_node("gpu1"), a_partition("p", "gpu1"))
    done = adopt("/proc/theirs", "--json")  # where root cannot write either
    assert (done.returncode, done.stdout) == (1, "")
    assert "fleetward: /proc/theirs: cannot be written: " in done.stderr
    assert "; nothing was changed\n" in done.stderr
