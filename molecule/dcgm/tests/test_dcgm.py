"""DCGM in one version, whose host engine is for its node alone; packages and host engine are played."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from testinfra.host import Host

On = Callable[[str], Host]
ROOT = Path(__file__).parents[3]
STATE = Path(os.environ.get("FLEETWARD_LAB_STATE", "~/.local/state/fleetward/lab/molecule")).expanduser()
VERSION = "1:4.4.1-1"
LATER = "1:4.4.10-1"
NODES = ["gpu001", "gpu002"]


def provision(host: str, **given: str) -> subprocess.CompletedProcess[str]:
    """Run the role once more on one host, with other variables."""
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
            *(f"--limit={host}", str(ROOT / "molecule/dcgm/converge.yml")),
            *(f"--extra-vars={name}={value}" for name, value in given.items()),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Return in which words a run was refused."""
    assert done.returncode == 2, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def packages(host: Host) -> dict[str, str]:
    """Return the versions of DCGM's packages."""
    said = host.check_output("dpkg-query --show --showformat='${db:Status-Status} ${Package} ${Version}\n'")
    rows = [line.split() for line in said.splitlines() if "datacenter-gpu-manager" in line]
    return {name: version for status, name, version in rows if status == "installed"}


def answers(host: Host, address: str, port: int = 5555) -> bool:
    """Say whether something takes a connection."""
    return host.run(f"timeout 5 bash -c 'exec 3<>/dev/tcp/{address}/{port}'").rc == 0


@pytest.mark.parametrize(("name", "cuda"), [("gpu001", "cuda13"), ("gpu002", "cuda12")])
def test_what_is_installed_is_the_version_for_the_cuda_of_the_declared_driver(on: On, name: str, cuda: str) -> None:
    wanted = [f"datacenter-gpu-manager-4-{part}" for part in ("core", cuda)]
    assert packages(on(name)) == dict.fromkeys(wanted, VERSION)
    assert set(on(name).check_output("apt-mark showhold").split()) == set(wanted)


@pytest.mark.parametrize("name", NODES)
def test_an_upgrade_leaves_it(on: On, name: str) -> None:
    said = on(name).check_output("apt-get --simulate dist-upgrade")
    assert "datacenter-gpu-manager" not in [line.split()[1] for line in said.splitlines() if line.startswith("Inst ")]
    held = on(name).check_output("apt-mark showhold").split()
    on(name).check_output(f"apt-mark unhold {' '.join(held)}")
    try:
        said = on(name).check_output("apt-get --simulate dist-upgrade")
    finally:
        on(name).check_output(f"apt-mark hold {' '.join(held)}")
    assert LATER not in said


@pytest.mark.parametrize("name", NODES)
def test_the_host_engine_answers_on_the_node_and_nowhere_else(on: On, address: Callable[[str], str], name: str) -> None:
    assert on(name).service("nvidia-dcgm").is_running
    assert answers(on(name), "127.0.0.1")
    assert not answers(on(name), address(name))
    assert not answers(on("head"), address(name))


def test_it_comes_back_when_it_is_killed_and_with_the_host(on: On) -> None:
    host = on("gpu001")
    assert host.service("nvidia-dcgm").is_enabled
    host.check_output("systemctl kill --signal=KILL nvidia-dcgm")
    host.check_output("for i in 1 2 3 4 5 6 7 8 9; do systemctl is-active nvidia-dcgm && break; sleep 1; done")
    assert host.service("nvidia-dcgm").is_running


def test_another_address_is_taken_up_and_goes_again(on: On) -> None:
    host = on("gpu001")
    for port, other in ((5556, 5555), (5555, 5556)):
        done = provision("gpu001", gpu_exporter_dcgm_address=f"127.0.0.1:{port}")
        assert done.returncode == 0, done.stdout + done.stderr
        host.check_output("sleep 1")
        assert answers(host, "127.0.0.1", port)
        assert not answers(host, "127.0.0.1", other)


def test_an_address_that_others_reach_is_refused(on: On, address: Callable[[str], str]) -> None:
    said = refusal(provision("gpu001", dcgm_address=f"{address('gpu001')}:5555"))
    assert "may change and reset GPUs" in said
    assert "127.0.0.1:5555" in said


def test_a_version_that_the_repository_does_not_have_is_refused_with_those_that_it_has(on: On) -> None:
    pins = on("gpu001").file("/etc/apt/preferences.d/fleetward-dcgm").content_string
    said = refusal(provision("gpu001", dcgm_version="4.9.9"))
    assert "datacenter-gpu-manager-4-core 4.9.9" in said
    assert f"{LATER}, {VERSION}" in said
    assert on("gpu001").file("/etc/apt/preferences.d/fleetward-dcgm").content_string == pins


def test_another_version_than_the_inventory_declares_is_refused(on: On) -> None:
    said = refusal(provision("gpu002", dcgm_version="4.4.10"))
    assert "fleet_dcgm is 4.4.1 and dcgm_version 4.4.10" in said
    assert set(packages(on("gpu002")).values()) == {VERSION}


def test_another_key_than_the_one_that_is_meant_is_refused() -> None:
    said = refusal(provision("gpu001", dcgm_repository_key_fingerprint="0" * 40))
    assert "compare its fingerprint" in said


def test_the_version_is_changed_both_ways_and_runs(on: On) -> None:
    for version, whole in (("4.4.10", LATER), ("4.4.1", VERSION)):
        done = provision("gpu001", dcgm_version=version)
        assert done.returncode == 0, done.stdout + done.stderr
        assert set(packages(on("gpu001")).values()) == {whole}
        assert on("gpu001").service("nvidia-dcgm").is_running
