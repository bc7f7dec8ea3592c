r"""Whose job each GPU works for, read from a folder that Slurm's prolog and epilog keep.

The folder has one file for each GPU that a job holds. Its name is Slurm's number of the GPU, such as `3`, the number
and a MIG instance, such as `3.1`, or a MIG instance's UUID; `job_gpus.py` knows which GPU that is. Each line is one
job: its id, and behind it, if anything is known, words of the form `key=value`, each with a tab before it. The keys
are `user`, `account`, `partition`, `array_task`, `attempt`, `sluid`, `uid` and `gpu_uuid`; others are passed over.
Lines end with a newline, text is UTF-8:

    4711\tuser=ada\taccount=physics\tpartition=gpu\tattempt=0

A folder as dcgm-exporter reads it, with ids alone, is read too. Files are put in place by rename. Names that begin with
a point belong to whoever writes the folder. What is wrong is left out and counted once for each version of a file: a
line without its newline may be half written, and a wrong job is worse than none.
"""

import os
import re
import stat
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fleetward.exporters.gpu.job_gpus import SlurmDevice, SlurmGpus
from fleetward.exporters.gpu.readings import GpuJob, GpuReading
from fleetward.model.node_settings import GpuNumbers

JOB_MAP = Path("/run/fleetward/jobs")
MOST_FILES = 512
"""Whole GPUs and MIG instances of one node are fewer."""
MOST_BYTES = 16 * 1024
MOST_JOBS = 32
"""Of one file: as many as may share a GPU."""
MOST_LETTERS = 128
"""Of one label."""

_NAME = re.compile(r"(?P<number>0|[1-9]\d{0,3})(?:\.(?P<instance>0|[1-9]\d{0,3}))?|(?P<mig>MIG-[\w-]{1,64})", re.ASCII)
_JOB = re.compile(r"[\w.+:\[\]-]{1,64}", re.ASCII)
_WORDS = ("user", "account", "partition", "array_task", "attempt", "sluid", "uid")
"""In the order of GpuJob."""
_GPU_UUID = "gpu_uuid"

Signature = tuple[int, ...]
"""What is different after a file was changed."""


@dataclass(frozen=True)
class MapLine:
    """One line of a file: a job, and what Slurm gave it."""

    device: SlurmDevice
    job: GpuJob
    """Its index is not known yet, and -1."""


@dataclass
class _File:
    signature: Signature
    lines: tuple[MapLine, ...]
    errors: int
    stranger_counted: bool = False
    """Whether it was counted that it is of a GPU that is not there."""


class JobMap:
    """Reads the folder again at each look; a file that has not changed is only asked for its times."""

    def __init__(self, folder: Path, numbers: GpuNumbers = GpuNumbers.MINOR) -> None:
        """Read nothing yet; the folder need not be there."""
        self._folder = folder
        self._numbers = numbers
        self._files: dict[str, _File] = {}
        self._errors = 0
        self._too_many: Signature = ()
        self._lock = threading.Lock()
        self.whole = False
        """Whether the folder was there at the last look with nothing wrong in it, so that a job which it lacks has no
        GPU."""

    def look(self, gpus: Sequence[GpuReading]) -> tuple[tuple[GpuJob, ...], int]:
        """Return the jobs of these GPUs, by index, and how much was wrong so far; several threads may ask at once.

        Where no GPU is known yet, none is a stranger.
        """
        there = SlurmGpus(gpus, self._numbers)
        with self._lock:
            whole = self._look()
            jobs: list[GpuJob] = []
            for file in self._files.values():
                found = [job for line in file.lines if (job := _of_gpu(line, there)) is not None]
                if gpus and len(found) < len(file.lines):
                    whole = False
                    self._errors += not file.stranger_counted
                    file.stranger_counted = True
                jobs += found
            self.whole = whole
            return tuple(sorted(jobs, key=_order)), self._errors

    def lines(self) -> tuple[tuple[MapLine, ...], int]:
        """Return all lines, whether their GPUs are there or not, and how much was wrong so far."""
        with self._lock:
            self._look()
            return tuple(line for _, file in sorted(self._files.items()) for line in file.lines), self._errors

    def _look(self) -> bool:
        """Read what has changed, and return whether all is there and right."""
        signatures = self._signatures()
        for name in self._files.keys() - (signatures or {}).keys():
            del self._files[name]
        for name, signature in (signatures or {}).items():
            known = self._files.get(name)
            if signature and (known is None or known.signature != signature):
                lines, errors = _read(self._folder / name)
                self._files[name] = _File(signature, lines, errors)
                self._errors += errors
        if signatures is None or len(signatures) == MOST_FILES:
            return False
        return not any(one.errors for one in self._files.values())

    def _signatures(self) -> dict[str, Signature] | None:
        """Return at most MOST_FILES files by their names; None where there is no folder."""
        found: dict[str, Signature] = {}
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if len(found) == MOST_FILES:
                        self._count_too_many()
                        break
                    found[entry.name] = _signature(entry)
        except FileNotFoundError:
            return None  # no job has run since the node was started
        except OSError:
            self._errors += 1
            return None
        return found

    def _count_too_many(self) -> None:
        signature = _signature(self._folder)
        if signature != self._too_many:
            self._too_many = signature
            self._errors += 1


def _signature(file: os.DirEntry[str] | Path) -> Signature:
    """Return nothing where it has gone."""
    try:
        found = file.stat(follow_symlinks=False)
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def _of_gpu(line: MapLine, gpus: SlurmGpus) -> GpuJob | None:
    found = gpus.find(line.device)
    if found is None:
        return None
    identity, instance = found
    return replace(line.job, index=identity.index, uuid=identity.uuid, instance=instance)


def _read(path: Path) -> tuple[tuple[MapLine, ...], int]:
    """Return a file's lines, and how much in it is wrong."""
    device = device_of(path.name)
    if device is None:
        return (), 1
    try:
        content = content_of(path)
    except FileNotFoundError:
        return (), 0  # the job has just ended
    except OSError:
        return (), 1
    if content is None:
        return (), 1
    *lines, half = content.split(b"\n")
    found: dict[str, MapLine] = {}
    errors = int(half != b"") + int(len(lines) > MOST_JOBS)
    for text in lines[:MOST_JOBS]:
        line, wrong = parse_line(text, device)
        errors += wrong
        if line is not None:
            found[line.job.job] = line
    return tuple(found.values()), errors


def device_of(name: str) -> SlurmDevice | None:
    """Return what a file of this name is about; None for a name that is none."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    number, instance = (None if match[key] is None else int(match[key]) for key in ("number", "instance"))
    return SlurmDevice(number, instance, match["mig"] or "")


def content_of(path: Path) -> bytes | None:
    """Return what a file says; None for what is no plain file, or too large. Links are not followed (OSError)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        content = file.read(MOST_BYTES + 1)
    return content if len(content) <= MOST_BYTES else None


def parse_line(line: bytes, device: SlurmDevice) -> tuple[MapLine | None, int]:
    """Return the job of a line, and how much of it is wrong; a wrong word costs itself, a wrong id the line."""
    try:
        job, *words = line.decode().split("\t")
    except UnicodeDecodeError:
        return None, 1
    if not _JOB.fullmatch(job):
        return None, 1
    known = dict.fromkeys((*_WORDS, _GPU_UUID), "")
    wrong = 0
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or len(value) > MOST_LETTERS or not value.isprintable():
            wrong += 1
        elif key in known:
            known[key] = value
    uuid = known[_GPU_UUID] or device.uuid
    return MapLine(replace(device, uuid=uuid), GpuJob(-1, job, None, *(known[key] for key in _WORDS))), wrong


def _order(job: GpuJob) -> tuple[int, int, str]:
    return (job.index, -1 if job.instance is None else job.instance, job.job)
