"""What the role kubernetes_node makes of its variables: versions, refusals, and what containerd and kubelet get.

kubeadm and kubelet are in no archive that tests can reach: what is written for them is held against the fields and
types that they publish (kubernetes_component_fields.json says of which releases).
"""

import base64
import itertools
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from hypothesis import given
from hypothesis import strategies as st

import fleetward

# Jinja's, of the backslashes in Ansible's conditions
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")

init_plugin_loader()

ROLE = Path(fleetward.__file__).parent / "roles/kubernetes_node"
PUBLISHED = json.loads((Path(__file__).parent / "kubernetes_component_fields.json").read_text())
TOKEN = "abcdef.0123456789abcdef"
KEYS = {
    "kubernetes_node_repository_key": "/site/kubernetes.asc",
    "kubernetes_node_repository_key_fingerprint": "0123 4567 89AB CDEF 0123  4567 89AB CDEF 0123 4567",
    "kubernetes_node_toolkit_repository_key": "/site/toolkit.asc",
    "kubernetes_node_toolkit_repository_key_fingerprint": "89ABCDEF0123456789ABCDEF0123456789ABCDEF",
}
JOINS = {
    "kubernetes_node_api_server": "api.site:6443",
    "kubernetes_node_ca_hashes": [f"sha256:{'0123' * 16}"],
    "kubernetes_node_token_file": "/site/token",
}


def read(file: str) -> Any:  # noqa: ANN401  a YAML file may hold anything
    return DataLoader().load_from_file(str(ROLE / file), trusted_as_template=True)


STANDING = {**read("defaults/main.yml"), **read("vars/main.yml")}
PREFLIGHT = read("tasks/preflight.yml")


def role(**given: object) -> Templar:
    """Return the role's variables on a node with eight H100, and all that it wants unless other facts are given."""
    host = {
        "ansible_facts": {"distribution": "Debian", "architecture": "x86_64"},
        "ansible_check_mode": False,
        "inventory_hostname": "gpu001",
        "ansible_host": "10.0.0.1",
        "group_names": ["kubernetes_node"],
        "groups": {"kubernetes_control_plane": ["ctl1", "ctl2"]},
        "fleet_hardware_profile": "hgx-h100",
        "fleet_hardware_profiles": {"hgx-h100": {"gpu": {"model": "h100", "count": 8}}, "store": {"gpu": None}},
        "fleet_rack": "h001",
        "kubernetes_node_version": "1.36.2",
        "kubernetes_node_toolkit_version": "1.18.0",
        "common_packages_pending": False,
        "__kubernetes_node_joined": {"stat": {"exists": False}},
        "__kubernetes_node_token": TOKEN,
        "__kubernetes_node_slurmd": {"stdout": "inactive"},
        "__kubernetes_node_containerd_said": said(
            "containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6"
        ),
    }
    return Templar(loader=DataLoader(), variables={**STANDING, **host, **KEYS, **JOINS, **given})


def value(templar: Templar, expression: str) -> Any:  # noqa: ANN401  whatever the variable is
    return templar.template(trust_as_template(f"{{{{ {expression} }}}}"))


def rendered(templar: Templar, template: str) -> str:
    """Return a template of the role, as Ansible's module would write it."""
    text = (ROLE / "templates" / template).read_text()
    return str(templar.template(trust_as_template(text), escape_backslashes=False, preserve_trailing_newlines=True))


def said(text: str) -> dict[str, str]:
    """Return what Ansible registers of a command that said this."""
    return {"stdout": text}


def refusal(templar: Templar) -> tuple[str, str] | None:
    """Return name and message of the first task of the preflight that refuses."""
    for task in PREFLIGHT:
        assertion = task.get("ansible.builtin.assert")
        if assertion is None or ("when" in task and not templar.evaluate_conditional(task["when"])):
            continue
        that = [assertion["that"]] if isinstance(assertion["that"], str) else assertion["that"]
        for item in templar.template(task["loop"]) if "loop" in task else [None]:
            templar.available_variables = {**templar.available_variables, "item": item}
            if not all(templar.evaluate_conditional(one) for one in that):
                return task["name"], templar.template(assertion["fail_msg"])
    return None


@pytest.mark.parametrize(
    ("given", "task", "words"),
    [
        (
            {"group_names": ["kubernetes_node", "slurm_node"]},
            "The node must be Kubernetes' alone",
            ["slurm_node and kubernetes_node", "playbooks/handover.yml"],
        ),
        ({"kubernetes_node_version": ""}, "The version must be said", ['is ""', '"1.36.2"']),
        ({"kubernetes_node_version": "1.36"}, "The version must be said", ['"1.36"', "the whole version"]),
        ({"kubernetes_node_version": 1.36}, "The version must be said", ["1.36", "in quotes"]),
        (
            {"kubernetes_node_version": "1.30.4"},
            "The version must be one that the role can configure",
            ["from 1.31 on"],
        ),
        ({"kubernetes_node_toolkit_version": ""}, "The toolkit's version must be said", ['is ""', '"1.18.0"']),
        (
            {"kubernetes_node_containerd_version": "2.x"},
            "Containerd must have the name of a package, a version and an image",
            ['"2.x"', '"2.1"'],
        ),
        (
            {"kubernetes_node_containerd_package": "containerd=2.1"},
            "Containerd must have the name of a package, a version and an image",
            ['"containerd=2.1"', "name alone"],
        ),
        (
            {"kubernetes_node_sandbox_image": "pause latest"},
            "Containerd must have the name of a package, a version and an image",
            ['"pause latest"', "kubeadm config images list"],
        ),
        (
            {"fleet_kubernetes": "1.35", "fleet_container_toolkit": "1.17.8"},
            "It must be what the inventory declares",
            [
                "fleet_kubernetes is 1.35 and kubernetes_node_version 1.36.2",
                "fleet_container_toolkit is 1.17.8 and kubernetes_node_toolkit_version 1.18.0",
            ],
        ),
        (
            {"fleet_containerd": "2.1", "kubernetes_node_containerd_version": "2.10"},
            "It must be what the inventory declares",
            ["fleet_containerd is 2.1 and kubernetes_node_containerd_version 2.10"],
        ),
        (
            {"kubernetes_node_repository_key": ""},
            "Every repository must have an address and a key",
            ["repository kubernetes", "kubernetes_node_repository_key: none"],
        ),
        (
            {"kubernetes_node_toolkit_repository_key_fingerprint": "DDCAE044"},
            "Every repository must have an address and a key",
            ["kubernetes_node_toolkit_repository_key_fingerprint: DDCAE044", "40 hexadecimal digits"],
        ),
        (
            {"fleet_rack": "h001-"},
            "Name, labels and taints must be ones that Kubernetes takes",
            ['"h001-"', "a letter or a digit at both ends"],
        ),
        (
            {"inventory_hostname": "GPU001"},
            "Name, labels and taints must be ones that Kubernetes takes",
            ["of GPU001", "in lower case"],
        ),
        (
            {"kubernetes_node_taints": [{"key": "a", "effect": "NoRun"}]},
            "Name, labels and taints must be ones that Kubernetes takes",
            ["the effect of a taint", "NoExecute"],
        ),
        (
            {"kubernetes_node_ca_hashes": []},
            "The cluster to join must be known",
            ["kubernetes_node_ca_hashes: none", "never trusted without its CA"],
        ),
        (
            {"kubernetes_node_ca_hashes": ["sha256:abc"]},
            "The cluster to join must be known",
            ["sha256:abc", "64 hexadecimal digits"],
        ),
        (
            {"kubernetes_node_api_server": "https://api.site"},
            "The cluster to join must be known",
            ["https://api.site", "HOST:PORT"],
        ),
        ({"kubernetes_node_token_file": ""}, "The cluster to join must be known", ["kubernetes_node_token_file: none"]),
        (
            {"__kubernetes_node_slurmd": said("active")},
            "Slurm must have let go of the node",
            ["slurmd runs on gpu001", "playbooks/handover.yml --limit gpu001"],
        ),
        (
            {"__kubernetes_node_slurmd": said("activating")},
            "Slurm must have let go of the node",
            ["slurmd runs on gpu001"],
        ),
    ],
)
def test_what_cannot_work_is_refused_by_one_sentence(given: dict[str, Any], task: str, words: list[str]) -> None:
    found = refusal(role(**given))
    assert found is not None
    assert found[0] == task
    for word in words:
        assert word in found[1]


def test_a_token_that_is_none_is_refused_and_not_shown() -> None:
    found = refusal(role(__kubernetes_node_token="abcdef.secret-in-the-wrong-form"))
    assert found is not None
    assert found[0] == "The bootstrap token must be one"
    assert "/site/token" in found[1]
    assert "secret" not in found[1]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"fleet_kubernetes": "1.36", "fleet_containerd": "2", "kubernetes_node_containerd_version": "2.1"},
        {"kubernetes_node_version": STANDING["kubernetes_node_version"], "fleet_kubernetes": "v1.36.2"},
        {"kubernetes_node_repository_url": "http://mirror.site/v1.36"},
        {"fleet_hardware_profile": "store", "kubernetes_node_toolkit_version": ""},
        {"kubernetes_node_api_server": "[fd00::1]:6443"},
        {"kubernetes_node_sandbox_image": "registry.site:5000/k8s/pause:3.10"},
        {"kubernetes_node_sandbox_image": f"registry.k8s.io/pause:3.10@sha256:{'0123' * 16}"},
        {"__kubernetes_node_slurmd": said("")},
        {
            **dict.fromkeys(("kubernetes_node_api_server", "kubernetes_node_token_file"), ""),
            "kubernetes_node_ca_hashes": [],
            "kubernetes_node_discovery_file": "/site/discovery.conf",
        },
        # who has joined needs to know no more of it
        {
            "__kubernetes_node_joined": {"stat": {"exists": True}},
            "kubernetes_node_api_server": "",
            "__kubernetes_node_token": "",
        },
    ],
)
def test_what_works_is_not_refused(given: dict[str, Any]) -> None:
    assert refusal(role(**given)) is None


def test_labels_and_taints_follow_from_the_hardware_profile() -> None:
    assert value(role(), "kubernetes_node_labels") == {
        "fleetward/hardware-profile": "hgx-h100",
        "fleetward/gpu-model": "h100",
        "fleetward/gpu-count": "8",
        "fleetward/rack": "h001",
    }
    assert value(role(), "kubernetes_node_taints") == [
        {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    ]
    without_gpus = role(fleet_hardware_profile="store")
    assert value(without_gpus, "kubernetes_node_labels") == {
        "fleetward/hardware-profile": "store",
        "fleetward/rack": "h001",
    }
    assert value(without_gpus, "kubernetes_node_taints") == []
    assert value(role(fleet_hardware_profiles={}), "kubernetes_node_gpus") is False


INSTALLED = """\
hold installed kubelet 1.36.2-1.1
install installed kubeadm 1.36.20-1.1
install config-files kubectl 1.36.2-1.1
install installed containerd 1.7.24~ds1-6+deb13u1
install installed nvidia-container-toolkit-base 1.18.0-1
install installed cri-tools 1.36.0-1.1
install installed tar 1.35
"""


def test_what_is_lacking_is_what_is_not_there_in_its_version() -> None:
    made = role(__kubernetes_node_queried=said(INSTALLED))
    assert set(value(made, "__kubernetes_node_lacking")) == {"kubeadm", "kubectl", "nvidia-container-toolkit"}
    other = role(__kubernetes_node_queried=said(INSTALLED), kubernetes_node_containerd_version="2.1")
    assert "containerd" in value(other, "__kubernetes_node_lacking")


def test_what_was_asked_for_and_what_comes_with_it_is_held() -> None:
    made = role(__kubernetes_node_queried_again=said(INSTALLED))
    assert value(made, "__kubernetes_node_to_hold") == [
        *("containerd", "cri-tools", "kubeadm", "nvidia-container-toolkit-base"),
    ]


def test_a_version_that_the_repositories_do_not_have_is_told_with_those_that_they_have() -> None:
    offered = (
        "   kubeadm | 1.36.2-1.1 | https://site  Packages\n"
        "   kubelet | 1.36.1-1.1 | https://site  Packages\n"
        "   kubelet | 1.36.20-1.1 | https://site  Packages\n"
        "containerd | 1.7.24~ds1-6 | https://site  Packages\n"
    )
    (task,) = (one for one in read("tasks/versions.yml") if "ansible.builtin.assert" in one)
    made = role(__kubernetes_node_queried=said(""), __kubernetes_node_offered=said(offered))
    assertion = task["ansible.builtin.assert"]
    assert not made.evaluate_conditional(assertion["that"])
    message = " ".join(made.template(assertion["fail_msg"]).split())
    assert "kubelet 1.36.2 (what they have is 1.36.1-1.1, 1.36.20-1.1)," in message
    assert "nvidia-container-toolkit 1.18.0 (what they have is no version)." in message
    assert "kubeadm" not in message
    assert "containerd" not in message.replace("nvidia-container-toolkit", "")


@pytest.mark.parametrize(
    ("there", "joined", "ok", "refused"),
    [
        ("1.35.4", True, False, True),
        ("1.35.4", True, True, False),
        ("1.35.4", False, False, False),
        ("1.36.0", True, False, False),
    ],
)
def test_a_node_that_has_joined_keeps_its_minor_version(there: str, joined: bool, ok: bool, refused: bool) -> None:
    (task,) = (one for one in read("tasks/install.yml") if "ansible.builtin.assert" in one)
    made = role(
        __kubernetes_node_queried=said(f"hold installed kubelet {there}-1.1\n"),
        __kubernetes_node_joined={"stat": {"exists": joined}},
        kubernetes_node_upgrade_ok=ok,
    )
    assert made.evaluate_conditional(task["ansible.builtin.assert"]["that"]) is not refused


numbers = st.integers(0, 99).map(str)
versions = st.builds("{}.{}.{}".format, numbers, numbers, numbers)


@given(version=versions, other=versions, revision=st.sampled_from(["-1.1", "-0ubuntu1", "~ds1-6", "+dfsg-1"]))
def test_a_package_is_of_the_version_or_it_is_not(version: str, other: str, revision: str) -> None:
    made = role(
        kubernetes_node_version=version,
        __kubernetes_node_queried=said(f"install installed kubelet {other}{revision}\n"),
    )
    assert value(made, "__kubernetes_node_found") == (["kubelet"] if version == other else [])


def test_unattended_upgrades_leave_whole_names_alone() -> None:
    text = rendered(role(), "unattended-upgrades.j2")
    for name in ("kubelet", "containerd", "nvidia\\-container\\-toolkit", "runc"):
        assert f'    "{name}$";\n' in text


def test_pins_are_of_what_has_a_version() -> None:
    text = rendered(role(), "preferences.j2")
    assert "Package: kubelet\nPin: version /^([0-9]+:)?1\\.36\\.2([-+~.]|$)/\nPin-Priority: 1001\n" in text
    assert "Package: containerd\n" not in text
    assert "Package: containerd\n" in rendered(role(kubernetes_node_containerd_version="2.1"), "preferences.j2")


CONTAINERDS = {
    "containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6": (2, "io.containerd.grpc.v1.cri"),
    "containerd github.com/containerd/containerd v1.7.27 05044ec0a9a75232cad458027ca83437aae3f4da": (
        *(2, "io.containerd.grpc.v1.cri"),
    ),
    "containerd github.com/containerd/containerd/v2 v2.1.4 75cb2b7193e4e490e9fbdc236c0e811ccaba3376": (
        *(3, "io.containerd.cri.v1.runtime"),
    ),
    "containerd containerd.io 2.0.2 2.0.2-1": (3, "io.containerd.cri.v1.runtime"),
}


@pytest.mark.parametrize(("version", "written"), CONTAINERDS.items(), ids=["debian-1", "1", "2", "packaged-2"])
def test_containerd_has_systemds_control_groups_and_nvidias_handler(version: str, written: tuple[int, str]) -> None:
    found = tomllib.loads(rendered(role(__kubernetes_node_containerd_said=said(version)), "containerd.toml.j2"))
    assert found["version"] == written[0]
    plugin = found["plugins"][written[1]]
    # containerd 2 has two settings for it, and the right default
    assert plugin.get("cni", {}).get("bin_dir", "") == ("/opt/cni/bin" if written[0] == 2 else "")
    assert plugin["containerd"]["default_runtime_name"] == "runc"
    runtimes = plugin["containerd"]["runtimes"]
    assert {name: one["options"]["SystemdCgroup"] for name, one in runtimes.items()} == {"runc": True, "nvidia": True}
    assert runtimes["nvidia"]["options"]["BinaryName"] == "/usr/bin/nvidia-container-runtime"


def test_the_sandbox_image_stands_where_its_containerd_looks_for_it() -> None:
    image = "registry.k8s.io/pause:3.10"
    first, third = (
        tomllib.loads(
            rendered(
                role(__kubernetes_node_containerd_said=said(version), kubernetes_node_sandbox_image=image),
                "containerd.toml.j2",
            )
        )["plugins"]
        for version in itertools.islice(CONTAINERDS, 0, 4, 2)
    )
    assert first["io.containerd.grpc.v1.cri"]["sandbox_image"] == image
    assert third["io.containerd.cri.v1.images"]["pinned_images"]["sandbox"] == image


def test_a_node_without_gpus_has_no_handler_and_no_toolkit() -> None:
    made = role(fleet_hardware_profile="store")
    assert "nvidia" not in rendered(made, "containerd.toml.j2")
    assert "nvidia-container-toolkit" not in value(made, "__kubernetes_node_versions")
    assert [one["name"] for one in value(made, "__kubernetes_node_repositories")] == ["kubernetes"]


def test_the_toolkit_is_left_to_the_role_of_its_own_where_the_node_has_that() -> None:
    made = role(
        group_names=["kubernetes_node", "nvidia_container_toolkit"],
        fleet_container_toolkit="1.17.8",
        kubernetes_node_toolkit_version="",
    )
    assert refusal(made) is None
    assert "nvidia-container-toolkit" not in value(made, "__kubernetes_node_versions")
    assert [one["name"] for one in value(made, "__kubernetes_node_repositories")] == ["kubernetes"]
    assert "/usr/bin/nvidia-container-runtime" in rendered(made, "containerd.toml.j2")


def wrong(found: object, kind: object, structs: dict[str, Any], place: str = "") -> Iterator[str]:
    """Yield where a document has a field that is not published, or a value of another type."""
    if isinstance(kind, list):
        if not isinstance(found, list):
            yield f"{place}: not a list"
            return
        for index, one in enumerate(found):
            yield from wrong(one, kind[0], structs, f"{place}[{index}]")
    elif isinstance(kind, dict) or (isinstance(kind, str) and kind.startswith("#")):
        if not isinstance(found, dict):
            yield f"{place}: not a map"
            return
        fields = structs[kind[1:]] if isinstance(kind, str) else kind
        for name, one in found.items():
            if name in fields or "*" in fields:
                yield from wrong(one, fields.get(name, fields.get("*")), structs, f"{place}.{name}")
            else:
                yield f"{place}.{name}: no such field"
    elif kind != "any":
        types = {"boolean": bool, "integer": int, "number": (int, float), "string": str}[str(kind)]
        if not isinstance(found, types) or isinstance(found, bool) != (kind == "boolean"):
            yield f"{place}: {found!r} is no {kind}"


def kubelet_problems(text: str, release: str) -> list[str]:
    return list(wrong(yaml.safe_load(text), "#KubeletConfiguration", PUBLISHED["kubelet"][release]))


@pytest.mark.parametrize("release", PUBLISHED["kubelet"])
def test_the_kubelets_configuration_has_published_fields_alone(release: str) -> None:
    site = {"maxPods": 200, "evictionHard": {"memory.available": "5Gi"}, "topologyManagerPolicy": "best-effort"}
    for variables in ({}, {"kubernetes_node_kubelet_configuration": site}, {"fleet_hardware_profile": "store"}):
        assert kubelet_problems(rendered(role(**variables), "kubelet.conf.j2"), release) == []


@pytest.mark.parametrize("release", PUBLISHED["kubelet"])
def test_a_wrong_field_of_the_kubelets_configuration_is_found(release: str) -> None:
    site = {"maxPod": 200, "evictionHard": ["memory.available"], "authentication": {"anonymous": {"enabled": "no"}}}
    text = rendered(role(kubernetes_node_kubelet_configuration=site), "kubelet.conf.j2")
    assert sorted(kubelet_problems(text, release)) == [
        ".authentication.anonymous.enabled: 'no' is no boolean",
        ".evictionHard: not a map",
        ".maxPod: no such field",
    ]


def test_the_site_has_the_last_word_on_a_field_and_leaves_the_others() -> None:
    site = {"authentication": {"webhook": {"cacheTTL": "1m"}}, "failSwapOn": False}
    found = yaml.safe_load(rendered(role(kubernetes_node_kubelet_configuration=site), "kubelet.conf.j2"))
    assert found["authentication"] == {
        "anonymous": {"enabled": False},
        "webhook": {"enabled": True, "cacheTTL": "1m"},
    }
    assert found["failSwapOn"] is False
    assert (found["cgroupDriver"], found["containerRuntimeEndpoint"]) == (
        *("systemd", "unix:///run/containerd/containerd.sock"),
    )


def test_the_kubelet_gives_itself_labels_only_where_no_control_plane_can_be_asked() -> None:
    assert "--node-labels" not in rendered(role(), "kubelet.j2")
    alone = rendered(role(groups={}), "kubelet.j2")
    assert (
        "--node-labels=fleetward/gpu-count=8,fleetward/gpu-model=h100,fleetward/hardware-profile=hgx-h100,"
        "fleetward/rack=h001"
    ) in alone
    assert "--node-ip=10.0.0.1" in alone
    assert "--node-ip" not in rendered(role(ansible_host="gpu001.site"), "kubelet.j2")
    assert "--node-ip" not in rendered(role(ansible_host="cafe"), "kubelet.j2")


def join(**given: object) -> dict[str, Any]:
    found = yaml.safe_load(rendered(role(**given), "join.yml.j2"))
    assert list(wrong(found, "#JoinConfiguration", PUBLISHED["kubeadm"]["v1beta4"])) == []
    assert found["apiVersion"] == "kubeadm.k8s.io/v1beta4"
    assert found["nodeRegistration"]["name"] == "gpu001"
    return dict(found["discovery"])


def test_a_node_joins_by_a_token_and_the_hash_of_the_ca() -> None:
    assert join() == {
        "bootstrapToken": {
            "apiServerEndpoint": "api.site:6443",
            "caCertHashes": [f"sha256:{'0123' * 16}"],
            "token": TOKEN,
        },
        "tlsBootstrapToken": TOKEN,
    }


def test_a_node_joins_by_a_discovery_file_with_or_without_credentials() -> None:
    file = {"kubeConfigPath": "/run/fleetward/kubeadm-join/discovery.conf"}
    by_file = {"kubernetes_node_discovery_file": "/site/discovery.conf"}
    assert join(**by_file) == {"file": file, "tlsBootstrapToken": TOKEN}
    assert join(**by_file, kubernetes_node_token_file="") == {"file": file}


def tasks(block: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in block:
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks(task.get(part, []))


def test_no_command_line_has_the_token_and_nobody_else_reads_the_file_with_it() -> None:
    for file in (ROLE / "tasks").glob("*.yml"):
        for task in tasks(read(f"tasks/{file.name}")):
            words = str(task.get("ansible.builtin.command", ""))
            assert "token" not in words.replace("tokens", "")
    (written,) = (task for task in tasks(read("tasks/join.yml")) if "ansible.builtin.template" in task)
    assert written["no_log"] is True
    assert written["diff"] is False
    assert written["ansible.builtin.template"]["mode"] == "0600"


def test_what_has_to_be_changed_of_taints_is_what_the_node_does_not_have() -> None:
    gpu = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    bare = {"key": "fleetward/burn-in", "effect": "NoExecute"}

    def lacking(there: list[dict[str, str]]) -> Any:  # noqa: ANN401  a list of str, by Jinja
        node = {"spec": {"taints": there} if there else {}}
        made = role(__kubernetes_node_known=said(json.dumps(node)), kubernetes_node_taints=[gpu, bare])
        return value(made, "__kubernetes_node_taints_lacking")

    assert lacking([]) == ["nvidia.com/gpu=present:NoSchedule", "fleetward/burn-in:NoExecute"]
    assert lacking([gpu, bare, {"key": "theirs", "effect": "NoSchedule"}]) == []
    assert lacking([{**gpu, "value": "absent"}, bare]) == ["nvidia.com/gpu=present:NoSchedule"]


@pytest.mark.parametrize(
    ("swaps", "left"),
    [
        ("Filename Type Size Used Priority\n", []),
        ("Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n", ["/dev/sda2 partition 1 0 -2"]),
    ],
)
def test_swap_is_what_the_kernel_says(swaps: str, left: list[str]) -> None:
    content = base64.b64encode(swaps.encode()).decode()
    assert value(role(__kubernetes_node_swaps_said={"content": content}), "__kubernetes_node_swaps") == left


def test_what_the_kernel_did_not_let_the_role_do_is_told() -> None:
    def told(module: bool, forwards: str, swaps: str) -> Any:  # noqa: ANN401  a list of str, by Jinja
        results = [
            {"item": {"key": "overlay"}, "stat": {"exists": True}},
            {"item": {"key": "br_netfilter"}, "stat": {"exists": module}},
        ]
        bridges = [f"net.bridge.bridge-nf-call-ip{version}tables = 1" for version in ("6", "")]
        made = role(
            __kubernetes_node_modules_there={"results": results},
            __kubernetes_node_sysctls_said={"stdout_lines": [*bridges, f"net.ipv4.ip_forward = {forwards}"]},
            __kubernetes_node_swaps_said={"content": base64.b64encode(f"Filename\n{swaps}".encode()).decode()},
        )
        return value(made, "__kubernetes_node_not_done")

    assert told(True, "1", "") == []
    assert told(False, "0", "/swap.img file 1 0 -2\n") == [
        "the kernel does not have br_netfilter",
        "the sysctls of /etc/sysctl.d/90-fleetward-kubernetes.conf are not set",
        "swap is on, with which the kubelet does not start",
    ]


def test_fstabs_swap_is_commented_once_and_nothing_else() -> None:
    (task,) = (one for one in read("tasks/configure.yml") if "ansible.builtin.replace" in one)
    arguments = task["ansible.builtin.replace"]
    before = (
        "# swap was here\n/dev/sda1 / ext4 defaults 0 1\nUUID=1-2 none swap sw 0 0\n/swap.img\tnone\tswap\tsw\t0 0\n"
    )
    after = re.sub(arguments["regexp"], arguments["replace"], before, flags=re.MULTILINE)
    assert after.splitlines()[2:] == [
        "# off for Kubernetes: UUID=1-2 none swap sw 0 0",
        "# off for Kubernetes: /swap.img\tnone\tswap\tsw\t0 0",
    ]
    assert after.splitlines()[:2] == before.splitlines()[:2]
    assert re.sub(arguments["regexp"], arguments["replace"], after, flags=re.MULTILINE) == after
