"""CUDA toolkits side by side, each in one version, that users choose between; the packages are played."""

import json
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
PINS = "/etc/apt/preferences.d/fleetward-cuda"
AS_USER = "runuser --user researcher -- bash --login -c"


def provision(host: str, **given: object) -> subprocess.CompletedProcess[str]:
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
            *(f"--limit={host}", str(ROOT / "molecule/cuda/converge.yml"), f"--extra-vars={json.dumps(given)}"),
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


def toolkits(host: Host) -> dict[str, str]:
    """Return the versions of the toolkits."""
    said = host.check_output("dpkg-query --show --showformat='${db:Status-Status} ${Package} ${Version}\n'")
    rows = [line.split() for line in said.splitlines() if "cuda-toolkit" in line]
    return {name: version for status, name, version in rows if status == "installed"}


def test_releases_are_there_side_by_side_each_in_its_version_and_held(on: On) -> None:
    assert toolkits(on("gpu001")) == {"cuda-toolkit-12-8": "12.8.0-1", "cuda-toolkit-13-0": "13.0.1-1"}
    assert toolkits(on("gpu002")) == {"cuda-toolkit-12-8": "12.8.1-1"}
    for name in ("gpu001", "gpu002"):
        assert set(on(name).check_output("apt-mark showhold").split()) == set(toolkits(on(name)))


def test_an_upgrade_leaves_them_by_the_pins_alone(on: On) -> None:
    host = on("gpu001")
    held = host.check_output("apt-mark showhold").split()
    host.check_output(f"apt-mark unhold {' '.join(held)}")
    try:
        said = host.check_output("apt-get --simulate dist-upgrade")
    finally:
        host.check_output(f"apt-mark hold {' '.join(held)}")
    assert "Inst cuda-toolkit" not in said


def test_users_have_the_declared_one_without_asking(on: On) -> None:
    assert "release 12.8" in on("gpu001").check_output(f"{AS_USER} 'nvcc --version'")
    assert on("gpu001").check_output(f"{AS_USER} 'echo $CUDA_HOME'") == "/usr/local/cuda-12.8"


def test_who_has_chosen_one_keeps_it(on: On) -> None:
    said = on("gpu001").check_output(f"{AS_USER} 'CUDA_HOME=/theirs bash --login -c \"echo \\$CUDA_HOME\"'")
    assert said == "/theirs"


def test_users_choose_by_modules_and_get_the_declared_one_by_its_name_alone(on: On) -> None:
    def module(words: str) -> str:
        return on("gpu001").check_output(
            f"{AS_USER} '. /etc/profile.d/modules.sh; module load {words}; nvcc --version'"
        )

    assert "release 13.0" in module("cuda/13.0")
    assert "release 12.8" in module("cuda")
    refused = on("gpu001").run(f"{AS_USER} '. /etc/profile.d/modules.sh; module load cuda/12.8 cuda/13.0'")
    assert "conflict" in (refused.stdout + refused.stderr).lower()


def test_a_toolkit_that_the_driver_does_not_run_is_refused_before_anything(on: On) -> None:
    pins = on("gpu002").file(PINS).content_string
    said = refusal(provision("gpu002", cuda_toolkits={"12.8": "12.8.1", "13.0": "13.0.2"}))
    assert "13.0.2 needs fleet_nvidia_driver to be 580 or later, but it is 570" in said
    assert "rule cuda-13-driver" in said
    assert on("gpu002").file(PINS).content_string == pins
    assert set(toolkits(on("gpu002"))) == {"cuda-toolkit-12-8"}


def test_a_site_may_accept_the_rule(on: On) -> None:
    accepted = {"rules": {"cuda-13-driver": {"accepted": "cuda-compat is installed"}}}
    done = provision(
        "gpu002",
        cuda_toolkits={"12.8": "12.8.1", "13.0": "13.0.2"},
        fleet_compatibility=accepted,
        cuda_default="12.8",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(toolkits(on("gpu002"))) == {"cuda-toolkit-12-8", "cuda-toolkit-13-0"}
    done = provision("gpu002")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not on("gpu002").file("/usr/share/modules/modulefiles/cuda/13.0").exists


def test_a_version_that_the_repository_does_not_have_is_refused_with_those_that_it_has() -> None:
    said = refusal(provision("gpu001", cuda_toolkits={"12.8": "12.8.2"}))
    assert "cuda-toolkit-12-8 12.8.2, of which its repositories have 12.8.1-1, 12.8.0-1" in said


def test_another_cuda_than_the_inventory_declares_is_refused() -> None:
    said = refusal(provision("gpu001", cuda_toolkits={"13.0": "13.0.2"}))
    assert "fleet_cuda is 12.8, and none of cuda_toolkits is" in said


@pytest.mark.parametrize("version", ["12.8.1", "12.8.0"])
def test_a_version_is_changed_and_the_other_release_stays(on: On, version: str) -> None:
    done = provision("gpu001", cuda_toolkits={"12.8": version, "13.0": "13.0.1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert toolkits(on("gpu001")) == {"cuda-toolkit-12-8": f"{version}-1", "cuda-toolkit-13-0": "13.0.1-1"}
