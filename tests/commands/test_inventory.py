"""`fleetward inventory` as a person runs it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fleetward

PROGRAM = Path(sys.executable).with_name("fleetward")
INVENTORIES = Path(fleetward.__file__).parent / "inventories"


def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "inventory", *arguments], capture_output=True, text=True, timeout=60, check=False, cwd=cwd
    )


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    file = tmp_path / "hosts.yml"
    file.write_text("all: {vars: {fleet_cluster: x}, hosts: {h: {fleet_rack: 7}}}\n")
    return file


def test_check_of_a_right_inventory_says_so(tmp_path: Path) -> None:
    done = run("check", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("4 hosts, 2 partitions, no problems\n")


def test_check_of_a_wrong_one_names_the_problems_and_exits_2(wrong: Path) -> None:
    done = run("check", "-i", wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert "h: fleet_rack: input should be a valid string, not 7" in done.stderr
    assert "no host is in the group slurm_controller" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_as_json_lists_the_problems(wrong: Path) -> None:
    done = run("check", "-i", wrong, "--json")
    assert done.returncode == 2
    assert len(json.loads(done.stdout)["problems"]) == 2


@pytest.fixture
def incompatible(tmp_path: Path) -> Path:
    """Return a copy of the lab's inventory whose driver is too old for its CUDA."""
    copy = tmp_path / "incompatible"
    shutil.copytree(INVENTORIES / "lab", copy)
    (copy / "group_vars/gpu_nodes.yml").write_text("fleet_cuda: '13.0'\nfleet_nvidia_driver: '570.86.15'\n")
    return copy


def test_check_says_what_does_not_go_together_and_exits_5(incompatible: Path) -> None:
    done = run("check", "-i", incompatible)
    assert (done.returncode, done.stderr) == (5, "")
    assert "4 hosts, 2 partitions, 1 incompatibility\n" in done.stdout
    assert (
        "\ngpu[001-003]: fleet_cuda 13.0 needs fleet_nvidia_driver to be 580 or later, but it is 570.86.15"
        in done.stdout
    )
    assert "\n  rule: cuda-13-driver\n  from: CUDA Compatibility, Minor Version Compatibility" in done.stdout
    assert "\n  do:   choose a fleet_nvidia_driver that is 580 or later" in done.stdout


def test_check_as_json_lists_what_does_not_go_together(incompatible: Path) -> None:
    done = run("check", "-i", incompatible, "--json")
    assert done.returncode == 5
    told = json.loads(done.stdout)
    assert told["problems"] == []
    [found] = told["incompatibilities"]
    assert (found["rule"], found["hosts"]) == ("cuda-13-driver", ["gpu001", "gpu002", "gpu003"])
    assert set(found) == {"rule", "hosts", "sentence", "source", "remedy"}


def test_what_does_not_go_together_is_listed_and_rendered_all_the_same(incompatible: Path) -> None:
    assert run("list", "-i", incompatible).returncode == 0
    assert run("render", "slurm.conf", "-i", incompatible).returncode == 0


def test_a_site_accepts_a_rule_in_its_inventory(incompatible: Path) -> None:
    accepted = "fleet_compatibility: {rules: {cuda-13-driver: {accepted: cuda-compat is installed}}}\n"
    (incompatible / "group_vars/all/compatibility.yml").write_text(accepted)
    done = run("check", "-i", incompatible)
    assert (done.returncode, done.stdout[-12:]) == (0, "no problems\n")
    (incompatible / "group_vars/all/compatibility.yml").write_text(accepted.replace("cuda-13-driver", "cuda-13-drivr"))
    done = run("check", "-i", incompatible)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        "fleet_compatibility.rules.cuda-13-drivr: is none of the shipped rules, did you mean cuda-13-driver?"
        in done.stderr
    )


@pytest.fixture
def misspelt(tmp_path: Path) -> Path:
    """Return a copy of the lab's inventory with a variable of a role misspelt, and one of the site's own."""
    copy = tmp_path / "misspelt"
    shutil.copytree(INVENTORIES / "lab", copy)
    (copy / "group_vars/all/more.yml").write_text("common_timezon: Etc/UTC\nours_x: 1\n")
    return copy


def test_check_says_which_variables_nothing_knows_and_exits_5(misspelt: Path) -> None:
    done = run("check", "-i", misspelt)
    assert (done.returncode, done.stderr) == (5, "")
    assert "4 hosts, 2 partitions, 2 unknown variables\n" in done.stdout
    assert (
        "\ngroup_vars/all/more.yml: common_timezon: the role common has no such variable; "
        "did you mean common_timezone?\n" in done.stdout
    )
    told = json.loads(run("check", "-i", misspelt, "--json").stdout)
    assert [one["name"] for one in told["unknown_variables"]] == ["common_timezon", "ours_x"]


def test_a_site_declares_which_variables_are_its_own(misspelt: Path) -> None:
    (misspelt / "group_vars/all/own.yml").write_text("fleet_own_prefixes: [ours_, common_]\n")
    assert "1 unknown variable\n" in run("check", "-i", misspelt).stdout
    (misspelt / "group_vars/all/own.yml").write_text("fleet_own_prefixes: 'ours-'\n")
    done = run("check", "-i", misspelt)
    assert done.returncode == 2
    assert "fleet_own_prefixes.0: 'ours-' does not match" in done.stderr


def test_an_encrypted_file_of_variables_is_let_alone(tmp_path: Path) -> None:
    copy = tmp_path / "encrypted"
    shutil.copytree(INVENTORIES / "lab", copy)
    (copy / "group_vars/all/vault.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n3061\n3062\n")
    done = run("check", "-i", copy)
    assert (done.returncode, done.stdout[-12:]) == (0, "no problems\n")


def test_list_folds_the_hosts_of_every_group() -> None:
    done = run("list", "-i", INVENTORIES / "example")
    assert "slurm_node" in done.stdout
    assert "2004  a100-[0001-0980],h100-[0001-1024]" in done.stdout
    listed = json.loads(run("list", "--json").stdout)
    assert listed["hosts"]["gpu001"]["hardware_profile"]["gpu"]["count"] == 8
    assert listed["partitions"]["gpu"] == ["gpu001", "gpu002", "gpu003"]


def test_render_prints_one_file() -> None:
    assert "NodeName=gpu[001-003] " in run("render", "slurm.conf").stdout
    assert json.loads(run("render", "node.json", "--host", "gpu002").stdout)["address"] == "10.213.1.102"


def test_render_writes_all_files_and_writes_over_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for _ in range(2):
        assert run("render", "--output", folder).returncode == 0
    written = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert {"slurm.conf", "targets/gpu.json", "nodes/gpu001.json", "nodes/head.json"} <= written
    assert not [name for name in written if name.startswith(".")]
    assert (folder / "slurm.conf").read_text() == run("render", "slurm.conf").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["render", "slrm.conf"], "the inventory renders no file 'slrm.conf'"),
        (["render", "node.json", "--host", "nobody"], "'nobody' is not in the inventory"),
        (["render", "slurm.conf", "--output", "x"], "give one of the two"),
        (["check", "-i", "/nowhere"], "there is no such inventory"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "targets").write_text("in the way")
    done = run("render", "--output", tmp_path / "out")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
