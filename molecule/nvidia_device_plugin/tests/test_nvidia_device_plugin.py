"""The device plugin in a cluster: Debian's own kubectl, before an API server that played_api_server.py plays."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from testinfra.host import Host

On = Callable[[str], Host]
ROOT = Path(__file__).parents[3]
STATE = Path(os.environ.get("FLEETWARD_LAB_STATE", "~/.local/state/fleetward/lab/molecule")).expanduser()
KUBECTL = "kubectl --kubeconfig=/etc/kubernetes/admin.conf"
NAME = "nvidia-device-plugin-lab-h100"
WHERE = "--namespace=nvidia-device-plugin"


def provision(*arguments: str, **given: object) -> subprocess.CompletedProcess[str]:
    """Run the role once more, with other variables."""
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
            *(str(ROOT / "molecule/nvidia_device_plugin/converge.yml"), *arguments),
            *("--extra-vars", json.dumps(given)),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def well(*arguments: str, **given: object) -> str:
    """Run the role, which has to end well, and return what it said."""
    done = provision(*arguments, **given)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def there(host: Host, what: str) -> Any:  # noqa: ANN401  JSON
    return json.loads(host.check_output(f"{KUBECTL} get {what} --output=json"))


def requests(host: Host) -> list[str]:
    """Return what has changed something in the cluster, in order."""
    return host.file("/var/lib/played-api/requests").content_string.splitlines()


def test_the_cluster_has_namespace_runtime_class_and_the_plugin_of_the_profile(on: On) -> None:
    head = on("head")
    namespace = there(head, "namespace nvidia-device-plugin")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    assert there(head, "runtimeclass nvidia")["handler"] == "nvidia"
    daemon_set = there(head, f"daemonset {NAME} {WHERE}")
    pod = daemon_set["spec"]["template"]["spec"]
    assert pod["runtimeClassName"] == "nvidia"
    assert pod["containers"][0]["image"] == "nvcr.io/nvidia/k8s-device-plugin:v0.17.1"
    configuration = yaml.safe_load(there(head, f"configmap {NAME} {WHERE}")["data"]["config.yaml"])
    assert configuration["sharing"]["timeSlicing"]["resources"] == [{"name": "nvidia.com/gpu", "replicas": 4}]


def test_each_was_applied_once_and_under_our_name(on: On) -> None:
    changed = requests(on("head"))
    ours = [line for line in changed if "nvidia-device-plugin" in line or "runtimeclasses" in line]
    assert len(ours) == len(set(ours)) == 4
    assert all(line.startswith("PATCH") and line.endswith("by fleetward") for line in ours)


def test_what_somebody_changed_is_seen_in_a_dry_run_and_put_right(on: On) -> None:
    head = on("head")
    patch = '{"spec":{"template":{"spec":{"priorityClassName":"system-cluster-critical"}}}}'
    head.check_output(f"{KUBECTL} patch daemonset {NAME} {WHERE} --type=merge --patch='{patch}'")
    before = requests(head)
    said = well("--check")
    assert "Compare daemon-set of lab-h100" in said
    assert "changed=0" not in said
    assert requests(head) == before
    well()
    pod = there(head, f"daemonset {NAME} {WHERE}")["spec"]["template"]["spec"]
    assert pod["priorityClassName"] == "system-node-critical"
    assert requests(head)[len(before) :] == [f"PATCH apps/v1/daemonsets/nvidia-device-plugin/{NAME} by fleetward"]


def test_what_another_manager_applied_is_left_and_named(on: On) -> None:
    head = on("head")
    theirs = {
        **{"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "theirs"},
        "metadata": {"name": "nvidia"},
    }
    apply = f"{KUBECTL} apply --server-side --filename=- --field-manager"
    head.check_output(f"echo '{json.dumps(theirs)}' | {apply}=helm --force-conflicts")
    done = provision()
    assert done.returncode == 2
    assert 'conflict with "helm": .handler' in done.stdout.replace('\\"', '"')
    assert there(head, "runtimeclass nvidia")["handler"] == "theirs"
    head.check_output(f"{KUBECTL} delete runtimeclass nvidia")
    well()
    assert there(head, "runtimeclass nvidia")["handler"] == "nvidia"


def test_rules_come_where_the_cluster_has_node_feature_discovery(on: On) -> None:
    head = on("head")
    head.check_output("touch /var/lib/played-api/nfd")
    try:
        assert "The cluster has no node-feature-discovery" not in well()
        rules = there(head, "nodefeaturerule fleetward")["spec"]["rules"]
        assert "feature.node.kubernetes.io/fleetward.gpu" in rules[0]["labels"]
    finally:
        head.check_output("rm /var/lib/played-api/nfd")
    assert "The cluster has no node-feature-discovery" in well()


def test_another_setting_reaches_the_pods_and_a_profile_that_left_takes_its_own_along(on: On) -> None:
    head = on("head")
    checksum = "spec.template.metadata.annotations.fleetward/configuration"
    before = head.check_output(f"{KUBECTL} get daemonset {NAME} {WHERE} --output=jsonpath='{{.{checksum}}}'")
    well(nvidia_device_plugin_sharing={"lab-h100": {"mig_strategy": "mixed"}})
    assert head.check_output(f"{KUBECTL} get daemonset {NAME} {WHERE} --output=jsonpath='{{.{checksum}}}'") != before
    capabilities = there(head, f"daemonset {NAME} {WHERE}")["spec"]["template"]["spec"]["containers"][0]
    assert capabilities["securityContext"] == {"capabilities": {"add": ["SYS_ADMIN"], "drop": ["ALL"]}}
    head.check_output(f"{KUBECTL} label daemonset {NAME} {WHERE} theirs=kept")
    well(nvidia_device_plugin_profiles=[])
    assert there(head, f"daemonsets,configmaps {WHERE}")["items"] == []
    well()
    assert len(there(head, f"daemonsets,configmaps {WHERE}")["items"]) == 2


def test_a_cluster_that_does_not_answer_is_told_in_one_sentence(on: On) -> None:
    on("head").check_output("systemctl stop played-api-server")
    try:
        done = provision()
        assert done.returncode == 2
        said = " ".join(done.stdout.split())
        assert "On head kubectl does not reach the cluster with /etc/kubernetes/admin.conf" in said
    finally:
        on("head").check_output("systemctl start played-api-server")
