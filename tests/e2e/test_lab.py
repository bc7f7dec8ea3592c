"""The cluster as its users see it: nodes with GPUs, a training job with accounting, utilisation where the job is."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from checks import missing
from ClusterShell.NodeSet import NodeSet
from labs import FLEETWARD, Lab, fleetward

import fleetward as distribution

pytestmark = pytest.mark.lab

PLAYBOOKS = Path(distribution.__file__).parent / "playbooks"
FOLDER = "/home/researcher/digits"


def test_every_role_provides_what_it_is_there_for(lab: Lab) -> None:
    assert missing(lab) == []


def test_sinfo_shows_the_nodes_with_their_gpus(lab: Lab) -> None:
    rows = lab.told("head", "sinfo", "--noheader", "--partition=gpu", "--Node", "--format=%N %G %t").split("\n")
    assert [row.split() for row in rows if row] == [[f"gpu00{n}", "gpu:h100:8", "idle"] for n in (1, 2, 3)]


def test_nodes_command_agrees_with_slurm(lab: Lab) -> None:
    nodes = json.loads(lab.told("head", "fleetward", "nodes", "--json"))["nodes"]
    assert [node["name"] for node in nodes] == ["gpu001", "gpu002", "gpu003"]


def test_the_backend_is_pyslurm_where_it_can_be_built(lab: Lab) -> None:
    told = json.loads(lab.told("head", "fleetward", "nodes", "--json"))
    assert told["backend"] == ("pyslurm" if lab.suite == "forky" else "command-line")


def test_a_killed_backend_still_yields_the_right_answer(lab: Lab) -> None:
    """Kill every child of `fleetward nodes` as soon as it is there; on forky one of them is pyslurm's process."""
    right = json.loads(lab.told("head", "fleetward", "nodes", "--json"))["nodes"]
    script = (
        "fleetward nodes --json > /tmp/answer & pid=$!;"
        " while kill -0 $pid 2>/dev/null;"
        " do pkill -KILL -P $pid -f pyslurm_worker && touch /tmp/killed; sleep 0.02; done;"
        " wait $pid && cat /tmp/answer"
    )
    answer = lab.told("head", "sh", "-c", f"rm -f /tmp/killed; {script}")
    assert json.loads(answer)["nodes"] == right
    killed = lab.on("head", "test", "-e", "/tmp/killed").returncode == 0
    assert killed == (lab.suite == "forky")


def test_its_slurm_can_be_adopted_and_the_inventory_is_what_slurm_says(lab: Lab) -> None:
    """As if others had configured it: the head's own Slurm, into a folder of its own."""
    lab.told("head", "rm", "-rf", "/tmp/adopted")
    words = ("head", "fleetward", "adopt", "/tmp/adopted", "--cluster", "theirs", "--with", "gpu_exporter", "--json")
    told = json.loads(lab.told(*words))
    assert (told["nodes"], set(told["files"].values())) == (3, {"written"})
    assert set(told["partitions"].values()) == {3}
    checked = json.loads(lab.told("head", "fleetward", "inventory", "check", "--inventory", "/tmp/adopted", "--json"))
    assert checked["problems"] == []
    assert set(json.loads(lab.told(*words))["files"].values()) == {"unchanged"}


def gpus_of_job(lab: Lab, job_id: int) -> set[tuple[str, str]]:
    """Return (node, GPU index) of all that `scontrol -d show job` names."""
    shown = lab.told("head", "scontrol", "-d", "show", "job", str(job_id))
    found: set[tuple[str, str]] = set()
    for nodes, indices in re.findall(r"Nodes=(\S+) .*?GRES=gpu:h100:\d+\(IDX:([\d,-]+)\)", shown):
        for node in NodeSet(nodes):
            found |= {(node, index) for index in NodeSet(f"[{indices}]")}
    return found


def busy_gpus(lab: Lab) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return the GPUs above one half and those at zero, as Prometheus has them now."""
    rows = [((m["node"], m["gpu"]), value) for m, value in lab.prometheus("gpu_utilization_ratio")]
    return {gpu for gpu, value in rows if value > 0.5}, {gpu for gpu, value in rows if value == 0}


def test_training_job_completes_and_is_seen_where_it_runs(lab: Lab) -> None:
    submit = subprocess.Popen(
        [FLEETWARD, "lab", "job", "--name", lab.name, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen: list[tuple[set[tuple[str, str]], set[tuple[str, str]]]] = []
    named: set[tuple[str, str]] = set()
    while submit.poll() is None:
        queue = lab.told("head", "squeue", "--noheader", "--states=R", "--format=%A").split()
        if queue:
            named = named or gpus_of_job(lab, int(queue[0]))
            seen.append(busy_gpus(lab))
        time.sleep(1)
    printed, said = submit.communicate()
    assert submit.returncode == 0, said
    job = json.loads(printed)
    everywhere = {(f"gpu00{n}", str(index)) for n in (1, 2, 3) for index in range(8)}
    assert len(named) == 16
    assert (named, everywhere - named) in seen, (
        "Prometheus never showed exactly the job's GPUs busy and the others idle"
    )
    assert job["state"] == "COMPLETED"
    assert job["result"]["accuracy"] > 0.95
    account = lab.told("head", "sacct", "-nXP", "-j", str(job["job_id"]), "--format=State,AllocTRES")
    assert account.startswith("COMPLETED|")
    assert "gres/gpu:h100=16" in account


def test_requeued_in_the_middle_the_job_resumes_and_reaches_the_same_accuracy(lab: Lab) -> None:
    uninterrupted = json.loads(lab.told("head", "cat", f"{FOLDER}/checkpoints/result.json"))
    lab.told("head", "rm", "-rf", f"{FOLDER}/checkpoints")
    job = lab.told("head", "sh", "-c", f"cd {FOLDER} && fleetward submit job.yaml --json", user="researcher")
    job_id = str(json.loads(job)["job_id"])
    wait_until(lambda: lab.on("head", "sh", "-c", f"ls {FOLDER}/checkpoints/*/*.checkpoint").returncode == 0, 90)
    lab.told("head", "scontrol", "requeue", job_id)
    # Slurm holds a requeued job back for two minutes; nobody needs to wait for that here
    now = ("scontrol", "update", f"jobid={job_id}", "starttime=now")
    wait_until(lambda: lab.told("head", "squeue", "-h", "-j", job_id, "-o", "%T").strip() == "PENDING", 60)
    lab.told("head", *now)
    wait_until(lambda: lab.told("head", "sacct", "-nXP", "-j", job_id, "--format=State").strip() == "COMPLETED", 200)
    result = json.loads(lab.told("head", "cat", f"{FOLDER}/checkpoints/result.json"))
    assert result["resumed_from_step"] > 0
    assert result["accuracy"] == uninterrupted["accuracy"]


def test_up_on_a_running_lab_changes_nothing(lab: Lab) -> None:
    before = lab.told("head", "stat", "-c", "%Y", "/etc/slurm/slurm.conf", "/proc/1")
    again = fleetward("lab", "up", "--name", lab.name, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["seconds"] < 10
    assert lab.told("head", "stat", "-c", "%Y", "/etc/slurm/slurm.conf", "/proc/1") == before


def test_site_a_second_time_changes_nothing(lab: Lab) -> None:
    again = fleetward("provision", "--json", "--inventory", lab.inventory())
    assert again.returncode == 0, again.stderr
    changed = json.loads(again.stdout)["changed"]
    assert changed == dict.fromkeys(("head", "gpu001", "gpu002", "gpu003"), 0)


def test_a_wrong_inventory_is_refused_by_name_before_any_host_is_touched(lab: Lab, tmp_path: Path) -> None:
    wrong = shutil.copytree(lab.inventory(), tmp_path / "inventory")
    hosts = wrong / "hosts.yml"
    hosts.write_text(hosts.read_text().replace("fleet_hardware_profile: lab-h100", "fleet_hardware_profile: lab-h200"))
    before = lab.told("head", "journalctl", "-u", "ssh", "--no-pager")
    through_ours = fleetward("provision", "--inventory", str(wrong))
    assert through_ours.returncode == 2
    ansible = subprocess.run(
        [str(Path(FLEETWARD).with_name("ansible-playbook")), "-i", str(wrong), str(PLAYBOOKS / "site.yml")],
        env={**os.environ, "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ansible.returncode != 0
    for said in (through_ours.stderr, ansible.stdout + ansible.stderr):
        assert "lab-h200" in said
        assert "lab-h100" in said  # what there is instead
    assert lab.told("head", "journalctl", "-u", "ssh", "--no-pager") == before


def test_a_node_is_added_and_removed(lab: Lab) -> None:
    grown = lab.fleetward("lab", "up", "--nodes", "4", "--no-job", "--json")
    assert grown.returncode == 0, grown.stderr
    ran = lab.told("head", "srun", "--account=research", "-w", "gpu004", "--gpus=h100:8", "hostname", user="researcher")
    assert ran.strip() == "gpu004"
    shrunk = lab.fleetward("lab", "up", "--nodes", "3", "--no-job", "--json")
    assert shrunk.returncode == 0, shrunk.stderr
    assert lab.told("head", "sinfo", "-hN", "-p", "gpu", "-o", "%N").split() == ["gpu001", "gpu002", "gpu003"]
    assert [host["name"] for host in json.loads(shrunk.stdout)["hosts"]] == ["head", "gpu001", "gpu002", "gpu003"]


def test_a_lost_gpu_is_seen_without_losing_the_other_seven(lab: Lab) -> None:
    assert lab.fleetward("lab", "fault", "gpu002", "xid", "--gpu", "3", "--code", "79").returncode == 0
    try:
        wait_until(lambda: lab.prometheus('gpu_up{node="gpu002",gpu="3"} == 0') != [], 30)
        assert len(lab.prometheus('gpu_up{node="gpu002"} == 1')) == 7
        assert lab.prometheus('gpu_xid_total{node="gpu002",gpu="3",xid="79"}')[0][1] == 1
    finally:
        assert lab.fleetward("lab", "fault", "gpu002", "clear").returncode == 0
    wait_until(lambda: len(lab.prometheus('gpu_up{node="gpu002"} == 1')) == 8, 30)


def wait_until(holds: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"did not come to hold within {seconds} s"
        time.sleep(1)
