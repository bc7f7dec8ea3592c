"""The job map as its writers keep it: below `.parts/GPU/` a file for each job on a GPU, with its line.

What is done here is what `slurm/job_map/epilog.sh` does, and may be done at the same time as any number of prologs and
epilogs: a GPU's file is put together from the lines again and again until it says what they say.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fleetward.exporters.gpu.job_map import MOST_FILES, content_of, device_of

PARTS = ".parts"
MOST_JOBS = 256
"""Of one GPU, and of one look."""
TURNS = 50

_JOB = re.compile(r"[0-9]{1,10}", re.ASCII)
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", re.ASCII)
_NODE_WORD = b"node="

Version = tuple[int, int, int]
"""What is different once a line was written anew, also under the same name."""


@dataclass(frozen=True)
class Part:
    """The line of one job on one GPU."""

    gpu: str
    """As its file is called."""
    job: str
    node: str
    """This node, as Slurm calls it; empty where the line does not say."""
    written_at: float
    """Unix time."""
    version: Version


def read_parts(folder: Path) -> tuple[Part, ...]:
    """Return all lines, by GPU and job; what is no line of a writer's is passed over. Raises OSError."""
    if (folder / PARTS).is_symlink():
        raise NotADirectoryError(f"{folder / PARTS} is a link")
    return tuple(part for gpu in gpus_of(folder) for name in _names(folder, gpu) if (part := _part(folder, gpu, name)))


def gpus_of(folder: Path) -> list[str]:
    """Return the GPUs that a writer has ever written down; raises OSError."""
    try:
        with os.scandir(folder / PARTS) as entries:
            found = [one.name for one in entries if device_of(one.name) and one.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []  # no job has run since the node was started
    return sorted(found)[:MOST_FILES]


def take_out(folder: Path, part: Part) -> bool:
    """Take a line out of the map, unless somebody has done so or has written it anew meanwhile; raises OSError."""
    line = folder / PARTS / part.gpu / part.job
    aside = line.with_name(f".over.{part.job}.{os.getpid()}")
    try:
        line.rename(aside)
    except FileNotFoundError:
        return False
    is_that_one = _version(aside.lstat()) == part.version
    if not is_that_one:
        with contextlib.suppress(FileExistsError):  # one that is newer still
            os.link(aside, line, follow_symlinks=False)
    aside.unlink()
    put_together(folder, part.gpu)
    return is_that_one


def mend(folder: Path) -> tuple[str, ...]:
    """Put the files together that do not say what their lines say, as after a writer that was killed half way.

    Returns which GPUs these were; raises OSError.
    """
    wrong = tuple(gpu for gpu in gpus_of(folder) if _file(folder, gpu) != _lines(folder, gpu))
    for gpu in wrong:
        put_together(folder, gpu)
    return wrong


def put_together(folder: Path, gpu: str) -> None:
    """Have a GPU's file say what its lines say; raises OSError."""
    for _ in range(TURNS):
        lines = _lines(folder, gpu)
        if lines:
            _write(folder, gpu, lines)
        else:
            (folder / gpu).unlink(missing_ok=True)
        if _lines(folder, gpu) == lines:
            return


def _names(folder: Path, gpu: str) -> list[str]:
    with os.scandir(folder / PARTS / gpu) as entries:
        return sorted(one.name for one in entries if one.name[:1].isdigit())[:MOST_JOBS]


def _part(folder: Path, gpu: str, name: str) -> Part | None:
    path = folder / PARTS / gpu / name
    content = _content(path)
    if not _JOB.fullmatch(name) or content is None:
        return None
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    words = [word for word in content.strip(b"\n").split(b"\t") if word.startswith(_NODE_WORD)]
    node = words[0].removeprefix(_NODE_WORD).decode("ascii", "replace") if words else ""
    return Part(gpu, name, node if _NODE.fullmatch(node) else "", found.st_mtime, _version(found))


def _version(found: os.stat_result) -> Version:
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _lines(folder: Path, gpu: str) -> bytes:
    return b"".join(_whole(folder, gpu))


def _whole(folder: Path, gpu: str) -> Iterator[bytes]:
    for name in _names(folder, gpu):
        content = _content(folder / PARTS / gpu / name)
        if content:
            yield content if content.endswith(b"\n") else content + b"\n"


def _file(folder: Path, gpu: str) -> bytes:
    return _content(folder / gpu) or b""


def _content(path: Path) -> bytes | None:
    """Return nothing for what is not there, no plain file, or too large to be a line."""
    try:
        return content_of(path)
    except OSError:
        return None


def _write(folder: Path, gpu: str, lines: bytes) -> None:
    new = folder / f".new.{gpu}.{os.getpid()}"
    try:
        with new.open("wb") as file:
            file.write(lines)
            os.fchmod(file.fileno(), 0o644)
        new.replace(folder / gpu)
    except OSError:
        new.unlink(missing_ok=True)
        raise
