"""What the role dcgm makes of its variables: packages for the driver's CUDA, refusals, where the engine listens."""

import base64
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
from fleetward.exporters.gpu.dcgm import ADDRESS

# Jinja's, of the backslashes in Ansible's conditions
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")

init_plugin_loader()

ROLES = Path(fleetward.__file__).parent / "roles"
ROLE = ROLES / "dcgm"


def read(file: str) -> Any:  # noqa: ANN401  a YAML file may hold anything
    return DataLoader().load_from_file(str(ROLE / file), trusted_as_template=True)


STANDING = {**read("defaults/main.yml"), **read("vars/main.yml")}
PREFLIGHT = read("tasks/preflight.yml")


def role(**given: object) -> Templar:
    """Return the role's variables on a host with driver 580 and DCGM 4.4.1, unless others are given."""
    host = {
        "ansible_check_mode": False,
        "common_packages_pending": False,
        "inventory_hostname": "gpu001",
        "role_path": str(ROLE),
        "fleet_nvidia_driver": "580.95.05",
        "dcgm_version": "4.4.1",
        "__dcgm_loaded": {},
    }
    return Templar(loader=DataLoader(), variables={**STANDING, **host, **given})


def value(templar: Templar, expression: str) -> Any:  # noqa: ANN401  whatever the variable is
    return templar.template(trust_as_template(f"{{{{ {expression} }}}}"))


def refusal(templar: Templar) -> tuple[str, str] | None:
    """Return name and message of the first task of the preflight that refuses."""
    for task in PREFLIGHT:
        if "ansible.builtin.assert" not in task:
            continue
        assertion = task["ansible.builtin.assert"]
        that = [assertion["that"]] if isinstance(assertion["that"], str) else assertion["that"]
        applies = "when" not in task or templar.evaluate_conditional(task["when"])
        if applies and not all(templar.evaluate_conditional(one) for one in that):
            return task["name"], " ".join(templar.template(assertion["fail_msg"]).split())
    return None


@pytest.mark.parametrize(
    ("driver", "major"),
    [
        *(("450.80.02", 11), ("470", 11), ("525.60.13", 12), ("525", 12), ("570.195.03", 12)),
        *(("580", 13), ("580.95.05", 13), ("595.1", 13)),
    ],
)
def test_the_diagnostics_are_those_of_the_newest_cuda_that_the_driver_runs(driver: str, major: int) -> None:
    made = role(fleet_nvidia_driver=driver)
    assert value(made, "dcgm_packages") == ["datacenter-gpu-manager-4-core", f"datacenter-gpu-manager-4-cuda{major}"]
    assert refusal(made) is None


def test_where_no_driver_is_declared_it_is_the_loaded_one() -> None:
    line = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.195.03  Release Build\n"
    loaded = {"content": base64.b64encode(line.encode()).decode()}
    assert value(role(fleet_nvidia_driver="", __dcgm_loaded=loaded), "dcgm_cuda_major") == 12


def test_up_to_3_there_is_one_package_whatever_the_driver() -> None:
    made = role(dcgm_version="3.3.9", fleet_nvidia_driver="")
    assert value(made, "__dcgm_pinned") == {"datacenter-gpu-manager": "3.3.9"}
    assert refusal(made) is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"dcgm_version": ""}, ['is ""', '"4.4.1"']),
        ({"dcgm_version": 4.4}, ["is 4.4:", "in quotes"]),
        ({"dcgm_version": "1:4.4.1-1"}, ["without the package's revision"]),
        ({"fleet_dcgm": "4.5.0"}, ["fleet_dcgm is 4.5.0 and dcgm_version 4.4.1", "make the two agree"]),
        ({"fleet_dcgm": "4.4.10"}, ["fleet_dcgm is 4.4.10"]),
        ({"fleet_nvidia_driver": ""}, ["declare fleet_nvidia_driver", "dcgm_cuda_major to 11, 12 or 13"]),
        ({"fleet_nvidia_driver": "418.40"}, ["driver: 418.40"]),
        ({"dcgm_cuda_major": "14"}, ["dcgm_cuda_major: 14"]),
        ({"dcgm_address": "0.0.0.0:5555"}, ["0.0.0.0:5555", "loopback"]),
        ({"dcgm_address": "127.0.0.1.example.org:5555"}, ["loopback"]),
        ({"dcgm_address": "[::]:5555"}, ["[::]:5555"]),
        ({"dcgm_address": "/run/dcgm.sock -b ALL"}, ["loopback"]),
        ({"gpu_exporter_dcgm_address": "gpu001:5555"}, ["gpu001:5555"]),
        ({"dcgm_packages": ["datacenter-gpu-manager-4-core=1"]}, ["datacenter-gpu-manager-4-core=1", "names alone"]),
        ({"dcgm_repository_url": "http://mirror.site/cuda"}, ["mirror.site", "dcgm_repository_key: none"]),
    ],
)
def test_what_does_not_work_is_refused(given: dict[str, Any], words: list[str]) -> None:
    found = refusal(role(**given))
    assert found is not None
    for word in words:
        assert word in found[1]


@pytest.mark.parametrize("declared", ["4", "4.4", "4.4.1"])
def test_a_version_that_is_declared_in_part_may_be_any_of_it(declared: str) -> None:
    assert refusal(role(fleet_dcgm=declared)) is None


@pytest.mark.parametrize(
    ("address", "arguments"),
    [
        ("127.0.0.1:5555", "-b 127.0.0.1 -p 5555"),
        ("/run/dcgm.sock", "-d /run/dcgm.sock"),
    ],
)
def test_the_host_engine_is_told_where_to_listen_and_nothing_of_the_package_stays(address: str, arguments: str) -> None:
    unit = (ROLE / "templates/fleetward.conf.j2").read_text()
    lines = str(role(dcgm_address=address).template(trust_as_template(unit))).splitlines()
    assert lines[2:4] == [
        "ExecStart=",
        f"ExecStart=/usr/bin/nv-hostengine -n --service-account nvidia-dcgm {arguments}",
    ]


def test_it_is_where_the_exporter_asks() -> None:
    asked = yaml.safe_load((ROLES / "gpu_exporter/defaults/main.yml").read_text())["gpu_exporter_dcgm_address"]
    assert value(role(), "dcgm_address") == asked == ADDRESS
    assert value(role(gpu_exporter_dcgm_address="127.0.0.1:7"), "dcgm_address") == "127.0.0.1:7"


numbers = st.integers(0, 999).map(str)
versions = st.builds("{}.{}.{}".format, numbers, numbers, numbers)


@given(
    version=versions,
    other=versions,
    epoch=st.sampled_from(["", "1:"]),
    revision=st.sampled_from(["", "-1", "~rc1-1", "+b1"]),
)
def test_a_package_is_of_the_version_or_lacks(version: str, other: str, epoch: str, revision: str) -> None:
    said = {"stdout": f"install installed datacenter-gpu-manager-4-core {epoch}{other}{revision}\n"}
    made = role(dcgm_version=version, dcgm_packages=["datacenter-gpu-manager-4-core"], __dcgm_queried=said)
    assert (value(made, "__dcgm_lacking") == []) == (version == other)


OFFERED = {
    "stdout": "datacenter-gpu-manager-4-core | 1:4.4.10-1 | file:/srv  Packages\n"
    "datacenter-gpu-manager-4-core | 1:4.4.1-2 | file:/srv  Packages\n"
    "datacenter-gpu-manager-4-core | 1:4.4.1-1 | file:/srv  Packages\n"
}


def test_of_several_packages_of_a_version_the_newest_is_taken_by_its_whole_name() -> None:
    made = role(__dcgm_queried={"stdout": ""}, __dcgm_offered=OFFERED)
    assert value(made, "__dcgm_lacking_versioned") == ["datacenter-gpu-manager-4-core=1:4.4.1-2"]
    assert value(made, "__dcgm_not_there") == ["datacenter-gpu-manager-4-cuda13"]
