"""What the role nvidia_driver makes of its variables: packages, refusals, apt's entries, and why a reboot is needed."""

import base64
import itertools
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from hypothesis import given
from hypothesis import strategies as st

import fleetward
from fleetward.model.compatibility_files import read_shipped

# Jinja's, of the backslashes in Ansible's conditions
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")

init_plugin_loader()

ROLE = Path(fleetward.__file__).parent / "roles/nvidia_driver"
DEBIAN = {
    "distribution": "Debian",
    "distribution_version": "13.8",
    "distribution_major_version": "13",
    "kernel": "6.12.43+deb13-amd64",
    "architecture": "x86_64",
}
UBUNTU = {
    "distribution": "Ubuntu",
    "distribution_version": "24.04",
    "distribution_major_version": "24",
    "kernel": "6.8.0-45-generic",
    "architecture": "x86_64",
}
NVIDIA = {
    "nvidia_driver_repository": "nvidia",
    "nvidia_driver_repository_key": "/site/nvidia.asc",
    "nvidia_driver_repository_key_fingerprint": "0123 4567 89AB CDEF 0123  4567 89AB CDEF 0123 4567",
}


def read(file: str) -> Any:  # noqa: ANN401  a YAML file may hold anything
    return DataLoader().load_from_file(str(ROLE / file), trusted_as_template=True)


STANDING = {**read("defaults/main.yml"), **read("vars/main.yml")}
PREFLIGHT = read("tasks/preflight.yml")
RULES = read_shipped()


def role(model: str = "h100", nvswitch: bool = False, **given: object) -> Templar:
    """Return the role's variables on a host with these GPUs, on Debian unless other facts are given."""
    profile = {"gpu": {"model": model, "count": 8, "nvswitch": nvswitch, "generation": ""}}
    host = {
        "ansible_facts": DEBIAN,
        "ansible_check_mode": False,
        "inventory_hostname": "gpu001",
        "role_path": str(ROLE),
        "group_names": ["nvidia_driver"],
        "fleet_hardware_profile": "theirs",
        "fleet_hardware_profiles": {"theirs": profile},
        "nvidia_driver_version": "580.95.05",
    }
    return Templar(loader=DataLoader(), variables={**STANDING, **host, **given})


def value(templar: Templar, expression: str) -> Any:  # noqa: ANN401  whatever the variable is
    return templar.template(trust_as_template(f"{{{{ {expression} }}}}"))


def said(text: str) -> dict[str, str]:
    """Return what Ansible registers of a command that said this."""
    return {"stdout": text}


def refusal(templar: Templar) -> tuple[str, str] | None:
    """Return name and message of the first task of the preflight that refuses."""
    for task in PREFLIGHT:
        assertion = task["ansible.builtin.assert"]
        that = [assertion["that"]] if isinstance(assertion["that"], str) else assertion["that"]
        applies = "when" not in task or templar.evaluate_conditional(task["when"])
        if applies and not all(templar.evaluate_conditional(one) for one in that):
            return task["name"], templar.template(assertion["fail_msg"])
    return None


@pytest.mark.parametrize(
    ("model", "modules"),
    [
        *(
            ("p100", "proprietary"),
            ("v100", "proprietary"),
            ("nvidia_v100-sxm2", "proprietary"),
            ("V100", "proprietary"),
        ),
        *(
            ("t4", "open"),
            ("a100", "open"),
            ("l40s", "open"),
            ("h100", "open"),
            ("nvidia_h100_80gb_hbm3", "open"),
            ("gh200", "open"),
        ),
        *(("b200", "open"), ("gb300", "open"), ("rtx-pro-6000", "open")),
    ],
)
def test_the_modules_follow_from_the_generation_of_the_gpus(model: str, modules: str) -> None:
    assert value(role(model), "nvidia_driver_modules") == modules


def test_the_inventory_may_say_which_modules_and_the_variable_has_the_last_word() -> None:
    assert value(role(fleet_nvidia_modules="proprietary"), "nvidia_driver_modules") == "proprietary"
    both = role(fleet_nvidia_modules="proprietary", nvidia_driver_modules="open")
    assert value(both, "nvidia_driver_modules") == "open"


@pytest.mark.parametrize(
    ("gpus", "given", "task", "words"),
    [
        ({}, {"nvidia_driver_version": ""}, "The version must be said", ['is ""', '"580.95.05"']),
        ({}, {"nvidia_driver_version": 595.1}, "The version must be said", ["595.1", "in quotes"]),
        ({}, {"nvidia_driver_version": "580.95.05-1"}, "The version must be said", ["without the package's revision"]),
        (
            {},
            {"group_names": ["nvidia_driver", "gpu_simulator"]},
            "The GPUs must not be played ones",
            ["gpu_simulator"],
        ),
        (
            {"model": "b200"},
            {"nvidia_driver_modules": "proprietary"},
            "The modules must be ones that the GPUs work with",
            ["b200", "open kernel modules alone", "nvidia_driver_modules is proprietary", "to open"],
        ),
        (
            {"model": "gh200"},
            {"fleet_nvidia_modules": "proprietary"},
            "The modules must be ones that the GPUs work with",
            ["gh200", "open kernel modules alone"],
        ),
        (
            {"model": "v100"},
            {"nvidia_driver_modules": "open"},
            "The modules must be ones that the GPUs work with",
            ["v100", "proprietary kernel modules alone", "to proprietary"],
        ),
        (
            {},
            {"fleet_nvidia_driver": "580.105.08"},
            "It must be what the inventory declares",
            ["fleet_nvidia_driver is 580.105.08", "nvidia_driver_version 580.95.05", "make the two agree"],
        ),
        (
            {},
            {"fleet_nvidia_driver": "570", "fleet_nvidia_modules": "proprietary", "nvidia_driver_modules": "open"},
            "It must be what the inventory declares",
            ["fleet_nvidia_driver is 570", "fleet_nvidia_modules is proprietary and nvidia_driver_modules open"],
        ),
        (
            {"nvswitch": True},
            {"nvidia_driver_fabric_manager_version": "580.105.08"},
            "The fabric manager must be of the driver's version",
            ["exactly its own version", "580.95.05", "580.105.08", "leave nvidia_driver_fabric_manager_version out"],
        ),
        (
            {"model": "gb200"},
            {"nvidia_driver_imex_version": "580.105.08"},
            "IMEX must be of the driver's version",
            ["exactly its own version", "580.95.05", "580.105.08", "leave nvidia_driver_imex_version out"],
        ),
        (
            {"nvswitch": True},
            {"nvidia_driver_repository": "distribution"},
            "The repository must have what is asked of it",
            ["Debian's own archive have no fabric manager", "nvidia_driver_repository to nvidia"],
        ),
        (
            {},
            {"nvidia_driver_build": "precompiled"},
            "The repository must have what is asked of it",
            ["no precompiled modules", "nvidia_driver_build to dkms"],
        ),
        (
            {},
            {"ansible_facts": UBUNTU},
            "The repository must have what is asked of it",
            ["packages that this role knows by name", "nvidia_driver_packages"],
        ),
        (
            {},
            {"nvidia_driver_packages": ["nvidia-driver-cuda=580.95.05-1", "--reinstall"]},
            "Packages must have names of packages",
            ["nvidia-driver-cuda=580.95.05-1, --reinstall", "Give names alone"],
        ),
        (
            {},
            {"nvidia_driver_repository_key_fingerprint": "3BF863CC"},
            "NVIDIA's repository must have an address and a key",
            ["3BF863CC", "40 hexadecimal digits"],
        ),
        (
            {},
            {"nvidia_driver_repository_key": ""},
            "NVIDIA's repository must have an address and a key",
            ["nvidia_driver_repository_key: none"],
        ),
    ],
)
def test_what_cannot_work_is_refused_by_one_sentence(
    gpus: dict[str, Any], given: dict[str, Any], task: str, words: list[str]
) -> None:
    found = refusal(role(**gpus, **{**NVIDIA, **given}))
    assert found is not None
    assert found[0] == task
    for word in words:
        assert word in found[1]


@pytest.mark.parametrize(
    "given",
    [
        {**NVIDIA, "nvswitch": True},
        {**NVIDIA, "model": "b200", "nvswitch": True, "fleet_nvidia_driver": "580", "fleet_nvidia_modules": "open"},
        {**NVIDIA, "model": "gb200"},
        {**NVIDIA, "nvidia_driver_repository_url": "http://mirror.site/nvidia/debian13"},
        {**NVIDIA, "nvidia_driver_repository_url": "file:///srv/nvidia"},
        {"nvidia_driver_version": "550.163.01"},
        {"ansible_facts": UBUNTU, "nvidia_driver_build": "precompiled"},
        {**NVIDIA, "ansible_facts": UBUNTU, "nvidia_driver_packages": ["nvidia-dkms-580-open"]},
        {**NVIDIA, "nvidia_driver_version": "595.84"},
        # without a fabric manager nobody minds what version it would have
        {"nvswitch": True, "nvidia_driver_fabric_manager": False, "nvidia_driver_fabric_manager_version": "1.2.3"},
    ],
)
def test_what_works_is_not_refused(given: dict[str, Any]) -> None:
    assert refusal(role(**given)) is None


@pytest.mark.parametrize("nvswitch", [True, False])
def test_the_fabric_manager_is_for_nvswitches(nvswitch: bool) -> None:
    assert value(role(nvswitch=nvswitch), "nvidia_driver_fabric_manager") is nvswitch


def test_a_host_without_a_profile_has_no_nvswitches() -> None:
    assert value(role(fleet_hardware_profiles={}), "nvidia_driver_fabric_manager") is False


def test_version_and_modules_are_what_the_inventory_declares() -> None:
    declared = {"fleet_nvidia_driver": "570.195.03", "fleet_fabric_manager": "570.195.03"}
    made = role(**declared, nvidia_driver_version=STANDING["nvidia_driver_version"])
    assert value(made, "nvidia_driver_version") == value(made, "nvidia_driver_fabric_manager_version") == "570.195.03"


def test_a_site_may_know_gpus_that_nobody_else_does() -> None:
    theirs = {"generations": {"blackwell": ["b999"]}}
    assert value(role("b999", fleet_compatibility=theirs), "__nvidia_driver_open_alone") is True
    profile = {"gpu": {"model": "custom", "generation": "volta"}}
    assert value(role(fleet_hardware_profiles={"theirs": profile}), "nvidia_driver_modules") == "proprietary"


@pytest.mark.parametrize("model", [*RULES.generations["ampere"], "nvidia_a100_80gb_pcie", "RTX-A6000", "custom"])
def test_a_generation_is_the_one_that_the_inventorys_checks_find(model: str) -> None:
    known = RULES.known_model(model)
    assert value(role(model), "__nvidia_driver_generation") == (known[1] if known else "")


@pytest.mark.parametrize(
    ("given", "packages"),
    [
        (
            {},
            ["nvidia-open-kernel-dkms", "nvidia-open-kernel-support", "libcuda1", "nvidia-persistenced", "nvidia-smi"],
        ),
        (
            {"model": "v100"},
            ["nvidia-kernel-dkms", "nvidia-kernel-support", "libcuda1", "nvidia-persistenced", "nvidia-smi"],
        ),
        (
            {**NVIDIA, "nvswitch": True},
            ["nvidia-kernel-open-dkms", "nvidia-driver-cuda", "nvidia-persistenced", "nvidia-fabricmanager"],
        ),
        (
            {**NVIDIA, "nvswitch": True, "nvidia_driver_version": "570.195.03"},
            ["nvidia-kernel-open-dkms", "nvidia-driver-cuda", "nvidia-persistenced", "nvidia-fabricmanager-570"],
        ),
        (
            {**NVIDIA, "nvswitch": True, "model": "b200"},
            ["nvidia-kernel-open-dkms", "nvidia-driver-cuda", "nvidia-persistenced", "nvidia-fabricmanager", "nvlsm"],
        ),
        (
            {**NVIDIA, "model": "gb200"},
            ["nvidia-kernel-open-dkms", "nvidia-driver-cuda", "nvidia-persistenced", "nvidia-imex"],
        ),
        (
            {"ansible_facts": UBUNTU, "nvswitch": True},
            [
                *("nvidia-dkms-580-server-open", "nvidia-headless-no-dkms-580-server-open", "nvidia-utils-580-server"),
                "nvidia-fabricmanager-580",
            ],
        ),
        (
            {"ansible_facts": UBUNTU, "nvidia_driver_build": "precompiled"},
            [
                *("linux-modules-nvidia-580-server-open-generic", "nvidia-headless-no-dkms-580-server-open"),
                "nvidia-utils-580-server",
            ],
        ),
    ],
)
def test_packages_are_those_of_the_repository(given: dict[str, Any], packages: list[str]) -> None:
    assert value(role(**given), "__nvidia_driver_wanted") == packages


@pytest.mark.parametrize(
    ("facts", "repository", "modules", "build"),
    [
        (facts, *rest)
        for facts, *rest in itertools.product(
            [DEBIAN, UBUNTU], ["distribution", "nvidia"], ["open", "proprietary"], ["dkms", "precompiled"]
        )
    ],
)
def test_nothing_is_both_wanted_and_removed(facts: dict[str, str], repository: str, modules: str, build: str) -> None:
    made = role(
        ansible_facts=facts,
        nvidia_driver_repository=repository,
        nvidia_driver_modules=modules,
        nvidia_driver_build=build,
    )
    assert set(value(made, "__nvidia_driver_unwanted")).isdisjoint(value(made, "__nvidia_driver_wanted"))


def test_who_changes_the_kind_of_modules_loses_the_other_kind() -> None:
    assert value(role(nvidia_driver_modules="open"), "__nvidia_driver_unwanted") == [
        "nvidia-kernel-dkms",
        "nvidia-kernel-support",
    ]


INSTALLED = """\
hold installed nvidia-smi 580.95.05-1
install installed libnvidia-ml1 580.95.05-1
install installed libcuda1 1:580.95.05-1
install installed nvidia-kernel-open-dkms 580.105.08-1
install config-files nvidia-persistenced 580.95.05-1
install installed nvlsm 2025.10.14-1
install installed tar 1.35
"""


def test_what_is_of_the_version_and_what_was_asked_for_is_held_once() -> None:
    made = role(**NVIDIA, model="b200", nvswitch=True, __nvidia_driver_queried_again=said(INSTALLED))
    assert value(made, "__nvidia_driver_to_hold") == ["libcuda1", "libnvidia-ml1", "nvidia-kernel-open-dkms", "nvlsm"]


def test_what_is_lacking_is_what_is_not_there_in_the_version() -> None:
    made = role(**NVIDIA, model="b200", nvswitch=True, __nvidia_driver_queried=said(INSTALLED))
    lacking = set(value(made, "__nvidia_driver_lacking"))
    assert lacking == {"nvidia-kernel-open-dkms", "nvidia-driver-cuda", "nvidia-persistenced", "nvidia-fabricmanager"}


def test_a_version_that_the_repository_does_not_have_is_told_with_those_that_it_has() -> None:
    offered = (
        "nvidia-driver-cuda | 580.95.05-1 | http://site  Packages\n"
        "nvidia-kernel-open-dkms | 580.105.08-1 | http://site  Packages\n"
        "nvidia-kernel-open-dkms | 580.95.051-1 | http://site  Packages\n"
    )
    task = next(one for one in read("tasks/versions.yml") if one["name"] == "The repository must have the version")
    made = role(**NVIDIA, __nvidia_driver_queried=said(""), __nvidia_driver_offered=said(offered))
    assertion = task["ansible.builtin.assert"]
    assert not made.evaluate_conditional(assertion["that"])
    message = " ".join(made.template(assertion["fail_msg"]).split())
    assert (
        "What they have is nvidia-kernel-open-dkms 580.105.08-1, 580.95.051-1; nvidia-persistenced in no version."
        in message
    )
    assert "nvidia-driver-cuda" not in message


numbers = st.integers(0, 9999).map(str)
versions = st.one_of(
    st.builds("{}.{}".format, numbers, numbers), st.builds("{}.{}.{:02}".format, numbers, numbers, st.integers(0, 99))
)


@given(version=versions, other=versions, revision=st.sampled_from(["", "-1", "-0ubuntu0.24.04.1", "~bpo13+1", "+b1"]))
def test_a_package_is_of_the_version_or_it_is_not(version: str, other: str, revision: str) -> None:
    queried = said(f"install installed nvidia-smi {other}{revision}\n")
    made = role(nvidia_driver_version=version, __nvidia_driver_queried=queried)
    assert value(made, "__nvidia_driver_found_of_version") == (["nvidia-smi"] if version == other else [])


SOURCES = """\
# The archive.

Types: deb deb-src
URIs: http://archive.example.org/debian
Suites: trixie trixie-updates
Components: main
# who signs
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://archive.example.org/debian-security/
Suites: trixie-security
Components:
 main
 contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----
\t
Types: deb
URIs: https://other.site/debian
Suites: trixie
Components: main

Enabled: no
Types: deb
URIs: http://archive.example.org/debian
Suites: trixie-proposed-updates
Components: main
"""
LINES = """\
# deb http://archive.example.org/debian trixie main
deb http://archive.example.org/debian trixie main
deb [arch=amd64 signed-by=/keys/debian.gpg]  http://archive.example.org/debian-security/  trixie-security main contrib
deb-src http://archive.example.org/debian trixie main
deb https://other.site/debian trixie main
deb http://archive.example.org/debian trixie contrib
"""


def targets(*entries: tuple[str, str, str, str]) -> dict[str, str]:
    """Return what apt-get says of entries: whose, component, address, file."""
    return said("".join(f"{origin}|{part}|{address}|{file}:1\n" for origin, part, address, file in entries))


ARCHIVE = (
    ("Debian", "main", "http://archive.example.org/debian/", "/etc/apt/sources.list"),
    ("Debian", "main", "http://archive.example.org/debian-security/", "/etc/apt/sources.list"),
    ("Other", "main", "https://other.site/debian/", "/etc/apt/sources.list"),
)


def entries(text: str) -> dict[str, Any]:
    return {"results": [{"content": base64.b64encode(text.encode()).decode()}]}


def rendered(templar: Templar, kind: str) -> str:
    return str(templar.template(trust_as_template((ROLE / f"templates/components.{kind}.j2").read_text())))


def test_entries_in_fields_are_written_once_more_with_the_components() -> None:
    made = role(__nvidia_driver_targets=targets(*ARCHIVE), __nvidia_driver_entries=entries(SOURCES))
    assert value(made, "__nvidia_driver_entry_kinds") == ["sources"]
    assert (
        rendered(made, "sources")
        == """\
# Rendered by the role nvidia_driver from the host's own entries.

Types: deb deb-src
URIs: http://archive.example.org/debian
Suites: trixie trixie-updates
Components: contrib non-free non-free-firmware
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://archive.example.org/debian-security/
Suites: trixie-security
Components: contrib non-free non-free-firmware
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----
"""
    )


def test_entries_in_lines_are_written_once_more_with_the_components() -> None:
    made = role(__nvidia_driver_targets=targets(*ARCHIVE), __nvidia_driver_entries=entries(LINES))
    assert value(made, "__nvidia_driver_entry_kinds") == ["list"]
    assert rendered(made, "list").splitlines()[1:] == [
        "deb http://archive.example.org/debian trixie contrib non-free non-free-firmware",
        "deb [arch=amd64 signed-by=/keys/debian.gpg]  http://archive.example.org/debian-security/  trixie-security"
        " contrib non-free non-free-firmware",
    ]


def test_a_component_that_is_there_already_is_left_to_who_enabled_it() -> None:
    theirs = ("Debian", "non-free", "http://archive.example.org/debian/", "/etc/apt/sources.list.d/theirs.sources")
    made = role(__nvidia_driver_targets=targets(*ARCHIVE, theirs), __nvidia_driver_entries=entries(LINES))
    assert value(made, "__nvidia_driver_components") == ["contrib", "non-free-firmware"]


def test_what_the_role_has_written_itself_is_not_taken_for_theirs() -> None:
    written = "/etc/apt/sources.list.d/fleetward-nvidia-components.list"
    ours = [
        ("Debian", part, "http://archive.example.org/debian/", written)
        for part in ("contrib", "non-free", "non-free-firmware")
    ]
    made = role(__nvidia_driver_targets=targets(*ARCHIVE, *ours), __nvidia_driver_entries=entries(LINES))
    assert value(made, "__nvidia_driver_components") == ["contrib", "non-free", "non-free-firmware"]


def test_where_all_components_are_there_nothing_is_written() -> None:
    theirs = [(*ARCHIVE[0][:1], part, *ARCHIVE[0][2:]) for part in ("contrib", "non-free", "non-free-firmware")]
    made = role(__nvidia_driver_targets=targets(*ARCHIVE, *theirs), __nvidia_driver_entries=entries(LINES + SOURCES))
    assert value(made, "__nvidia_driver_entry_kinds") == []


# gpg --show-keys --with-colons of GnuPG 2.2.40 for Debian's key of trixie; subkey and second key are made up.
KEY = """\
pub:-:255:22:762F67A0B2C39DE4:1742842581:1995130581::-:::scSC:::::ed25519:::0:
fpr:::::::::41587F7DB8C774BCCF131416762F67A0B2C39DE4:
uid:-::::1742842581::C6CA392D05466D9A43B03EB609824E72B12EA0BE::Debian Stable Release Key (13/trixie)::::::::::0:
sub:-:255:22:0000000000000001:1742842581::::::s:::::ed25519::
fpr:::::::::0000000000000000000000000000000000000001:
"""
SECOND = """\
pub:-:255:22:0000000000000002:1:::-:::scSC:::::ed25519:::0:
fpr:::::::::0000000000000000000000000000000000000002:
"""


@pytest.mark.parametrize(
    ("text", "fingerprints"),
    [
        (KEY, ["41587F7DB8C774BCCF131416762F67A0B2C39DE4"]),
        (KEY + SECOND, ["41587F7DB8C774BCCF131416762F67A0B2C39DE4", "0" * 39 + "2"]),
        ("gpg: no valid OpenPGP data found.\n", []),
    ],
)
def test_a_file_is_known_by_the_fingerprints_of_its_primary_keys(text: str, fingerprints: list[str]) -> None:
    assert value(role(__nvidia_driver_key_said=said(text)), "__nvidia_driver_fingerprints") == fingerprints


OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (root@host)\nGCC version:\n"
PROPRIETARY = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.216.03  Tue Oct  8 16:30:26 UTC 2024\nGCC version:  12.2.0\n"
)


@pytest.mark.parametrize(
    ("loaded", "given", "why"),
    [
        ("", {}, "no module of the driver is loaded, and 580.95.05 is installed"),
        (OPEN, {}, ""),
        (OPEN, {"nvidia_driver_version": "580.105.08"}, "version 580.95.05 is loaded, and 580.105.08 is installed"),
        (PROPRIETARY, {}, "version 535.216.03 is loaded, and 580.95.05 is installed"),
        (OPEN, {"model": "v100"}, "the open modules are loaded, and the proprietary ones are installed"),
        (OPEN, {"__nvidia_driver_nouveau": {"stat": {"exists": True}}}, "nouveau is loaded"),
        ("", {"nvidia_driver_load_modules": False}, ""),
    ],
)
def test_a_reboot_is_needed_where_other_modules_are_loaded_than_installed(
    loaded: str, given: dict[str, Any], why: str
) -> None:
    file = {"content": entries(loaded)["results"][0]["content"]} if loaded else {"msg": "file not found"}
    standing = {"__nvidia_driver_loaded": file, "__nvidia_driver_nouveau": {"stat": {"exists": False}}}
    assert value(role(**{**standing, **given}), "__nvidia_driver_reboot_why") == why


def test_who_computes_is_known_by_the_device_that_it_holds() -> None:
    found = said("/proc/17/fd/9\n/proc/17/fd/10\n/proc/2301/fd/4\n")
    assert value(role(__nvidia_driver_computing=found), "__nvidia_driver_computing_processes") == ["17", "2301"]
