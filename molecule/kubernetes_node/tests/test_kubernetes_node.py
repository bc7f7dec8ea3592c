"""A node of Kubernetes: containerd and kubectl are Debian's; kubeadm, kubelet, toolkit and API server are played."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

On = Callable[[str], Host]
ROOT = Path(__file__).parents[3]
STATE = Path(os.environ.get("FLEETWARD_LAB_STATE", "~/.local/state/fleetward/lab/molecule")).expanduser()
KUBECTL = "kubectl --kubeconfig=/etc/kubernetes/admin.conf"
HELD = {"containerd", "kubeadm", "kubectl", "kubelet", "nvidia-container-toolkit", "runc"}
JOINS_BY = "abcdef.0123456789abcdef"


def provision(*arguments: str, roles: str = str(ROOT / "roles"), **given: object) -> subprocess.CompletedProcess[str]:
    """Run the role once more, with other variables."""
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "playbooks/ansible.cfg"),
        "ANSIBLE_ROLES_PATH": roles,
        "ANSIBLE_LOOKUP_PLUGINS": str(ROOT / "playbooks/lookup_plugins"),
        "ANSIBLE_NOCOLOR": "1",
    }
    return subprocess.run(
        [
            *(str(Path(sys.executable).with_name("ansible-playbook")), f"--inventory={STATE}/inventory"),
            *(str(ROOT / "molecule/kubernetes_node/converge.yml"), *arguments),
            *("--extra-vars", json.dumps(given)),
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


def upgraded(said: str) -> set[str]:
    """Return what a simulated upgrade would install."""
    return {line.split()[1] for line in said.splitlines() if line.startswith("Inst ")}


def node(on: On) -> Any:  # noqa: ANN401  JSON
    """Return what the API server knows of the node."""
    return json.loads(on("head").check_output(f"{KUBECTL} get node gpu002 --output=json"))


@pytest.fixture
def not_held(on: On) -> Iterator[Host]:
    """Return the node, of which nothing is held meanwhile."""
    host = on("gpu002")
    host.check_output(f"apt-mark unhold {' '.join(HELD)}")
    yield host
    host.check_output(f"apt-mark hold {' '.join(HELD)}")


@pytest.fixture
def no_preferences(on: On) -> Iterator[str]:
    """Return a file of settings with which apt knows no pins."""
    file = "/run/no-preferences"
    on("gpu002").check_output("echo 'Dir::Etc::PreferencesParts \"/nonexistent\";' > %s", file)
    yield file
    on("gpu002").check_output("rm %s", file)


def test_all_has_the_version_that_was_asked_for_and_is_held(on: On) -> None:
    host = on("gpu002")
    for name in ("kubeadm", "kubectl", "kubelet"):
        assert host.package(name).version == "1.35.2-1.1"
    assert host.package("nvidia-container-toolkit").version == "1.18.0-1"
    assert set(host.check_output("apt-mark showhold").split()) == HELD


def test_the_pins_alone_keep_the_versions(not_held: Host) -> None:
    found = upgraded(not_held.check_output("apt-get --simulate dist-upgrade"))
    assert "played-canary" in found
    assert found & HELD == set()


def test_the_holds_alone_keep_the_versions(on: On, no_preferences: str) -> None:
    found = upgraded(on("gpu002").check_output("APT_CONFIG=%s apt-get --simulate dist-upgrade", no_preferences))
    assert "played-canary" in found
    assert found & HELD == set()


def test_unattended_upgrades_leave_them_alone_by_their_list_alone(not_held: Host, no_preferences: str) -> None:
    without = f"APT_CONFIG={no_preferences}"
    assert "kubelet" in upgraded(not_held.check_output(f"{without} apt-get --simulate dist-upgrade"))
    done = not_held.run(f"{without} unattended-upgrade --dry-run --debug")
    assert done.rc == 0, done.stderr
    told = "Packages that will be upgraded:"
    line = next(line for line in (done.stdout + done.stderr).splitlines() if told in line)
    words = set(line.partition(told)[2].split())
    assert "played-canary" in words
    assert words & HELD == set()


def test_containerd_itself_says_that_it_has_systemds_control_groups_and_nvidias_handler(on: On) -> None:
    said = tomllib.loads(on("gpu002").check_output("containerd config dump"))
    plugin = said["plugins"]["io.containerd.grpc.v1.cri"]
    assert plugin["cni"]["bin_dir"] == "/opt/cni/bin"
    runtimes = plugin["containerd"]["runtimes"]
    assert {name: one["options"]["SystemdCgroup"] for name, one in runtimes.items()} == {"runc": True, "nvidia": True}
    assert runtimes["nvidia"]["options"]["BinaryName"] == "/usr/bin/nvidia-container-runtime"
    assert plugin["containerd"]["default_runtime_name"] == "runc"


def test_containerd_runs_and_comes_back_with_the_host(on: On) -> None:
    assert on("gpu002").service("containerd").is_running
    assert on("gpu002").service("containerd").is_enabled
    assert "Server:" in on("gpu002").check_output("ctr version")


def test_a_configuration_that_containerd_does_not_read_never_takes_the_old_ones_place(on: On, tmp_path: Path) -> None:
    copy = shutil.copytree(ROOT / "roles/kubernetes_node", tmp_path / "kubernetes_node")
    with (copy / "templates/containerd.toml.j2").open("a") as template:
        template.write("[spoilt\n")
    before = on("gpu002").file("/etc/containerd/config.toml").content_string
    done = provision(roles=f"{tmp_path}:{ROOT / 'roles'}")
    assert done.returncode == 2
    assert "failed to validate" in done.stdout
    assert on("gpu002").file("/etc/containerd/config.toml").content_string == before
    assert on("gpu002").service("containerd").is_running


def test_the_kubelet_reads_the_nodes_own_settings_and_comes_back_with_the_host(
    on: On, address: Callable[[str], str]
) -> None:
    host = on("gpu002")
    assert host.service("kubelet").is_enabled
    pid = host.check_output("systemctl show --value --property=MainPID kubelet")
    words = host.file(f"/proc/{pid}/cmdline").content_string.split("\0")
    assert {"--config-dir=/etc/kubernetes/kubelet.conf.d", f"--node-ip={address('gpu002')}"} <= set(words)
    assert "cgroupDriver: systemd\n" in host.file("/etc/kubernetes/kubelet.conf.d/50-fleetward.conf").content_string


def test_it_joined_by_a_file_that_root_alone_could_read_and_that_is_gone(on: On) -> None:
    host = on("gpu002")
    asked = host.file("/var/lib/played/kubeadm").content_string.splitlines()
    file = "/run/fleetward/kubeadm-join/join.yml"
    assert asked == [f"config validate --config={file}", f"join --config={file}"]
    assert JOINS_BY in host.file("/var/lib/played/join.yml").content_string
    assert host.check_output("cat /var/lib/played/mode") == "600 root"
    assert not host.file("/run/fleetward/kubeadm-join").exists
    assert host.run("grep --recursive --files-with-matches %s /etc /run /var/log /root /tmp", JOINS_BY).stdout == ""


def test_the_node_has_labels_and_taints_of_its_profile(on: On) -> None:
    found = node(on)
    labels = found["metadata"]["labels"]
    assert {key: value for key, value in labels.items() if key.startswith("fleetward/")} == {
        "fleetward/hardware-profile": "lab-h100",
        "fleetward/gpu-model": "h100",
        "fleetward/gpu-count": "8",
        "fleetward/rack": "lab",
        "fleetward/leaf-switch": "leaf1",
    }
    assert labels["kubernetes.io/hostname"] == "gpu002", "the kubelet's own"
    assert found["spec"]["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]


def test_a_label_that_somebody_changed_is_put_right_and_others_are_left(on: On) -> None:
    on("head").check_output(f"{KUBECTL} label --overwrite node gpu002 fleetward/rack=elsewhere theirs=kept")
    done = provision()
    assert done.returncode == 0, done.stdout
    labels = node(on)["metadata"]["labels"]
    assert (labels["fleetward/rack"], labels["theirs"]) == ("lab", "kept")


def test_what_the_kernel_needs_comes_with_the_host_and_swap_does_not(on: On) -> None:
    host = on("gpu002")
    said = host.check_output("cat /etc/modules-load.d/fleetward-kubernetes.conf").splitlines()
    assert said[1:] == ["overlay", "br_netfilter"]
    assert "net.ipv4.ip_forward = 1\n" in host.file("/etc/sysctl.d/90-fleetward-kubernetes.conf").content_string
    assert host.check_output("systemctl show --value --property=LoadState swap.target") == "masked"


def test_another_minor_version_of_the_kubelet_is_refused_until_somebody_says_that_it_is_drained(on: On) -> None:
    said = refusal(provision(fleet_kubernetes="1.36.0"))
    assert "has joined its cluster with kubelet 1.35, and kubernetes_node_version is 1.36.0" in said
    assert on("gpu002").package("kubelet").version == "1.35.2-1.1"
    for version in ("1.36.0", "1.35.2"):
        done = provision(fleet_kubernetes=version, kubernetes_node_upgrade_ok=True)
        assert done.returncode == 0, done.stdout
        assert on("gpu002").package("kubelet").version == f"{version}-1.1"
        assert set(on("gpu002").check_output("apt-mark showhold").split()) == HELD


def test_a_node_on_which_slurmd_runs_is_refused(on: On) -> None:
    on("gpu002").check_output("systemd-run --unit=slurmd sleep 600")
    try:
        said = refusal(provision())
        assert "slurmd runs on gpu002" in said
        assert "playbooks/handover.yml --limit gpu002" in said
    finally:
        on("gpu002").check_output("systemctl stop slurmd")


def test_another_key_than_the_one_that_is_meant_is_refused(on: On) -> None:
    key = on("gpu002").file("/etc/apt/keyrings/fleetward-kubernetes.asc").content_string
    said = refusal(provision(kubernetes_node_repository_key_fingerprint="0" * 40))
    assert "compare its fingerprint with what its maker publishes" in said
    assert on("gpu002").file("/etc/apt/keyrings/fleetward-kubernetes.asc").content_string == key
