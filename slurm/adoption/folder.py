"""An adopted inventory's folder: what is in it already, whether all would add up, and all of it written or nothing."""

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from fleetward.model.errors import ConflictError, FleetwardError, UsageError
from fleetward.model.fleet import Fleet
from fleetward.model.inventory import InventoryError, read_fleet
from fleetward.slurm.adoption.files import is_as_written

_HIDING = ("group_vars/all.yml", "group_vars/all.yaml", "group_vars/all.json")
"""Files that Ansible no longer reads once there is a folder `group_vars/all`."""


class Standing(StrEnum):
    """How a file of an inventory stands to what would be written."""

    ABSENT = "absent"
    SAME = "same"
    OUTDATED = "outdated"
    """As it was written once, and Slurm says something else now."""
    FOREIGN = "foreign"
    """Changed by hand, or never written by `adopt`."""


@dataclass(frozen=True, slots=True)
class Found:
    """One file as it is in the folder."""

    data: bytes | None
    """None where there is none."""
    text: str
    """Empty where it is not as `adopt` wrote it."""

    def standing(self, wanted: str) -> Standing:
        """Return how it stands to the text that would be written."""
        if self.data is None:
            return Standing.ABSENT
        if self.data == wanted.encode():
            return Standing.SAME
        return Standing.OUTDATED if self.text else Standing.FOREIGN


def look(folder: Path, names: Iterable[str]) -> dict[str, Found]:
    """Return what is under these names, paths below the folder.

    UsageError where an inventory cannot be written there, FleetwardError where what is there cannot be read.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: is no folder; name one for the inventory, or one that is not there yet")
        for hiding in _HIDING:
            if (folder / hiding).exists():
                raise UsageError(
                    f"{folder / hiding}: would no longer be read beside a folder of that name; move it into all/"
                )
        return {name: _found(folder, PurePosixPath(name)) for name in names}
    except OSError as error:
        raise FleetwardError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _found(folder: Path, name: PurePosixPath) -> Found:
    for above in reversed(name.parents[:-1]):
        if (folder / above).is_symlink() or ((folder / above).exists() and not (folder / above).is_dir()):
            raise UsageError(f"{folder / above}: is no folder of this inventory alone; put a folder in its place")
    file = folder / name
    if file.is_symlink() or file.is_dir():
        raise UsageError(f"{file}: is no file of this inventory alone; move it away")
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return Found(None, "")
    text = data.decode("utf-8", "replace")
    return Found(data, text if is_as_written(text) else "")


def checked(folder: Path, texts: Mapping[str, str]) -> Fleet:
    """Return the fleet that the folder would declare with these texts; InventoryError where it would not add up."""
    with tempfile.TemporaryDirectory(prefix="fleetward-adopt-") as scratch:
        copy = Path(scratch) / "inventory"
        try:
            _mirror(folder, copy, {PurePosixPath(name) for name in texts})
            for name, text in texts.items():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                (copy / name).write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise FleetwardError(f"{error.filename}: {error.strerror}; the inventory could not be checked") from error
        try:
            return read_fleet(copy)
        except InventoryError as error:
            problems = [problem.replace(str(copy), str(folder)) for problem in error.problems]
            raise InventoryError(folder, problems) from error


def _mirror(folder: Path, copy: Path, without: set[PurePosixPath]) -> None:
    """Link what is in a folder from another one; folders on the way to what is left out are made anew."""
    copy.mkdir()
    if not folder.is_dir():
        return
    ways = {path.parts[0] for path in without if len(path.parts) > 1}
    for entry in folder.iterdir():
        if entry.name in ways:
            below = {PurePosixPath(*path.parts[1:]) for path in without if path.parts[0] == entry.name}
            _mirror(entry, copy / entry.name, below)
        elif PurePosixPath(entry.name) not in without:
            (copy / entry.name).symlink_to(entry.absolute())


def write(folder: Path, texts: Mapping[str, str], found: Mapping[str, Found]) -> None:
    """Write texts below the folder, in this order: all of them or, where one cannot be written, none.

    ConflictError where a file is no longer what was found, FleetwardError where the folder cannot be written.
    """
    made: list[Path] = []
    replaced: list[str] = []
    try:
        for path in _missing_folders(folder, texts):
            path.mkdir()
            made.append(path)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".adopt-") as scratch:
            staged = [(name, _staged(text, folder / name, Path(scratch))) for name, text in texts.items()]
            for name, file in staged:
                if _found(folder, PurePosixPath(name)).data != found[name].data:
                    raise ConflictError(f"{folder / name}: somebody has changed it at this moment; look, and try again")
                file.replace(folder / name)
                replaced.append(name)
    except (OSError, FleetwardError) as error:
        left = _undo(folder, {name: found[name].data for name in replaced}, made)
        if isinstance(error, FleetwardError):
            raise
        where = error.filename2 or error.filename or folder
        what = f"{', '.join(left)} could not be put back" if left else "nothing was changed"
        raise FleetwardError(f"{where}: cannot be written: {error.strerror}; {what}") from error


def _missing_folders(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return the folders that are to be made, each before those in it."""
    needed = {path for name in names for path in (folder / name).parents}
    return sorted((path for path in needed if not path.exists()), key=lambda path: len(path.parts))


def _staged(text: str, target: Path, scratch: Path) -> Path:
    """Write a text beside its target, with the target's rights where it is there."""
    file = scratch / target.name
    file.write_text(text, encoding="utf-8", newline="\n")
    if target.exists():
        shutil.copymode(target, file)
    return file


def _undo(folder: Path, before: Mapping[str, bytes | None], made: Iterable[Path]) -> list[str]:
    """Put files back and remove folders that were made; return the names of files that could not be put back."""
    left = []
    for name, data in before.items():
        file = folder / name
        try:
            if data is None:
                file.unlink()
            else:
                file.write_bytes(data)
        except OSError:
            left.append(name)
    for path in reversed(list(made)):
        with suppress(OSError):  # somebody has put something there
            path.rmdir()
    return left
