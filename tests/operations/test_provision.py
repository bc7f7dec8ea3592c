"""What a person is told when a playbook fails, and which hosts a limited run takes along."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from fleetward.commands.provision import provision as command
from fleetward.model.errors import ExitCode, FleetwardError, OutOfReachError, RefusedError
from fleetward.model.inventory import read_fleet
from fleetward.model.software import Software, Version
from fleetward.operations import provision as provisioning
from fleetward.operations.playbook import PlaybookResult, PlaybookRun, TaskFailure, task_failure

RUN = PlaybookRun(inventory=Path("inventory"), log=Path("/var/log/run.log"))


def ends_with(monkeypatch: pytest.MonkeyPatch, result: PlaybookResult) -> None:
    monkeypatch.setattr(provisioning, "run_playbook", lambda wanted, on_task: result)


def test_a_run_that_ends_well_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    well = PlaybookResult(0, {"head": 3}, {"head": 9})
    ends_with(monkeypatch, well)
    assert provisioning.provision(RUN) == well


def test_a_failed_task_is_named_with_its_host_and_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = (TaskFailure("gpu001", "Start slurmd", "no such unit"), TaskFailure("gpu002", "Start slurmd", "same"))
    ends_with(monkeypatch, PlaybookResult(2, failures=failures))
    with pytest.raises(
        FleetwardError, match=r"gpu001: Start slurmd: no such unit \(and 1 more\).*/var/log/run\.log"
    ) as e:
        provisioning.provision(RUN)
    assert e.value.exit_code == ExitCode.FAILED


def test_a_host_that_does_not_answer_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    ends_with(monkeypatch, PlaybookResult(4, failures=(TaskFailure("gpu001", "Gathering Facts", "timed out", True),)))
    with pytest.raises(OutOfReachError, match="gpu001"):
        provisioning.provision(RUN)


def test_a_run_that_fails_before_any_task_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    ends_with(monkeypatch, PlaybookResult(4))
    with pytest.raises(FleetwardError, match="status 4 before any task"):
        provisioning.provision(RUN)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"msg": "No package matching 'slurmd'"}, "No package matching 'slurmd'"),
        ({"msg": "non-zero return code", "stderr": "a\nb\nlast words\n"}, "a / b / last words"),
        ({"msg": "", "stdout": "only this"}, "only this"),
        ({}, ""),
    ],
)
def test_the_reason_is_what_the_program_said_last(result: dict[str, str], words: str) -> None:
    told = task_failure({"host": "head", "task": "t", "res": result}, unreachable=False)
    assert told == TaskFailure("head", "t", words)


def test_software_that_does_not_go_together_is_refused_by_name() -> None:
    folder = provisioning.default_inventory()
    fleet = read_fleet(folder)
    provisioning.refuse_incompatible(folder, fleet)
    old = Software(cuda=Version.parse("13.0"), nvidia_driver=Version.parse("570.86.15"))
    nodes = {name: replace(node, software=old) for name, node in fleet.nodes.items()}
    with pytest.raises(RefusedError, match="nothing was touched") as refused:
        provisioning.refuse_incompatible(folder, replace(fleet, nodes=nodes))
    assert refused.value.exit_code == ExitCode.REFUSED
    assert "\n  gpu[001-003],head: fleet_cuda 13.0 needs fleet_nvidia_driver to be 580 or later" in str(refused.value)
    assert "(rule cuda-13-driver, from: CUDA Compatibility" in str(refused.value)


def test_provision_refuses_it_before_ansible_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "inventory"
    shutil.copytree(provisioning.default_inventory(), folder)
    (folder / "group_vars/gpu_nodes.yml").write_text("fleet_cuda: '13.0'\nfleet_nvidia_driver: '570.86.15'\n")
    begun: list[object] = []
    monkeypatch.setattr(provisioning, "run_playbook", lambda *arguments: begun.append(arguments))
    done = CliRunner().invoke(command, ["-i", str(folder), "--limit", "head"])
    assert isinstance(done.exception, RefusedError)
    assert begun == []


def test_a_limited_run_takes_the_hosts_along_whose_files_list_every_node() -> None:
    fleet = read_fleet(provisioning.default_inventory())
    assert provisioning.control_plane(fleet) == ("head",)
    limited = provisioning.with_control_plane(PlaybookRun(inventory=Path("i"), limit="gpu003"), ("head",))
    assert limited.limit == "gpu003,head"


def test_a_whole_run_stays_whole() -> None:
    assert provisioning.with_control_plane(RUN, ("head",)) == RUN
