"""Each run is on record from its beginning, whoever ends it, and a record that is none is told by its file."""

import os
import subprocess
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.errors import FleetwardError
from fleetward.operations import provision_records
from fleetward.operations.playbook import PlaybookResult, PlaybookRun, TaskFailure
from fleetward.operations.provision_progress import HostProgress, HostState
from fleetward.operations.provision_records import (
    HostRecord,
    RecordError,
    Records,
    Revision,
    RunState,
    ended,
    revision_of,
)

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
HOSTS = (
    HostProgress("gpu001", HostState.DONE, "munge", "Write", 9, 2, 0, 12.34, 0),
    HostProgress("gpu002", HostState.FAILED, "munge", "Write", 3, 0, 1, 2, 0, "no space left"),
)
RESULT = PlaybookResult(2, failures=(TaskFailure("gpu002", "Write", "no space left"),), last_words="fatal: ...")


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records.of_user({"XDG_STATE_HOME": str(tmp_path / "state")})


@pytest.fixture
def wanted(tmp_path: Path) -> PlaybookRun:
    (tmp_path / "inventory").mkdir()
    return PlaybookRun(tmp_path / "inventory", limit="gpu001,head", tags="munge", check=True)


def test_a_run_is_on_record_while_it_is_under_way(records: Records, wanted: PlaybookRun) -> None:
    with records.begin(wanted, NOW) as started:
        read = records.read(started.number)
        assert read == started
        assert (read.name, read.state, read.began, read.ended) == ("p1", RunState.UNDER_WAY, NOW, None)
        assert (read.limit, read.tags, read.skip_tags, read.check) == ("gpu001,head", "munge", None, True)
        assert read.inventory == str(wanted.inventory)


def test_how_it_ended_is_kept_for_its_reader_alone(records: Records, wanted: PlaybookRun, tmp_path: Path) -> None:
    with records.begin(wanted, NOW) as started:
        records.end(ended(started, RunState.FAILED, RESULT, HOSTS))
    read = records.read(1)
    assert (read.state, read.failures, read.last_words) == (RunState.FAILED, RESULT.failures, "")
    assert read.hosts["gpu001"] == HostRecord(HostState.DONE, 9, 2, 0, 12.3)
    assert (read.changed_hosts, read.failed_hosts) == (1, 1)
    assert read.ended is not None
    folder = tmp_path / "state/fleetward/provision"
    assert [file.name for file in folder.iterdir()] == ["p1.json"]
    assert (folder.stat().st_mode & 0o777, (folder / "p1.json").stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_run_that_ended_well_keeps_nothing_that_failed_on_the_way(records: Records, wanted: PlaybookRun) -> None:
    with records.begin(wanted, NOW) as started:
        over = ended(started, RunState.DONE, RESULT, HOSTS[:1])
    assert (over.failures, over.last_words) == ((), "")


def test_where_no_task_failed_ansibles_last_words_are_kept(records: Records, wanted: PlaybookRun) -> None:
    with records.begin(wanted, NOW) as started:
        records.end(ended(started, RunState.FAILED, PlaybookResult(1, last_words="no such role"), ()))
    assert (records.read(1).failures, records.read(1).last_words) == ((), "no such role")


def test_a_run_that_was_killed_is_cut_off(records: Records, wanted: PlaybookRun) -> None:
    with records.begin(wanted, NOW):
        pass  # nothing says how it ended
    assert records.read(1).state is RunState.CUT_OFF


def test_numbers_go_on_and_the_newest_comes_first(records: Records, wanted: PlaybookRun) -> None:
    assert records.numbers() == ()
    for _ in range(11):
        with records.begin(wanted, NOW):
            pass
    assert records.numbers()[:3] == (11, 10, 9)


def test_two_that_begin_at_once_get_two_numbers(records: Records, wanted: PlaybookRun) -> None:
    together, numbers = threading.Barrier(8), []

    def begin() -> None:
        together.wait(20)
        with records.begin(wanted, NOW) as started:
            numbers.append(started.number)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 9))
    assert all(records.read(number).number == number for number in numbers)


def test_what_is_not_there_is_said_with_the_newest_that_is(records: Records, wanted: PlaybookRun) -> None:
    with pytest.raises(RecordError, match=r"there is no record p7 in .*; no run is recorded"):
        records.read(7)
    with records.begin(wanted, NOW):
        pass
    with pytest.raises(RecordError, match="the newest is p1"):
        records.read(7)


@given(st.binary(max_size=200) | st.sampled_from([b"{}", b"[]", b"null", b'{"number": "x"}', b"[" * 100_000]))
def test_a_file_that_is_no_record_is_told_by_its_name(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    folder = tmp_path_factory.mktemp("records")
    (folder / "p3.json").write_bytes(text)
    with pytest.raises(RecordError, match=r"p3\.json: is no record of a run"):
        Records(folder).read(3)


def test_where_nothing_can_be_recorded_nothing_is_run(wanted: PlaybookRun, tmp_path: Path) -> None:
    (tmp_path / "fleetward").write_text("in the way")
    records = Records.of_user({"XDG_STATE_HOME": str(tmp_path)})
    with pytest.raises(FleetwardError, match="nothing was touched"), records.begin(wanted, NOW):
        raise AssertionError("it began")


def test_who_ran_it_is_the_person_behind_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", "hopper")
    assert provision_records.who() == "hopper (as root)"
    monkeypatch.delenv("SUDO_USER")
    assert provision_records.who() == "root"


class TestRevision:
    @pytest.fixture
    def inventory(self, tmp_path: Path) -> Path:
        (tmp_path / "site").mkdir()
        (tmp_path / "site/hosts.yml").write_text("all: {}\n")
        (tmp_path / "other").write_text("x")
        self.git(tmp_path, "init", "-q")
        self.git(tmp_path, "add", ".")
        self.git(tmp_path, "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "x")
        return tmp_path / "site"

    @staticmethod
    def git(folder: Path, *words: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def test_it_is_the_commit_and_whether_the_inventory_is_as_in_it(self, inventory: Path) -> None:
        commit = self.git(inventory, "rev-parse", "HEAD")
        (inventory.parent / "other").write_text("changed, and no part of the inventory")
        assert revision_of(inventory) == revision_of(inventory / "hosts.yml") == Revision(commit, is_changed=False)
        (inventory / "new.yml").write_text("all: {}\n")
        assert revision_of(inventory) == Revision(commit, is_changed=True)
        assert str(Revision(commit, is_changed=True)) == commit[:10] + "+"

    def test_without_git_or_a_repository_there_is_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
        assert revision_of(tmp_path) is None
        monkeypatch.setenv("PATH", str(tmp_path))
        assert revision_of(tmp_path) is None

    def test_what_a_repositorys_configuration_names_is_not_run(self, inventory: Path) -> None:
        ran = inventory.parent / "ran"
        self.git(inventory, "config", "core.fsmonitor", f"touch {ran}")
        assert revision_of(inventory) is not None
        assert not ran.exists()


def test_a_record_is_read_as_it_was_written(records: Records, wanted: PlaybookRun) -> None:
    with records.begin(wanted, NOW) as started:
        over = ended(started, RunState.FAILED, RESULT, HOSTS)
        over = replace(over, revision=Revision("a" * 40, is_changed=True), last_words="ü\x00\n")
        records.end(over)
    assert records.read(1) == over
