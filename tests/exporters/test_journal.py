"""A journal that is cut off, damaged or had by another: what was appended is there, all of it or nothing."""

from pathlib import Path

import pytest

from fleetward.exporters.events.journal import FILE, Journal
from fleetward.model.errors import FleetwardError


def reopened(folder: Path) -> tuple[list[object], bool]:
    journal = Journal(folder)
    entries, broken = journal.read()
    journal.close()
    return list(entries), broken


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    journal = Journal(tmp_path / "state")
    journal.rewrite([{"kind": "state"}])
    journal.append([{"at": 1}, {"at": 2}])
    journal.append([{"at": 3, "line": "ünï\ncode"}])
    journal.close()
    return tmp_path / "state"


def test_what_was_appended_is_read_in_order(folder: Path) -> None:
    assert reopened(folder) == ([{"kind": "state"}, {"at": 1}, {"at": 2}, {"at": 3, "line": "ünï\ncode"}], False)
    assert (folder / FILE).stat().st_mode & 0o777 == 0o600


def test_wherever_the_end_is_cut_off_what_was_appended_together_is_there_together(folder: Path) -> None:
    content = (folder / FILE).read_bytes()
    found = set()
    for length in range(len(content)):
        (folder / FILE).write_bytes(content[:length])
        entries, broken = reopened(folder)
        assert not broken
        found.add(len(entries))
    assert found == {0, 1, 3}


def test_damage_in_the_middle_is_told_and_what_stands_before_it_used(folder: Path) -> None:
    content = (folder / FILE).read_bytes()
    at = content.index(b'"at":2')
    (folder / FILE).write_bytes(content[:at] + b"?" + content[at + 1 :])
    assert reopened(folder) == ([{"kind": "state"}], True)
    (folder / FILE).write_bytes(b"\xff\x00 nothing of ours\n")
    assert reopened(folder) == ([], True)


def test_two_programs_do_not_share_a_folder(folder: Path) -> None:
    journal = Journal(folder)
    with pytest.raises(FleetwardError, match="another exporter keeps its state there"):
        Journal(folder)
    journal.close()
    Journal(folder).close()


def test_a_folder_that_is_none_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        Journal(tmp_path / "file" / "state")


def test_before_it_is_rewritten_nothing_is_appended_behind_an_end_that_may_be_cut_off(folder: Path) -> None:
    journal = Journal(folder)
    with pytest.raises(OSError, match="rewritten first"):
        journal.append([{"at": 4}])
    journal.rewrite([{"kind": "state"}])
    journal.append([{"at": 4}])
    journal.close()
    assert reopened(folder) == ([{"kind": "state"}, {"at": 4}], False)


def test_what_cannot_be_written_anew_leaves_what_is_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    journal = Journal(folder)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as patch:
        patch.setattr("fleetward.exporters.events.journal.os.fdatasync", full)
        with pytest.raises(OSError, match="No space"):
            journal.rewrite([])
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert len(journal.read()[0]) == 4
    journal.rewrite([{"kind": "state"}])
    journal.rewrite([{"kind": "state"}])
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 1
    journal.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before - 1


def test_the_folder_is_on_disk_with_the_journals_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[str] = []

    def fsync(file: int) -> None:
        settled.append(str(Path(f"/proc/self/fd/{file}").readlink()))

    monkeypatch.setattr("fleetward.exporters.events.journal.os.fsync", fsync)
    journal = Journal(folder)
    journal.rewrite([])
    journal.close()
    assert settled == [str(folder)]


def test_a_folder_is_made_with_those_above_it_for_nobody_else(tmp_path: Path) -> None:
    Journal(tmp_path / "a" / "b").close()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
