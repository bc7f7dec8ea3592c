"""What the role cuda makes of its variables: packages, environment, and toolkits that driver or GPUs do not run."""

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import add_all_plugin_dirs, init_plugin_loader
from ansible.template import Templar, trust_as_template
from hypothesis import given
from hypothesis import strategies as st

import fleetward
from fleetward.model.compatibility_files import read_shipped
from fleetward.model.software import Version

# Jinja's, of the backslashes in Ansible's conditions
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")

init_plugin_loader()

ROLE = Path(fleetward.__file__).parent / "roles/cuda"
add_all_plugin_dirs(str(ROLE))


def read(file: str) -> Any:  # noqa: ANN401  a YAML file may hold anything
    return DataLoader().load_from_file(str(ROLE / file), trusted_as_template=True)


STANDING = {**read("defaults/main.yml"), **read("vars/main.yml")}
PREFLIGHT = read("tasks/preflight.yml")


def role(model: str = "h100", **given: object) -> Templar:
    """Return the role's variables on a host with driver 580 and two toolkits, unless others are given."""
    host = {
        "ansible_check_mode": False,
        "ansible_facts": {"distribution": "Debian"},
        "common_packages_pending": False,
        "inventory_hostname": "gpu001",
        "role_path": str(ROLE),
        "fleet_hardware_profile": "theirs",
        "fleet_hardware_profiles": {"theirs": {"gpu": {"model": model, "count": 8}}},
        "fleet_nvidia_driver": "580.95.05",
        "cuda_toolkits": {"12.8": "12.8.1", "13.0": "13.0.2"},
        "__cuda_loaded": {},
    }
    return Templar(loader=DataLoader(), variables={**STANDING, **host, **given})


def value(templar: Templar, expression: str) -> Any:  # noqa: ANN401  whatever the variable is
    return templar.template(trust_as_template(f"{{{{ {expression} }}}}"))


def refusal(templar: Templar) -> tuple[str, str] | None:
    """Return name and message of the first task of the preflight that refuses."""
    for task in PREFLIGHT:
        if "ansible.builtin.assert" not in task:
            continue
        made = Templar(loader=DataLoader(), variables={**templar.available_variables, **task.get("vars", {})})
        assertion = task["ansible.builtin.assert"]
        that = [assertion["that"]] if isinstance(assertion["that"], str) else assertion["that"]
        applies = "when" not in task or made.evaluate_conditional(task["when"])
        if applies and not all(made.evaluate_conditional(one) for one in that):
            return task["name"], " ".join(made.template(assertion["fail_msg"]).split())
    return None


def test_each_release_is_a_package_of_its_own_in_its_version() -> None:
    assert value(role(), "__cuda_pinned") == {"cuda-toolkit-12-8": "12.8.1", "cuda-toolkit-13-0": "13.0.2"}
    assert value(role(cuda_package="cuda-minimal-build"), "__cuda_pinned | list")[0] == "cuda-minimal-build-12-8"
    one = role(cuda_repository="distribution", cuda_toolkits={"12.4": "12.4.131"})
    assert value(one, "__cuda_pinned") == {"nvidia-cuda-toolkit": "12.4.131"}


@pytest.mark.parametrize(
    ("toolkits", "declared", "default"),
    [
        ({"12.8": "12.8.1", "13.0": "13.0.2"}, "", "13.0"),
        ({"12.8": "12.8.1", "13.0": "13.0.2"}, "12.8", "12.8"),
        ({"12.8": "12.8.1", "13.0": "13.0.2"}, "12.8.1", "13.0"),
        ({"12.9": "12.9.1", "12.10": "12.10.0"}, "", "12.10"),
    ],
)
def test_the_default_is_the_declared_one_or_the_newest(toolkits: dict[str, str], declared: str, default: str) -> None:
    assert value(role(cuda_toolkits=toolkits, fleet_cuda=declared), "cuda_default") == default


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cuda_toolkits": {}}, ["is {}", '{"12.8": "12.8.1"}']),
        ({"cuda_toolkits": {"12.8": "12.8.1-1"}}, ["not of its release is 12.8.1-1", "without the package's revision"]),
        ({"cuda_toolkits": {"12.8": "13.0.2"}}, ["not of its release is 13.0.2"]),
        ({"cuda_toolkits": {"12": "12.8.1"}}, ["give releases"]),
        ({"cuda_toolkits": {12.8: "12.8.1"}}, ["in quotes"]),
        ({"cuda_default": "11.8"}, ["cuda_default of gpu001 is 11.8", "12.8, 13.0"]),
        ({"cuda_repository": "distribution"}, ["Debian has one CUDA toolkit"]),
        ({"fleet_cuda": "12.4"}, ["fleet_cuda is 12.4, and none of cuda_toolkits is (12.8.1, 13.0.2)"]),
        ({"fleet_nvidia_driver": "570.195.03"}, ["13.0.2 needs", "580 or later", "but it is 570.195.03"]),
        ({"cuda_driver": "470.256.02"}, ["12.8.1 needs", "13.0.2 needs"]),
        ({"model": "v100"}, ["volta", "before 13", "rule cuda-maxwell-to-volta"]),
        ({"model": "b200", "cuda_toolkits": {"12.4": "12.4.1"}}, ["blackwell", "12.8 or later"]),
        ({"cuda_package": "cuda-toolkit=1"}, ["cuda-toolkit=1"]),
        ({"cuda_environment": ["login"]}, ["login"]),
        ({"cuda_repository_url": "http://mirror.site/cuda"}, ["cuda_repository_key: none"]),
    ],
)
def test_what_does_not_work_is_refused(given: dict[str, Any], words: list[str]) -> None:
    found = refusal(role(**given))
    assert found is not None
    for word in words:
        assert word in found[1]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"fleet_cuda": "13"},
        {"fleet_cuda": "12.8.1"},
        {"fleet_nvidia_driver": "", "model": ""},
        {"fleet_nvidia_driver": "525", "cuda_toolkits": {"12.8": "12.8.1"}},
        {"cuda_repository": "distribution", "cuda_toolkits": {"12.4": "12.4.131"}},
        {
            "fleet_nvidia_driver": "570",
            "fleet_compatibility": {"rules": {"cuda-13-driver": {"accepted": "cuda-compat is installed"}}},
        },
    ],
)
def test_what_works_is_not_refused(given: dict[str, Any]) -> None:
    assert refusal(role(**given)) is None


def test_a_rule_that_is_not_about_cuda_is_left_to_the_inventorys_checks() -> None:
    facts = {"fleet_nvidia_driver": "470", "cuda_toolkits": {"11.8": "11.8.0"}}
    assert value(role("h100", **facts), "__cuda_broken") == []


def test_a_site_rule_that_cannot_be_used_is_said_and_not_passed_over() -> None:
    with pytest.raises(AnsibleError, match="What goes with CUDA cannot be told"):
        value(role(fleet_compatibility={"rules": {"cuda-13-driver": {"wen": {}}}}), "__cuda_broken")


drivers = st.builds("{}.{}".format, st.integers(390, 700), st.integers(1, 300))
releases = st.builds("{}.{}.{}".format, st.integers(11, 13), st.integers(0, 9), st.integers(0, 2))


@given(driver=drivers, release=releases)
def test_a_toolkit_is_refused_exactly_where_the_inventorys_own_rule_has_an_older_driver(
    driver: str, release: str
) -> None:
    major = release.partition(".")[0]
    rule = next(one for one in read_shipped().rules if one.id == f"cuda-{major}-driver")
    runs = rule.needs["nvidia_driver"].holds(Version.parse(driver), {})
    made = role(fleet_nvidia_driver=driver, model="", cuda_toolkits={release.rpartition(".")[0]: release})
    assert (value(made, "__cuda_broken") == []) == bool(runs)


QUERIED = {
    "stdout": "install installed cuda-toolkit-12-8 12.8.1-1\n"
    "install installed cuda-nvcc-12-8 12.8.93-1\n"
    "install installed libcublas-dev-12-8 12.8.4.1-1\n"
    "install installed cuda-nvcc-12-80 1\n"
    "hold installed libnpp-12-8 12.3.3.100-1\n"
    "install installed linux-image-12-8 1\n"
    "install config-files cuda-cudart-12-8 12.8.90-1\n"
    "install installed tar 1.35\n"
}


def test_all_parts_of_a_toolkit_are_held_and_nothing_else() -> None:
    made = role(__cuda_queried_again=QUERIED)
    assert value(made, "__cuda_to_hold") == ["cuda-nvcc-12-8", "cuda-toolkit-12-8", "libcublas-dev-12-8"]


def test_a_modulefile_names_the_toolkits_own_folders() -> None:
    made = role(item="13.0")
    text = str(made.template(trust_as_template((ROLE / "templates/modulefile.j2").read_text())))
    assert text.startswith("#%Module1.0\n"), "else it is no modulefile"
    assert "setenv CUDA_HOME /usr/local/cuda-13.0" in text.splitlines()
    assert "prepend-path PATH /usr/local/cuda-13.0/bin" in text.splitlines()


@pytest.mark.parametrize(
    ("said", "is_it"),
    [
        ({"stdout": "Cuda compilation tools, release 12.8, V12.8.93"}, True),
        ({"stdout": "Cuda compilation tools, release 12.8"}, True),
        ({"stdout": "Cuda compilation tools, release 12.80, V12.80.1"}, False),
        ({"stdout": "Cuda compilation tools, release 11.8, V11.8.89"}, False),
        ({"msg": "[Errno 2] No such file or directory"}, False),
    ],
)
def test_a_compiler_is_of_the_release_that_it_lies_under_or_it_is_refused(said: dict[str, str], is_it: bool) -> None:
    assertion = read("tasks/run.yml")[1]["ansible.builtin.assert"]
    one = {"item": {"key": "12.8", "value": "/usr/local/cuda-12.8"}, **said}
    made = role(item=one)
    assert made.evaluate_conditional(assertion["that"]) is is_it
    assert "cuda_package" in made.template(assertion["fail_msg"])
