"""What the checks find of a GPU that somebody said is repaired, on a node whose GPUs the stand-in plays."""

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fleetward.lab import fault_kinds
from fleetward.lab.fault_kinds import change_of
from fleetward.lab.scenario import Scenario
from fleetward.node.check_list import BY_ID
from fleetward.node.probes.kernel_log import read_kernel_log
from fleetward.node.profile import Profile
from fleetward.node.repaired import REPAIRED, repaired
from fleetward.node.results import Status
from fleetward.node.surroundings import Surroundings

if TYPE_CHECKING:
    from conftest import NodeFiles
    from played_nvml import PlayedNode

SECOND = 1_000_000
NOW = 90_000 * SECOND
"""Microseconds since the boot of the node of `node_files`."""
SAID = "run/fleetward/repaired.json"


@pytest.fixture
def broken(node_files: "NodeFiles") -> "NodeFiles":
    """Return a node whose kernel told of a memory fault of GPU 3 ten seconds ago."""
    tell(node_files, 3, 95, NOW - 10 * SECOND)
    return node_files


def tell(files: "NodeFiles", gpu: int, code: int, at: int) -> None:
    log = files.root / "dev/kmsg"
    line = change_of(fault_kinds.xid(gpu, code), Scenario(), at).kernel_log
    files.write("dev/kmsg", (log.read_text() if log.exists() else "") + line)


def say(played: "PlayedNode", files: "NodeFiles", *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleetward", "repaired", "--root", files.root, *options],
        env=played.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def found(files: "NodeFiles", check: str = "xid_memory") -> set[str]:
    """Return what a check finds wrong."""
    log = read_kernel_log(Surroundings(files.root))
    return {one.entity for one in BY_ID[check].findings(log, Profile()) if one.status is not Status.HEALTHY}


def test_the_log_from_before_is_history(played: "PlayedNode", broken: "NodeFiles") -> None:
    assert found(broken) == {"0000:61:00"}
    done = say(played, broken, "--gpu", "3", "--json")
    assert json.loads(done.stdout) == {"repaired": [{"gpu": 3, "pci_address": "0000:61:00"}]}
    assert (done.returncode, done.stderr) == (0, "")
    assert found(broken) == set()
    assert (broken.root / SAID).stat().st_mode & 0o777 == 0o644
    broken.write("proc/uptime", "90020.0 1.0")
    tell(broken, 3, 95, NOW + 5 * SECOND)
    assert found(broken) == {"0000:61:00"}, "it came again"
    assert say(played, broken, "--gpu", "3").returncode == 0
    assert found(broken) == set()


def test_another_gpu_is_not_repaired_with_it(played: "PlayedNode", broken: "NodeFiles") -> None:
    tell(broken, 2, 48, NOW - 5 * SECOND)
    done = say(played, broken, "--gpu", "3")
    assert done.stdout == "GPU 3: what the kernel's log tells of 0000:61:00 from before now is history\n"
    assert found(broken) == {"0000:52:00"}
    assert say(played, broken, "--all").returncode == 0
    assert found(broken) == set()


def test_what_came_again_and_again_is_found_all_the_same(played: "PlayedNode", broken: "NodeFiles") -> None:
    for second in range(5):
        tell(broken, 3, 95, NOW - second * SECOND - SECOND)
    assert say(played, broken, "--all").returncode == 0
    assert found(broken) == set()
    assert found(broken, "xid_fatal_repeated") == {"0000:61:00"}


def test_a_gpu_that_does_not_answer_is_not_repaired(played: "PlayedNode", broken: "NodeFiles") -> None:
    played.play(change_of(fault_kinds.xid(3, fault_kinds.OFF_THE_BUS), Scenario(), NOW).scenario.render())
    for options in (("--gpu", "3"), ("--gpu", "2", "--gpu", "3"), ("--all",), ("--gpu", "8")):
        done = say(played, broken, *options)
        assert done.returncode == 1
        assert f"GPU {8 if '8' in options else 3} does not answer" in done.stderr
        assert not (broken.root / SAID).exists()
    played.play(change_of(fault_kinds.driver_gone(), Scenario(), NOW).scenario.render())
    assert say(played, broken, "--all").returncode == 1
    assert say(played, broken).returncode == 2
    assert say(played, broken, "--all", "--gpu", "1").returncode == 2


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[" * 100_000,
        "[1]",
        '{"0000:61:00": "90000"}',
        '{"0000:61:00": true}',
        '{"0000:61:00": NaN}',
        '{"*": 1e999}',
        '{"*": 90001}',
        json.dumps({str(number): 1 for number in range(1001)} | {"*": 90_000}),
        "\0\xff",
    ],
)
def test_a_file_that_is_none_hides_no_fault(broken: "NodeFiles", content: str) -> None:
    """Nor does one from the future, as from before a boot."""
    broken.write(SAID, content)
    assert found(broken) == {"0000:61:00"}


def test_a_node_without_a_clock_of_the_kernel_shows_everything(broken: "NodeFiles") -> None:
    broken.write(SAID, '{"*": 90000}')
    assert repaired(Surroundings(broken.root)) == {"*": 0.5}
    (broken.root / "proc/uptime").unlink()
    assert repaired(Surroundings(broken.root)) == {}
    assert found(broken) == {"0000:61:00"}


def test_where_it_cannot_be_put_down_it_says_so(played: "PlayedNode", broken: "NodeFiles") -> None:
    (broken.root / SAID).mkdir(parents=True)
    done = say(played, broken, "--gpu", "3")
    assert done.returncode == 1
    assert str(REPAIRED) in done.stderr
    assert "root" in done.stderr
    assert found(broken) == {"0000:61:00"}
