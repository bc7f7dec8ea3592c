"""Programs on a node through the real ansible-runner, over a local connection: at most once, and no shell."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetward.model.errors import ExitCode, UsageError
from fleetward.operations.node_runner import AnsibleNodeRunner, NodeOutOfReachError, NodeStepError, printable
from fleetward.runbooks.actions.node_run import NodeStep, NodeStepState


@pytest.fixture
def runner(tmp_path: Path) -> AnsibleNodeRunner:
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    nobody = {
        "ansible_host": "127.0.0.1",
        "ansible_port": 1,
        "ansible_ssh_common_args": "-o BatchMode=yes -o ControlPath=none",
    }
    inventory = tmp_path / "hosts.json"
    hosts = {"gpu001": local, "gpu002": local, "gone": nobody}
    groups = {"gpu_nodes": {"hosts": {"gpu001": {}, "gpu002": {}}}}
    inventory.write_text(json.dumps({"all": {"hosts": hosts, "children": groups}}))
    return AnsibleNodeRunner(inventory, folder=str(tmp_path / "steps"), wait=5)


def watcher(runner: AnsibleNodeRunner, marker: str) -> int:
    """Return the process that watches a program, once it has begun."""
    begun = Path(runner.folder) / marker / "begun"
    until = time.monotonic() + 20
    while not begun.exists():
        assert time.monotonic() < until
        time.sleep(0.1)
    return int(json.loads(begun.read_text())["watcher"])


def gone(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def eventually(holds: Callable[[], bool], limit: float = 20) -> None:
    until = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < until, f"did not come to hold within {limit} s"
        time.sleep(0.1)


def test_its_arguments_are_no_template_and_no_shell(runner: AnsibleNodeRunner, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    odd = ["printf", "%s\\n", "{{ 1 + 1 }}", f"$(touch {canary})", f"; touch {canary}", "a b", "ü", "'\""]
    found = runner.run("gpu001", odd, "m1", 20, 0)
    assert (found.state, found.exit, found.output.splitlines()) == (NodeStepState.ENDED, 0, odd[2:])
    assert not canary.exists()


def test_the_same_marker_runs_once_and_tells_the_same_again(runner: AnsibleNodeRunner, tmp_path: Path) -> None:
    count = tmp_path / "count"
    program = ["sh", "-c", f"echo run >> {count}; echo out; echo err >&2; exit 3"]
    assert runner.observe("gpu001", "m1").state is NodeStepState.ABSENT
    first = runner.run("gpu001", program, "m1", 20, 0)
    again = runner.run("gpu001", program, "m1", 20, 0)
    looked = runner.observe("gpu001", "m1")
    assert [(each.state, each.exit, each.output) for each in (first, again, looked)] == [
        (NodeStepState.ENDED, 3, "out\nerr\n")
    ] * 3
    assert count.read_text() == "run\n"


def test_two_at_once_with_the_same_marker_run_once(runner: AnsibleNodeRunner, tmp_path: Path) -> None:
    count = tmp_path / "count"
    program = ["sh", "-c", f"echo run >> {count}; sleep 1"]
    found: list[NodeStep] = []

    def run_it() -> None:
        found.append(runner.run("gpu001", program, "m1", 20, 0))

    threads = [threading.Thread(target=run_it) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.state for each in found] == [NodeStepState.ENDED] * 2
    assert count.read_text() == "run\n"


def test_a_program_outlives_whoever_began_it_and_is_found_again(runner: AnsibleNodeRunner, tmp_path: Path) -> None:
    """The caller goes away (here: its wait is over) while the program runs."""
    go = tmp_path / "go"
    program = ["sh", "-c", f"until [ -e {go} ]; do sleep 0.1; done; echo done"]
    impatient = AnsibleNodeRunner(runner.inventory, folder=runner.folder, wait=0)
    assert impatient.run("gpu001", program, "m1", 60, 0).state is NodeStepState.RUNNING
    assert impatient.observe("gpu001", "m1").state is NodeStepState.RUNNING
    go.touch()
    found = runner.run("gpu001", program, "m1", 60, 0)
    assert (found.state, found.output) == (NodeStepState.ENDED, "done\n")


def test_its_output_is_seen_while_it_runs_line_by_line(runner: AnsibleNodeRunner, tmp_path: Path) -> None:
    go = tmp_path / "go"
    program = ["sh", "-c", f"echo first; printf half; until [ -e {go} ]; do sleep 0.1; done; echo -line"]
    impatient = AnsibleNodeRunner(runner.inventory, folder=runner.folder, wait=2)
    seen = impatient.run("gpu001", program, "m1", 60, 0)
    assert (seen.state, seen.output) == (NodeStepState.RUNNING, "first\n")
    go.touch()
    found = runner.run("gpu001", program, "m1", 60, 0)
    assert (found.state, found.output) == (NodeStepState.ENDED, "first\nhalf-line\n")


def test_at_the_end_of_its_time_all_that_it_started_is_ended(runner: AnsibleNodeRunner, tmp_path: Path) -> None:
    child = tmp_path / "child"
    program = ["sh", "-c", f"trap '' TERM; sleep 300 & echo $! > {child}; echo begun; wait; sleep 300"]
    impatient = AnsibleNodeRunner(runner.inventory, folder=runner.folder, wait=0)
    impatient.run("gpu001", program, "m1", 1, 0)
    eventually((Path(runner.folder) / "m1" / "end").exists)
    found = runner.observe("gpu001", "m1")
    assert (found.state, found.timed_out, found.output) == (NodeStepState.ENDED, True, "begun\n")
    assert found.exit == 128 + signal.SIGKILL
    eventually(lambda: gone(int(child.read_text())))


def test_a_watcher_that_was_killed_is_told_and_the_program_is_not_run_again(
    runner: AnsibleNodeRunner, tmp_path: Path
) -> None:
    count, process = tmp_path / "count", tmp_path / "process"
    program = ["sh", "-c", f"echo $$ > {process}; echo run >> {count}; echo begun; exec sleep 300"]
    impatient = AnsibleNodeRunner(runner.inventory, folder=runner.folder, wait=0)
    impatient.run("gpu001", program, "m1", 300, 0)
    eventually((Path(runner.folder) / "m1" / "output").exists)
    os.kill(watcher(runner, "m1"), signal.SIGKILL)
    try:
        eventually(lambda: process.exists() and process.read_text().endswith("\n"))
        lost = runner.observe("gpu001", "m1")
        assert (lost.state, lost.output) == (NodeStepState.LOST, "begun\n")
        assert runner.run("gpu001", program, "m1", 300, 0).state is NodeStepState.LOST
        assert count.read_text() == "run\n"
    finally:
        os.kill(int(process.read_text()), signal.SIGKILL)


def test_a_service_that_it_leaves_behind_holds_nobody_up(runner: AnsibleNodeRunner, tmp_path: Path) -> None:
    process = tmp_path / "process"
    began = time.monotonic()
    found = runner.run("gpu001", ["sh", "-c", f"sleep 300 & echo $! > {process}; echo left"], "m1", 200, 0)
    left = int(process.read_text())
    try:
        assert (found.state, found.exit, found.output) == (NodeStepState.ENDED, 0, "left\n")
        assert time.monotonic() - began < 30
        assert not gone(left)
    finally:
        os.kill(left, signal.SIGKILL)


def test_a_node_that_came_up_too_recently_begins_nothing(runner: AnsibleNodeRunner, tmp_path: Path) -> None:
    found = runner.run("gpu001", ["touch", str(tmp_path / "canary")], "m1", 20, up_for=1e9)
    assert (found.state, found.up_for < 1e9) == (NodeStepState.ABSENT, True)
    assert not (tmp_path / "canary").exists()


def test_long_output_loses_its_middle_and_says_so(runner: AnsibleNodeRunner) -> None:
    found = runner.run("gpu001", ["sh", "-c", "echo first; yes | head -c 200000; echo last"], "m1", 20, 0)
    assert found.cut == 200000 + len("first\nlast\n") - 65536
    assert found.output.startswith("first\n")
    assert found.output.endswith("y\nlast\n")
    assert f"[{found.cut} bytes left out]" in found.output


@pytest.mark.parametrize(("argv", "status"), [(["no-such-program"], 127), (["/etc/passwd"], 126)])
def test_a_program_that_cannot_be_run_has_a_shells_status(
    runner: AnsibleNodeRunner, argv: list[str], status: int
) -> None:
    found = runner.run("gpu001", argv, "m1", 20, 0)
    assert (found.exit, argv[0] in found.output) == (status, True)


def test_a_node_that_does_not_answer_is_out_of_reach(runner: AnsibleNodeRunner) -> None:
    with pytest.raises(NodeOutOfReachError, match="gone does not answer") as caught:
        runner.observe("gone", "m1")
    assert caught.value.exit_code == ExitCode.OUT_OF_REACH


@pytest.mark.parametrize("node", ["gpu_nodes", "all", "nowhere", "gpu001,gpu002", "gpu00*", "-v", "!gpu001"])
def test_what_is_not_one_host_runs_nowhere(runner: AnsibleNodeRunner, tmp_path: Path, node: str) -> None:
    with pytest.raises(UsageError):
        runner.run(node, ["touch", str(tmp_path / "canary")], "m1", 20, 0)
    assert not (tmp_path / "canary").exists()


def test_a_marker_that_leads_out_of_its_folder_is_refused(runner: AnsibleNodeRunner) -> None:
    with pytest.raises(NodeStepError, match="no marker"):
        runner.run("gpu001", ["true"], "../m1", 20, 0)


def test_what_ended_long_ago_is_forgotten(runner: AnsibleNodeRunner) -> None:
    runner.run("gpu001", ["true"], "old", 20, 0)
    runner.run("gpu001", ["true"], "young", 20, 0)
    day_before = time.time() - 25 * 3600
    os.utime(Path(runner.folder) / "old" / "end", (day_before, day_before))
    assert runner.observe("gpu001", "young").state is NodeStepState.ENDED
    assert {path.name for path in Path(runner.folder).iterdir()} == {"young"}


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]52;c;ZWNobw==\x1b\\text", "text"),
        ("10%\r20%\r\n", "10%\n20%\n"),
        ("a\x00b\x08\x9bc\u202e", "a?b??c?"),
    ],
)
def test_output_is_made_printable(written: str, shown: str) -> None:
    assert printable(written) == shown
