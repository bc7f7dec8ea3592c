"""What the role nvidia_container_toolkit makes of its variables: packages, refusals, words for containerd and Slurm."""

import base64
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

import fleetward

# Jinja's, of the backslashes in Ansible's conditions
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")

init_plugin_loader()

ROLE = Path(fleetward.__file__).parent / "roles/nvidia_container_toolkit"
PREFIX = "nvidia_container_toolkit_"
TOOLKIT = {
    "nvidia-container-toolkit": "1.18.0",
    "nvidia-container-toolkit-base": "1.18.0",
    "libnvidia-container-tools": "1.18.0",
    "libnvidia-container1": "1.18.0",
}


def read(file: str) -> Any:  # noqa: ANN401  a YAML file may hold anything
    return DataLoader().load_from_file(str(ROLE / file), trusted_as_template=True)


STANDING = {**read("defaults/main.yml"), **read("vars/main.yml")}
PREFLIGHT = read("tasks/preflight.yml")
ENROOT = {"engines": ["podman", "enroot"], "enroot_version": "3.5.0"}


def role(*, host: dict[str, object] | None = None, **given: object) -> Templar:
    """Return the role's variables on a host with toolkit 1.18.0; those given go without the role's name before them."""
    about = {
        "ansible_check_mode": False,
        "ansible_facts": {"architecture": "x86_64"},
        "common_packages_pending": False,
        "inventory_hostname": "gpu001",
        "group_names": [],
        "nvidia_container_toolkit_version": "1.18.0",
    }
    ours = {f"{PREFIX}{name}": one for name, one in given.items()}
    return Templar(loader=DataLoader(), variables={**STANDING, **about, **(host or {}), **ours})


def value(templar: Templar, expression: str) -> Any:  # noqa: ANN401  whatever the variable is
    return templar.template(trust_as_template(f"{{{{ {expression} }}}}"))


def rendered(templar: Templar, file: str) -> str:
    return str(templar.template(trust_as_template((ROLE / "templates" / file).read_text())))


def refusal(templar: Templar) -> tuple[str, str] | None:
    """Return name and message of the first task of the preflight that refuses."""
    for task in PREFLIGHT:
        assertion = task["ansible.builtin.assert"]
        that = [assertion["that"]] if isinstance(assertion["that"], str) else assertion["that"]
        applies = "when" not in task or templar.evaluate_conditional(task["when"])
        if applies and not all(templar.evaluate_conditional(one) for one in that):
            return task["name"], " ".join(templar.template(assertion["fail_msg"]).split())
    return None


def test_the_toolkit_is_one_version_and_enroot_and_pyxis_come_where_they_are_wanted() -> None:
    assert value(role(), "__nvidia_container_toolkit_pinned") == TOOLKIT
    enroot = {**TOOLKIT, "enroot": "3.5.0", "enroot+caps": "3.5.0"}
    assert value(role(**ENROOT), "__nvidia_container_toolkit_pinned") == enroot
    both = value(role(**ENROOT, pyxis_version="25.11.1-0.21.0"), "__nvidia_container_toolkit_pinned")
    assert both == {**enroot, "nvslurm-plugin-pyxis": "25.11.1-0.21.0"}


@pytest.mark.parametrize(
    ("host", "given", "words"),
    [
        ({"group_names": ["kubernetes_node"]}, {}, ["kubernetes_node, which installs the toolkit itself"]),
        ({}, {"version": ""}, ['is ""', '"1.18.0"']),
        ({}, {"version": "1.18.0-1"}, ["without the package's revision"]),
        ({"fleet_container_toolkit": "1.17"}, {}, ["fleet_container_toolkit is 1.17", "make the two agree"]),
        ({}, {"engines": ["docker"]}, ["has docker", "podman, containerd and enroot"]),
        ({}, {"engines": ["enroot"]}, ["enroot_version is", '"3.5.0"']),
        ({}, {"pyxis_version": "25.11.1-0.21.0"}, ["through enroot"]),
        ({}, {**ENROOT, "pyxis_version": "25.11", "pyxis_plugin": "spank_pyxis.so"}, ["(spank_pyxis.so)"]),
        ({}, {**ENROOT, "pyxis_version": "25.11", "pyxis_arguments": ["a=b\nrequired /x"]}, ["NAME=VALUE"]),
        ({}, {"enroot_settings": {"PATH": "/theirs"}}, ["ENROOT_DATA_PATH"]),
        ({}, {"enroot_settings": {"ENROOT_DATA_PATH": "/a\nENROOT_X /b"}}, ["on one line"]),
        ({}, {"repository_url": "https://mirror.site/deb"}, ["nvidia_container_toolkit_repository_key: none"]),
    ],
)
def test_what_does_not_work_is_refused(host: dict[str, object], given: dict[str, object], words: list[str]) -> None:
    found = refusal(role(host=host, **given))
    assert found is not None
    for word in words:
        assert word in found[1]


@pytest.mark.parametrize(
    ("host", "given"),
    [
        ({}, {}),
        ({"fleet_container_toolkit": "1.18"}, {}),
        ({}, {**ENROOT, "pyxis_version": "25.11.1-0.21.0"}),
        ({}, {**ENROOT, "enroot_settings": {"ENROOT_DATA_PATH": "/tmp/enroot-data/user-$(id -u)"}}),
        ({}, {"engines": []}),
    ],
)
def test_what_works_is_not_refused(host: dict[str, object], given: dict[str, object]) -> None:
    assert refusal(role(host=host, **given)) is None


def containerd(text: str) -> Templar:
    return role(host={"__nvidia_container_toolkit_containerd": {"content": base64.b64encode(text.encode()).decode()}})


@pytest.mark.parametrize(
    ("text", "version", "runtime", "imported"),
    [
        ("", 2, "io.containerd.grpc.v1.cri", "[]"),
        ("version = 2\n[plugins]\n", 2, "io.containerd.grpc.v1.cri", "[]"),
        (
            'version = 3\nimports = ["/etc/containerd/a.toml"]\n',
            3,
            "io.containerd.cri.v1.runtime",
            '["/etc/containerd/a.toml"]',
        ),
    ],
)
def test_containerd_is_told_in_the_words_of_its_version(text: str, version: int, runtime: str, imported: str) -> None:
    made = containerd(text)
    told = tomllib.loads(rendered(made, "containerd.toml.j2"))
    assert told["version"] == version
    plugin = told["plugins"][runtime]
    assert plugin["enable_cdi"] is True
    assert "/var/run/cdi" in plugin["cdi_spec_dirs"]
    binary = plugin["containerd"]["runtimes"]["nvidia"]["options"]["BinaryName"]
    assert binary == "/usr/bin/nvidia-container-runtime"
    assert str(value(made, "__nvidia_container_toolkit_containerd_imported | string")) == imported


def test_podman_is_told_of_the_folder_that_the_specification_is_in() -> None:
    told = tomllib.loads(rendered(role(), "containers.conf.j2"))
    specification = value(role(), "__nvidia_container_toolkit_specification")
    assert str(Path(specification).parent) in told["engine"]["cdi_spec_dirs"]
    assert f"--output={specification}" in rendered(role(), "fleetward-cdi.service.j2")


def test_slurm_gets_one_line_with_the_plugin_and_what_it_is_given() -> None:
    lines = rendered(role(**ENROOT, pyxis_version="25.11.1-0.21.0"), "pyxis.conf.j2").splitlines()
    assert lines[1:] == ["required /usr/lib/x86_64-linux-gnu/slurm/spank_pyxis.so runtime_path=/run/pyxis"]
