"""Folders that an inventory is adopted into: new, adopted before, changed by hand, somebody else's."""

import errno
import shutil
from pathlib import Path

import pytest

import fleetward
from fleetward.model.errors import ConflictError, FleetwardError, UsageError
from fleetward.model.inventory import InventoryError, read_fleet
from fleetward.slurm.adoption.adopting import adopt
from fleetward.slurm.adoption.files import HARDWARE_FILE, HOSTS_FILE, SLURM_FILE, inventory_files
from fleetward.slurm.adoption.folder import Standing, checked, look, write
from fleetward.slurm.answers import Node

LAB = Path(fleetward.__file__).parent / "inventories/lab"
NAMES = (HARDWARE_FILE, SLURM_FILE, HOSTS_FILE)


def files(*names: str) -> dict[str, str]:
    nodes = [Node(name, "IDLE", (), (), {"h100": 8}, {}, 64, 0, 515_000, 0) for name in names]
    return inventory_files("theirs", adopt(nodes, []))


BEFORE, AFTER = files("gpu1"), files("gpu1", "gpu2")


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def adopted(tmp_path: Path) -> Path:
    folder = tmp_path / "theirs"
    write(folder, BEFORE, look(folder, NAMES))
    return folder


def test_a_new_folder_gets_every_file(adopted: Path) -> None:
    assert texts(adopted) == BEFORE
    assert [entry.name for entry in adopted.parent.iterdir()] == ["theirs"]


def test_a_file_is_absent_the_same_outdated_or_not_as_it_was_written(adopted: Path) -> None:
    (adopted / SLURM_FILE).unlink()
    with (adopted / HARDWARE_FILE).open("a") as file:
        file.write("# mine\n")
    found = look(adopted, NAMES)
    assert {name: found[name].standing(AFTER[name]) for name in NAMES} == {
        HARDWARE_FILE: Standing.FOREIGN,
        SLURM_FILE: Standing.ABSENT,
        HOSTS_FILE: Standing.OUTDATED,
    }
    assert found[HOSTS_FILE].standing(BEFORE[HOSTS_FILE]) is Standing.SAME
    assert (found[HARDWARE_FILE].text, found[HOSTS_FILE].text) == ("", BEFORE[HOSTS_FILE])


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b"all:\n", BEFORE[HOSTS_FILE].replace("\n", "\r\n").encode()])
def test_what_somebody_else_wrote_is_foreign(adopted: Path, data: bytes) -> None:
    (adopted / HOSTS_FILE).write_bytes(data)
    assert look(adopted, NAMES)[HOSTS_FILE].standing(BEFORE[HOSTS_FILE]) is Standing.FOREIGN


def test_the_whole_is_checked_with_what_is_there_already(adopted: Path) -> None:
    (adopted / "watch.yml").write_text("prometheus: {hosts: {watch: {}}}\n")
    fleet = checked(adopted, {HOSTS_FILE: AFTER[HOSTS_FILE]})
    assert set(fleet.nodes) == {"gpu1", "gpu2", "watch"}
    assert texts(adopted) == {**BEFORE, "watch.yml": "prometheus: {hosts: {watch: {}}}\n"}


def test_what_would_not_add_up_is_refused_by_the_names_of_its_own_files(adopted: Path) -> None:
    (adopted / "own.yml").write_text("slurm_node: {hosts: {gpu1: {}}}\n")
    (adopted / "group_vars/all/own.yml").write_text("fleet_cluster: [\n")
    with pytest.raises(InventoryError) as refused:
        checked(adopted, AFTER)
    assert refused.value.problems[0].startswith(f"{adopted}/group_vars/all/own.yml:")
    (adopted / "group_vars/all/own.yml").unlink()
    with pytest.raises(InventoryError, match="gpu1: in slurm_node, but others configure"):
        checked(adopted, AFTER)


def test_a_folder_that_is_not_there_is_checked_too(tmp_path: Path) -> None:
    assert set(checked(tmp_path / "none", AFTER).nodes) == {"gpu1", "gpu2"}
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_rewritten_keep_their_rights_and_others_their_place(adopted: Path) -> None:
    (adopted / HOSTS_FILE).chmod(0o640)
    (adopted / "host_vars").mkdir()
    (adopted / "host_vars/gpu1.yml").write_text("fleet_rack: r1\n")
    write(adopted, AFTER, look(adopted, NAMES))
    assert (adopted / HOSTS_FILE).stat().st_mode & 0o777 == 0o640
    assert texts(adopted) == {**AFTER, "host_vars/gpu1.yml": "fleet_rack: r1\n"}
    assert read_fleet(adopted).nodes["gpu1"].rack == "r1"


@pytest.mark.parametrize("fails_at", [1, 2, 3])
@pytest.mark.parametrize("new", [True, False], ids=["new", "adopted before"])
def test_where_one_file_cannot_be_put_in_place_nothing_changes(
    fails_at: int, new: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "deep/theirs"
    if not new:
        write(folder, BEFORE, look(folder, NAMES))
    found, before = look(folder, NAMES), texts(tmp_path)
    changed = {name: f"{AFTER[name]}# more\n" for name in NAMES}
    replace, calls = Path.replace, []

    def replace_some(path: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", replace_some)
    with pytest.raises(FleetwardError, match="cannot be written: No space left on device; nothing was changed"):
        write(folder, changed, found)
    assert len(calls) == fails_at
    assert texts(tmp_path) == before
    assert (tmp_path / "deep").exists() is not new
    assert not new or list(tmp_path.iterdir()) == []


def test_what_cannot_be_put_back_is_named(adopted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, replace = look(adopted, NAMES), Path.replace

    def replace_all_but_the_hosts(path: Path, target: Path) -> Path:
        if target.name == HOSTS_FILE:
            raise OSError(errno.EIO, "Input/output error", str(target))
        return replace(path, target)

    def fail(path: Path, data: bytes) -> int:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(Path, "replace", replace_all_but_the_hosts)
    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(FleetwardError, match=rf"error; {HARDWARE_FILE}, {SLURM_FILE} could not be put back$"):
        write(adopted, AFTER, found)
    assert (adopted / HOSTS_FILE).read_text() == BEFORE[HOSTS_FILE]


def test_a_file_that_changes_while_it_is_written_is_let_alone(adopted: Path) -> None:
    found = look(adopted, NAMES)
    (adopted / HOSTS_FILE).write_text("all: {hosts: {mine: {}}}\n")
    with pytest.raises(ConflictError, match=r"hosts.yml: somebody has changed it at this moment"):
        write(adopted, AFTER, found)
    assert texts(adopted) == {**BEFORE, HOSTS_FILE: "all: {hosts: {mine: {}}}\n"}


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is no folder; name one for the inventory"):
        look(tmp_path / "file", NAMES)
    with pytest.raises(FleetwardError, match="cannot be read: Not a directory"):
        look(tmp_path / "file/theirs", NAMES)


def test_a_folder_that_cannot_be_made_is_an_error_that_says_so() -> None:
    folder = Path("/proc/theirs")  # where root cannot write either
    with pytest.raises(FleetwardError, match=r"^/proc/theirs: cannot be written: .*; nothing was changed$"):
        write(folder, AFTER, look(folder, NAMES))


@pytest.mark.parametrize("name", ["group_vars/all.yml", "group_vars/all.yaml", "group_vars/all.json"])
def test_variables_that_a_folder_would_hide_are_not_hidden(tmp_path: Path, name: str) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / name).write_text("common_timezone: Etc/UTC\n")
    with pytest.raises(UsageError, match="would no longer be read beside a folder of that name"):
        look(tmp_path, NAMES)


@pytest.mark.parametrize("link", ["group_vars", "group_vars/all", HOSTS_FILE, HARDWARE_FILE])
def test_nothing_is_written_through_a_link_into_another_inventory(tmp_path: Path, link: str) -> None:
    shutil.copytree(LAB, tmp_path / "lab")
    place = tmp_path / "theirs" / link
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "lab" / link)
    with pytest.raises(UsageError, match="of this inventory alone"):
        look(tmp_path / "theirs", NAMES)


@pytest.mark.parametrize("name", [HOSTS_FILE, "group_vars", "group_vars/all"])
def test_a_folder_for_a_file_and_a_file_for_a_folder_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    if name == HOSTS_FILE:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match="of this inventory alone"):
        look(tmp_path, NAMES)
