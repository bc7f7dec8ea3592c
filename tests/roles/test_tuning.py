"""What the role tuning makes of its maps, what it refuses, and what its module and its program do and take back."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from hypothesis import given
from hypothesis import strategies as st

import fleetward
from fleetward.roles.tuning.library import tuning_settings
from fleetward.roles.tuning.library.tuning_settings import apply, read, remembered

# Jinja's, of the backslashes in Ansible's conditions
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")

init_plugin_loader()

ROLE = Path(fleetward.__file__).parent / "roles/tuning"


def load(file: str) -> Any:  # noqa: ANN401  a YAML file may hold anything
    return DataLoader().load_from_file(str(ROLE / file), trusted_as_template=True)


STANDING = {**load("defaults/main.yml"), **load("vars/main.yml")}
PREFLIGHT = load("tasks/preflight.yml")


def role(gpu: dict[str, Any] | None = None, **variables: object) -> Templar:
    """Return the role's variables on a host with these GPUs."""
    host = {
        "inventory_hostname": "gpu001",
        "ansible_managed": "made",
        "fleet_hardware_profile": "theirs",
        "fleet_hardware_profiles": {"theirs": {"gpu": gpu}},
    }
    return Templar(loader=DataLoader(), variables={**STANDING, **host, **variables})


def value(templar: Templar, expression: str) -> Any:  # noqa: ANN401  whatever the variable is
    return templar.template(trust_as_template(f"{{{{ {expression} }}}}"))


def rendered(templar: Templar, file: str) -> list[str]:
    """Return what a template of the role makes, without comments."""
    text = str(templar.template(trust_as_template((ROLE / "templates" / file).read_text())))
    return [line for line in text.splitlines() if line and line[0] != "#"]


def refusal(templar: Templar) -> tuple[str, str] | None:
    """Return name and message of the first task of the preflight that refuses."""
    for task in PREFLIGHT:
        assertion = task["ansible.builtin.assert"]
        if not templar.evaluate_conditional(assertion["that"]):
            return task["name"], templar.template(assertion["fail_msg"])
    return None


def test_the_defaults_are_usable_with_and_without_gpus() -> None:
    assert refusal(role()) is None
    assert refusal(role({"model": "h100", "power_limit_watts": 700})) is None


def test_the_power_limit_is_the_profiles() -> None:
    assert value(role({"model": "h100", "power_limit_watts": 700}), "tuning_gpus") == {"power_limit_watts": 700}
    assert value(role({"model": "h100", "power_limit_watts": None}), "tuning_gpus") == {}
    assert value(role(), "tuning_gpus") == {}


def test_the_running_kernel_is_held_to_what_the_files_have() -> None:
    made = role(
        tuning_kernel={"kernel.numa_balancing": 0},
        tuning_network={"net.core.rmem_max": 67108864},
        tuning_transparent_hugepages={"enabled": "always", "defrag": "madvise"},
        tuning_hugepages={"1048576kB": 8},
        tuning_disks={"sd*": {"scheduler": "mq-deadline"}, "nvme*": {"scheduler": "none", "read_ahead_kb": 512}},
    )
    assert value(made, "__tuning_settings") == {
        "/proc/sys/kernel/numa_balancing": "0",
        "/proc/sys/net/core/rmem_max": "67108864",
        "/sys/kernel/mm/transparent_hugepage/enabled": "always",
        "/sys/kernel/mm/transparent_hugepage/defrag": "madvise",
        "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "8",
        "/sys/devices/system/cpu/cpufreq/policy*/scaling_governor": "performance",
        "/sys/block/sd*/queue/scheduler": "mq-deadline",
        "/sys/block/nvme*/queue/scheduler": "none",
        "/sys/block/nvme*/queue/read_ahead_kb": "512",
    }
    assert rendered(made, "sysctl.conf.j2") == ["kernel.numa_balancing = 0", "net.core.rmem_max = 67108864"]
    assert rendered(made, "tmpfiles.conf.j2") == [
        "w /sys/kernel/mm/transparent_hugepage/enabled - - - - always",
        "w /sys/kernel/mm/transparent_hugepage/defrag - - - - madvise",
        "w /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages - - - - 8",
        "w /sys/devices/system/cpu/cpufreq/policy*/scaling_governor - - - - performance",
    ]
    rule = 'ACTION=="add|change", SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", '
    assert rendered(made, "disks.rules.j2") == [
        rule + 'KERNEL=="sd*", ATTR{queue/scheduler}="mq-deadline"',
        rule + 'KERNEL=="nvme*", ATTR{queue/scheduler}="none", ATTR{queue/read_ahead_kb}="512"',
    ]


def test_with_empty_maps_nothing_is_set() -> None:
    names = ("cpu", "kernel", "network", "transparent_hugepages", "hugepages", "disks", "gpus")
    made = role(**{f"tuning_{name}": {} for name in names})
    assert refusal(made) is None
    assert value(made, "__tuning_settings") == {}
    for file in ("sysctl.conf.j2", "tmpfiles.conf.j2", "disks.rules.j2", "gpu-tuning.conf.j2"):
        assert rendered(made, file) == []


@pytest.mark.parametrize(
    ("variables", "task", "said"),
    [
        ({"tuning_kernel": {"net.core.rmem_max": 1}}, "names", "net.core.rmem_max"),
        ({"tuning_network": {"kernel.numa_balancing": 0}}, "names", "kernel.numa_balancing"),
        ({"tuning_kernel": {"kernel/../x": 0}}, "names", "kernel/../x"),
        ({"tuning_cpu": {"../x": "y"}}, "names", "../x"),
        ({"tuning_hugepages": {"2M": 4}}, "names", "2M"),
        ({"tuning_disks": {'nvme"': {"scheduler": "none"}}}, "names", "nvme"),
        ({"tuning_disks": {"sda": {"../../x": "none"}}}, "names", "../../x"),
        ({"tuning_kernel": {"kernel.numa_balancing": False}}, "values", "false"),
        ({"tuning_kernel": {"kernel.core_pattern": "x\nkernel.y = 1"}}, "values", "kernel.y"),
        ({"tuning_cpu": {"scaling_governor": "performance -"}}, "values", "performance -"),
        ({"tuning_disks": {"sda": {"scheduler": 'none", RUN+="x'}}}, "values", "RUN"),
        ({"tuning_gpus": {"fan": 3}}, "GPUs", "fan"),
        ({"tuning_gpus": {"power_limit_watts": "700W"}}, "GPUs", "power_limit_watts"),
        ({"tuning_gpus": {"graphics_clocks_mhz": 1980}}, "GPUs", "graphics_clocks_mhz"),
        ({"tuning_gpus": {"memory_clocks_mhz": "1,2\nx=1"}}, "GPUs", "memory_clocks_mhz"),
        (
            {"gpu": {"power_limit_watts": 700}, "tuning_gpus": {"power_limit_watts": 701}},
            "A power limit must not be above the board's",
            "701 W, and the GPUs of its hardware profile take 700 W",
        ),
    ],
)
def test_what_cannot_be_set_is_refused_by_one_sentence(variables: dict[str, Any], task: str, said: str) -> None:
    found = refusal(role(**variables))
    assert found is not None
    assert task in found[0]
    assert said in found[1]
    assert "gpu001" in found[1]


# -- The module that holds the running kernel to the settings


def kernel(folder: Path, **files: str) -> Callable[[str], str]:
    """Write what a kernel has, and return what gives a file's path."""
    for name, text in files.items():
        (folder / name).write_text(text)
    return lambda name: str(folder / name)


def hold(settings: dict[str, str], before: dict[str, str]) -> tuple[dict[str, str], set[str], list[str]]:
    outcome = apply(settings, before, container=False, dry=False)
    return outcome.before, set(outcome.changed), outcome.left


words = st.text("abc123", min_size=1, max_size=4)
maps = st.dictionaries(st.sampled_from("uvwxyz"), words)


@given(first=st.fixed_dictionaries(dict.fromkeys("uvwxyz", words)), rounds=st.lists(maps, max_size=5))
def test_whatever_was_wanted_in_between_what_is_taken_out_is_what_it_was(
    tmp_path_factory: pytest.TempPathFactory, first: dict[str, str], rounds: list[dict[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("kernel")
    path = kernel(folder, **first)
    before: dict[str, str] = {}
    for wanted in rounds:
        before, _, left = hold({path(name): text for name, text in wanted.items()}, before)
        assert left == []
        assert {name: read(path(name)) for name in first} == {**first, **wanted}
    again = apply({path(name): text for name, text in (rounds or [{}])[-1].items()}, before, container=False, dry=False)
    assert again.changed == {}
    before, _, _ = hold({}, before)
    assert before == {}
    assert {name: read(path(name)) for name in first} == first


def test_a_dry_run_says_the_same_and_writes_nothing(tmp_path: Path) -> None:
    path = kernel(tmp_path, governor="schedutil\n", buffers="4096\t131072\t6291456\n")
    wanted = {path("governor"): "performance", path("buffers"): "4096 131072 6291456"}
    told = apply(wanted, {}, container=False, dry=True)
    assert told.changed == {path("governor"): ("schedutil", "performance")}
    assert (tmp_path / "governor").read_text() == "schedutil\n"
    assert apply(wanted, {}, container=False, dry=False).changed == told.changed


def test_of_several_words_the_one_in_brackets_holds(tmp_path: Path) -> None:
    path = kernel(tmp_path, enabled="always [madvise] never\n")
    assert apply({path("enabled"): "madvise"}, {}, container=False, dry=True).changed == {}
    assert apply({path("enabled"): "always"}, {}, container=False, dry=True).changed == {
        path("enabled"): ("madvise", "always")
    }


def test_a_pattern_stands_for_all_that_is_there_and_disks_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    path = kernel(tmp_path, nvme0="128\n", nvme1="256\n", sda="128\n")
    before, changed, _ = hold({path("nvme*"): "4096"}, {})
    assert changed == {path("nvme0"), path("nvme1")}
    assert read(path("sda")) == "128"
    (tmp_path / "nvme0").unlink()
    before, changed, _ = hold({}, before)
    assert (before, changed) == ({}, {path("nvme1")})
    assert read(path("nvme1")) == "256"


def test_what_the_kernel_does_not_have_or_take_is_said(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()  # as a file that cannot be read
    path = kernel(tmp_path)
    before, changed, left = hold({path("typo"): "1", path("folder"): "1"}, {})
    assert (before, changed) == ({}, set())
    assert left == [f"there is no {path('typo')}", f"{path('folder')} cannot be read: Is a directory"]


def test_a_value_that_the_kernel_does_not_keep_is_said_and_put_back_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kernel(tmp_path, nr_hugepages="0\n")
    write = Path.write_text

    def at_most_five(self: Path, data: str, **options: Any) -> int:  # noqa: ANN401
        return write(self, str(min(int(data), 5)), **options)

    monkeypatch.setattr(Path, "write_text", at_most_five)
    before, changed, left = hold({path("nr_hugepages"): "8"}, {})
    assert changed == {path("nr_hugepages")}
    assert left == [f"{path('nr_hugepages')} has 5 after 8 was written"]
    assert hold({path("nr_hugepages"): "8"}, before)[1] == set(), "it is not changed again and again"
    hold({}, before)
    assert read(path("nr_hugepages")) == "0"


def test_a_container_is_not_to_touch_its_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net").mkdir()
    path = kernel(tmp_path, numa_balancing="1\n")
    (tmp_path / "net/tcp_rmem").write_text("1 2 3\n")
    monkeypatch.setattr(tuning_settings, "_OWN_OF_CONTAINERS", f"{tmp_path}/net/")
    wanted = {path("numa_balancing"): "0", path("net/tcp_rmem"): "1 2 4"}
    outcome = apply(wanted, {}, container=True, dry=False)
    assert set(outcome.changed) == {path("net/tcp_rmem")}
    assert outcome.left == [f"{path('numa_balancing')} is the setting of the container's host"]
    assert read(path("numa_balancing")) == "1"


@pytest.mark.parametrize("text", ["", "[]", '{"/x": 1}', "{", "\x00"])
def test_a_record_that_is_none_is_not_taken_for_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "before.json").write_text(text)
    with pytest.raises(ValueError):
        remembered(tmp_path / "before.json")


# -- The program that sets GPUs

NVIDIA_SMI = """#!/bin/sh
echo "$*" >> "$PLAYED/asked"
case "$*" in
--query-gpu=*) printf '0, 700.00\\n1, 690.00\\n' ;;
esac
! grep -q -x -F -e "$*" "$PLAYED/refuses"
"""


class Gpus:
    """An nvidia-smi that is played, and the program that asks it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "refuses").touch()
        (folder / "nvidia-smi").write_text(NVIDIA_SMI)
        (folder / "nvidia-smi").chmod(0o755)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "PLAYED": str(self.folder),
            "RUNTIME_DIRECTORY": str(self.folder / "run"),
        }
        command = ["/bin/sh", str(ROLE / "files/gpu_tuning.sh"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def apply(self, text: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "settings").write_text(text)
        return self.run("apply", str(self.folder / "settings"))

    def asked(self) -> list[str]:
        file = self.folder / "asked"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines


@pytest.fixture
def gpus(tmp_path: Path) -> Gpus:
    return Gpus(tmp_path)


ALL = "# made\npower_limit_watts=600\ngraphics_clocks_mhz=1200,1980\nmemory_clocks_mhz=2619,2619\n"
SET = ["--power-limit=600", "--lock-gpu-clocks=1200,1980", "--lock-memory-clocks=2619,2619"]


def test_each_setting_is_one_question_to_nvidia_smi_and_all_are_taken_back(gpus: Gpus) -> None:
    assert gpus.apply(ALL).returncode == 0
    assert gpus.asked() == SET
    assert gpus.run("reset").returncode == 0
    assert gpus.asked() == [
        "--query-gpu=index,power.default_limit --format=csv,noheader,nounits",
        "--id=0 --power-limit=700.00",
        "--id=1 --power-limit=690.00",
        "--reset-gpu-clocks",
        "--reset-memory-clocks",
    ]
    assert gpus.run("reset").returncode == 0
    assert gpus.asked() == []


def test_what_was_not_set_is_not_taken_back(gpus: Gpus) -> None:
    gpus.apply("memory_clocks_mhz=2619,2619\n")
    gpus.asked()
    gpus.run("reset")
    assert gpus.asked() == ["--reset-memory-clocks"]


def test_a_refused_setting_is_told_and_the_others_are_tried(gpus: Gpus) -> None:
    (gpus.folder / "refuses").write_text(f"{SET[0]}\n")
    done = gpus.apply(ALL)
    assert done.returncode == 1
    assert "nvidia-smi refused power_limit_watts=600" in done.stderr
    assert gpus.asked() == SET


def test_a_setting_that_nobody_knows_is_told(gpus: Gpus) -> None:
    done = gpus.apply("fan_speed=100\n")
    assert done.returncode == 1
    assert "has fan_speed, which is no setting of GPUs" in done.stderr
    assert gpus.asked() == []
