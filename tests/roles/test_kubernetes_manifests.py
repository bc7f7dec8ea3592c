"""What the role nvidia_device_plugin applies: valid in three releases, and with no more rights than it needs."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes_validate.utils import all_versions

import fleetward
from fleetward.model.inventory import read_fleet

# Jinja's, of the backslashes in Ansible's conditions
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")

init_plugin_loader()

ROOT = Path(fleetward.__file__).parent
ROLE = ROOT / "roles/nvidia_device_plugin"
RELEASES = list(dict.fromkeys(all_versions()))[-3:]
PROFILES = {
    "hgx-a100": {"gpu": {"model": "a100", "count": 8}},
    "HGX_h100.80g": {"gpu": {"model": "h100", "count": 8}},
    "workstation": {"gpu": {"model": "rtx-6000", "count": 2}},
    "store": {"gpu": None},
}
NODES = {
    "gpu001": "hgx-a100",
    "gpu002": "HGX_h100.80g",
    "gpu003": "hgx-a100",
    "desk1": "workstation",
    "disk1": "store",
}
SHARING = {
    "hgx-a100": {"mig_strategy": "mixed", "time_slicing": {"nvidia.com/mig-1g.10gb": 4}},
    "HGX_h100.80g": {"mig_strategy": "single"},
    "workstation": {"time_slicing": {"nvidia.com/gpu": 8}, "fail_requests_greater_than_one": False, "rename": True},
}

VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"nvidia_device_plugin_sharing": SHARING},
    {
        "nvidia_device_plugin_sharing": SHARING,
        "nvidia_device_plugin_image": "registry.site:5000/mirror/k8s-device-plugin",
        "nvidia_device_plugin_pull_secrets": ["mirror", "other"],
        "nvidia_device_plugin_namespace": "gpus",
        "nvidia_device_plugin_tolerations": [],
        "nvidia_device_plugin_resources": {},
    },
)


def read(file: str) -> Any:  # noqa: ANN401  a YAML file may hold anything
    return DataLoader().load_from_file(str(ROLE / file), trusted_as_template=True)


STANDING = {**read("defaults/main.yml"), **read("vars/main.yml")}
PREFLIGHT = read("tasks/preflight.yml")


def role(**given: object) -> Templar:
    """Return the role's variables on the host that applies it to a fleet of three profiles with GPUs."""
    host = {
        "inventory_hostname": "head",
        "role_path": str(ROLE),
        "ansible_search_path": [str(ROLE)],
        "ansible_check_mode": False,
        "groups": {"kubernetes_node": list(NODES), "nvidia_device_plugin": ["head"]},
        "hostvars": {name: {"fleet_hardware_profile": profile} for name, profile in NODES.items()},
        "fleet_hardware_profiles": PROFILES,
        "nvidia_device_plugin_version": "0.17.1",
        "__nvidia_device_plugin_asked": {"rc": 0, "stderr": ""},
    }
    return Templar(loader=DataLoader(), variables={**STANDING, **host, **given})


def value(templar: Templar, name: str) -> Any:  # noqa: ANN401  whatever the variable is
    return templar.template(trust_as_template(f"{{{{ {name} }}}}"))


def manifests(templar: Templar) -> list[dict[str, Any]]:
    """Return everything that the role would apply."""
    parts = [*value(templar, "__nvidia_device_plugin_base"), *value(templar, "__nvidia_device_plugin_features")]
    parts += value(templar, "__nvidia_device_plugin_of_profiles")
    found = [document for part in parts for document in yaml.safe_load_all(part["content"])]
    assert len(found) == len(parts), "kubectl gets one object at a time"
    return found


def of_kind(found: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in found if one["kind"] == kind}


def container(daemon_set: dict[str, Any]) -> dict[str, Any]:
    (only,) = daemon_set["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def refusal(templar: Templar) -> tuple[str, str] | None:
    """Return name and message of the first task of the preflight that refuses."""
    for task in PREFLIGHT:
        assertion = task.get("ansible.builtin.assert")
        if assertion is None:
            continue
        that = [assertion["that"]] if isinstance(assertion["that"], str) else assertion["that"]
        if not all(templar.evaluate_conditional(one) for one in that):
            return task["name"], templar.template(assertion["fail_msg"])
    return None


def known_to_schemas(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what is node-feature-discovery's, not Kubernetes' own."""
    return [one for one in found if not one["apiVersion"].startswith("nfd.")]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("given", VARIANTS, ids=["whole", "shared", "mirrored"])
def test_every_manifest_is_valid_in_the_newest_three_releases(release: str, given: dict[str, Any]) -> None:
    found = known_to_schemas(manifests(role(**given)))
    assert [one["kind"] for one in found[:2]] == ["Namespace", "RuntimeClass"]
    assert len(found) == 2 + 3 * 2
    for one in found:
        kubernetes_validate.validate(one, release, strict=True)


def test_three_releases_are_three() -> None:
    assert len(set(RELEASES)) == 3


def broken(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Break a manifest as a template could: an unknown field, one in the wrong place, of a wrong type, or gone."""
    daemon_set = next(one for one in found if one["kind"] == "DaemonSet")
    for change in (
        lambda one: one["spec"]["template"]["spec"].update(runtimeClass="nvidia"),
        lambda one: one["spec"].update(tolerations=[]),
        lambda one: container(one)["securityContext"].update(capabilities=["ALL"]),
        lambda one: container(one)["env"].append({"name": "CONFIG_FILE", "value": True}),
        lambda one: one["spec"].pop("selector"),
    ):
        copy = deepcopy(daemon_set)
        change(copy)
        yield copy


@pytest.mark.parametrize("release", RELEASES)
def test_a_broken_manifest_is_found(release: str) -> None:
    for one in broken(manifests(role())):
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(one, release, strict=True)


def test_each_profile_with_gpus_has_a_daemon_set_for_its_own_nodes() -> None:
    found = of_kind(manifests(role()), "DaemonSet")
    assert set(found) == {
        *("nvidia-device-plugin-hgx-a100", "nvidia-device-plugin-hgx-h100-80g", "nvidia-device-plugin-workstation"),
    }
    pods = found["nvidia-device-plugin-hgx-h100-80g"]["spec"]["template"]
    assert pods["spec"]["nodeSelector"]["fleetward/hardware-profile"] == "HGX_h100.80g"
    selector = found["nvidia-device-plugin-hgx-h100-80g"]["spec"]["selector"]["matchLabels"]
    assert selector.items() <= pods["metadata"]["labels"].items()


def test_a_cluster_whose_nodes_all_left_gets_no_daemon_set() -> None:
    assert of_kind(manifests(role(groups={})), "DaemonSet") == {}


@pytest.mark.parametrize("inventory", ["lab", "example"])
def test_every_profile_of_the_inventories_can_have_one(inventory: str) -> None:
    nodes = read_fleet(ROOT / "inventories" / inventory).nodes.values()
    profiles = sorted({node.profile.name for node in nodes if node.profile and node.profile.gpu})
    found = manifests(role(nvidia_device_plugin_profiles=profiles))
    assert len(of_kind(found, "DaemonSet")) == len(profiles) > 0
    for one in known_to_schemas(found):
        kubernetes_validate.validate(one, RELEASES[-1], strict=True)


def test_its_pods_may_do_no_more_than_they_need() -> None:
    for daemon_set in of_kind(manifests(role()), "DaemonSet").values():
        pod = daemon_set["spec"]["template"]["spec"]
        assert container(daemon_set)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        folders = [volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume]
        assert folders == ["/var/lib/kubelet/device-plugins"]


def test_mig_alone_brings_the_capability_that_it_needs() -> None:
    found = of_kind(manifests(role(nvidia_device_plugin_sharing=SHARING)), "DaemonSet")
    for name, needs in (("hgx-a100", True), ("hgx-h100-80g", True), ("workstation", False)):
        only = container(found[f"nvidia-device-plugin-{name}"])
        assert ("add" in only["securityContext"]["capabilities"]) is needs
        assert any(one["name"] == "NVIDIA_MIG_MONITOR_DEVICES" for one in only["env"]) is needs
        # the API server refuses the two together
        assert ("allowPrivilegeEscalation" in only["securityContext"]) is not needs


def configuration(templar: Templar, name: str) -> Any:  # noqa: ANN401  YAML
    return yaml.safe_load(
        of_kind(manifests(templar), "ConfigMap")[f"nvidia-device-plugin-{name}"]["data"]["config.yaml"]
    )


def test_a_profile_shares_as_the_site_says_and_whole_gpus_otherwise() -> None:
    shared = role(nvidia_device_plugin_sharing=SHARING)
    assert configuration(shared, "hgx-a100")["flags"]["migStrategy"] == "mixed"
    assert configuration(shared, "hgx-a100")["sharing"] == {
        "timeSlicing": {
            "renameByDefault": False,
            "failRequestsGreaterThanOne": True,
            "resources": [{"name": "nvidia.com/mig-1g.10gb", "replicas": 4}],
        }
    }
    assert configuration(shared, "workstation")["sharing"]["timeSlicing"]["renameByDefault"] is True
    whole = configuration(role(), "workstation")
    assert (whole["version"], whole["flags"]["migStrategy"]) == ("v1", "none")
    assert "sharing" not in whole


def annotation(templar: Templar, name: str) -> str:
    pods = of_kind(manifests(templar), "DaemonSet")[f"nvidia-device-plugin-{name}"]["spec"]["template"]
    return str(pods["metadata"]["annotations"]["fleetward/configuration"])


def test_a_changed_configuration_starts_the_pods_of_its_profile_alone() -> None:
    before, after = role(), role(nvidia_device_plugin_sharing={"hgx-a100": SHARING["hgx-a100"]})
    assert annotation(before, "hgx-a100") != annotation(after, "hgx-a100")
    assert annotation(before, "workstation") == annotation(after, "workstation")


def test_the_rules_label_in_the_namespace_that_every_cluster_allows() -> None:
    (rule,) = of_kind(manifests(role()), "NodeFeatureRule").values()
    assert rule["apiVersion"] == "nfd.k8s-sigs.io/v1alpha1"
    for one in rule["spec"]["rules"]:
        assert set(one) == {"name", "labels", "matchFeatures"}
        assert all(label.startswith("feature.node.kubernetes.io/") for label in one["labels"])
        for term in one["matchFeatures"]:
            assert set(term) == {"feature", "matchExpressions"}
            for expression in term["matchExpressions"].values():
                assert (expression["op"] == "In") == ("value" in expression)
                assert all(isinstance(entry, str) for entry in expression.get("value", []))


def test_what_other_profiles_left_is_removed_and_nothing_else() -> None:
    ours = ["daemonset.apps/nvidia-device-plugin-hgx-a100", "configmap/nvidia-device-plugin-hgx-a100"]
    gone = ["daemonset.apps/nvidia-device-plugin-v100", "configmap/nvidia-device-plugin-v100"]
    made = role(__nvidia_device_plugin_ours={"stdout_lines": ours + gone})
    assert value(made, "__nvidia_device_plugin_leftovers") == gone


@pytest.mark.parametrize(
    ("given", "task", "words"),
    [
        (
            {"groups": {"nvidia_device_plugin": ["head", "other"]}},
            "One host must be the one that applies it",
            ["head, other", "leave one host"],
        ),
        ({"nvidia_device_plugin_version": ""}, "Version and image must be said", ['is ""', '"0.17.1"']),
        ({"nvidia_device_plugin_version": "latest"}, "Version and image must be said", ['"latest"']),
        ({"nvidia_device_plugin_version": 0.17}, "Version and image must be said", ["0.17", "in quotes"]),
        (
            {"nvidia_device_plugin_image": "nvcr.io/nvidia/k8s-device-plugin:v0.17.1"},
            "Version and image must be said",
            ["without a tag"],
        ),
        (
            {"nvidia_device_plugin_namespace": "GPUs"},
            "Names must be ones that Kubernetes takes",
            ['"GPUs"', "nvidia_device_plugin_namespace"],
        ),
        (
            {"nvidia_device_plugin_profiles": ["hgx_h100", "hgx-h100"]},
            "Names must be ones that Kubernetes takes",
            ["hgx_h100, hgx-h100", "two profiles differ"],
        ),
        (
            {"__nvidia_device_plugin_asked": {"rc": 1, "stderr": "The connection to the server was refused\nmore"}},
            "The API server must answer",
            ["The connection to the server was refused)", "/etc/kubernetes/admin.conf"],
        ),
        *(
            ({"nvidia_device_plugin_sharing": sharing}, "Sharing must be what the plugin can do", words)
            for sharing, words in (
                ({"hgx-a10": {}}, ["hgx-a10 is no hardware profile"]),
                ({"hgx-a100": {"mig": "mixed"}}, ["hgx-a100 has mig, where there are"]),
                ({"hgx-a100": {"mig_strategy": "all"}}, ["the mig_strategy all", "none, single and mixed"]),
                ({"hgx-a100": {"time_slicing": {"amd.com/gpu": 2}}}, ["amd.com/gpu, which is neither"]),
                ({"hgx-a100": {"time_slicing": {"nvidia.com/mig-1g.10gb": 2}}}, ["with the mig_strategy mixed alone"]),
                ({"hgx-a100": {"time_slicing": {"nvidia.com/gpu": 1}}}, ["into 1, which is no whole number from 2 on"]),
                ({"hgx-a100": {"time_slicing": {"nvidia.com/gpu": True}}}, ["into True"]),
                ({"hgx-a100": {"time_slicing": {"nvidia.com/gpu": "4"}}}, ["into 4"]),
            )
        ),
    ],
)
def test_what_cannot_be_is_refused_by_one_sentence(given: dict[str, Any], task: str, words: list[str]) -> None:
    found = refusal(role(**given))
    assert found is not None
    assert found[0] == task
    for word in words:
        assert word in found[1]


def test_what_can_be_is_not_refused() -> None:
    for variables in VARIANTS:
        assert refusal(role(**variables)) is None


profile_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,61}[A-Za-z0-9]", fullmatch=True)


@settings(max_examples=10, deadline=None)
@given(name=profile_names)
def test_whatever_a_profile_is_called_it_is_refused_or_valid(name: str) -> None:
    made = role(fleet_hardware_profiles={name: PROFILES["hgx-a100"]}, nvidia_device_plugin_profiles=[name])
    assert refusal(made) is None
    for one in known_to_schemas(manifests(made)):
        kubernetes_validate.validate(one, RELEASES[-1], strict=True)
    (daemon_set,) = of_kind(manifests(made), "DaemonSet").values()
    assert daemon_set["spec"]["template"]["spec"]["nodeSelector"]["fleetward/hardware-profile"] == name
