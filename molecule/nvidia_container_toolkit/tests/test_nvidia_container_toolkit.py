"""The container toolkit in one version, with a CDI specification that follows the driver, which is played."""

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
SPECIFICATION = "/var/run/cdi/nvidia.yaml"
TOOLKIT = (
    *("nvidia-container-toolkit", "nvidia-container-toolkit-base"),
    *("libnvidia-container-tools", "libnvidia-container1"),
)
SLURM = {"enroot": "3.5.0-1", "enroot+caps": "3.5.0-1", "nvslurm-plugin-pyxis": "25.11.1-0.21.0-1"}


def provision(host: str, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
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
            *(f"--limit={host}", str(ROOT / "molecule/nvidia_container_toolkit/converge.yml"), *arguments),
            *(f"--extra-vars=nvidia_container_toolkit_{name}={value}" for name, value in given.items()),
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
    """Return the versions of all that the role installs."""
    said = host.check_output("dpkg-query --show --showformat='${db:Status-Status} ${Package} ${Version}\n'")
    ours = ("nvidia-container", "libnvidia-container", "enroot", "nvslurm")
    rows = [line.split() for line in said.splitlines() if line.split()[1].startswith(ours)]
    return {name: version for status, name, version in rows if status == "installed"}


def becomes(host: Host, words: str) -> None:
    """Wait until the specification has these words."""
    look = f"grep -qF '{words}' {SPECIFICATION}"
    host.check_output(f"for i in $(seq 20); do {look} && exit 0; sleep 0.5; done; cat {SPECIFICATION}; exit 1")


@pytest.fixture
def another_driver(on: On) -> Iterator[Host]:
    """Return a node on which another driver lies than the specification tells of."""
    host = on("gpu001")
    becomes(host, '"580.95.05"')
    host.check_output("echo 595.1 > /var/lib/played-driver")
    yield host
    host.check_output("echo 580.95.05 > /var/lib/played-driver; systemctl restart fleetward-cdi")


def test_what_is_installed_is_the_version_and_held(on: On) -> None:
    assert packages(on("gpu001")) == {**dict.fromkeys(TOOLKIT, "1.18.0-1"), **SLURM}
    assert packages(on("gpu002")) == dict.fromkeys(TOOLKIT, "1.18.0-1")
    for name in ("gpu001", "gpu002"):
        assert set(on(name).check_output("apt-mark showhold").split()) == set(packages(on(name)))


def test_an_upgrade_leaves_it_by_the_pins_alone(on: On) -> None:
    host = on("gpu001")
    held = host.check_output("apt-mark showhold").split()
    host.check_output(f"apt-mark unhold {' '.join(held)}")
    try:
        said = host.check_output("apt-get --simulate dist-upgrade")
    finally:
        host.check_output(f"apt-mark hold {' '.join(held)}")
    assert set(held).isdisjoint(line.split()[1] for line in said.splitlines() if line.startswith("Inst "))


def test_the_specification_is_there_and_made_at_every_boot(on: On) -> None:
    for name in ("gpu001", "gpu002"):
        becomes(on(name), "kind: nvidia.com/gpu")
        assert on(name).service("fleetward-cdi.service").is_enabled
        assert on(name).service("fleetward-cdi.path").is_enabled


def test_it_is_made_anew_when_a_driver_is_installed(another_driver: Host) -> None:
    another_driver.check_output("touch /lib/modules/$(uname -r)/modules.dep")
    becomes(another_driver, '"595.1"')


def test_it_is_made_anew_when_the_mig_layout_changes(another_driver: Host) -> None:
    unit = "/etc/systemd/system/fleetward-mig.service"
    another_driver.check_output(f"echo '# divided otherwise' > {unit}")
    try:
        becomes(another_driver, '"595.1"')
    finally:
        another_driver.check_output(f"rm {unit}")


def test_without_a_driver_nothing_fails_and_what_was_there_stays(on: On) -> None:
    host = on("gpu001")
    host.check_output("mv /usr/bin/nvidia-smi /usr/bin/nvidia-smi.away")
    try:
        assert host.run("systemctl restart fleetward-cdi").rc == 0
        assert host.check_output("systemctl show --value --property=Result fleetward-cdi") == "exec-condition"
    finally:
        host.check_output("mv /usr/bin/nvidia-smi.away /usr/bin/nvidia-smi")
    becomes(host, "kind: nvidia.com/gpu")


def test_containerd_knows_cdi_and_the_toolkits_runtime_and_runs(on: On) -> None:
    host = on("gpu002")
    said = host.check_output("containerd config dump")
    assert "enable_cdi = true" in said
    assert "/usr/bin/nvidia-container-runtime" in said
    assert host.service("containerd").is_running
    assert host.check_output("ctr version")


def test_podman_looks_where_the_specification_is(on: On) -> None:
    said = on("gpu001").file("/etc/containers/containers.conf.d/50-fleetward-cdi.conf").content_string
    assert 'cdi_spec_dirs = ["/etc/cdi", "/var/run/cdi"]' in said


def test_slurm_and_enroot_are_told_what_the_site_says(on: On) -> None:
    said = on("gpu001").file("/etc/slurm/plugstack.conf.d/pyxis.conf").content_string.splitlines()
    words = said[-1].split()
    assert words[0] == "required"
    assert words[2:] == ["runtime_path=/run/pyxis", "container_scope=job"]
    assert on("gpu001").file(words[1]).exists
    settings = on("gpu001").file("/etc/enroot/enroot.conf.d/50-fleetward.conf").content_string
    assert "ENROOT_DATA_PATH /tmp/enroot-data/user-$(id -u)" in settings


def test_a_plugin_that_is_not_there_is_refused_before_slurm_is_told(on: On) -> None:
    before = on("gpu001").file("/etc/slurm/plugstack.conf.d/pyxis.conf").content_string
    said = refusal(provision("gpu001", pyxis_plugin="/usr/local/lib/slurm/spank_pyxis.so"))
    assert "dpkg -L nvslurm-plugin-pyxis" in said
    assert on("gpu001").file("/etc/slurm/plugstack.conf.d/pyxis.conf").content_string == before


def test_imports_of_the_sites_own_are_not_thrown_away(on: On) -> None:
    host = on("gpu002")
    host.check_output("cp /etc/containerd/config.toml /run/config.toml")
    host.check_output("sed -i 's#^imports.*#imports = [\"/etc/containerd/theirs.toml\"]#' /etc/containerd/config.toml")
    try:
        said = refusal(provision("gpu002"))
        assert "theirs.toml" in said
        assert "/etc/containerd/conf.d/*.toml" in said
    finally:
        host.check_output("cp /run/config.toml /etc/containerd/config.toml")


def test_a_version_that_the_repository_does_not_have_is_refused_with_those_that_it_has() -> None:
    said = refusal(provision("gpu001", version="1.99.0"))
    assert "nvidia-container-toolkit 1.99.0, of which its repositories have 1.18.1-1, 1.18.0-1" in said


def test_the_version_is_changed_both_ways_and_slurm_may_be_left_without_pyxis(on: On) -> None:
    for version in ("1.18.1", "1.18.0"):
        done = provision("gpu001", version=version)
        assert done.returncode == 0, done.stdout + done.stderr
        assert {packages(on("gpu001"))[name] for name in TOOLKIT} == {f"{version}-1"}
    pyxis = "/etc/slurm/plugstack.conf.d/pyxis.conf"
    for version in ("", "25.11.1-0.21.0"):
        assert provision("gpu001", pyxis_version=version).returncode == 0
        assert on("gpu001").file(pyxis).exists == bool(version)
