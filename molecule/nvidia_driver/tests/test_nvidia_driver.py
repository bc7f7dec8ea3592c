"""NVIDIA's driver in one version: Debian's packages on one node, a repository as NVIDIA's is on another."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from testinfra.host import Host

On = Callable[[str], Host]
VERSION = "550.163.01"
ROOT = Path(__file__).parents[3]
STATE = Path(os.environ.get("FLEETWARD_LAB_STATE", "~/.local/state/fleetward/lab/molecule")).expanduser()
NO_PREFERENCES = "/run/no-preferences"
NOTE = "/run/fleetward/reboot-required"


def provision(host: str, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    """Run the role once more on one host, with other variables."""
    extra = [f"--extra-vars={name}={value}" for name, value in given.items()]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "playbooks/ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
        "ANSIBLE_LOOKUP_PLUGINS": str(ROOT / "playbooks/lookup_plugins"),
        "ANSIBLE_NOCOLOR": "1",
    }
    return subprocess.run(
        [
            *(
                str(Path(sys.executable).with_name("ansible-playbook")),
                f"--inventory={STATE}/inventory",
                f"--limit={host}",
            ),
            *(str(ROOT / "molecule/nvidia_driver/converge.yml"), *arguments, *extra),
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


def driver(host: Host) -> dict[str, str]:
    """Return the versions of all packages of the driver."""
    said = host.check_output("dpkg-query --show --showformat='${db:Status-Status} ${Package} ${Version}\n'")
    rows = [line.split() for line in said.splitlines() if "nvidia" in line or "libcuda1" in line]
    return {name: version for status, name, version in rows if status == "installed"}


def upgraded(said: str) -> set[str]:
    """Return what a simulated upgrade would install."""
    return {line.split()[1] for line in said.splitlines() if line.startswith("Inst ")}


@pytest.fixture
def not_held(on: On) -> Iterator[Host]:
    """Return the node of Debian's packages, of which nothing is held meanwhile."""
    host = on("gpu001")
    held = host.check_output("apt-mark showhold").split()
    assert held != []
    host.check_output(f"apt-mark unhold {' '.join(held)}")
    yield host
    host.check_output(f"apt-mark hold {' '.join(held)}")


@pytest.fixture
def no_preferences(on: On) -> Iterator[str]:
    """Have a file of settings with which apt knows no pins."""
    on("gpu001").check_output("echo 'Dir::Etc::PreferencesParts \"/nonexistent\";' > %s", NO_PREFERENCES)
    yield NO_PREFERENCES
    on("gpu001").check_output("rm %s", NO_PREFERENCES)


def test_nvidia_smi_is_there_and_all_of_the_driver_is_one_version(on: On) -> None:
    assert f"v{VERSION}" in on("gpu001").check_output("nvidia-smi --help")
    found = driver(on("gpu001"))
    assert {"libcuda1", "libnvidia-ml1", "nvidia-smi", "nvidia-persistenced", "nvidia-open-kernel-dkms"} <= set(found)
    assert "firmware-nvidia-gsp" in found, "the open modules do not work without"
    of_their_own = {
        "glx-alternative-nvidia",
        "nvidia-installer-cleanup",
        "nvidia-kernel-common",
        "nvidia-modprobe",
        "nvidia-support",
    }
    versions = {name: version.partition("-")[0] for name, version in found.items()}
    assert {name for name, version in versions.items() if version != VERSION} <= of_their_own


def test_the_modules_are_the_open_ones_alone(on: On) -> None:
    host = on("gpu001")
    assert "nvidia-kernel-dkms" not in driver(host)
    assert host.check_output("readlink /etc/alternatives/nvidia").endswith("/current-open")


def test_in_a_container_dkms_has_the_source_and_nothing_is_built_loaded_or_started(on: On) -> None:
    host = on("gpu001")
    assert host.check_output("dkms status") == f"nvidia-current-open/{VERSION}: added"
    assert not host.file("/proc/driver/nvidia").exists
    assert host.service("nvidia-persistenced").is_enabled
    assert not host.service("nvidia-persistenced").is_running
    assert not host.file(NOTE).exists


def test_an_upgrade_leaves_the_driver_and_takes_the_rest(on: On) -> None:
    found = upgraded(on("gpu001").check_output("apt-get --simulate dist-upgrade"))
    assert "played-canary" in found
    assert found & set(driver(on("gpu001"))) == set()


def test_the_pins_alone_keep_the_version(not_held: Host) -> None:
    found = upgraded(not_held.check_output("apt-get --simulate dist-upgrade"))
    assert "played-canary" in found
    assert found & set(driver(not_held)) == set()


def test_the_holds_alone_keep_the_version(on: On, no_preferences: str) -> None:
    found = upgraded(on("gpu001").check_output("APT_CONFIG=%s apt-get --simulate dist-upgrade", no_preferences))
    assert "played-canary" in found
    assert found & set(driver(on("gpu001"))) == set()


def test_unattended_upgrades_leave_the_driver_alone_by_their_list_alone(not_held: Host, no_preferences: str) -> None:
    without = f"APT_CONFIG={no_preferences}"
    assert "nvidia-smi" in upgraded(not_held.check_output(f"{without} apt-get --simulate dist-upgrade"))
    done = not_held.run(f"{without} unattended-upgrade --dry-run --debug")
    assert done.rc == 0, done.stderr
    told = "Packages that will be upgraded:"
    line = next(line for line in (done.stdout + done.stderr).splitlines() if told in line)
    words = line.partition(told)[2].split()
    assert "played-canary" in words
    assert set(words) & set(driver(not_held)) == set()


def test_nouveau_is_kept_away(on: On) -> None:
    said = on("gpu001").check_output("modprobe --showconfig")
    assert "blacklist nouveau" in said
    assert "options nouveau modeset=0" in said


def test_the_components_come_with_the_key_of_the_archive(on: On) -> None:
    ask = "apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(TRUSTED)' 'Created-By: Packages'"
    found = on("gpu001").check_output(ask).splitlines()
    assert {f"Debian {part} yes" for part in ("main", "contrib", "non-free", "non-free-firmware")} <= set(found)


def test_nvidias_repository_gives_the_version_that_was_asked_for_with_fabric_manager_and_imex(on: On) -> None:
    assert driver(on("gpu002")) == dict.fromkeys(
        ["nvidia-driver-cuda", "nvidia-fabricmanager", "nvidia-imex", "nvidia-kernel-open-dkms", "nvidia-persistenced"],
        "580.95.05-1",
    )
    assert set(on("gpu002").check_output("apt-mark showhold").split()) == set(driver(on("gpu002")))


def test_the_repository_is_believed_by_its_own_key_alone(on: On) -> None:
    host = on("gpu002")
    other = "/usr/share/keyrings/debian-archive-keyring.gpg"
    host.check_output("cp /etc/apt/sources.list.d/fleetward-nvidia.sources /run/other.sources")
    host.check_output(f"sed -i 's#^Signed-By:.*#Signed-By: {other}#' /run/other.sources")
    update = "apt-get update --error-on=any -o APT::Get::List-Cleanup=0 -o Dir::Etc::SourceParts=/none"
    update += " -o Dir::Etc::SourceList"
    assert host.run(f"{update}=/etc/apt/sources.list.d/fleetward-nvidia.sources").rc == 0
    assert host.run(f"{update}=/run/other.sources").rc != 0


def test_a_node_that_has_to_be_rebooted_says_so_and_starts_nothing_before(on: On) -> None:
    host = on("gpu002")
    why = "no module of the driver is loaded, and 580.95.05 is installed"
    assert host.file(NOTE).content_string == f"nvidia_driver: {why}\n"
    for service in ("nvidia-persistenced", "nvidia-fabricmanager"):
        assert host.service(service).is_enabled
        said = host.check_output(f"systemctl show --property=ActiveState,Result {service}")
        assert sorted(said.split()) == ["ActiveState=inactive", "Result=success"]


def test_a_fabric_manager_of_another_version_is_refused(on: On) -> None:
    before = driver(on("gpu002"))
    done = provision("gpu002", nvidia_driver_fabric_manager_version="580.105.08")
    said = refusal(done)
    assert "exactly its own version" in said
    assert "580.95.05" in said
    assert "580.105.08" in said
    assert "set both to the same version" in said
    assert driver(on("gpu002")) == before


def test_proprietary_modules_on_blackwell_are_refused() -> None:
    done = provision("gpu001", nvidia_driver_gpu_model="b200", nvidia_driver_modules="proprietary")
    said = refusal(done)
    assert "b200" in said
    assert "open kernel modules alone" in said
    assert "set nvidia_driver_modules" in said


def test_a_version_that_the_repository_does_not_have_is_refused_with_those_that_it_has(on: On) -> None:
    pins = on("gpu001").file("/etc/apt/preferences.d/fleetward-nvidia").content_string
    done = provision("gpu001", nvidia_driver_version="551.1.1")
    said = refusal(done)
    assert "551.1.1" in said
    assert f"nvidia-open-kernel-dkms {VERSION}-" in said
    assert "nvidia-smi 999.1-1, 550.163.01-" in said
    assert on("gpu001").file("/etc/apt/preferences.d/fleetward-nvidia").content_string == pins


def test_another_key_than_the_one_that_is_meant_is_refused(on: On) -> None:
    key = on("gpu002").file("/etc/apt/keyrings/fleetward-nvidia.asc").content_string
    fingerprint = "0" * 40
    done = provision("gpu002", nvidia_driver_repository_key_fingerprint=fingerprint)
    said = refusal(done)
    assert fingerprint in said
    assert "compare its fingerprint with what NVIDIA publishes" in said
    assert on("gpu002").file("/etc/apt/keyrings/fleetward-nvidia.asc").content_string == key


def test_the_driver_is_exchanged_both_ways_but_not_while_something_computes(on: On) -> None:
    host = on("gpu002")
    host.check_output("mknod -m 666 /dev/nvidia-uvm c 1 3")
    host.check_output("systemd-run --unit=verify-computes sh -c 'exec sleep 600 <> /dev/nvidia-uvm'")
    try:
        pid = host.check_output("systemctl show --value --property=MainPID verify-computes")
        done = provision("gpu002", nvidia_driver_version="580.105.08")
        said = refusal(done)
        assert f"processes {pid}" in said
        assert "about to exchange the driver: drain the node" in said
        assert set(driver(host).values()) == {"580.95.05-1"}
    finally:
        host.check_output("systemctl stop verify-computes")
        host.check_output("rm /dev/nvidia-uvm")
    for version in ("580.105.08", "580.95.05"):
        done = provision("gpu002", nvidia_driver_version=version)
        assert done.returncode == 0, done.stdout + done.stderr
        assert set(driver(host).values()) == {f"{version}-1"}
        assert set(host.check_output("apt-mark showhold").split()) == set(driver(host))
        assert f"{version} is installed" in host.file(NOTE).content_string
