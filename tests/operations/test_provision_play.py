"""A run through the real ansible-runner, over a local connection: told event by event, interrupted, leaving nothing."""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleetward.operations.playbook import PlaybookRun, TaskFailure
from fleetward.operations.provision_play import play
from fleetward.operations.provision_progress import HostState, PlayProgress
from fleetward.operations.provision_records import Records, RunState
from fleetward.operations.provision_run import Carried, Told, carry_out


@pytest.fixture
def wanted(tmp_path: Path) -> PlaybookRun:
    """Return a playbook that fails, hangs, or is rescued where its tags say so; one of its hosts is not there."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    gone = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_common_args": "-o BatchMode=yes"}
    hosts = {"gpu001": local, "gpu002": local, "gone": gone}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    first = {"ansible.builtin.fail": {"msg": "no space left"}, "when": "inventory_hostname == 'gpu002'"}
    tasks = [
        {"name": "Write", "ansible.builtin.copy": {"content": "x", "dest": f"{tmp_path}/{{{{ inventory_hostname }}}}"}},
        {"name": "Fail", **first, "tags": ["never", "failing"]},
        {"name": "Hang", "ansible.builtin.command": {"argv": ["sleep", "60"]}, "tags": ["never", "hanging"]},
        {
            "name": "Try",
            "block": [{"name": "Fail first", "ansible.builtin.fail": {"msg": "mended below"}}],
            "rescue": [{"name": "Mend", "ansible.builtin.debug": {"msg": "mended"}}],
            "tags": ["never", "rescued"],
        },
    ]
    play = {"name": "Play", "hosts": "all", "gather_facts": False, "tasks": tasks}
    (tmp_path / "played.yml").write_text(json.dumps([play]))
    return PlaybookRun(tmp_path / "hosts.json", str(tmp_path / "played"), limit="gpu001,gpu002", seconds=120)


def carried(wanted: PlaybookRun, tmp_path: Path, told: Told | None = None) -> Carried:
    return carry_out(wanted, PlayProgress(), Records(tmp_path / "records"), told or Told())


def test_each_task_is_told_and_what_became_of_it_is_on_record(wanted: PlaybookRun, tmp_path: Path) -> None:
    heard: list[str] = []
    over = carried(wanted, tmp_path, Told(heard.append))
    assert heard == ["Write"]
    assert (over.result.status, over.result.changed) == (0, {"gpu001": 1, "gpu002": 1})
    assert (over.record.state, over.record.changed_hosts) == (RunState.DONE, 2)
    assert Records(tmp_path / "records").read(1) == over.record


def test_a_task_that_fails_is_told_at_once_and_kept_with_its_words(wanted: PlaybookRun, tmp_path: Path) -> None:
    failed: list[TaskFailure] = []
    over = carried(replace(wanted, tags="all,failing"), tmp_path, Told(failure=failed.append))
    assert over.record.failures == tuple(failed) == (TaskFailure("gpu002", "Fail", "no space left"),)
    assert (over.record.state, over.result.status) == (RunState.FAILED, 2)
    assert {name: host.state for name, host in over.record.hosts.items()} == {"gpu001": "done", "gpu002": "failed"}


def test_what_was_rescued_ends_well(wanted: PlaybookRun, tmp_path: Path) -> None:
    over = carried(replace(wanted, tags="rescued"), tmp_path)
    assert (over.record.state, over.record.failures) == (RunState.DONE, ())


def test_a_host_that_is_not_there_is_unreachable(wanted: PlaybookRun, tmp_path: Path) -> None:
    over = carried(replace(wanted, limit="gone"), tmp_path)
    assert over.record.state is RunState.UNREACHABLE
    assert over.record.hosts["gone"].state is HostState.UNREACHABLE


def test_a_playbook_that_is_none_leaves_ansibles_last_words(wanted: PlaybookRun, tmp_path: Path) -> None:
    (tmp_path / "played.yml").write_text("- [")
    over = carried(wanted, tmp_path)
    assert (over.record.state, over.record.hosts, over.record.failures) == (RunState.FAILED, {}, ())
    assert "YAML" in over.record.last_words


def test_ctrl_c_ends_ansible_and_gives_the_signals_back(wanted: PlaybookRun, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    hanging = replace(wanted, limit="gpu001", tags="hanging")
    began = time.monotonic()
    over = carried(hanging, tmp_path, Told(lambda _: os.kill(os.getpid(), signal.SIGINT)))
    assert (over.record.state, over.record.hosts["gpu001"].state) == (RunState.INTERRUPTED, HostState.WORKING)
    assert signal.getsignal(signal.SIGINT) is before
    assert time.monotonic() - began < 50


def test_the_environment_is_in_no_file_and_nothing_stays(
    wanted: PlaybookRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    monkeypatch.setenv("SOMEBODYS_TOKEN", "kept-to-myself")
    seen: list[str] = []

    def see(event: Mapping[str, Any]) -> None:
        files = [file for file in (tmp_path / "scratch").rglob("*") if file.is_file()]
        seen.extend(file.name for file in files if "kept-to-myself" in file.read_text(errors="replace"))
        seen.append(str(event["event"]))

    assert play(wanted, see).status == 0
    assert "runner_on_ok" in seen
    assert not {"command", "envvars"} & set(seen)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_ansibles_output_is_appended_to_a_log(wanted: PlaybookRun, tmp_path: Path) -> None:
    play(replace(wanted, log=tmp_path / "log"), lambda _: None)
    assert "TASK [Write]" in (tmp_path / "log").read_text()


def test_what_no_log_hides_is_in_no_record(wanted: PlaybookRun, tmp_path: Path) -> None:
    leaking = {"ansible.builtin.fail": {"msg": "s3cret"}}  # which Ansible itself prints all the same
    play = {"hosts": "all", "gather_facts": False, "tasks": [{"name": "Leak", **leaking, "no_log": True}]}
    (tmp_path / "played.yml").write_text(json.dumps([play]))
    over = carried(replace(wanted, limit="gpu001"), tmp_path)
    assert over.record.failures == (TaskFailure("gpu001", "Leak", "what it said is hidden by no_log"),)
    assert [file.name for file in (tmp_path / "records").iterdir()] == ["p1.json"]
    assert "s3cret" not in (tmp_path / "records/p1.json").read_text()
