"""GPUs that are divided as declared, on a node that Slurm has drained for it; nvidia-smi is played."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from testinfra.host import Host

On = Callable[[str], Host]
ROOT = Path(__file__).parents[3]
STATE = Path(os.environ.get("FLEETWARD_LAB_STATE", "~/.local/state/fleetward/lab/molecule")).expanduser()
PLAYED = "/var/lib/played-nvidia-smi.json"
PROGRAMS = "/run/played-programs"
DECLARED = {"0-3": {"3g.40gb": 2}, "4": {"1g.10gb": 4, "3g.40gb": 1}}
HALVES = ["3g.40gb:0", "3g.40gb:4"]
MIXED = ["1g.10gb:0", "1g.10gb:1", "1g.10gb:2", "1g.10gb:3", "3g.40gb:4"]


def provision(host: str, layout: object, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the role once more on one host, with another layout."""
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "playbooks/ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
        "ANSIBLE_LOOKUP_PLUGINS": str(ROOT / "playbooks/lookup_plugins"),
        "ANSIBLE_NOCOLOR": "1",
    }
    return subprocess.run(
        [
            *(str(Path(sys.executable).with_name("ansible-playbook")), f"--inventory={STATE}/inventory"),
            *(f"--limit={host}", str(ROOT / "molecule/mig/converge.yml")),
            *(f"--extra-vars={json.dumps({'mig_layout': layout})}", *arguments),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def done(play: subprocess.CompletedProcess[str]) -> str:
    assert play.returncode == 0, play.stdout + play.stderr
    return play.stdout


def refusal(play: subprocess.CompletedProcess[str]) -> str:
    """Return in which words a run was refused."""
    assert play.returncode == 2, play.stdout + play.stderr
    return " ".join((play.stdout + play.stderr).split())


def divided(host: Host) -> dict[str, list[str]]:
    """Return the instances of each GPU that programs can use."""
    gpus = json.loads(host.file(PLAYED).content_string)
    return {
        gpu["number"]: sorted(f"{one['profile']}:{one['start']}" for one in gpu["instances"] if one["compute"])
        for gpu in gpus
        if gpu["mig"]
    }


def update(head: Host, *words: str) -> None:
    """Have Slurm change the node's state, as a person with rights does."""
    done = head.run(f"scontrol update nodename=gpu002 {' '.join(words)}")
    assert done.rc == 0, done.stderr + head.check_output("scontrol show node gpu002")


def drain(head: Host, reason: str) -> None:
    update(head, "state=drain", f"reason='{reason}'")


@pytest.fixture
def drained(on: On) -> Iterator[Host]:
    """Return a node with whole GPUs, drained by a change; it is so again afterwards."""
    head, host = on("head"), on("gpu002")
    drain(head, "fleetward:c3 maintenance: MIG layout")
    yield host
    drain(head, "fleetward:c3 maintenance: MIG layout")
    host.check_output(f"rm -f {PLAYED} {PROGRAMS}")
    done(provision("gpu002", {}))


def test_each_gpu_has_what_its_row_says_and_the_others_are_whole(on: On) -> None:
    assert divided(on("gpu001")) == {**dict.fromkeys("0123", HALVES), "4": MIXED}
    assert divided(on("gpu002")) == {}


def test_the_layout_comes_back_with_the_node_as_it_was_before_what_uses_the_gpus(on: On) -> None:
    host = on("gpu001")
    before = divided(host)
    assert host.service("fleetward-mig").is_enabled
    assert {"slurmd.service", "nvidia-dcgm.service"} <= set(
        host.check_output("systemctl show --value --property=Before fleetward-mig").split()
    )
    host.check_output(f"rm {PLAYED}; systemctl stop nvidia-dcgm fleetward-mig")
    host.check_output("systemctl start fleetward-mig nvidia-dcgm")
    assert divided(host) == before


def test_the_unit_destroys_nothing_of_gpus_that_are_divided_already(on: On) -> None:
    host = on("gpu001")
    before = divided(host)
    assert host.run("systemctl restart fleetward-mig").rc != 0
    assert divided(host) == before


def test_what_looks_at_the_gpus_runs_again(on: On) -> None:
    assert on("gpu001").service("nvidia-dcgm").is_running


def test_a_node_in_service_is_left_alone_with_what_to_do(on: On, drained: Host) -> None:
    update(on("head"), "state=undrain")
    said = refusal(provision("gpu002", DECLARED))
    assert "GPU 0 has MIG off, and is to have 2 3g.40gb" in said
    assert "is not drained" in said
    assert "fleetward drain gpu002" in said
    assert divided(drained) == {}
    assert drained.service("nvidia-dcgm").is_running


def test_a_node_that_a_person_drained_is_left_alone(on: On, drained: Host) -> None:
    drain(on("head"), "memory is being changed")
    said = refusal(provision("gpu002", DECLARED))
    assert "memory is being changed" in said
    assert divided(drained) == {}


def test_gpus_that_a_program_uses_are_left_alone(drained: Host) -> None:
    drained.check_output(f"echo '5 4711 python' > {PROGRAMS}")
    said = refusal(provision("gpu002", DECLARED))
    assert "has programs on its GPUs (4711, python)" in said
    assert divided(drained) == {}


def test_a_layout_that_does_not_add_up_is_refused_before_anything(drained: Host) -> None:
    said = refusal(provision("gpu002", {"0": {"4g.40gb": 1, "3g.40gb": 1, "1g.10gb": 1}, "9": {"7g.80gb": 1}}))
    assert "takes 8 compute slices, and one h100-80 has 7" in said
    assert "there is no GPU 9" in said
    assert divided(drained) == {}


def test_a_dry_run_says_what_it_would_do_and_does_not(drained: Host) -> None:
    said = done(provision("gpu002", DECLARED, "--check", "--diff"))
    assert "GPU 0 has MIG off, and is to have 2 3g.40gb" in said
    assert divided(drained) == {}
    assert not drained.file("/etc/systemd/system/fleetward-mig.service").exists


def test_another_layout_takes_its_place_on_the_gpus_that_differ_alone_and_none_takes_it_away(drained: Host) -> None:
    done(provision("gpu002", DECLARED))
    assert divided(drained) == {**dict.fromkeys("0123", HALVES), "4": MIXED}
    done(provision("gpu002", {"0-2": {"3g.40gb": 2}, "3": {"7g.80gb": 1}}))
    assert divided(drained) == {**dict.fromkeys("012", HALVES), "3": ["7g.80gb:0"]}
    done(provision("gpu002", {}))
    assert divided(drained) == {}
    assert not drained.file("/etc/systemd/system/fleetward-mig.service").exists


def test_where_mig_mode_waits_for_a_reset_the_role_says_so_and_the_unit_divides_after_it(drained: Host) -> None:
    drained.check_output("mkdir -p /run/played-watchers && touch /run/played-watchers/unknown")
    try:
        said = done(provision("gpu002", {"0": {"3g.40gb": 2}}))
    finally:
        drained.check_output("rm /run/played-watchers/unknown")
    assert "gpu002 has to be rebooted while it is drained" in said
    assert "pending enable state" in drained.file("/run/fleetward/reboot-required-mig").content_string
    drained.check_output(f"systemctl stop nvidia-dcgm; rm {PLAYED}; systemctl start fleetward-mig nvidia-dcgm")
    assert divided(drained) == {"0": HALVES}
    done(provision("gpu002", {"0": {"3g.40gb": 2}}))
    assert not drained.file("/run/fleetward/reboot-required-mig").exists
