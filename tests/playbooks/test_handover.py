"""handover.yml on programs that are played: what is done to a node, in which order, and what refuses it.

Roles are played as well; their own scenarios have the real ones.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import fleetward

ROOT = Path(fleetward.__file__).parent
PLAYBOOK = ROOT / "playbooks/handover.yml"
PLAYED = Path(__file__).parent / "played_handover.py"
PROGRAMS = ("systemctl", "squeue", "scontrol", "sinfo", "fleetward", "kubectl", "crictl", "role")
RUNNING, STOPPED = {"active": True, "enabled": True}, {"active": False, "enabled": False}
OF_SLURM: dict[str, Any] = {
    "units": {"slurmd": RUNNING},
    "looks": 2,
    "slurm": "knows",
    "sinfo": "drained",
    "drain": "drained",
    "resume": "resumed",
    "check": 0,
    "kubernetes": True,
    "pods_go": True,
}
OF_KUBERNETES: dict[str, Any] = {
    **OF_SLURM,
    "units": {"slurmd": STOPPED, "kubelet": RUNNING, "containerd": RUNNING},
}


@dataclass(frozen=True)
class Handover:
    """One run: how it ended, what it said, what was called, and how the daemons stand."""

    code: int
    said: str
    calls: tuple[str, ...]
    units: dict[str, dict[str, bool]]


Run = Callable[..., Handover]


def inventory(folder: Path, groups_of_node: tuple[str, ...], **groups: dict[str, Any]) -> None:
    """Write the lab's inventory with gpu001 in these groups, on this machine."""
    shutil.copytree(ROOT / "inventories/lab", folder)
    children = yaml.safe_load((folder / "hosts.yml").read_text())["all"]["children"]
    vars_of_node = children["gpu_nodes"]["vars"]
    children["gpu_nodes"]["hosts"].pop("gpu001")
    children["moving"] = {"vars": vars_of_node, "hosts": {"gpu001": {"ansible_host": "10.213.1.101"}}}
    children |= {"kubernetes_node": {"children": {}}, "kubernetes_control_plane": {"children": {"heads": {}}}}
    for name in groups_of_node:
        children[name]["children"]["moving"] = {}
    children["node_health"] = {"children": {"slurm_node": {}}}
    children |= groups
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": children}}))
    here: dict[str, Any] = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    here |= {"fleet_partitions": {"gpu": {"nodes": "slurm_node"}}}
    (folder / "group_vars/all/zz_here.yml").write_text(yaml.safe_dump(here))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return what hands gpu001 over, with programs and roles that are played."""
    programs, roles = tmp_path / "bin", tmp_path / "roles"
    programs.mkdir()
    for name in PROGRAMS:
        # in the program's own name, and with a Python that is sure to be there
        (programs / name).write_text(PLAYED.read_text().replace("#!/usr/bin/env python3", f"#!{sys.executable}", 1))
        (programs / name).chmod(0o755)
    for name in ("kubernetes_node", "munge", "slurm_node"):
        (roles / name / "tasks").mkdir(parents=True)
        task = {"name": "Play the role", "ansible.builtin.command": {"argv": ["role", name]}}
        (roles / name / "tasks/main.yml").write_text(yaml.safe_dump([task]))

    def hand_over(
        groups: tuple[str, ...],
        state: dict[str, Any],
        *arguments: str,
        limit: str = "gpu001",
        **changed: dict[str, Any],
    ) -> Handover:
        shutil.rmtree(tmp_path / "inventory", ignore_errors=True)
        inventory(tmp_path / "inventory", groups, **changed)
        (tmp_path / "state.json").write_text(json.dumps(state))
        (tmp_path / "calls").write_text("")
        done = subprocess.run(
            [
                *(Path(sys.executable).with_name("ansible-playbook"), "-i", tmp_path / "inventory", PLAYBOOK),
                *([f"--limit={limit}"] if limit else []),
                *("--extra-vars", '{"handover_poll_seconds": 0, "handover_jobs_minutes": 0.1}', *arguments),
            ],
            env={
                **os.environ,
                "PATH": f"{programs}:{os.environ['PATH']}",
                "PLAYED_HANDOVER": str(tmp_path),
                "ANSIBLE_CONFIG": str(ROOT / "playbooks/ansible.cfg"),
                "ANSIBLE_ROLES_PATH": str(roles),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_PIPELINING": "1",
            },
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        units = json.loads((tmp_path / "state.json").read_text())["units"]
        said = " ".join((done.stdout + done.stderr).replace("\\n", " ").split())
        return Handover(done.returncode, said, tuple((tmp_path / "calls").read_text().splitlines()), units)

    return hand_over


def verbs(calls: tuple[str, ...]) -> list[str]:
    """Return program and verb of each call, the same one after the other once."""
    words = [" ".join(call.split()[:2]) if not call.startswith("s") else call.split()[0] for call in calls]
    words = [
        " ".join(call.split()[:3]) if call.startswith("systemctl") else word
        for call, word in zip(calls, words, strict=True)
    ]
    return [word for index, word in enumerate(words) if index == 0 or word != words[index - 1]]


def test_a_node_goes_to_kubernetes_once_slurm_has_let_go_of_it(run: Run) -> None:
    done = run(("kubernetes_node",), OF_SLURM)
    assert done.code == 0, done.said
    assert verbs(done.calls) == [
        "scontrol",
        "fleetward drain",
        "squeue",
        "sinfo",
        "systemctl disable slurmd",
        "systemctl stop slurmd",
        "role kubernetes_node",
        "kubectl wait",
        "kubectl uncordon",
    ]
    assert "fleetward drain gpu001 --reason=handed over to Kubernetes --class=maintenance --json" in done.calls
    assert sum(call.startswith("squeue") for call in done.calls) == 3
    assert done.units == {"slurmd": STOPPED, "kubelet": RUNNING, "containerd": RUNNING}


def test_a_node_whose_jobs_do_not_end_stays_drained_and_is_not_touched(run: Run) -> None:
    done = run(("kubernetes_node",), {**OF_SLURM, "looks": -1})
    assert done.code != 0
    assert "gpu001 still has the jobs 17, 18_3 after 0.1 minutes" in done.said
    assert "give it back with `fleetward resume gpu001` on head" in done.said
    assert verbs(done.calls) == ["scontrol", "fleetward drain", "squeue"]
    assert done.units == {"slurmd": RUNNING}


def test_a_node_that_somebody_resumed_meanwhile_is_not_touched(run: Run) -> None:
    done = run(("kubernetes_node",), {**OF_SLURM, "sinfo": "mixed"})
    assert done.code != 0
    assert "Slurm shows gpu001 as mixed and not as drained" in done.said
    assert done.units == {"slurmd": RUNNING}


def test_where_slurm_does_not_answer_nothing_is_done(run: Run) -> None:
    for groups in (("kubernetes_node",), ("slurm_node",)):
        done = run(groups, {**OF_KUBERNETES, "slurm": "away"})
        assert done.code != 0
        assert verbs(done.calls) == ["scontrol"]
        assert done.units == OF_KUBERNETES["units"]


def test_a_node_that_slurm_never_knew_is_only_made_one_of_kubernetes(run: Run) -> None:
    done = run(("kubernetes_node",), {**OF_SLURM, "slurm": "does not know", "units": {}})
    assert done.code == 0, done.said
    assert verbs(done.calls) == ["scontrol", "role kubernetes_node", "kubectl wait", "kubectl uncordon"]


def test_a_node_goes_back_to_slurm_once_its_pods_are_gone(run: Run) -> None:
    done = run(("slurm_node",), OF_KUBERNETES)
    assert done.code == 0, done.said
    assert verbs(done.calls) == [
        "scontrol",
        "fleetward drain",
        "kubectl get",
        "kubectl cordon",
        "kubectl drain",
        "systemctl disable kubelet",
        "systemctl stop kubelet",
        "crictl pods",
        "crictl rmp",
        "systemctl disable containerd",
        "systemctl stop containerd",
        "role munge",
        "role slurm_node",
        "fleetward check",
        "fleetward resume",
    ]
    assert "kubectl drain gpu001 --ignore-daemonsets --timeout=60m" in done.calls
    assert "crictl rmp --force a1 b2" in done.calls
    assert done.units == {"slurmd": RUNNING, "kubelet": STOPPED, "containerd": STOPPED}


def test_a_node_with_pods_that_do_not_go_keeps_its_kubelet(run: Run) -> None:
    done = run(("slurm_node",), {**OF_KUBERNETES, "pods_go": False})
    assert done.code != 0
    assert "gpu001 still has pods that cannot be moved: error: unable to drain node" in done.said
    assert "kubectl uncordon gpu001" in done.said
    assert verbs(done.calls)[-1] == "kubectl drain"
    assert done.units == OF_KUBERNETES["units"]


def test_a_node_that_slurmctld_does_not_know_keeps_its_pods(run: Run) -> None:
    done = run(("slurm_node",), {**OF_KUBERNETES, "slurm": "does not know"})
    assert done.code != 0
    assert "slurmctld on head does not know gpu001 (Node gpu001 not found)" in done.said
    assert "--limit slurm_controller" in done.said
    assert verbs(done.calls) == ["scontrol"]


def test_a_node_that_is_not_well_stays_drained(run: Run) -> None:
    done = run(("slurm_node",), {**OF_KUBERNETES, "check": 1})
    assert done.code != 0
    assert verbs(done.calls)[-1] == "fleetward check"


def test_a_node_that_somebody_else_holds_is_slurms_and_told(run: Run) -> None:
    chosen = json.dumps({"handover_check": [], "handover_delete_empty_dirs": True})
    state = {**OF_KUBERNETES, "check": 1, "resume": "still held by i12"}
    done = run(("slurm_node",), state, "--extra-vars", chosen)
    assert done.code == 0, done.said
    assert "gpu001 is Slurm's, and stays out of service: still held by i12." in done.said
    assert "kubectl drain gpu001 --ignore-daemonsets --timeout=60m --delete-emptydir-data" in done.calls
    assert verbs(done.calls)[-2:] == ["role slurm_node", "fleetward resume"]


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (("slurm_node", "kubernetes_node"), "gpu001 is in both of the groups slurm_node and kubernetes_node"),
        ((), "gpu001 is in neither of the groups slurm_node and kubernetes_node"),
    ],
)
def test_a_node_of_both_or_of_neither_is_refused(run: Run, groups: tuple[str, ...], words: str) -> None:
    done = run(groups, OF_SLURM)
    assert done.code != 0
    assert words in done.said
    assert "belongs to one of them at a time" in done.said
    assert done.calls == ()


def test_one_node_of_both_keeps_all_others_where_they_are(run: Run) -> None:
    done = run(("slurm_node", "kubernetes_node"), OF_SLURM, limit="gpu001,gpu002")
    assert done.code != 0
    assert done.calls == ()


def test_nodes_have_to_be_named(run: Run) -> None:
    done = run(("kubernetes_node",), OF_SLURM, limit="")
    assert done.code != 0
    assert "name them with --limit or in handover_nodes" in done.said
    assert done.calls == ()
    named = run(("kubernetes_node",), OF_SLURM, "--extra-vars", "handover_nodes=gpu001", limit="")
    assert named.code == 0, named.said
    assert "role kubernetes_node" in named.calls


@pytest.mark.parametrize("group", ["fleetward_server", "kubernetes_control_plane"])
def test_without_one_of_the_two_sides_nothing_is_handed_over(run: Run, group: str) -> None:
    done = run(("kubernetes_node",), OF_SLURM, **{group: {"hosts": {}}})
    assert done.code != 0
    assert f"The group {group} has no host" in done.said
    assert done.calls == ()


def test_a_dry_run_only_looks(run: Run) -> None:
    for groups, state in ((("kubernetes_node",), OF_SLURM), (("slurm_node",), OF_KUBERNETES)):
        done = run(groups, state, "--check")
        assert done.code == 0, done.said
        assert {call.partition(" ")[0] for call in done.calls} <= {"scontrol", "kubectl"}
        assert all("drain" not in call and "cordon" not in call for call in done.calls)
        assert done.units == state["units"]
